//! What to set where: how each gateway and each issuer does what the rules ask for, with its source.
//!
//! A rule's own fix is neutral: it says what has to be so, for any product. A [`Remedy`] says how the product that was
//! seen does it. `Facts::remedy` picks it; `Finding::fitted` puts it behind the rule's fix. The tables are data: a row a
//! product and topic; where a product has no row, nothing is said of it.

mod gateways;
mod issuers;

pub use gateways::GATEWAYS;
pub use issuers::ISSUERS;

use super::issuers::Issuer;
use super::proxies::{Gateway, Seen};

/// What has to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Hand the client's `Authorization` on.
    HandOnAuthorization,
    /// Do not replace `Authorization` by something else.
    LeaveAuthorization,
    /// Take away what clients claim of the way: `Forwarded`, `X-Forwarded-Host`, `X-Forwarded-Prefix`.
    DropForwarded,
    /// Tell the host that the client used.
    Host,
    /// Tell the prefix that was taken off the path.
    Prefix,
    /// Tell the port that the client used, or none.
    Port,
    /// Tell the scheme that the client used.
    Scheme,
    /// Refuse what has no token, or a bad one.
    RefuseUnauthenticated,
    /// Compare `exp` and `aud`.
    CheckClaims,
    /// Take clients' identity headers away.
    DropIdentity,
    /// Take headers with underscores away.
    DropUnderscores,
    /// Do not send this server what is for an auth service.
    DropSubrequest,
    /// Answer 401 with a challenge, and do not redirect.
    Challenge,
    /// Let streams live, and slow calls end.
    Timeout,
    /// Hand events on as they come.
    NoBuffering,
    /// Answer `OPTIONS` without a token.
    Preflight,
    /// Set CORS headers on every answer.
    Cors,
    /// Take larger headers.
    HeaderSize,
    /// Send a session's requests to one server.
    Affinity,
    /// Write this server's URL into `aud`.
    Audience,
    /// Grant scopes of this server.
    Scopes,
    /// Be called by one name.
    IssuerName,
    /// Issue JWTs instead of opaque tokens, or ask the issuer.
    Jwt,
    /// Write access tokens as RFC 9068 says.
    Rfc9068,
    /// Send the access token, and not the ID token.
    AccessToken,
    /// Issue refresh tokens.
    Refresh,
    /// Where the keys are.
    Keys,
    /// Make tokens smaller.
    TokenSize,
}

impl Topic {
    /// All of them, in the order of the pages.
    pub const ALL: [Self; 28] = [
        Self::HandOnAuthorization,
        Self::LeaveAuthorization,
        Self::DropForwarded,
        Self::Host,
        Self::Prefix,
        Self::Port,
        Self::Scheme,
        Self::RefuseUnauthenticated,
        Self::CheckClaims,
        Self::DropIdentity,
        Self::DropUnderscores,
        Self::DropSubrequest,
        Self::Challenge,
        Self::Timeout,
        Self::NoBuffering,
        Self::Preflight,
        Self::Cors,
        Self::HeaderSize,
        Self::Affinity,
        Self::Audience,
        Self::Scopes,
        Self::IssuerName,
        Self::Jwt,
        Self::Rfc9068,
        Self::AccessToken,
        Self::Refresh,
        Self::Keys,
        Self::TokenSize,
    ];

    /// What it is about, for the pages.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::HandOnAuthorization => "hand `Authorization` on",
            Self::LeaveAuthorization => "leave `Authorization` alone",
            Self::DropForwarded => "take a client's `Forwarded` away",
            Self::Host => "tell the public host",
            Self::Prefix => "tell the prefix",
            Self::Port => "tell the port",
            Self::Scheme => "tell the scheme",
            Self::RefuseUnauthenticated => "refuse what has no token",
            Self::CheckClaims => "check `exp` and `aud`",
            Self::DropIdentity => "take clients' identity headers away",
            Self::DropUnderscores => "take names with underscores away",
            Self::DropSubrequest => "keep the auth request's headers back",
            Self::Challenge => "answer 401, no redirect",
            Self::Timeout => "let streams and slow calls live",
            Self::NoBuffering => "hand events on at once",
            Self::Preflight => "answer `OPTIONS` without a token",
            Self::Cors => "CORS on every answer",
            Self::HeaderSize => "take larger headers",
            Self::Affinity => "a session's requests to one server",
            Self::Audience => "write this server into `aud`",
            Self::Scopes => "grant scopes of this server",
            Self::IssuerName => "one name for the issuer",
            Self::Jwt => "a JWT instead of an opaque token",
            Self::Rfc9068 => "access tokens by RFC 9068",
            Self::AccessToken => "the access token, not the ID token",
            Self::Refresh => "refresh tokens",
            Self::Keys => "the keys",
            Self::TokenSize => "smaller tokens",
        }
    }
}

/// How one product does it.
#[derive(Debug)]
pub struct Row<P> {
    /// The product.
    pub product: P,
    /// What is to be set.
    pub topic: Topic,
    /// How: a setting, as one writes it. `{url}` stands for this server's URL.
    pub setting: &'static str,
    /// Where that is documented, or how it was found out.
    pub source: &'static str,
}

/// What the product that was seen is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    /// Its name.
    pub product: &'static str,
    /// It is only likely that it is this one.
    pub likely: bool,
    /// What to set; `{url}` stands for this server's URL.
    pub setting: &'static str,
    /// Where that is documented.
    pub source: &'static str,
}

impl Remedy {
    /// `in Envoy: forward: true …`, with this server's URL in place.
    #[must_use]
    pub fn text(&self, url: Option<&str>) -> String {
        let Self { product, likely, setting, .. } = self;
        let setting = setting.replace("{url}", url.unwrap_or("URL-OF-THIS-SERVER"));
        if *likely {
            format!("this looks like {product}, there: {setting}")
        } else {
            format!("in {product}: {setting}")
        }
    }
}

/// What the first of `seen` that has a row for `topic` is to be told; what it runs in counts as itself.
#[must_use]
pub fn of_gateways(seen: &[Seen], topic: Topic) -> Option<Remedy> {
    let row = |gateway: Gateway| GATEWAYS.iter().find(|row| row.product == gateway && row.topic == topic);
    seen.iter().find_map(|&Seen { gateway, likely }| {
        let row = row(gateway).or_else(|| row(gateway.host()?))?;
        Some(Remedy { product: row.product.name(), likely, setting: row.setting, source: row.source })
    })
}

/// What `issuer` is to be told of `topic`.
#[must_use]
pub fn of_issuer(issuer: Issuer, topic: Topic) -> Option<Remedy> {
    let row = ISSUERS.iter().find(|row| row.product == issuer && row.topic == topic)?;
    Some(Remedy { product: issuer.name(), likely: false, setting: row.setting, source: row.source })
}

/// The names of the products that have rows: what no neutral text may hold.
pub fn product_names() -> impl Iterator<Item = &'static str> {
    Gateway::ALL.into_iter().map(Gateway::name).chain(Issuer::ALL.into_iter().map(Issuer::name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn rows() -> impl Iterator<Item = (&'static str, Topic, &'static str, &'static str)> {
        let gateways = GATEWAYS.iter().map(|row| (row.product.name(), row.topic, row.setting, row.source));
        gateways.chain(ISSUERS.iter().map(|row| (row.product.name(), row.topic, row.setting, row.source)))
    }

    #[test]
    fn each_product_has_one_row_a_topic_with_its_source() {
        let mut seen = HashSet::new();
        for (product, topic, setting, source) in rows() {
            assert!(seen.insert((product, topic)), "{product} {topic:?} twice");
            for text in [setting, source] {
                assert!(!text.is_empty() && !text.ends_with('.') && text.trim() == text, "{product}: {text}");
            }
        }
    }

    #[test]
    fn every_gateway_and_issuer_has_something_to_set() {
        for gateway in Gateway::ALL.into_iter().filter(|gateway| !matches!(gateway, Gateway::Squid | Gateway::Varnish))
        {
            assert!(GATEWAYS.iter().any(|row| row.product == gateway), "{}", gateway.name());
        }
        for issuer in Issuer::ALL {
            assert!(ISSUERS.iter().any(|row| row.product == issuer), "{}", issuer.name());
        }
    }

    #[test]
    fn the_gateway_nearest_the_fault_that_has_a_row_is_told() {
        let seen = [
            Seen { gateway: Gateway::ModAuthOpenidc, likely: false },
            Seen { gateway: Gateway::Cloudflare, likely: false },
        ];
        assert_eq!(of_gateways(&seen, Topic::HandOnAuthorization).unwrap().product, "Apache mod_auth_openidc");
        assert_eq!(of_gateways(&seen, Topic::DropForwarded).unwrap().product, "Apache mod_proxy", "what it runs in");
        assert!(of_gateways(&[], Topic::DropForwarded).is_none());
        let check = of_gateways(&seen, Topic::CheckClaims).unwrap();
        assert!(check.text(Some("https://a.example/mcp")).contains("aud:https://a.example/mcp"), "{check:?}");
        let likely = Remedy { likely: true, ..check };
        assert!(likely.text(None).starts_with("this looks like Apache mod_auth_openidc, there: "));
    }
}

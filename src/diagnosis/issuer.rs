//! Issuers: where their metadata is, and in what one differs from the one that is expected.

use super::difference::{Difference, nearest};

/// Where the metadata of an issuer is: RFC 8414 section 3.1 puts the well-known part before the issuer's path, OpenID Connect
/// Discovery section 4 after it. Empty where the issuer is no http or https URL.
#[must_use]
pub fn metadata(issuer: &str) -> Vec<String> {
    let Some((scheme, rest)) = issuer.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"))
    else {
        return Vec::new();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if host.is_empty() {
        return Vec::new();
    }
    let path = path.trim_end_matches('/');
    vec![
        format!("{scheme}://{host}/.well-known/oauth-authorization-server{path}"),
        format!("{scheme}://{host}{path}/.well-known/openid-configuration"),
    ]
}

/// In what an issuer differs from the expected ones, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// For a sentence: `they differ in …`.
    pub what: String,
    /// How to mend it, where the product or the kind is known.
    pub fix: Option<&'static str>,
}

/// In what `found` differs from the nearest of `expected`. None where it is one of them.
#[must_use]
pub fn mismatch(found: &str, expected: &[String]) -> Option<Mismatch> {
    let (wanted, difference) = nearest(found, expected)?;
    if difference == Difference::None {
        return None;
    }
    let (found, wanted) = (Parts::of(found), Parts::of(wanted));
    let of = |what: &str, fix: Option<&'static str>| Some(Mismatch { what: what.to_owned(), fix });
    if let Some((what, fix)) = by_product(&found, &wanted) {
        return of(what, Some(fix));
    }
    match difference {
        Difference::Slash if found.is_auth0() => of(
            difference.name(),
            Some("Auth0's issuers end with a slash: expect https://TENANT/ as its metadata has it"),
        ),
        Difference::Slash => of(
            difference.name(),
            Some("expect the issuer exactly as its metadata has it under \"issuer\", with or without the slash"),
        ),
        Difference::Scheme => of(
            difference.name(),
            Some(
                "give the issuer its public https URL (Keycloak: KC_HOSTNAME and KC_PROXY_HEADERS), since it takes its scheme \
                 from the requests that reach it; do not expect http",
            ),
        ),
        Difference::Host | Difference::Port | Difference::Other if found.is_inner() != wanted.is_inner() => of(
            "the host: one is an inner name, the other a public one",
            Some(
                "give the issuer one public URL whoever asks (Keycloak: KC_HOSTNAME, and KC_HOSTNAME_BACKCHANNEL_DYNAMIC for \
                 the inner way to its keys), and expect that one",
            ),
        ),
        Difference::Other if found.host != wanted.host => of("the host and more: another issuer", None),
        Difference::Other => of("more than one thing", None),
        _ => of(difference.name(), None),
    }
}

/// What differs between two issuers of one product.
fn by_product(found: &Parts<'_>, wanted: &Parts<'_>) -> Option<(&'static str, &'static str)> {
    if found.is_entra() && wanted.is_entra() {
        let (v1, other_v1) = (found.host == "sts.windows.net", wanted.host == "sts.windows.net");
        let (tenant, wanted_tenant) = (found.segment(0), wanted.segment(0));
        if matches!(wanted_tenant, "common" | "organizations" | "consumers") {
            return Some((
                "the tenant: common, organizations and consumers are addresses to log in at, no issuers",
                "expect https://login.microsoftonline.com/TENANT-ID/v2.0 of each tenant that may log in",
            ));
        }
        if tenant != wanted_tenant {
            return Some(("the Entra tenant", "log in to the expected tenant, or expect this one, by its id"));
        }
        if v1 != other_v1 || found.path.ends_with("/v2.0") != wanted.path.ends_with("/v2.0") {
            return Some((
                "the version of Entra's tokens: sts.windows.net is version 1, login.microsoftonline.com/.../v2.0 is version 2",
                "set requestedAccessTokenVersion to 2 in the manifest of the API's app registration, or expect the other one",
            ));
        }
    }
    if found.is_cognito() && wanted.is_cognito() {
        return Some(if found.host == wanted.host {
            (
                "the Cognito user pool",
                "use the client of the expected pool, or expect this one: the pool's id is the path of iss",
            )
        } else {
            (
                "the Cognito region",
                "expect https://cognito-idp.REGION.amazonaws.com/POOL-ID of the region that the pool is in",
            )
        });
    }
    if found.is_cognito() && wanted.host.ends_with(".amazoncognito.com") {
        return Some((
            "the host: amazoncognito.com is where users log in, no issuer",
            "expect https://cognito-idp.REGION.amazonaws.com/POOL-ID",
        ));
    }
    if let (Some(realm), Some(other)) = (found.realm(), wanted.realm()) {
        if realm != other {
            return Some((
                "the Keycloak realm",
                "log in to the expected realm, or expect this one: its name is in the path",
            ));
        }
        if found.path.starts_with("/auth/") != wanted.path.starts_with("/auth/") {
            return Some((
                "the path: /auth, which Keycloak has no longer since version 17 unless it is told to",
                "expect the issuer as its metadata has it, or start Keycloak with KC_HTTP_RELATIVE_PATH=/auth",
            ));
        }
    }
    if found.is_auth0() != wanted.is_auth0() && found.path.trim_matches('/') == wanted.path.trim_matches('/') {
        return Some((
            "the host: one is Auth0's own name, the other perhaps the tenant's custom domain",
            "ask for tokens under the name that is expected: iss is the domain that the client logged in at",
        ));
    }
    if found.is_okta() && wanted.is_okta() && found.host == wanted.host {
        return Some((
            "the Okta authorization server: the organization's own has no path, custom ones have /oauth2/ID",
            "ask the custom authorization server for tokens (/oauth2/default): those of the organization's own are for Okta \
             alone",
        ));
    }
    if [found, wanted].iter().all(|parts| parts.text.trim_start_matches("https://") == "accounts.google.com") {
        return Some((
            "https://, which Google's issuer may be written with or without",
            "expect both spellings: Google uses both",
        ));
    }
    None
}

/// An issuer taken apart.
struct Parts<'a> {
    text: &'a str,
    /// Lower case, without port.
    host: String,
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let name = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let host = name.map_or(authority, |(name, _)| name).to_ascii_lowercase();
        Self { text, host, path: path.trim_end_matches('/') }
    }

    fn segment(&self, n: usize) -> &'a str {
        self.path.split('/').nth(n + 1).unwrap_or_default()
    }

    fn realm(&self) -> Option<&'a str> {
        self.path.split_once("/realms/").map(|(_, realm)| realm)
    }

    fn is_entra(&self) -> bool {
        matches!(&*self.host, "sts.windows.net" | "login.microsoftonline.com" | "login.windows.net")
    }

    fn is_cognito(&self) -> bool {
        self.host.starts_with("cognito-idp.") && self.host.contains(".amazonaws.com")
    }

    fn is_auth0(&self) -> bool {
        self.host.ends_with(".auth0.com")
    }

    fn is_okta(&self) -> bool {
        [".okta.com", ".oktapreview.com", ".okta-emea.com"].iter().any(|end| self.host.ends_with(end))
            && (self.path.is_empty() || self.path.starts_with("/oauth2"))
    }

    /// A name that nobody outside uses.
    fn is_inner(&self) -> bool {
        super::origin::is_internal(&self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_specifications_put_it() {
        assert_eq!(
            metadata("https://as.example/realms/w"),
            [
                "https://as.example/.well-known/oauth-authorization-server/realms/w",
                "https://as.example/realms/w/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            metadata("https://as.example/"),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ]
        );
        for none in ["accounts.google.com", "https://", "urn:x", ""] {
            assert!(metadata(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn the_kind_of_a_mismatch_is_named() {
        for (found, expected, what, fix) in [
            ("https://as.example/", "https://as.example", "a slash", "\"issuer\""),
            ("https://t.eu.auth0.com/", "https://t.eu.auth0.com", "a slash", "Auth0"),
            ("http://as.example/realms/w", "https://as.example/realms/w", "http and https", "KC_HOSTNAME"),
            ("http://keycloak:8080/realms/w", "https://sso.acme.example/realms/w", "inner name", "KC_HOSTNAME"),
            ("https://keycloak.poc/realms/w", "https://keycloak.poc/realms/v", "the Keycloak realm", "realm"),
            ("https://k.example/auth/realms/w", "https://k.example/realms/w", "/auth", "KC_HTTP_RELATIVE_PATH"),
            (
                "https://login.microsoftonline.com/1-2/v2.0",
                "https://login.microsoftonline.com/common/v2.0",
                "common",
                "TENANT-ID",
            ),
            (
                "https://sts.windows.net/1-2/",
                "https://login.microsoftonline.com/1-2/v2.0",
                "version 1",
                "requestedAccessTokenVersion",
            ),
            (
                "https://login.microsoftonline.com/1-2/v2.0",
                "https://login.microsoftonline.com/3-4/v2.0",
                "tenant",
                "by its id",
            ),
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/p",
                "https://cognito-idp.us-east-1.amazonaws.com/p",
                "region",
                "REGION",
            ),
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/p",
                "https://cognito-idp.eu-west-1.amazonaws.com/q",
                "pool",
                "pool",
            ),
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/p",
                "https://acme.auth.eu-west-1.amazoncognito.com",
                "no issuer",
                "POOL-ID",
            ),
            ("https://t.eu.auth0.com/", "https://login.acme.example/", "custom domain", "under the name"),
            ("https://d.okta.com", "https://d.okta.com/oauth2/default", "Okta", "/oauth2/default"),
            ("accounts.google.com", "https://accounts.google.com", "Google", "both"),
            ("https://AS.example", "https://as.example", "upper and lower case", ""),
            ("https://as.example:8443", "https://as.example", "the port", ""),
            ("https://a.example/x", "https://b.example/y", "another issuer", ""),
        ] {
            let found = mismatch(found, &[expected.to_owned()]).unwrap_or_else(|| panic!("{found} is {expected}"));
            assert!(found.what.contains(what), "{expected}: {found:?}");
            assert!(found.fix.unwrap_or_default().contains(fix), "{expected}: {found:?}");
        }
        assert_eq!(mismatch("https://a.example", &["https://a.example".to_owned()]), None);
        assert_eq!(mismatch("https://a.example", &[]), None);
    }
}

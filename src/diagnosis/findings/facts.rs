//! What the rules look at.

use std::cell::OnceCell;
use std::net::SocketAddr;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::Moment;
use crate::config::Config;
use crate::diagnosis::agreement::{Comparison, comparisons};
use crate::diagnosis::client;
use crate::diagnosis::expected::{Asked, Expected};
use crate::diagnosis::forwarding::{self, PublicUrl};
use crate::diagnosis::issuers::{self, Issuer};
use crate::diagnosis::jwks::KeySet;
use crate::diagnosis::proxies;
use crate::diagnosis::redact::{self, decode};
use crate::diagnosis::remedies::{self, Remedy, Topic};
use crate::diagnosis::token::{self, Report};
use crate::diagnosis::verification::{self, Assertion, Verification};
use crate::protocol::Revision;
use crate::request::ProxyProof;
use crate::session::clients::Seen;
use crate::session::streams::Streams;
use crate::session::{Clients, Figures, Identity, Record};

/// The facts of one request. Its token is inspected once, when the first rule asks for it.
pub struct Facts<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Path and query as received.
    pub uri: &'a Uri,
    /// All headers, repeated ones each.
    pub headers: &'a HeaderMap,
    /// The revision that the request is answered in.
    pub revision: Revision,
    /// Configuration.
    pub config: &'a Config,
    /// Now.
    pub now: Timestamp,
    /// Who the session is bound to, if there is one and it is.
    pub owner: Option<&'a Identity>,
    /// The session, if there is one.
    pub session: Option<SessionFacts<'a>>,
    /// Whether the proxy has shown that it handed the request on.
    pub proxy: ProxyProof,
    given: Option<&'a str>,
    asked: Asked,
    expected: OnceCell<Expected>,
    keys: Option<&'a KeySet>,
    verification: OnceCell<Verification>,
    clients: Option<(&'a Clients, Option<SocketAddr>, Moment)>,
    seen: OnceCell<Option<ClientFacts>>,
    credential: OnceCell<Option<Credential>>,
    public_url: OnceCell<PublicUrl>,
    comparisons: OnceCell<Vec<Comparison>>,
    gateways: OnceCell<Vec<proxies::Seen>>,
}

/// What the rules look at of a session.
#[derive(Clone, Copy)]
pub struct SessionFacts<'a> {
    /// What is known of it.
    pub record: &'a Record,
    /// Its figures.
    pub figures: Figures,
    /// Now, on the sessions' clock.
    pub now: Moment,
}

/// What the rules look at of the client that asks, beyond its session.
pub struct ClientFacts {
    /// What is remembered of it.
    pub seen: Seen,
    /// Now, on the sessions' clock.
    pub now: Moment,
}

/// A token, and whatever came with it.
pub struct Credential {
    /// Somebody gave it; else it is the request's own.
    pub given: bool,
    /// What was found out about it.
    pub report: Report,
    /// What was found out about the request's `DPoP` header, if it has one.
    pub proof: Option<Report>,
}

impl<'a> Facts<'a> {
    /// The facts of a request without a session.
    #[must_use]
    pub fn new(
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        revision: Revision,
        config: &'a Config,
        now: Timestamp,
    ) -> Self {
        Self {
            method,
            uri,
            headers,
            revision,
            config,
            now,
            owner: None,
            session: None,
            proxy: ProxyProof::NotAsked,
            given: None,
            asked: Asked::default(),
            expected: OnceCell::new(),
            keys: None,
            verification: OnceCell::new(),
            clients: None,
            seen: OnceCell::new(),
            credential: OnceCell::new(),
            public_url: OnceCell::new(),
            comparisons: OnceCell::new(),
            gateways: OnceCell::new(),
        }
    }

    /// With its session, and whom that is bound to.
    #[must_use]
    pub fn with_session(mut self, session: SessionFacts<'a>) -> Self {
        self.session = Some(session);
        self.with_owner(session.record.owner.as_deref())
    }

    /// With whom its session is bound to.
    #[must_use]
    pub fn with_owner(mut self, owner: Option<&'a Identity>) -> Self {
        self.owner = owner;
        self
    }

    /// With what is remembered of clients: the one that asks comes from `peer`.
    #[must_use]
    pub fn with_clients(mut self, clients: &'a Clients, peer: Option<SocketAddr>, now: Moment) -> Self {
        self.clients = Some((clients, peer, now));
        self
    }

    /// What is remembered of the client that asks; looked up once, when the first rule asks for it.
    #[must_use]
    pub fn client(&self) -> Option<&ClientFacts> {
        let look_up = || {
            let (clients, peer, now) = self.clients?;
            Some(ClientFacts { seen: clients.seen(client::client(clients, self.headers, peer)), now })
        };
        self.seen.get_or_init(look_up).as_ref()
    }

    /// The streams of the session; without one, those of the client.
    #[must_use]
    pub fn streams(&self) -> Option<&Streams> {
        match self.session {
            Some(session) => session.record.history.streams.as_deref(),
            None => self.client().map(|client| &client.seen.streams),
        }
    }

    /// With a token that somebody gave, in place of the request's own.
    #[must_use]
    pub fn with_token(mut self, given: &'a str) -> Self {
        self.given = Some(given);
        self
    }

    /// With what somebody says that is expected, before the configuration.
    #[must_use]
    pub fn with_asked(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self
    }

    /// With what the proxy's secret came to.
    #[must_use]
    pub fn with_proxy(mut self, proxy: ProxyProof) -> Self {
        self.proxy = proxy;
        self
    }

    /// With keys to check signatures with.
    #[must_use]
    pub fn with_keys(mut self, keys: Option<&'a KeySet>) -> Self {
        self.keys = keys;
        self
    }

    /// The keys that there are.
    #[must_use]
    pub fn keys(&self) -> Option<&'a KeySet> {
        self.keys
    }

    /// What became of the token's signature; of the one inside, where the token is one around another.
    #[must_use]
    pub fn verification(&self) -> &Verification {
        self.verification.get_or_init(|| match self.signed().or(self.report()) {
            Some(report) => verification::verify(report, self.keys),
            None => Verification::NotAsked,
        })
    }

    /// Checks a token of another header, such as a gateway's signed assertion (`Cf-Access-Jwt-Assertion`), with the same keys.
    /// Padding, as AWS load balancers write it, is taken as sent.
    #[must_use]
    pub fn verify(&self, token: &str) -> Assertion {
        Assertion::of(&token::inspect(token, self.now), self.keys)
    }

    /// What the token is compared with.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        self.expected.get_or_init(|| Expected::of(&self.asked, &self.config.expect))
    }

    /// The given token, else that of the first `Authorization` header.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        let inspect = || {
            if let Some(given) = self.given {
                return Some(Credential { given: true, report: token::inspect(given, self.now), proof: None });
            }
            let text = |name: &str| Some(String::from_utf8_lossy(self.headers.get(name)?.as_bytes()));
            Some(Credential {
                given: false,
                report: token::inspect(&text(AUTHORIZATION.as_str())?, self.now),
                proof: text("dpop").map(|proof| token::inspect(&proof, self.now)),
            })
        };
        self.credential.get_or_init(inspect).as_ref()
    }

    /// What was found out about the token.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.credential().map(|credential| &credential.report)
    }

    /// The report that has the claims of a signed token: its own, or of the token inside it.
    #[must_use]
    pub fn signed(&self) -> Option<&Report> {
        let report = self.report()?;
        let signed = |report: &&Report| report.token.payload.is_some() && report.token.format.is_signed();
        Some(report).filter(signed).or(report.nested.as_deref().filter(signed))
    }

    /// The claims of the request's bearer token (RFC 6750 section 2.1) or DPoP-bound one (RFC 9449 section 7.1).
    #[must_use]
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        let token = &self.signed()?.token;
        let scheme = &self.report()?.token;
        let known = scheme.has_scheme("bearer") || scheme.has_scheme("dpop");
        token.payload.as_ref().filter(|_| known).map(|payload| &payload.members)
    }

    /// The record of a session that a handshake made: one that a stateless request made has none of its duties.
    #[must_use]
    pub fn handshake(&self) -> Option<&'a Record> {
        self.session.map(|session| session.record).filter(|record| record.initialized)
    }

    /// The URL that the client used: what is set (`MCP_PUBLIC_URL`), else what the request's headers tell.
    #[must_use]
    pub fn public_url(&self) -> &PublicUrl {
        self.public_url.get_or_init(|| {
            let told = self.told_url();
            match &self.config.expect.public_url {
                Some(set) => told.in_favour_of(set),
                None => told,
            }
        })
    }

    /// The URL that the request's headers tell, whatever is set.
    pub(super) fn told_url(&self) -> PublicUrl {
        forwarding::public_url(self.headers, self.uri)
    }

    /// What headers, token and session say of the user, side by side.
    #[must_use]
    pub fn comparisons(&self) -> &[Comparison] {
        self.comparisons
            .get_or_init(|| comparisons(self.headers, self.claims(), self.owner, self.proxy == ProxyProof::Proven))
    }

    /// The gateways that were seen, nearest the fault first.
    #[must_use]
    pub fn gateways(&self) -> &[proxies::Seen] {
        self.gateways.get_or_init(|| proxies::gateways(self.headers))
    }

    /// The product that issued the token, as far as the token gives it away.
    #[must_use]
    pub fn issuer_product(&self) -> Option<Issuer> {
        issuers::issuer(self.signed().or_else(|| self.report())?)
    }

    /// What to set for `topic` at the product that was seen: the first gateway that has something to set, else the
    /// issuer. `None` where none was seen; the rule's own fix is then all there is to say.
    #[must_use]
    pub fn remedy(&self, topic: Topic) -> Option<Remedy> {
        remedies::of_gateways(self.gateways(), topic).or_else(|| remedies::of_issuer(self.issuer_product()?, topic))
    }

    /// `remedy` in words, with this server's URL where it needs one.
    #[must_use]
    pub fn remedy_text(&self, remedy: &Remedy) -> String {
        remedy.text(self.public_url().url().map(|url| redact::escape(&redact::uri(&url)).into_owned()).as_deref())
    }

    /// The first value of a header as text, trimmed.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| decode(value.as_bytes()).trim().to_owned())
    }
}

//! Configuration: one struct, read once at start.
//!
//! [`Config::load`] takes arguments and environment as parameters and reads neither itself, so that tests set none. What
//! can be set, with defaults and bounds, is one table: [`VARIABLES`].

mod admin;
mod environment;
mod expect;
mod flags;
mod load;
mod network;
mod rate;
mod reader;
mod store;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

pub use admin::AdminAt;
pub use expect::{EndpointUrl, Expectations, ProxySecret};
pub use load::{Command, ConfigError, endpoint_url};
pub use network::{is_loopback_host, is_loopback_origin, normalise_origin};
pub use rate::RateLimit;
pub use store::{HttpAt, RedisAt, StoreAt};
pub use variables::{Accepts, VARIABLES, Variable};

use crate::protocol::Served;

/// Everything that can be set. Field docs name the variable; defaults and bounds stand in [`VARIABLES`].
#[derive(Debug, Clone)]
pub struct Config {
    /// `MCP_ECHO_HOST`, `--host`: address or name to bind.
    pub host: String,
    /// `MCP_ECHO_PORT`, `--port`: 0 picks a free one.
    pub port: u16,
    /// `MCP_ECHO_DEBUG`, `--debug`: debug logging.
    pub debug: bool,
    /// `MCP_SESSION_TIMEOUT`, `--session-timeout`: idle time after which a session expires.
    pub session_timeout: Duration,
    /// `MCP_SESSION_CLEANUP_INTERVAL`: time between sweeps.
    pub session_cleanup_interval: Duration,
    /// `MCP_SESSION_BINDING`.
    pub session_binding: SessionBinding,
    /// `MCP_MAX_SESSIONS`.
    pub max_sessions: usize,
    /// `MCP_RATE_LIMIT`: how many messages a session may send; `None` for any number.
    pub rate_limit: Option<RateLimit>,
    /// `MCP_STORE`.
    pub store: StoreAt,
    /// `MCP_ADMIN_ADDR`: where the admin listener is, if there is one.
    pub admin: AdminAt,
    /// `MCP_RECORD`: exchanges kept to be looked at; 0 for none.
    pub record: usize,
    /// `MCP_RECORD_BODIES`: with the first 4 KB of their bodies.
    pub record_bodies: bool,
    /// `MCP_MESSAGE_QUEUE_SIZE`: messages held per session.
    pub message_queue_size: usize,
    /// `MCP_REQUIRE_SESSION`: refuse requests without a session, other than `initialize`.
    pub require_session: bool,
    /// `MCP_ECHO_STRICT`: refuse every breach of a client's MUST.
    pub strict: bool,
    /// `MCP_ECHO_RESPONSE`.
    pub response: ResponseMode,
    /// `MCP_PROTOCOL_VERSION` and `MCP_PROTOCOL_VERSIONS_SUPPORTED`, `--protocol-versions`.
    pub protocol: Served,
    /// `MCP_SSE_KEEPALIVE_INTERVAL`.
    pub sse_keepalive_interval: Duration,
    /// `MCP_SSE_KEEPALIVE_STYLE`.
    pub sse_keepalive_style: KeepAliveStyle,
    /// `MCP_ALLOWED_ORIGINS`: origins allowed besides loopback ones.
    pub allowed_origins: Origins,
    /// `MCP_ALLOWED_HOSTS`: hosts allowed besides loopback ones.
    pub allowed_hosts: Vec<AllowedHost>,
    /// `MCP_CORS_ORIGINS`: origins that get CORS headers; `None` when unset, an empty list for `none`.
    pub cors_origins: Option<Origins>,
    /// `MCP_PUBLIC_URL`, `MCP_EXPECT_*` and `MCP_PROXY_SECRET`: what tokens and proxies are compared with.
    pub expect: Expectations,
    /// `MCP_HANDLE_HEADER`: whether clients of the stateless era are asked to repeat a handle in a header.
    pub handle_header: bool,
    /// `MCP_MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// `MCP_MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `MCP_SHUTDOWN_GRACE`: how long requests in flight may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// `LOG_FILE`.
    pub log_file: Option<PathBuf>,
    /// What `RUST_LOG`, debug and `LOG_LEVEL` come to, in this order: a valid tracing-subscriber filter.
    pub log_filter: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Every setting as it came out, with where it came from, in the README's order: what environmentDump shows.
    pub settings: Vec<Setting>,
    /// The variables that environmentDump may show, as found in the environment (allow-list; values not yet redacted).
    pub environment: Vec<(String, String)>,
    /// What is likely a mistake but stops nothing, a sentence each: logged at start.
    pub warnings: Vec<String>,
}

/// One setting and where its value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name: `MCP_ECHO_PORT`.
    pub variable: &'static str,
    /// The effective value as text; empty when unset without a default.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Where a setting's value came from: flag > environment > default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A command-line flag.
    Flag,
    /// The environment.
    Environment,
    /// The default.
    Default,
}

impl Source {
    /// `flag`, `environment`, `default`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Default => "default",
        }
    }
}

/// Whether a session is bound to the identity that initialized it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionBinding {
    /// Bound to the user that an identity header of a gateway names, else the bearer token's `sub`.
    User,
    /// The same, and an `initialize` that names nobody is refused.
    Require,
    /// Not bound.
    Off,
}

/// How a POST is answered where the client allows both forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// JSON unless something has to be streamed.
    Auto,
    /// JSON wherever the client accepts it.
    Json,
    /// A stream wherever the client accepts it.
    Sse,
}

/// The form of keep-alives on GET streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveStyle {
    /// `event: keep-alive`, `data: {"type":"ping"}`.
    Event,
    /// A comment line.
    Comment,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A set of web origins (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `*`
    Any,
    /// Serialised origins (`https://app.example`, `http://localhost:6274`, `null`): lower case, default ports left out.
    Only(Vec<String>),
}

/// An entry of `MCP_ALLOWED_HOSTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// Host name or address, lower case, IPv6 addresses in brackets.
    pub host: String,
    /// The port, where the entry names one; any port otherwise.
    pub port: Option<u16>,
}

impl SessionBinding {
    /// `user`, `require`, `off`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Require => "require",
            Self::Off => "off",
        }
    }
}

impl ResponseMode {
    /// `auto`, `json`, `sse`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Sse => "sse",
        }
    }
}

impl KeepAliveStyle {
    /// `event`, `comment`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Comment => "comment",
        }
    }
}

impl LogFormat {
    /// `text`, `json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl std::fmt::Display for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Only(origins) => f.write_str(&origins.join(",")),
        }
    }
}

impl std::fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Default for Config {
    /// What an empty command line in an empty environment comes to.
    fn default() -> Self {
        let mut config = Self {
            host: "127.0.0.1".to_owned(),
            port: 3000,
            debug: false,
            session_timeout: Duration::from_hours(1),
            session_cleanup_interval: Duration::from_mins(1),
            session_binding: SessionBinding::User,
            max_sessions: 10_000,
            rate_limit: None,
            store: StoreAt::Memory,
            admin: AdminAt::Unset,
            record: 1000,
            record_bodies: false,
            message_queue_size: 100,
            require_session: false,
            strict: false,
            response: ResponseMode::Auto,
            protocol: Served::all(),
            sse_keepalive_interval: Duration::from_secs(15),
            sse_keepalive_style: KeepAliveStyle::Event,
            allowed_origins: Origins::Only(Vec::new()),
            allowed_hosts: Vec::new(),
            cors_origins: None,
            expect: Expectations::default(),
            handle_header: false,
            max_body_bytes: 4_194_304,
            max_connections: 16_384,
            shutdown_grace: Duration::from_secs(10),
            log_file: None,
            log_filter: "info".to_owned(),
            log_format: LogFormat::Text,
            settings: Vec::new(),
            environment: Vec::new(),
            warnings: Vec::new(),
        };
        config.settings = config.described("INFO", "", |_| Source::Default);
        config
    }
}

impl Config {
    /// Every setting as text. The two that went into `log_filter` are passed along.
    fn described(&self, log_level: &str, rust_log: &str, source: impl Fn(&str) -> Source) -> Vec<Setting> {
        let setting = |variable: &Variable| Setting {
            variable: variable.name,
            value: match variable.name {
                "LOG_LEVEL" => log_level.to_owned(),
                "RUST_LOG" => rust_log.to_owned(),
                name => self.text(name),
            },
            source: source(variable.name),
        };
        VARIABLES.iter().map(setting).collect()
    }

    /// The effective value of a variable, as one would write it.
    fn text(&self, variable: &str) -> String {
        match variable {
            "MCP_ECHO_HOST" => self.host.clone(),
            "MCP_ECHO_PORT" => self.port.to_string(),
            "MCP_ECHO_DEBUG" => self.debug.to_string(),
            "MCP_SESSION_TIMEOUT" => self.session_timeout.as_secs().to_string(),
            "MCP_SESSION_CLEANUP_INTERVAL" => self.session_cleanup_interval.as_secs().to_string(),
            "MCP_SESSION_BINDING" => self.session_binding.name().to_owned(),
            "MCP_MAX_SESSIONS" => self.max_sessions.to_string(),
            "MCP_RATE_LIMIT" => self.rate_limit.map_or_else(|| "off".to_owned(), |limit| limit.to_string()),
            "MCP_STORE" => self.store.shown(),
            "MCP_ADMIN_ADDR" => self.admin.to_string(),
            "MCP_RECORD" => self.record.to_string(),
            "MCP_RECORD_BODIES" => self.record_bodies.to_string(),
            "MCP_MESSAGE_QUEUE_SIZE" => self.message_queue_size.to_string(),
            "MCP_REQUIRE_SESSION" => self.require_session.to_string(),
            "MCP_ECHO_STRICT" => self.strict.to_string(),
            "MCP_ECHO_RESPONSE" => self.response.name().to_owned(),
            "MCP_PROTOCOL_VERSION" => {
                self.protocol.preferred().map_or_else(String::new, |revision| revision.name().to_owned())
            }
            "MCP_PROTOCOL_VERSIONS_SUPPORTED" => list(self.protocol.newest_first()),
            "MCP_SSE_KEEPALIVE_INTERVAL" => self.sse_keepalive_interval.as_secs().to_string(),
            "MCP_SSE_KEEPALIVE_STYLE" => self.sse_keepalive_style.name().to_owned(),
            "MCP_ALLOWED_ORIGINS" => self.allowed_origins.to_string(),
            "MCP_ALLOWED_HOSTS" => list(&self.allowed_hosts),
            "MCP_CORS_ORIGINS" => match &self.cors_origins {
                Some(Origins::Only(list)) if list.is_empty() => "none".to_owned(),
                origins => origins.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
            "MCP_PUBLIC_URL" => self.expect.public_url.as_ref().map(ToString::to_string).unwrap_or_default(),
            "MCP_EXPECT_ISSUER" => list(&self.expect.issuers),
            "MCP_EXPECT_AUDIENCE" => list(&self.expect.audiences),
            "MCP_EXPECT_SCOPES" => self.expect.scopes.join(" "),
            "MCP_EXPECT_JWKS" => self.expect.jwks.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            // Nothing of a secret, whoever asks.
            "MCP_PROXY_SECRET" => self.expect.proxy_secret.as_ref().map(|_| "***".to_owned()).unwrap_or_default(),
            "MCP_HANDLE_HEADER" => self.handle_header.to_string(),
            "MCP_MAX_BODY_BYTES" => self.max_body_bytes.to_string(),
            "MCP_MAX_CONNECTIONS" => self.max_connections.to_string(),
            "MCP_SHUTDOWN_GRACE" => self.shutdown_grace.as_secs().to_string(),
            "LOG_FILE" => self.log_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            "LOG_FORMAT" => self.log_format.name().to_owned(),
            _ => String::new(),
        }
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_table() {
        for (setting, variable) in Config::default().settings.iter().zip(VARIABLES) {
            assert_eq!(setting.variable, variable.name);
            if variable.default.is_empty() {
                let derived = ["MCP_PROTOCOL_VERSION", "MCP_PROTOCOL_VERSIONS_SUPPORTED"].contains(&variable.name);
                assert_eq!(setting.value.is_empty(), !derived, "{}", variable.name);
            } else {
                assert_eq!(setting.value, variable.default, "{}", variable.name);
            }
        }
    }
}

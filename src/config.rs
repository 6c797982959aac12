//! Configuration: one struct, read once at start.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::Served;

/// Everything that can be set. Field docs name the variable; defaults and rules stand in the README's table.
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
    /// `MCP_CORS_ORIGINS`: origins that get CORS headers; `None` when unset.
    pub cors_origins: Option<Origins>,
    /// `MCP_MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// `MCP_SHUTDOWN_GRACE`: how long requests in flight may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// `LOG_FILE`.
    pub log_file: Option<PathBuf>,
    /// `LOG_LEVEL`, or what `RUST_LOG` says: a tracing-subscriber filter.
    pub log_filter: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Every setting as it came out, with where it came from, in the README's order: what environmentDump shows.
    pub settings: Vec<Setting>,
    /// The variables that environmentDump may show, as found in the environment (allow-list; values not yet redacted).
    pub environment: Vec<(String, String)>,
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
    /// Bound to `X-User-Id`, else the bearer token's `sub`.
    User,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 3000,
            debug: false,
            session_timeout: Duration::from_secs(3600),
            session_cleanup_interval: Duration::from_secs(60),
            session_binding: SessionBinding::User,
            max_sessions: 10_000,
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
            max_body_bytes: 4_194_304,
            shutdown_grace: Duration::from_secs(10),
            log_file: None,
            log_filter: "info".to_owned(),
            log_format: LogFormat::Text,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }
}

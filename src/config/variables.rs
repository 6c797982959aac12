//! The table of variables: names, flags, defaults, what each accepts, what it is for.
//!
//! Everything that speaks of a variable reads this table: the parser's messages, `--help`, and by test `.env.example`,
//! `docker-compose.yml` and `docs/configuration.md`.

use std::fmt;

/// One setting, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The environment variable: `MCP_ECHO_PORT`.
    pub name: &'static str,
    /// The flag that wins over it: `--port`.
    pub flag: Option<&'static str>,
    /// The default as one would write it; empty where there is none, or where it follows from other settings.
    pub default: &'static str,
    /// Which values are right.
    pub accepts: Accepts,
    /// What it is for, in one line without full stop.
    pub meaning: &'static str,
}

/// Which values a variable accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// A whole number within bounds, both included.
    Number {
        /// What the number is: `a port`.
        what: &'static str,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Yes or no.
    Switch,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// Anything that fits this description, which completes "… is needed".
    Text(&'static str),
}

impl Accepts {
    /// What a wrong value is not: `a port`, `yes or no`.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Number { what, .. } => what,
            Self::Switch => "yes or no",
            Self::OneOf(_) => "a known value",
            Self::Text(_) => "usable",
        }
    }
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max, .. } => write!(f, "a whole number from {min} to {max}"),
            Self::Switch => f.write_str("true or false (also 1/0, yes/no, on/off)"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text(description) => f.write_str(description),
        }
    }
}

const fn seconds(min: u64, max: u64) -> Accepts {
    Accepts::Number { what: "a number of seconds", min, max }
}

const fn count(min: u64, max: u64) -> Accepts {
    Accepts::Number { what: "a usable number", min, max }
}

const fn variable(name: &'static str, default: &'static str, accepts: Accepts, meaning: &'static str) -> Variable {
    Variable { name, flag: None, default, accepts, meaning }
}

const fn flagged(flag: &'static str, variable: Variable) -> Variable {
    Variable { flag: Some(flag), ..variable }
}

const ADDRESS: Accepts = Accepts::Text("an IP address or a host name, without scheme and port,");
const ORIGINS: Accepts = Accepts::Text("a comma list of origins (scheme://host[:port]), or *, null, none");
const HOSTS: Accepts = Accepts::Text("a comma list of hosts (name, name:port, [::1], [::1]:port)");
const REVISION: Accepts = Accepts::Text("a protocol version (YYYY-MM-DD)");
const REVISIONS: Accepts = Accepts::Text("a comma list of protocol versions (YYYY-MM-DD)");
const ENDPOINT: Accepts = Accepts::Text("an absolute http or https URL without query and fragment");
const ISSUERS: Accepts = Accepts::Text("a comma list of issuers, each as it stands in iss");
const AUDIENCES: Accepts = Accepts::Text("a comma list of audiences, each as it stands in aud");
const SCOPES: Accepts = Accepts::Text("a list of scopes, separated by spaces or commas");
const SECRET_HEADER: Accepts = Accepts::Text("a header of your own: Header-Name: value");
const RATE: Accepts = Accepts::Text("off, or messages a second or minute (20/s, 600/m), and a burst (20/s:40)");
const STORE: Accepts = Accepts::Text("memory, disk: and the path of a file, redis://host:6379, or http://host/path");
const PATH: Accepts = Accepts::Text("the path of a file");
const LEVEL: Accepts = Accepts::OneOf(&["TRACE", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "OFF"]);
const FILTER: Accepts = Accepts::Text("a filter such as info or warn,mcp_echo_stateful=debug");

/// Every variable that the server knows, in the order of the pages.
///
/// Bounds are there to catch slips (milliseconds for seconds, a byte count for a number of messages), and so that no
/// setting can make a session immortal or a queue unbounded.
pub const VARIABLES: &[Variable] = &[
    flagged("--host", variable("MCP_ECHO_HOST", "127.0.0.1", ADDRESS, "address or name to bind; 0.0.0.0 for all")),
    flagged(
        "--port",
        variable(
            "MCP_ECHO_PORT",
            "3000",
            Accepts::Number { what: "a port", min: 0, max: 65_535 },
            "port to bind; 0 picks a free one and prints it",
        ),
    ),
    flagged("--debug", variable("MCP_ECHO_DEBUG", "false", Accepts::Switch, "log this server's debug lines")),
    // At most 30 days: what is meant to last longer does not belong into memory.
    flagged(
        "--session-timeout",
        variable(
            "MCP_SESSION_TIMEOUT",
            "3600",
            seconds(1, 2_592_000),
            "seconds a session may be idle before it expires",
        ),
    ),
    // At most a day: expired sessions answer 404 anyway, the sweep only gives their memory back.
    variable("MCP_SESSION_CLEANUP_INTERVAL", "60", seconds(1, 86_400), "seconds between sweeps of expired sessions"),
    variable(
        "MCP_SESSION_BINDING",
        "user",
        Accepts::OneOf(&["user", "off", "require"]),
        "user: only the identity that opened a session may use it; require: and one that names nobody is not opened; off: \
         anyone with the id",
    ),
    // Ten million empty sessions are some 10 GB: more is a slip.
    variable(
        "MCP_MAX_SESSIONS",
        "10000",
        count(1, 10_000_000),
        "sessions at a time; beyond, the longest idle gives way",
    ),
    variable(
        "MCP_RATE_LIMIT",
        "off",
        RATE,
        "most messages that a session may send: off, N/s or N/m, with :BURST for more at once after a pause; over it 429",
    ),
    variable(
        "MCP_STORE",
        "memory",
        STORE,
        "where sessions are kept: memory; disk:PATH, a file that outlives the process; redis://HOST, which replicas share; http://HOST/PATH, one of your own (docs/stores.md)",
    ),
    variable(
        "MCP_ADMIN_ADDR",
        "",
        Accepts::Text("an address with a port, or off"),
        "where /exchanges, /report and /metrics are: an address with a port, or off; unset: 127.0.0.1:3001 when bound to loopback, else \
         off",
    ),
    variable("MCP_RECORD", "1000", count(0, 100_000), "last exchanges kept to be looked at, in 16 MB at most; 0: none"),
    variable("MCP_RECORD_BODIES", "false", Accepts::Switch, "keep the first 4 KB of their bodies too, redacted"),
    variable("MCP_MESSAGE_QUEUE_SIZE", "100", count(1, 100_000), "messages held per session for its GET stream"),
    variable(
        "MCP_REQUIRE_SESSION",
        "false",
        Accepts::Switch,
        "refuse requests without a session, other than initialize",
    ),
    variable(
        "MCP_ECHO_STRICT",
        "false",
        Accepts::Switch,
        "refuse every breach of a client's MUST, naming rule and section",
    ),
    variable(
        "MCP_ECHO_RESPONSE",
        "auto",
        Accepts::OneOf(&["auto", "json", "sse"]),
        "form of answers to POST where the client allows both",
    ),
    variable(
        "MCP_PROTOCOL_VERSION",
        "",
        REVISION,
        "version answered to clients that ask for none of ours; unset: the newest",
    ),
    flagged(
        "--protocol-versions",
        variable("MCP_PROTOCOL_VERSIONS_SUPPORTED", "", REVISIONS, "versions served, as a comma list; unset: all"),
    ),
    // At most an hour: no proxy keeps a silent connection longer.
    variable("MCP_SSE_KEEPALIVE_INTERVAL", "15", seconds(1, 3600), "seconds between keep-alives on streams"),
    variable(
        "MCP_SSE_KEEPALIVE_STYLE",
        "event",
        Accepts::OneOf(&["event", "comment"]),
        "keep-alives on GET streams: an event, or a comment line",
    ),
    variable(
        "MCP_ALLOWED_ORIGINS",
        "",
        ORIGINS,
        "web origins allowed besides loopback ones, as a comma list; * for all",
    ),
    variable("MCP_ALLOWED_HOSTS", "", HOSTS, "Host headers allowed besides loopback ones, as a comma list"),
    variable(
        "MCP_CORS_ORIGINS",
        "",
        ORIGINS,
        "web origins that get CORS headers, or none; unset: loopback ones when bound to loopback, else none",
    ),
    variable(
        "MCP_PUBLIC_URL",
        "",
        ENDPOINT,
        "the endpoint as clients know it, such as https://mcp.example/mcp; unset: what the proxy's headers tell",
    ),
    variable("MCP_EXPECT_ISSUER", "", ISSUERS, "issuers that tokens may come from; unset: not compared"),
    variable("MCP_EXPECT_AUDIENCE", "", AUDIENCES, "audiences of which a token has to name one; unset: the public URL"),
    variable("MCP_EXPECT_SCOPES", "", SCOPES, "scopes that a token has to have; unset: not compared"),
    variable(
        "MCP_EXPECT_JWKS",
        "",
        PATH,
        "file with the issuer's public keys (a JWKS), read again when it changes; unset: signatures are not verified",
    ),
    variable(
        "MCP_PROXY_SECRET",
        "",
        SECRET_HEADER,
        "a header that only the proxy adds: the identity headers beside it are proven; never shown",
    ),
    variable(
        "MCP_HANDLE_HEADER",
        "false",
        Accepts::Switch,
        "have clients of 2026-07-28 repeat a session's handle in Mcp-Param-Session, to route by; browsers cannot send it",
    ),
    // From 1 KiB, so that an initialize fits, to 1 GiB, which is held in memory per request.
    variable(
        "MCP_MAX_BODY_BYTES",
        "4194304",
        Accepts::Number { what: "a number of bytes", min: 1024, max: 1_073_741_824 },
        "largest request body in bytes",
    ),
    // A million need some 20 GB of buffers: more is a slip.
    variable(
        "MCP_MAX_CONNECTIONS",
        "16384",
        count(1, 1_000_000),
        "connections at a time, fewer where the system allows fewer open files; beyond, idle ones are closed, then 503",
    ),
    variable("MCP_SHUTDOWN_GRACE", "10", seconds(0, 3600), "seconds that requests in flight get to finish at shutdown"),
    variable("LOG_FILE", "", PATH, "file that gets the log lines too; its folder is made"),
    variable("LOG_LEVEL", "INFO", LEVEL, "least level logged"),
    variable(
        "LOG_FORMAT",
        "text",
        Accepts::OneOf(&["text", "json"]),
        "form of log lines: for people, or a JSON object each",
    ),
    variable("RUST_LOG", "", FILTER, "log filter by module, for experts; wins over LOG_LEVEL and debug"),
];

impl Variable {
    /// The row of [`VARIABLES`] called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|variable| variable.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_variable_and_flag_stands_in_the_table_once() {
        let names: HashSet<_> = VARIABLES.iter().map(|v| v.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        let flags: Vec<_> = VARIABLES.iter().filter_map(|v| v.flag).collect();
        assert_eq!(flags, ["--host", "--port", "--debug", "--session-timeout", "--protocol-versions"]);
    }

    #[test]
    fn the_env_example_names_exactly_these_variables_with_their_defaults() {
        let example: Vec<(&str, &str)> = include_str!("../../.env.example")
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line:?} is not NAME=value")))
            .collect();
        let table: Vec<(&str, &str)> = VARIABLES.iter().map(|v| (v.name, v.default)).collect();
        assert_eq!(example, table);
    }
}

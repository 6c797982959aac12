//! From arguments and environment to a [`Config`], or to all the mistakes in them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::flags::{Flags, NoFlags, Subcommands};
use super::reader::Reader;
use super::{
    AdminAt, Config, EndpointUrl, Expectations, KeepAliveStyle, LogFormat, Origins, ProxySecret, RateLimit,
    ResponseMode, SessionBinding, Source, StoreAt, environment, expect, network,
};
use crate::protocol::{Revision, Served, is_stateless};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Serve until told to stop.
    Serve(Box<Config>),
    /// Open and end a session on the server at `url`; exit 0 or 1.
    Healthcheck {
        /// The MCP endpoint, as given or as host and port say.
        url: String,
    },
    /// Print this to stdout, exit 0: `--help`, `--version`.
    Print(String),
}

/// Every mistake in flags and environment, one line each: the program ends with exit code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", mistakes.join("\n"))]
pub struct ConfigError {
    /// One line each: variable or flag, the bad value, what would be right.
    pub mistakes: Vec<String>,
}

/// The words of `LOG_LEVEL` (Python's too), most talkative first, and the filter that each stands for. Dependencies stay
/// at info where this server says more: hyper's and h2's debug lines are many a request. `mcp_echo` is the beginning of
/// both of this package's crates.
const LEVELS: [(&str, &str); 8] = [
    ("TRACE", "info,mcp_echo=trace"),
    ("DEBUG", "info,mcp_echo=debug"),
    ("INFO", "info"),
    ("WARNING", "warn"),
    ("WARN", "warn"),
    ("ERROR", "error"),
    ("CRITICAL", "error"),
    ("OFF", "off"),
];
/// Places in [`LEVELS`].
const DEBUG: usize = 1;
const INFO: usize = 2;

/// The least time-out of sessions in Redis. A Redis that is frozen for a moment must not end sessions whose streams are open.
const LEAST_IN_REDIS: Duration = Duration::from_secs(4);

impl Config {
    /// Reads flags and environment, the former winning over the latter. `args` begins with the program's own name;
    /// `environment` is all of it, so that misspelt variables are noticed. A variable set to nothing counts as unset.
    ///
    /// # Errors
    /// All mistakes at once, before anything is bound or opened.
    pub fn load<A, K, V>(
        args: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Command, ConfigError>
    where
        A: Into<OsString> + Clone,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let found: BTreeMap<String, OsString> = environment
            .into_iter()
            .map(|(name, value)| (name.into().to_string_lossy().into_owned(), value.into()))
            .collect();
        let (mut flags, mut mistakes) = match Flags::parse(args) {
            Ok(flags) => (flags, vec![]),
            Err(NoFlags::Print(text)) => return Ok(Command::Print(text)),
            // The environment's mistakes are worth telling all the same.
            Err(NoFlags::Mistake(line)) => (Flags::default(), vec![line]),
        };
        let subcommand = flags.subcommand.take();
        let mut reader = Reader::new(flags, found.clone());
        if let Some(Subcommands::Healthcheck { url }) = subcommand {
            return url.map_or_else(|| local_endpoint(reader), Ok).map(|url| Command::Healthcheck { url });
        }
        let mut config = Self::read(&mut reader);
        mistakes.append(&mut reader.mistakes);
        if !mistakes.is_empty() {
            return Err(ConfigError { mistakes });
        }
        config.environment = environment::shown(&found);
        config.warnings = environment::warnings(&config, &found);
        Ok(Command::Serve(Box::new(config)))
    }

    /// Every setting; what is a mistake keeps its default, which then is never used.
    fn read(reader: &mut Reader) -> Self {
        let mut config = Self::default();
        config.read_address(reader);
        reader.switch(&mut config.debug, "MCP_ECHO_DEBUG");

        reader.seconds(&mut config.session_timeout, "MCP_SESSION_TIMEOUT");
        reader.seconds(&mut config.session_cleanup_interval, "MCP_SESSION_CLEANUP_INTERVAL");
        let bindings = [SessionBinding::User, SessionBinding::Off, SessionBinding::Require];
        reader.word(&mut config.session_binding, "MCP_SESSION_BINDING", &bindings, SessionBinding::name);
        reader.number(&mut config.max_sessions, "MCP_MAX_SESSIONS");
        config.rate_limit = reader.parsed("MCP_RATE_LIMIT", RateLimit::parse).flatten();
        config.store = reader.parsed("MCP_STORE", StoreAt::parse).unwrap_or_default();
        if matches!(config.store, StoreAt::Redis(_)) && config.session_timeout < LEAST_IN_REDIS {
            reader.mistakes.push(format!(
                "MCP_SESSION_TIMEOUT: with MCP_STORE=redis:// it must be at least {} s: signs of life take their way",
                LEAST_IN_REDIS.as_secs()
            ));
        }
        config.admin = reader.parsed("MCP_ADMIN_ADDR", AdminAt::parse).unwrap_or_default();
        reader.number(&mut config.record, "MCP_RECORD");
        reader.switch(&mut config.record_bodies, "MCP_RECORD_BODIES");
        reader.number(&mut config.message_queue_size, "MCP_MESSAGE_QUEUE_SIZE");
        reader.switch(&mut config.require_session, "MCP_REQUIRE_SESSION");

        reader.switch(&mut config.strict, "MCP_ECHO_STRICT");
        let modes = [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse];
        reader.word(&mut config.response, "MCP_ECHO_RESPONSE", &modes, ResponseMode::name);
        config.protocol = protocol(reader);
        reader.seconds(&mut config.sse_keepalive_interval, "MCP_SSE_KEEPALIVE_INTERVAL");
        let styles = [KeepAliveStyle::Event, KeepAliveStyle::Comment];
        reader.word(&mut config.sse_keepalive_style, "MCP_SSE_KEEPALIVE_STYLE", &styles, KeepAliveStyle::name);

        config.allowed_origins = reader.origins("MCP_ALLOWED_ORIGINS").unwrap_or(Origins::Only(vec![]));
        config.allowed_hosts = reader.list("MCP_ALLOWED_HOSTS", network::allowed_host).unwrap_or_default();
        config.cors_origins = reader.origins("MCP_CORS_ORIGINS");
        config.expect = expectations(reader);
        reader.switch(&mut config.handle_header, "MCP_HANDLE_HEADER");
        reader.number(&mut config.max_body_bytes, "MCP_MAX_BODY_BYTES");
        reader.number(&mut config.max_connections, "MCP_MAX_CONNECTIONS");
        reader.seconds(&mut config.shutdown_grace, "MCP_SHUTDOWN_GRACE");

        config.log_file = reader.parsed("LOG_FILE", |path| Ok(PathBuf::from(path)));
        let formats = [LogFormat::Text, LogFormat::Json];
        reader.word(&mut config.log_format, "LOG_FORMAT", &formats, LogFormat::name);
        let log = log_filter(reader, config.debug);
        config.log_filter = log.filter;
        config.settings = config.described(log.level, &log.rust_log, |variable| match variable {
            "LOG_LEVEL" => log.level_source,
            _ => reader.source(variable),
        });
        config
    }

    fn read_address(&mut self, reader: &mut Reader) {
        if let Some(host) = reader.parsed("MCP_ECHO_HOST", network::bind_host) {
            self.host = host;
        }
        reader.number(&mut self.port, "MCP_ECHO_PORT");
    }
}

/// What tokens and proxies are compared with.
fn expectations(reader: &mut Reader) -> Expectations {
    Expectations {
        public_url: reader.parsed("MCP_PUBLIC_URL", EndpointUrl::parse),
        issuers: reader.list("MCP_EXPECT_ISSUER", expect::issuer).unwrap_or_default(),
        audiences: reader.list("MCP_EXPECT_AUDIENCE", expect::entry).unwrap_or_default(),
        scopes: reader.parsed("MCP_EXPECT_SCOPES", expect::scopes).unwrap_or_default(),
        jwks: reader.parsed("MCP_EXPECT_JWKS", |path| Ok(PathBuf::from(path))),
        proxy_secret: reader.secret("MCP_PROXY_SECRET", ProxySecret::parse),
    }
}

/// The versions served and the preferred one, which must be among them and have a handshake.
fn protocol(reader: &mut Reader) -> Served {
    let mistakes_before = reader.mistakes.len();
    let known = names(&Revision::ALL);
    let supported = reader.list("MCP_PROTOCOL_VERSIONS_SUPPORTED", |name| {
        Revision::named(name).ok_or_else(|| format!("is not a protocol version of this server: it knows {known}"))
    });
    let supported = supported.unwrap_or_else(|| Revision::ALL.to_vec());
    let with_handshake: Vec<_> = Revision::ALL.into_iter().filter(|r| !is_stateless(r.name())).collect();
    let preferred = reader.parsed("MCP_PROTOCOL_VERSION", |name| {
        let known = with_handshake.iter().copied().find(|revision| revision.name() == name);
        known.ok_or_else(|| format!("cannot be negotiated: one of {} is needed", names(&with_handshake)))
    });
    if reader.mistakes.len() > mistakes_before {
        return Served::all();
    }
    Served::new(&supported, preferred).unwrap_or_else(|reason| {
        let supported = names(&supported);
        let variables = "MCP_PROTOCOL_VERSION, MCP_PROTOCOL_VERSIONS_SUPPORTED";
        reader.mistakes.push(format!("{variables}: {reason} (supported: {supported})"));
        Served::all()
    })
}

fn names(revisions: &[Revision]) -> String {
    revisions.iter().map(|revision| revision.name()).collect::<Vec<_>>().join(", ")
}

/// What the three ways to choose log lines come to.
struct LogLines {
    filter: String,
    level: &'static str,
    level_source: Source,
    /// What `RUST_LOG` says; empty when it is unset.
    rust_log: String,
}

/// `RUST_LOG` wins over debug, which raises `LOG_LEVEL` to DEBUG where that would say less.
fn log_filter(reader: &mut Reader, debug: bool) -> LogLines {
    let mut level = INFO;
    let all: Vec<usize> = (0..LEVELS.len()).collect();
    reader.word(&mut level, "LOG_LEVEL", &all, |level| LEVELS[level].0);
    let mut level_source = reader.source("LOG_LEVEL");
    if debug && level > DEBUG {
        level = DEBUG;
        level_source = reader.source("MCP_ECHO_DEBUG");
    }
    let rust_log = reader.parsed("RUST_LOG", |text| match text.parse::<Targets>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("is not a log filter ({error}): write one such as info or warn,mcp_echo_stateful=debug"))
        }
    });
    let (name, filter) = LEVELS[level];
    LogLines {
        filter: rust_log.clone().unwrap_or_else(|| filter.to_owned()),
        level: name,
        level_source,
        rust_log: rust_log.unwrap_or_default(),
    }
}

/// The endpoint of the server that these settings describe. Only host and port count: other mistakes are the server's.
fn local_endpoint(mut reader: Reader) -> Result<String, ConfigError> {
    let mut config = Config::default();
    config.read_address(&mut reader);
    if config.port == 0 {
        let name = "MCP_ECHO_PORT";
        reader.mistakes.push(format!("{name}: 0 picks a free port that the healthcheck cannot know: pass --url"));
    }
    if reader.mistakes.is_empty() {
        Ok(endpoint_url(&config.host, config.port))
    } else {
        Err(ConfigError { mistakes: reader.mistakes })
    }
}

/// The URL at which the MCP endpoint of a server bound to `host` and `port` is reached from the same machine.
#[must_use]
pub fn endpoint_url(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => format!("http://{}:{port}/mcp", Ipv4Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => format!("http://[{}]:{port}/mcp", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) => format!("http://[{address}]:{port}/mcp"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("http://{host}:{port}/mcp"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Accepts, AllowedHost, VARIABLES, Variable};
    use super::*;

    fn load(args: &[&str], environment: &[(&str, &str)]) -> Result<Command, ConfigError> {
        Config::load(["program"].iter().chain(args), environment.iter().copied())
    }

    fn config(args: &[&str], environment: &[(&str, &str)]) -> Config {
        match load(args, environment) {
            Ok(Command::Serve(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn mistakes(args: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        load(args, environment).expect_err("accepted").mistakes
    }

    fn setting<'a>(config: &'a Config, variable: &str) -> (&'a str, Source) {
        let setting = config.settings.iter().find(|s| s.variable == variable).unwrap();
        (&setting.value, setting.source)
    }

    #[test]
    fn nothing_given_comes_to_the_defaults() {
        assert_eq!(format!("{:?}", config(&[], &[])), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_tables_defaults_written_out_come_to_the_same() {
        let written: Vec<_> = VARIABLES.iter().map(|v| (v.name, v.default)).collect();
        let mut config = config(&[], &written);
        assert!(config.settings.iter().any(|s| s.source == Source::Environment));
        config.settings = Config::default().settings;
        config.environment.clear();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
        let config = config(&["--port", "4000", "--debug"], &[("MCP_ECHO_PORT", "5000"), ("MCP_MAX_SESSIONS", "7")]);
        assert_eq!((config.port, config.max_sessions, config.debug), (4000, 7, true));
        assert_eq!(setting(&config, "MCP_ECHO_PORT"), ("4000", Source::Flag));
        assert_eq!(setting(&config, "MCP_ECHO_DEBUG"), ("true", Source::Flag));
        assert_eq!(setting(&config, "MCP_MAX_SESSIONS"), ("7", Source::Environment));
        assert_eq!(setting(&config, "MCP_SHUTDOWN_GRACE"), ("10", Source::Default));
    }

    #[test]
    fn a_variable_set_to_nothing_counts_as_unset() {
        let config = config(&[], &[("MCP_ECHO_PORT", ""), ("MCP_CORS_ORIGINS", " "), ("LOG_FILE", "")]);
        assert_eq!((config.port, config.cors_origins.clone(), config.log_file.clone()), (3000, None, None));
        assert_eq!(setting(&config, "MCP_ECHO_PORT").1, Source::Default);
    }

    #[test]
    fn every_mistake_has_a_line_of_its_own() {
        let found = mistakes(
            &["--port", "abc"],
            &[
                ("MCP_SESSION_TIMEOUT", "0"),
                ("MCP_ECHO_DEBUG", "maybe"),
                ("MCP_ECHO_RESPONSE", "xml"),
                ("MCP_ALLOWED_ORIGINS", "app.example,https://ok.example,https://app.example/x"),
                ("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18,2025-06-19"),
                ("MCP_ALLOWED_HOSTS", "http://x"),
                ("RUST_LOG", "mcp=loud"),
            ],
        );
        let beginnings = [
            "--port: \"abc\" is not a port: a whole number from 0 to 65535 is needed",
            "MCP_ECHO_DEBUG: \"maybe\" is not yes or no: true or false",
            "MCP_SESSION_TIMEOUT: \"0\" is not a number of seconds: a whole number from 1 to 2592000 is needed",
            "MCP_ECHO_RESPONSE: \"xml\" is not a known value: one of auto, json, sse is needed",
            "MCP_PROTOCOL_VERSIONS_SUPPORTED: \"2025-06-19\" is not a protocol version of this server: it knows 2024-11-05",
            "MCP_ALLOWED_ORIGINS: \"app.example\" has no scheme",
            "MCP_ALLOWED_ORIGINS: \"https://app.example/x\" has a path",
            "MCP_ALLOWED_HOSTS: \"http://x\" has a scheme",
            "RUST_LOG: \"mcp=loud\" is not a log filter",
        ];
        assert_eq!(found.len(), beginnings.len(), "{found:#?}");
        for (line, beginning) in found.iter().zip(beginnings) {
            assert!(line.starts_with(beginning) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn an_unknown_flag_does_not_hide_the_environments_mistakes() {
        let found = mistakes(&["--prot", "1"], &[("MCP_ECHO_PORT", "x")]);
        assert!(found[0].contains("--prot") && found[1].starts_with("MCP_ECHO_PORT"), "{found:?}");
    }

    #[test]
    fn numbers_are_bounded_at_both_ends() {
        for variable in VARIABLES {
            let Accepts::Number { min, max, .. } = variable.accepts else { continue };
            for good in [min, max] {
                config(&[], &[(variable.name, &good.to_string())]);
            }
            let below = min.checked_sub(1).map_or_else(|| "-1".to_owned(), |n| n.to_string());
            for bad in [below.as_str(), &(max + 1).to_string(), "1e3", "+5", "3000s", "99999999999999999999999"] {
                let found = mistakes(&[], &[(variable.name, bad)]);
                assert!(found.len() == 1 && found[0].starts_with(variable.name), "{found:?}");
            }
        }
    }

    #[test]
    fn yes_and_no_have_many_words() {
        for (word, value) in [("TRUE", true), ("1", true), ("Yes", true), ("on", true)] {
            assert_eq!(config(&[], &[("MCP_ECHO_STRICT", word)]).strict, value, "{word}");
        }
        for word in ["false", "0", "NO", "Off"] {
            assert!(!config(&[], &[("MCP_ECHO_STRICT", word)]).strict, "{word}");
        }
    }

    #[test]
    fn lists_are_read_entry_by_entry() {
        let config = config(
            &[],
            &[
                ("MCP_ALLOWED_ORIGINS", " https://A.example:443 , null,"),
                ("MCP_ALLOWED_HOSTS", "mcp.example,[::1]:3000"),
                ("MCP_CORS_ORIGINS", "https://a.example,*"),
            ],
        );
        let origins = vec!["https://a.example".to_owned(), "null".to_owned()];
        assert_eq!(config.allowed_origins, Origins::Only(origins));
        let host = |host: &str, port| AllowedHost { host: host.to_owned(), port };
        assert_eq!(config.allowed_hosts, [host("mcp.example", None), host("[::1]", Some(3000))]);
        assert_eq!(config.cors_origins, Some(Origins::Any));
        assert_eq!(setting(&config, "MCP_ALLOWED_ORIGINS").0, "https://a.example,null");
    }

    #[test]
    fn none_turns_cors_off_where_unset_would_not() {
        let config = config(&[], &[("MCP_CORS_ORIGINS", "none")]);
        assert_eq!(config.cors_origins, Some(Origins::Only(vec![])));
        assert_eq!(setting(&config, "MCP_CORS_ORIGINS").0, "none");
    }

    #[test]
    fn what_is_expected_is_read_as_it_is_compared() {
        let config = config(
            &[],
            &[
                ("MCP_PUBLIC_URL", "https://MCP.example:443/mcp"),
                ("MCP_EXPECT_ISSUER", "https://a.example/, accounts.google.com"),
                ("MCP_EXPECT_AUDIENCE", "api://x"),
                ("MCP_EXPECT_SCOPES", "mcp:tools mcp:read"),
                ("MCP_EXPECT_JWKS", "/etc/jwks.json"),
                ("MCP_HANDLE_HEADER", "true"),
            ],
        );
        let expect = &config.expect;
        assert_eq!(expect.public_url.as_ref().unwrap().to_string(), "https://mcp.example/mcp");
        assert_eq!(expect.issuers, ["https://a.example/", "accounts.google.com"]);
        assert_eq!(
            (&*expect.audiences, &*expect.scopes),
            (&["api://x".into()][..], &["mcp:tools".into(), "mcp:read".into()][..])
        );
        assert!(config.handle_header && expect.proxy_secret.is_none());
        assert_eq!(setting(&config, "MCP_EXPECT_ISSUER").0, "https://a.example/,accounts.google.com");
        assert_eq!(setting(&config, "MCP_EXPECT_SCOPES"), ("mcp:tools mcp:read", Source::Environment));
        assert_eq!(setting(&config, "MCP_EXPECT_JWKS").0, "/etc/jwks.json");
        let found = mistakes(&[], &[("MCP_PUBLIC_URL", "https://x/mcp?a"), ("MCP_EXPECT_SCOPES", "a\\b")]);
        assert!(
            found[0].starts_with("MCP_PUBLIC_URL: \"https://x/mcp?a\" has a query") && found.len() == 2,
            "{found:?}"
        );
    }

    #[test]
    fn nothing_shows_the_proxys_secret() {
        let secret = "0123456789-sup3rs3cret-tail";
        let config = config(&[], &[("MCP_PROXY_SECRET", &format!("X-Proxy-Secret: {secret}"))]);
        assert!(config.expect.proxy_secret.is_some() && config.warnings.is_empty());
        assert_eq!(setting(&config, "MCP_PROXY_SECRET"), ("***", Source::Environment));
        assert!(!format!("{config:?}").contains("sup3r"), "{config:?}");
        let found = mistakes(&[], &[("MCP_PROXY_SECRET", secret)]);
        assert_eq!(found, ["MCP_PROXY_SECRET: is not of the form Header-Name: value"]);
        let short = self::config(&[], &[("MCP_PROXY_SECRET", "X-Proxy-Secret: hunter2")]);
        assert!(short.warnings[0].contains("16") && !short.warnings[0].contains("hunter2"), "{:?}", short.warnings);
    }

    #[test]
    fn the_preferred_version_must_be_served() {
        let served = [("MCP_PROTOCOL_VERSIONS_SUPPORTED", "2025-06-18,2024-11-05")];
        let config = config(&[], &[served[0], ("MCP_PROTOCOL_VERSION", "2024-11-05")]);
        assert_eq!(config.protocol.preferred(), Some(Revision::V2024_11_05));
        assert_eq!(setting(&config, "MCP_PROTOCOL_VERSIONS_SUPPORTED").0, "2025-06-18,2024-11-05");
        let found = mistakes(&[], &[served[0], ("MCP_PROTOCOL_VERSION", "2025-03-26")]);
        assert!(found.len() == 1 && found[0].contains("2025-03-26 is not among the supported ones"), "{found:?}");
        for unknown in ["1.0", "2026-07-28"] {
            let found = mistakes(&[], &[("MCP_PROTOCOL_VERSION", unknown)]);
            assert!(found.len() == 1 && found[0].contains("one of 2024-11-05"), "{found:?}");
        }
        assert!(mistakes(&["--protocol-versions", ","], &[])[0].contains("at least one"));
    }

    #[test]
    fn rust_log_wins_over_debug_and_debug_over_the_level() {
        let filter = |environment| config(&[], environment).log_filter;
        assert_eq!(filter(&[("LOG_LEVEL", "Warning")]), "warn");
        assert_eq!(filter(&[("LOG_LEVEL", "critical")]), "error");
        assert_eq!(filter(&[("LOG_LEVEL", "debug")]), "info,mcp_echo=debug");
        assert_eq!(filter(&[("LOG_LEVEL", "ERROR"), ("MCP_ECHO_DEBUG", "1")]), "info,mcp_echo=debug");
        assert_eq!(filter(&[("LOG_LEVEL", "trace"), ("MCP_ECHO_DEBUG", "1")]), "info,mcp_echo=trace");
        assert_eq!(filter(&[("RUST_LOG", "hyper=trace"), ("MCP_ECHO_DEBUG", "1")]), "hyper=trace");
        let config = config(&["--debug"], &[("LOG_LEVEL", "ERROR")]);
        assert_eq!(setting(&config, "LOG_LEVEL"), ("DEBUG", Source::Flag));
    }

    #[test]
    fn every_level_of_the_table_has_a_filter() {
        let Some(Variable { accepts: Accepts::OneOf(words), .. }) = Variable::named("LOG_LEVEL") else {
            panic!("LOG_LEVEL is one of some words");
        };
        assert!(LEVELS.iter().map(|(name, _)| name).eq(words.iter()));
        assert!(LEVELS.iter().all(|(_, filter)| filter.parse::<Targets>().is_ok()));
    }

    #[test]
    fn what_an_env_file_or_kubernetes_did_to_a_value_is_explained() {
        let hint = |value| mistakes(&[], &[("MCP_ECHO_PORT", value)]).join("|");
        assert!(hint("\"3000\"").ends_with("the quotes are part of the value, leave them out"));
        assert!(hint("3000   # Server port").ends_with("the comment is part of the value, leave it out"));
        assert!(hint("tcp://10.0.0.1:3000").contains("enableServiceLinks"));
        assert!(!hint("abc").contains("Kubernetes"));
    }

    #[test]
    fn the_healthcheck_asks_where_the_server_listens() {
        let url = |args: &[&str], environment: &[(&str, &str)]| match load(args, environment) {
            Ok(Command::Healthcheck { url }) => url,
            other => panic!("{other:?}"),
        };
        assert_eq!(url(&["healthcheck"], &[]), "http://127.0.0.1:3000/mcp");
        let everywhere = [("MCP_ECHO_HOST", "0.0.0.0"), ("MCP_ECHO_PORT", "8080"), ("MCP_MAX_SESSIONS", "bad")];
        assert_eq!(url(&["healthcheck"], &everywhere), "http://127.0.0.1:8080/mcp");
        assert_eq!(url(&["--host", "::", "healthcheck"], &everywhere), "http://[::1]:8080/mcp");
        assert_eq!(url(&["healthcheck"], &[("MCP_ECHO_HOST", "10.1.2.3")]), "http://10.1.2.3:3000/mcp");
        assert_eq!(url(&["healthcheck", "--url", "http://x/mcp"], &[("MCP_ECHO_PORT", "bad")]), "http://x/mcp");
        assert!(mistakes(&["healthcheck"], &[("MCP_ECHO_PORT", "0")])[0].contains("--url"));
    }

    #[test]
    #[cfg(unix)]
    fn a_value_that_is_not_text_is_a_mistake() {
        use std::os::unix::ffi::OsStringExt as _;
        let raw = OsString::from_vec(b"/logs/\xff".to_vec());
        let error = Config::load(["program"], [("LOG_FILE", raw)]).expect_err("accepted");
        assert_eq!(error.to_string(), "LOG_FILE: \"/logs/\u{fffd}\" is not UTF-8");
    }

    #[test]
    fn help_and_version_win_over_mistakes() {
        for flag in ["--help", "--version"] {
            assert!(matches!(load(&[flag], &[("MCP_ECHO_PORT", "bad")]), Ok(Command::Print(_))), "{flag}");
        }
    }
}

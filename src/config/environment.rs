//! The environment beyond the settings: what environmentDump may show, and names that look like slips.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::expect::SHORTEST_SECRET;
use super::{Config, Origins, VARIABLES, network};
use crate::text::did_you_mean;

/// Variables outside `MCP_*` and `LOG_*` that help to explain what a server does and cannot carry secrets: logging and
/// runtime, locale and zone, and the names that containers and the Kubernetes downward API give a replica.
const SHOWN: [&str; 11] = [
    "HOSTNAME",
    "LANG",
    "LC_ALL",
    "NODE_NAME",
    "NO_COLOR",
    "POD_NAME",
    "POD_NAMESPACE",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TOKIO_WORKER_THREADS",
    "TZ",
];

/// What environmentDump may show, by name. Values are as found: redaction is the reader's duty.
pub(super) fn shown(environment: &BTreeMap<String, OsString>) -> Vec<(String, String)> {
    let may_be_shown = |name: &str| name.starts_with("MCP_") || name.starts_with("LOG_") || SHOWN.contains(&name);
    let shown = environment.iter().filter(|(name, _)| may_be_shown(name));
    // Nothing of a secret, whoever asks.
    let value = |name: &str, value: &OsString| match name {
        "MCP_PROXY_SECRET" if !value.is_empty() => "***".to_owned(),
        _ => value.to_string_lossy().into_owned(),
    };
    shown.map(|(name, found)| (name.clone(), value(name, found))).collect()
}

/// What is likely a mistake but need not stop the start.
pub(super) fn warnings(config: &Config, environment: &BTreeMap<String, OsString>) -> Vec<String> {
    let mut warnings: Vec<_> = environment.keys().filter_map(|name| unknown(name)).collect();
    warnings.extend(cors_without_access(config));
    warnings.extend(any_host(config));
    if config.expect.proxy_secret.as_ref().is_some_and(|secret| secret.is_short) {
        warnings.push(format!(
            "MCP_PROXY_SECRET has less than {SHORTEST_SECRET} characters: who guesses it can claim to be anybody"
        ));
    }
    warnings
}

fn unknown(name: &str) -> Option<String> {
    let known = VARIABLES.iter().any(|variable| variable.name == name);
    if known || !name.starts_with("MCP_") || is_service_link(name) {
        return None;
    }
    let guess = did_you_mean(name, &VARIABLES.iter().map(|variable| variable.name).collect::<Vec<_>>());
    Some(format!("{name} is not a variable of this server and has no effect{guess}"))
}

/// Whether Kubernetes made this variable for a Service whose name begins with `mcp`: `MCP_ECHO_SERVICE_HOST`,
/// `MCP_ECHO_PORT_3000_TCP_ADDR`. Nobody chose these, so nobody need be warned of them.
fn is_service_link(name: &str) -> bool {
    let numbered = name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    numbered || name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

/// Origins that get CORS headers but whose requests are refused all the same.
fn cors_without_access(config: &Config) -> Option<String> {
    let refused = match config.cors_origins.as_ref()? {
        Origins::Any if config.allowed_origins != Origins::Any => vec!["*".to_owned()],
        Origins::Any => vec![],
        Origins::Only(origins) => {
            let refused =
                |origin: &&String| !config.allowed_origins.contains(origin) && !network::is_loopback_origin(origin);
            origins.iter().filter(refused).cloned().collect()
        }
    };
    (!refused.is_empty()).then(|| {
        let list = refused.join(", ");
        format!("MCP_CORS_ORIGINS names {list}, which MCP_ALLOWED_ORIGINS does not allow: such requests get a 403; add it there")
    })
}

/// A server that others reach and that answers to any name: a page whose name is made to lead here (DNS rebinding) is
/// told from a client by its `Host` only.
fn any_host(config: &Config) -> Option<String> {
    (!network::is_loopback_host(&config.host) && config.allowed_hosts.is_empty()).then(|| {
        format!(
            "bound to {}, a request for any Host is answered: set MCP_ALLOWED_HOSTS to the name that clients use",
            config.host
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect()
    }

    #[test]
    fn an_unknown_variable_is_told_with_the_nearest_known_one() {
        let found = environment(&[("MCP_ECHO_PROT", "1"), ("MCP_TIMEOUT", "1"), ("MCP_ECHO_PORT", "1"), ("HOME", "/")]);
        let warnings = warnings(&Config::default(), &found);
        assert_eq!(
            warnings,
            [
                "MCP_ECHO_PROT is not a variable of this server and has no effect; did you mean MCP_ECHO_PORT?",
                "MCP_TIMEOUT is not a variable of this server and has no effect",
            ]
        );
    }

    #[test]
    fn what_kubernetes_makes_for_a_service_is_not_warned_of() {
        let made = ["MCP_ECHO_SERVICE_HOST", "MCP_ECHO_SERVICE_PORT_HTTP", "MCP_ECHO_PORT_3000_TCP_ADDR"];
        assert!(made.iter().all(|name| unknown(name).is_none()));
    }

    #[test]
    fn cors_for_an_origin_that_is_refused_is_warned_of() {
        let app = "https://app.example".to_owned();
        let mut config = Config {
            cors_origins: Some(Origins::Only(vec![app.clone(), "http://localhost:6274".to_owned()])),
            ..Config::default()
        };
        let warning = cors_without_access(&config).unwrap();
        assert!(warning.contains(&app) && !warning.contains("6274"), "{warning}");
        config.allowed_origins = Origins::Only(vec![app]);
        assert_eq!(cors_without_access(&config), None);
        config.cors_origins = Some(Origins::Any);
        assert!(cors_without_access(&config).unwrap().contains('*'));
        config.allowed_origins = Origins::Any;
        assert_eq!(cors_without_access(&config), None);
    }

    #[test]
    fn a_server_that_others_reach_by_any_name_is_warned_of() {
        let mut config = Config { host: "0.0.0.0".to_owned(), ..Config::default() };
        assert!(any_host(&config).unwrap().contains("MCP_ALLOWED_HOSTS"));
        config.allowed_hosts = vec![network::allowed_host("mcp.example.com").unwrap()];
        assert_eq!(any_host(&config), None);
    }

    #[test]
    fn nothing_is_warned_of_without_reason() {
        let strict = Config { strict: true, ..Config::default() };
        assert!(warnings(&strict, &environment(&[])).is_empty());
        assert!(warnings(&Config::default(), &environment(&[])).is_empty());
    }

    #[test]
    fn nothing_outside_the_allow_list_is_shown() {
        let found =
            environment(&[("MCP_X", "1"), ("LOG_X", "2"), ("TZ", "UTC"), ("AWS_SECRET", "3"), ("HTTP_PROXY", "4")]);
        let names: Vec<_> = shown(&found).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["LOG_X", "MCP_X", "TZ"]);
    }
}

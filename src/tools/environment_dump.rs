//! environmentDump: the effective configuration with its sources, the allow-listed environment, the machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Annotations, Call, Context, Handle, Outcome, Tool, ToolError};
use crate::diagnosis::redact;
use crate::schema;
use crate::session::Working;
use crate::text::duration;

/// See the module's documentation.
pub(crate) const TOOL: Tool = Tool {
    name: "environmentDump",
    title: "Environment dump",
    description: "Shows the effective configuration and where each value came from (flag, environment, default), the \
                  server's own environment variables, and the machine it runs on. Secrets are masked; nothing outside \
                  a short allow-list is shown. Use it to find out which setting is in effect.",
    input_schema: || schema::parse(INPUT),
    output_schema: || schema::parse(OUTPUT),
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |raw| Call::reading(raw, run),
};

const INPUT: &str = r#"{
    "type": "object",
    "properties": {
        "showSecrets": {
            "type": "boolean",
            "description": "Show the first and last 4 characters of masked values of 16 characters or more."
        }
    },
    "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
    "type": "object",
    "properties": {
        "configuration": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "variable": {"type": "string"},
                    "value": {"type": "string"},
                    "source": {"type": "string", "enum": ["flag", "environment", "default"]}
                },
                "required": ["variable", "value", "source"]
            }
        },
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "system": {
            "type": "object",
            "properties": {
                "hostName": {"type": ["string", "null"]},
                "os": {"type": ["string", "null"]},
                "kernel": {"type": ["string", "null"]},
                "architecture": {"type": "string"},
                "cpuCount": {"type": ["integer", "null"], "minimum": 1},
                "processId": {"type": "integer"},
                "serverVersion": {"type": "string"},
                "uptimeSeconds": {"type": "integer", "minimum": 0}
            },
            "required": [
                "hostName", "os", "kernel", "architecture", "cpuCount", "processId", "serverVersion", "uptimeSeconds"
            ]
        },
        "secretsShown": {"type": "boolean"}
    },
    "required": ["configuration", "environment", "system", "secretsShown"]
}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dump {
    configuration: Vec<Setting>,
    environment: serde_json::Map<String, Value>,
    system: System,
    secrets_shown: bool,
}

#[derive(Serialize)]
struct Setting {
    variable: &'static str,
    value: String,
    source: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct System {
    host_name: Option<String>,
    os: Option<String>,
    kernel: Option<String>,
    architecture: &'static str,
    cpu_count: Option<usize>,
    process_id: u32,
    server_version: &'static str,
    uptime_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    show_secrets: Option<bool>,
}

fn run(context: &Context<'_>, _: Option<&Working<'_>>, arguments: &Arguments) -> Result<Outcome, ToolError> {
    let dump = environment(context, arguments.show_secrets == Some(true));
    Ok(Outcome::new(text(&dump), &dump))
}

fn environment(context: &Context<'_>, show_secrets: bool) -> Dump {
    let (config, machine) = (&context.server.config, context.server.system.machine());
    let shown = |name: &str, value: &str| redact::environment(name, value, show_secrets).into_owned();
    let settings = config.settings.iter();
    let variables = config.environment.iter();
    Dump {
        configuration: settings
            .map(|setting| Setting {
                variable: setting.variable,
                value: shown(setting.variable, &setting.value),
                source: setting.source.name(),
            })
            .collect(),
        environment: variables
            .map(|(name, value)| (redact::escape(name).into_owned(), Value::String(shown(name, value))))
            .collect(),
        system: System {
            host_name: machine.host_name.as_deref().map(|name| redact::escape(name).into_owned()),
            os: machine.os.clone(),
            kernel: machine.kernel.clone(),
            architecture: machine.architecture,
            cpu_count: machine.cpus,
            process_id: machine.pid,
            server_version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: context.server.clock.uptime().as_secs(),
        },
        secrets_shown: show_secrets,
    }
}

fn text(dump: &Dump) -> String {
    let Dump { configuration, environment, system, .. } = dump;
    let or_unset = |value: &str| if value.is_empty() { "(not set)".to_owned() } else { value.to_owned() };
    let unknown = || "not available".to_owned();
    let mut lines = vec!["🌱 Environment Dump".to_owned(), "\n⚙️ Configuration:".to_owned()];
    for Setting { variable, value, source } in configuration {
        lines.push(format!("- {variable}: {} ({source})", or_unset(value)));
    }
    if configuration.is_empty() {
        lines.push("- not available".to_owned());
    }
    lines.push("\n📦 Environment Variables:".to_owned());
    for (name, value) in environment {
        lines.push(format!("- {name}: {}", or_unset(value.as_str().unwrap_or_default())));
    }
    if environment.is_empty() {
        lines.push("- none of those that may be shown is set".to_owned());
    }
    lines.extend([
        "\n🖥️ System Information:".to_owned(),
        format!("- Host Name: {}", system.host_name.clone().unwrap_or_else(unknown)),
        format!("- OS: {}", system.os.clone().unwrap_or_else(unknown)),
        format!("- Kernel: {}", system.kernel.clone().unwrap_or_else(unknown)),
        format!("- Architecture: {}", system.architecture),
        format!("- CPUs: {}", system.cpu_count.map_or_else(unknown, |count| count.to_string())),
        format!("- Process ID: {}", system.process_id),
        format!("- Server Version: {}", system.server_version),
        format!("- Uptime: {}", duration(Duration::from_secs(system.uptime_seconds))),
    ]);
    lines.push(if dump.secrets_shown {
        "\n🔒 Of masked values of 16 characters or more the ends are shown.".to_owned()
    } else {
        "\n🔒 Secrets are masked.".to_owned()
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Setting, Source};
    use crate::tools::fixture::{call, request};

    fn config() -> Config {
        let setting = |variable, value: &str, source| Setting { variable, value: value.to_owned(), source };
        Config {
            settings: vec![
                setting("MCP_ECHO_PORT", "8080", Source::Flag),
                setting("MCP_SESSION_TIMEOUT", "3600", Source::Default),
                setting("LOG_FILE", "", Source::Default),
            ],
            environment: vec![
                ("RUST_LOG".into(), "info".into()),
                ("MCP_API_KEY".into(), "0123456789-sup3rs3cret-tail".into()),
                ("MCP_NOTE".into(), "ghp_0123456789abcdefghijABCDEFGHIJ012345".into()),
                ("MCP_PASSWORD".into(), "short".into()),
            ],
            ..Config::default()
        }
    }

    #[test]
    fn each_setting_is_shown_with_its_source() {
        let outcome = call(&TOOL, &request(&[]), &config(), &json!({})).unwrap();
        assert!(
            outcome.text.starts_with(
                "🌱 Environment Dump\n\n⚙️ Configuration:\n- MCP_ECHO_PORT: 8080 (flag)\n- MCP_SESSION_TIMEOUT: 3600 \
                 (default)\n- LOG_FILE: (not set) (default)\n\n📦 Environment Variables:\n- RUST_LOG: info\n\
                 - MCP_API_KEY: \
                 ***\n- MCP_NOTE: ***\n- MCP_PASSWORD: ***\n\n🖥️ System Information:\n- Host Name: "
            ),
            "{}",
            outcome.text
        );
        assert!(outcome.text.contains(&format!("\n- Process ID: {}\n", std::process::id())));
        assert_eq!(
            outcome.facts()["configuration"][0],
            json!({"variable": "MCP_ECHO_PORT", "value": "8080", "source": "flag"})
        );
    }

    #[test]
    fn even_shown_secrets_show_only_their_ends() {
        let outcome = call(&TOOL, &request(&[]), &config(), &json!({"showSecrets": true})).unwrap();
        let environment = &outcome.facts()["environment"];
        assert_eq!(environment["MCP_API_KEY"], "0123...tail");
        assert_eq!(environment["MCP_NOTE"], "ghp_...2345");
        assert_eq!(environment["MCP_PASSWORD"], "***");
        assert!(!outcome.facts().to_string().contains("sup3rs3cret"));
    }

    #[test]
    fn nothing_to_show_is_said() {
        let outcome = call(&TOOL, &request(&[]), &Config::default(), &json!({"showSecrets": null})).unwrap();
        assert!(outcome.text.contains("none of those that may be shown is set"));
        let refused = call(&TOOL, &request(&[]), &config(), &json!({"showSecrets": "yes"})).unwrap_err();
        assert_eq!(refused.to_string(), "`showSecrets` must be a boolean, got the string \"yes\"");
    }
}

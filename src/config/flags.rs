//! The command line. Values stay raw text, so that a bad one is reported together with all the others.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use super::variables::{VARIABLES, Variable};

/// The flags as given; each wins over its variable.
#[derive(Debug, Default, Parser)]
#[command(
    name = env!("CARGO_PKG_NAME"),
    version,
    about = "The MCP server to point a client, proxy or token at when OAuth, sessions or streaming do not work.",
    after_help = after_help(),
    args_override_self = true,
    disable_help_subcommand = true
)]
pub(super) struct Flags {
    #[arg(long, value_name = "ADDRESS", help = help("MCP_ECHO_HOST"))]
    host: Option<OsString>,
    #[arg(long, value_name = "PORT", allow_negative_numbers = true, help = help("MCP_ECHO_PORT"))]
    port: Option<OsString>,
    #[arg(long, help = help("MCP_ECHO_DEBUG"))]
    debug: bool,
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help = help("MCP_SESSION_TIMEOUT"))]
    session_timeout: Option<OsString>,
    #[arg(long, value_name = "LIST", help = help("MCP_PROTOCOL_VERSIONS_SUPPORTED"))]
    protocol_versions: Option<OsString>,
    #[command(subcommand)]
    pub(super) subcommand: Option<Subcommands>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(super) enum Subcommands {
    /// Open and end a session on a running server; exit 0 if that works, else 1
    Healthcheck {
        /// The MCP endpoint; default: what MCP_ECHO_HOST and MCP_ECHO_PORT say
        #[arg(long)]
        url: Option<String>,
    },
}

/// Why there are no flags to work with.
pub(super) enum NoFlags {
    /// `--help` or `--version`: the text to print.
    Print(String),
    /// A mistake, in one line.
    Mistake(String),
}

impl Flags {
    pub(super) fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, NoFlags> {
        Self::try_parse_from(args).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NoFlags::Print(error.to_string()),
            _ => NoFlags::Mistake(in_one_line(&error.to_string())),
        })
    }

    /// The raw value of the flag of `variable`, if it was given.
    pub(super) fn value(&self, variable: &str) -> Option<OsString> {
        match variable {
            "MCP_ECHO_HOST" => self.host.clone(),
            "MCP_ECHO_PORT" => self.port.clone(),
            "MCP_ECHO_DEBUG" => self.debug.then(|| "true".into()),
            "MCP_SESSION_TIMEOUT" => self.session_timeout.clone(),
            "MCP_PROTOCOL_VERSIONS_SUPPORTED" => self.protocol_versions.clone(),
            _ => None,
        }
    }
}

/// Clap's page about a mistake without its usage lines.
fn in_one_line(page: &str) -> String {
    let lines = page.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling: Vec<_> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let line = telling.join("; ");
    format!("{}; --help lists the flags", line.strip_prefix("error: ").unwrap_or(&line))
}

fn help(variable: &str) -> String {
    Variable::named(variable).map(|v| format!("{} [{}]", v.meaning, described(v))).unwrap_or_default()
}

fn described(variable: &Variable) -> String {
    if variable.default.is_empty() {
        variable.name.to_owned()
    } else {
        format!("{}={}", variable.name, variable.default)
    }
}

fn after_help() -> String {
    let rows = VARIABLES.iter().map(|variable| format!("  {}\n      {}", described(variable), variable.meaning));
    let rows = rows.collect::<Vec<_>>().join("\n");
    format!("Environment (a flag wins over its variable; an empty variable counts as unset):\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_those_of_the_table() {
        use clap::CommandFactory as _;
        let command = Flags::command();
        let flags: Vec<_> = command.get_arguments().filter_map(|a| Some(format!("--{}", a.get_long()?))).collect();
        let table: Vec<_> = VARIABLES.iter().filter_map(|v| v.flag).collect();
        assert_eq!(flags, table);
        command.debug_assert();
    }

    #[test]
    fn a_repeated_flag_counts_as_given_last() {
        let Ok(flags) = Flags::parse(["x", "--port", "1", "--port", "2"]) else { panic!("refused") };
        assert_eq!(flags.value("MCP_ECHO_PORT"), Some("2".into()));
    }

    #[test]
    fn an_unknown_flag_is_told_in_one_line_with_the_likely_one() {
        let Err(NoFlags::Mistake(line)) = Flags::parse(["x", "--prot", "1"]) else { panic!("accepted") };
        assert!(!line.contains('\n') && line.contains("'--prot'") && line.contains("'--port'"), "{line}");
        assert!(!line.contains("Usage"), "{line}");
    }

    #[test]
    fn the_help_page_names_every_variable() {
        let Err(NoFlags::Print(page)) = Flags::parse(["x", "--help"]) else { panic!("no page") };
        assert!(VARIABLES.iter().all(|v| page.contains(v.name)), "{page}");
        let Err(NoFlags::Print(version)) = Flags::parse(["x", "--version"]) else { panic!("no page") };
        assert!(version.contains(env!("CARGO_PKG_VERSION")));
    }
}

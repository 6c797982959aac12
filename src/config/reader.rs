//! Reads one setting at a time: flag > environment > default. Mistakes are collected, none stops the reading.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::time::Duration;

use super::flags::Flags;
use super::variables::{Accepts, Variable};
use super::{Origins, Source, network, store};
use crate::text;

/// The longest part of a bad value that is repeated in a message: enough to recognise it in one line.
const SHOWN_OF_A_BAD_VALUE: usize = 80;

/// Flags and environment on their way to a [`super::Config`].
pub(super) struct Reader {
    flags: Flags,
    environment: BTreeMap<String, OsString>,
    /// Where each variable's value came from, if not from its default.
    sources: HashMap<&'static str, Source>,
    /// One line for each mistake so far.
    pub(super) mistakes: Vec<String>,
}

/// A value that somebody gave.
pub(super) struct Given {
    /// The flag or variable that it was given by.
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl Reader {
    pub(super) fn new(flags: Flags, environment: BTreeMap<String, OsString>) -> Self {
        Self { flags, environment, sources: HashMap::new(), mistakes: Vec::new() }
    }

    /// Where the value of `variable`, read before, came from.
    pub(super) fn source(&self, variable: &str) -> Source {
        self.sources.get(variable).copied().unwrap_or(Source::Default)
    }

    /// Records a mistake: `MCP_ECHO_PORT: "abc" is not a port: a whole number from 0 to 65535 is needed`.
    pub(super) fn mistake(&mut self, given: &Given, value: &str, reason: &str) {
        // `docker run --env-file` passes quotes and comments on as part of the value; compose does not.
        let hint = if value.len() > 1 && value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']) {
            "; the quotes are part of the value, leave them out"
        } else if value.contains(" #") {
            "; the comment is part of the value, leave it out"
        } else if value.starts_with("tcp://") {
            "; Kubernetes sets this variable for a Service called mcp-echo: set enableServiceLinks to false, or pass --port"
        } else {
            ""
        };
        let value = store::without_password(value);
        let value = text::shorten(&value, SHOWN_OF_A_BAD_VALUE);
        self.mistakes.push(format!("{}: {value:?} {reason}{hint}", given.name));
    }

    /// The raw text of a setting, without white space around it; `None` when it is unset.
    pub(super) fn given(&mut self, variable: &'static Variable) -> Option<Given> {
        let from_flag = self.flags.value(variable.name).zip(variable.flag);
        let (raw, name, source) = match from_flag {
            Some((raw, flag)) => (raw, flag, Source::Flag),
            None => (self.environment.get(variable.name)?.clone(), variable.name, Source::Environment),
        };
        let text = raw.to_string_lossy().trim().to_owned();
        // Compose files set `X=` for what their caller left out.
        if text.is_empty() && source == Source::Environment {
            return None;
        }
        self.sources.insert(variable.name, source);
        let given = Given { name, text };
        if raw.to_str().is_none() {
            let shown = if variable.name == "MCP_PROXY_SECRET" { "***" } else { &given.text };
            self.mistake(&given, shown, "is not UTF-8");
            return None;
        }
        Some(given)
    }

    /// What `parse` makes of a setting; its error follows the quoted value. `None` when it is unset or a mistake.
    pub(super) fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.given(Variable::named(name)?)?;
        parse(&given.text).map_err(|reason| self.mistake(&given, &given.text, &reason)).ok()
    }

    /// The same for a value of which no message may repeat anything.
    pub(super) fn secret<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.given(Variable::named(name)?)?;
        parse(&given.text).map_err(|reason| self.mistakes.push(format!("{}: {reason}", given.name))).ok()
    }

    /// Replaces `field` by what `parse` makes of a setting that is given. `None` from `parse` means a value that the
    /// table says is not accepted.
    fn replace<T>(&mut self, field: &mut T, name: &str, parse: impl Fn(Accepts, &str) -> Option<T>) {
        let Some(variable) = Variable::named(name) else { return };
        let accepts = variable.accepts;
        let reason = || format!("is not {}: {accepts} is needed", accepts.what());
        if let Some(value) = self.parsed(name, |text| parse(accepts, text).ok_or_else(reason)) {
            *field = value;
        }
    }

    /// A whole number within the table's bounds.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, field: &mut T, name: &str) {
        self.replace(field, name, |accepts, text| {
            let Accepts::Number { min, max, .. } = accepts else { return None };
            let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())??;
            (min..=max).contains(&number).then(|| T::try_from(number).ok())?
        });
    }

    /// A number of seconds within the table's bounds.
    pub(super) fn seconds(&mut self, field: &mut Duration, name: &str) {
        let mut seconds = field.as_secs();
        self.number(&mut seconds, name);
        *field = Duration::from_secs(seconds);
    }

    /// Yes or no, in any of the usual words and any case.
    pub(super) fn switch(&mut self, field: &mut bool, name: &str) {
        self.replace(field, name, |_, text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        });
    }

    /// One of the table's words, in any case; `all` are the values, `name_of` their words.
    pub(super) fn word<T: Copy>(
        &mut self,
        field: &mut T,
        variable: &str,
        all: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) {
        self.replace(field, variable, |_, text| {
            all.iter().copied().find(|&value| name_of(value).eq_ignore_ascii_case(text))
        });
    }

    /// A comma list, empty entries left out: each bad entry is a mistake of its own. `None` when it is unset.
    pub(super) fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let given = self.given(Variable::named(name)?)?;
        let mut items = Vec::new();
        for entry in given.text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match parse(entry) {
                Ok(item) => items.push(item),
                Err(reason) => self.mistake(&given, entry, &reason),
            }
        }
        Some(items)
    }

    /// A comma list of origins, among which `*` means all. `none` says that an empty list is meant: a variable set to
    /// nothing counts as unset.
    pub(super) fn origins(&mut self, name: &str) -> Option<Origins> {
        let entry = |text: &str| match text {
            "none" => Ok(None),
            "*" => Ok(Some(None)),
            _ => network::normalise_origin(text).map(|origin| Some(Some(origin))),
        };
        let entries = self.list(name, entry)?.into_iter().flatten();
        Some(entries.collect::<Option<Vec<_>>>().map_or(Origins::Any, Origins::Only))
    }
}

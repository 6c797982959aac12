//! `MCP_STORE`: where the truth about sessions is.

use std::fmt;
use std::path::PathBuf;

/// Where the truth about sessions is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreAt {
    /// `memory`: in this process.
    #[default]
    Memory,
    /// `disk:PATH`: in a file on this machine.
    Disk(PathBuf),
}

impl StoreAt {
    /// Reads the variable.
    ///
    /// # Errors
    /// What is wrong with it, and what it may be.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text.eq_ignore_ascii_case("memory") => Ok(Self::Memory),
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("disk") => {
                if path.is_empty() || path.ends_with('/') {
                    return Err("disk: needs the path of a file, as in disk:/data/sessions".to_owned());
                }
                Ok(Self::Disk(PathBuf::from(path)))
            }
            _ => Err("must be memory, or disk: and the path of a file".to_owned()),
        }
    }

    /// `memory` or `disk`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk(_) => "disk",
        }
    }

    /// As it may be shown to anybody.
    #[must_use]
    pub fn shown(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Disk(path) => write!(f, "disk:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_memory_or_a_file() {
        assert_eq!(StoreAt::parse("memory"), Ok(StoreAt::Memory));
        assert_eq!(StoreAt::parse("disk:/data/sessions"), Ok(StoreAt::Disk("/data/sessions".into())));
        assert_eq!(StoreAt::parse("disk:sessions").unwrap().to_string(), "disk:sessions");
        for bad in ["", "disk", "disk:", "disk:/data/", "redis://localhost", "/data/sessions"] {
            assert!(StoreAt::parse(bad).is_err(), "{bad}");
        }
    }
}

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
    /// `redis://…`: in Redis or Valkey, for many processes.
    Redis(RedisAt),
    /// `http://…`: values of sessions behind HTTP.
    Http(HttpAt),
    /// In a store of the program's that uses the library: no variable says so.
    Custom,
}

/// Where a store of values is.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAt {
    /// `http://host[:port][/path]`, without a slash at its end: a session's value is at `BASE/SESSION-ID`.
    pub base: String,
    /// `user:password`, for Basic authentication (RFC 7617).
    pub user: Option<String>,
}

/// Where a Redis is.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAt {
    /// `redis://[user[:password]@]host[:port][/database]`.
    pub url: String,
    /// What the names of all keys and channels begin with.
    pub prefix: String,
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
            Some((scheme, rest)) if ["redis", "valkey"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                RedisAt::parse(rest).map(Self::Redis)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => HttpAt::parse(rest).map(Self::Http),
            Some((scheme, _)) if ["rediss", "valkeys", "https"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls)) => {
                Err("needs TLS, which stores do not have yet: put a tunnel before the store".to_owned())
            }
            _ => Err("must be memory, disk: and the path of a file, redis://host:6379, or http://host/path".to_owned()),
        }
    }

    /// `memory`, `disk`, `redis`, `http` or `custom`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk(_) => "disk",
            Self::Redis(_) => "redis",
            Self::Http(_) => "http",
            Self::Custom => "custom",
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
            Self::Redis(at) => write!(f, "{at}"),
            Self::Http(at) => write!(f, "{at}"),
            Self::Custom => f.write_str("custom"),
        }
    }
}

impl HttpAt {
    /// Reads what comes after the scheme.
    fn parse(rest: &str) -> Result<Self, String> {
        let form = || "needs the form http://[user:password@]host[:port][/path]".to_owned();
        let rest = rest.strip_prefix("//").ok_or_else(form)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let base = format!("http://{place}{}", path.trim_end_matches('/'));
        let is_url = base.parse::<http::Uri>().is_ok_and(|url| url.host().is_some_and(|host| !host.is_empty()));
        if !is_url || base.contains(['?', '#']) {
            return Err(form());
        }
        Ok(Self { base, user })
    }
}

impl fmt::Display for HttpAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user, self.base.split_once("://")) {
            (Some(_), Some((scheme, place))) => write!(f, "{scheme}://***@{place}"),
            _ => f.write_str(&self.base),
        }
    }
}

/// Without its password.
impl fmt::Debug for HttpAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The URL without what is before its host: nobody is shown a password.
pub(super) fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, place)) => format!("{scheme}://***@{place}"),
        None => url.to_owned(),
    }
}

/// The prefix where the URL names none.
const PREFIX: &str = "mcp:";

impl RedisAt {
    /// Reads what comes after the scheme.
    fn parse(rest: &str) -> Result<Self, String> {
        let form = "needs the form redis://[user:password@]host[:port][/database][?prefix=mcp:]";
        let Some(rest) = rest.strip_prefix("//") else { return Err(form.to_owned()) };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut prefix = PREFIX;
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("prefix", given)) if is_prefix(given) => prefix = given,
                Some(("prefix", _)) => {
                    return Err("?prefix= takes 1 to 64 letters, digits and . _ - :".to_owned());
                }
                _ => return Err(format!("{form}: it knows no {}", part.split('=').next().unwrap_or_default())),
            }
        }
        let place = address.rsplit_once('@').map_or(address, |(_, place)| place);
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        // An IPv6 address is in brackets.
        let after = place.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match place[after..].rsplit_once(':') {
            Some((host, port)) => (&place[..after + host.len()], port),
            None => (place, "6379"),
        };
        if host.is_empty() || host.contains(char::is_whitespace) || port.parse::<u16>().is_err() {
            return Err(form.to_owned());
        }
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err(format!("{form}: a database is a number"));
        }
        Ok(Self { url: format!("redis://{address}"), prefix: prefix.to_owned() })
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
}

impl fmt::Display for RedisAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.url))?;
        if self.prefix == PREFIX { Ok(()) } else { write!(f, "?prefix={}", self.prefix) }
    }
}

/// Without its password.
impl fmt::Debug for RedisAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_memory_a_file_a_redis_or_a_url() {
        assert_eq!(StoreAt::parse("memory"), Ok(StoreAt::Memory));
        assert_eq!(StoreAt::parse("disk:/data/sessions"), Ok(StoreAt::Disk("/data/sessions".into())));
        assert_eq!(StoreAt::parse("disk:sessions").unwrap().to_string(), "disk:sessions");
        let shown = [
            ("redis://localhost", "redis://localhost"),
            ("REDIS://localhost:6380/2", "redis://localhost:6380/2"),
            ("valkey://h", "redis://h"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
            ("redis://:secret@h:1", "redis://***@h:1"),
            ("redis://me:p@ss:w@h/3?prefix=team:", "redis://***@h/3?prefix=team:"),
            ("redis://h?prefix=mcp:", "redis://h"),
        ];
        for (given, shown) in shown {
            let store = StoreAt::parse(given).unwrap();
            assert_eq!((store.to_string().as_str(), store.kind()), (shown, "redis"));
            assert!(!format!("{store:?}").contains("secret"));
        }
        for (given, shown) in [
            ("http://h:7420/sessions/", "http://h:7420/sessions"),
            ("HTTP://me:secret@h", "http://***@h"),
            ("http://[::1]:80/a/b", "http://[::1]:80/a/b"),
        ] {
            let store = StoreAt::parse(given).unwrap();
            assert_eq!((store.to_string().as_str(), store.kind()), (shown, "http"));
            assert!(!format!("{store:?}").contains("secret"));
        }
        let bad = [
            "http:",
            "http://",
            "http:///x",
            "http://h?x=1",
            "https://h/s",
            "rediss://h",
            "",
            "disk",
            "disk:",
            "disk:/data/",
            "/data/sessions",
            "redis:",
            "redis:localhost",
            "redis://",
            "redis://:6379",
            "redis://h:99999",
            "redis://h:x",
            "redis://h/db",
            "redis://h?prefix=",
            "redis://h?prefix=a{b}",
            "redis://h?db=1",
        ];
        for bad in bad {
            assert!(StoreAt::parse(bad).is_err(), "{bad}");
        }
    }
}

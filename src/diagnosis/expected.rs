//! What a token is compared with, and who says so: the arguments of a call, before the configuration, before what the
//! request itself tells.

use crate::config::Expectations;

/// The arguments of a call that say what is expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The URL of the server that the token is for; empty: not given.
    pub resource: Vec<String>,
    /// Issuers of which the token is to have one; empty: not given.
    pub issuer: Vec<String>,
    /// Scopes that it is to have; empty: not given.
    pub scopes: Vec<String>,
}

/// What a token is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// One of these is its `iss`.
    pub issuers: Wanted,
    /// One of these is in its `aud`. The URL that a request's own headers tell is not among them: see
    /// [`super::forwarding::PublicUrl`].
    pub audiences: Wanted,
    /// All of these are its scopes.
    pub scopes: Wanted,
}

/// Values that are expected. Empty: nothing is, and nothing can be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The values.
    pub values: Vec<String>,
    /// Who says so: a variable, `the argument issuer`. Empty where nobody does.
    pub by: &'static str,
}

impl Wanted {
    fn first(candidates: [(&[String], &'static str); 2]) -> Self {
        let said = candidates.into_iter().find(|(values, _)| !values.is_empty());
        said.map_or_else(Self::default, |(values, by)| Self { values: values.to_vec(), by })
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether `value` is one of them, to the letter.
    #[must_use]
    pub fn contains(&self, value: &str) -> bool {
        self.values.iter().any(|wanted| wanted == value)
    }
}

impl Expected {
    /// What `asked` says, before what is set.
    #[must_use]
    pub fn of(asked: &Asked, set: &Expectations) -> Self {
        let mut audiences =
            Wanted::first([(&asked.resource, "the argument resource"), (&set.audiences, "MCP_EXPECT_AUDIENCE")]);
        if let (true, Some(url)) = (audiences.is_empty(), &set.public_url) {
            audiences = Wanted { values: vec![url.to_string()], by: "MCP_PUBLIC_URL" };
        }
        Self {
            issuers: Wanted::first([(&asked.issuer, "the argument issuer"), (&set.issuers, "MCP_EXPECT_ISSUER")]),
            audiences,
            scopes: Wanted::first([(&asked.scopes, "the argument scopes"), (&set.scopes, "MCP_EXPECT_SCOPES")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EndpointUrl;

    #[test]
    fn arguments_come_before_the_configuration_and_that_before_the_public_url() {
        let mut set =
            Expectations { public_url: EndpointUrl::parse("https://a.example/mcp").ok(), ..Expectations::default() };
        let mut asked = Asked::default();
        let audience = |asked: &Asked, set: &Expectations| {
            let audiences = Expected::of(asked, set).audiences;
            (audiences.values.join(" "), audiences.by)
        };
        assert_eq!(audience(&asked, &Expectations::default()), (String::new(), ""));
        assert_eq!(audience(&asked, &set), ("https://a.example/mcp".to_owned(), "MCP_PUBLIC_URL"));
        set.audiences = vec!["api://a".to_owned(), "api://b".to_owned()];
        assert_eq!(audience(&asked, &set), ("api://a api://b".to_owned(), "MCP_EXPECT_AUDIENCE"));
        asked.resource = vec!["https://b.example/mcp".to_owned()];
        assert_eq!(audience(&asked, &set), ("https://b.example/mcp".to_owned(), "the argument resource"));
    }
}

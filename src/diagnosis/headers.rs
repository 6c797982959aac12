//! Which headers belong together, and how their names are written for people.

use super::harmless::{is_forwarding, is_standard};
use super::products;
use super::redact;

/// The sections of a listing of headers, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Credentials, and what auth proxies say of the user.
    Authentication,
    /// What proxies say of the request's way.
    Forwarding,
    /// Registered headers that any request may have.
    Standard,
    /// The Model Context Protocol's own.
    Mcp,
    /// All others.
    Custom,
}

impl Category {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Authentication, Self::Forwarding, Self::Standard, Self::Mcp, Self::Custom];
}

/// Where the header `name` (lower case) is shown.
#[must_use]
pub fn category(name: &str) -> Category {
    if name.starts_with("mcp-") || name == "last-event-id" {
        Category::Mcp
    } else if products::lookup(name).is_some_and(|(_, field)| field.header != "x-forwarded-client-cert")
        || redact::is_secret(name)
    {
        Category::Authentication
    } else if is_forwarding(name) {
        Category::Forwarding
    } else if is_standard(name) {
        Category::Standard
    } else {
        Category::Custom
    }
}

/// A header's name as HTTP/1 writes it: `X-User-Id`, `Mcp-Session-Id`.
#[must_use]
pub fn title_case(name: &str) -> String {
    let mut start = true;
    let letters = name.chars().map(|c| {
        let c = if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        start = !c.is_ascii_alphanumeric();
        c
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_sorted_by_what_they_say() {
        for (category_of, names) in [
            (
                Category::Authentication,
                &["authorization", "x-user-id", "x-user-name", "cookie", "dpop", "x-forwarded-user", "x-api-key"][..],
            ),
            (Category::Forwarding, &["x-forwarded-for", "forwarded", "cf-ray", "x-real-ip", "x-forwarded-client-cert"]),
            (Category::Standard, &["host", "user-agent", "sec-fetch-mode", "origin", "content-type", "traceparent"]),
            (Category::Mcp, &["mcp-session-id", "mcp-protocol-version", "last-event-id", "mcp-method"]),
            (Category::Custom, &["x-custom", "foo", "x_user_id"]),
        ] {
            for name in names {
                assert_eq!(category(name), category_of, "{name}");
            }
        }
    }

    #[test]
    fn names_are_written_in_title_case() {
        for (name, written) in [("x-user-id", "X-User-Id"), ("dpop", "Dpop"), ("oidc_claim_sub", "Oidc_Claim_Sub")] {
            assert_eq!(title_case(name), written);
        }
    }
}

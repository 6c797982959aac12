//! What is wrong with a request, and what must not be shown of it: pure functions, no I/O.

pub mod agreement;
pub mod claims;
pub mod client;
pub mod cors;
pub mod difference;
mod encoding;
pub mod expected;
pub mod findings;
pub mod forwarding;
mod harmless;
pub mod headers;
pub mod identity;
pub mod issuer;
pub mod issuers;
pub mod jwks;
pub mod origin;
pub mod placeholder;
pub mod prefixes;
pub mod products;
pub mod proxies;
pub mod quote;
pub mod redact;
pub mod remedies;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
pub mod urls;
pub mod verification;

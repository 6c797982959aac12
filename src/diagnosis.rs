//! What is wrong with a request, and what must not be shown of it: pure functions, no I/O.

pub mod claims;
pub mod redact;
#[cfg(test)]
pub(crate) mod testing;

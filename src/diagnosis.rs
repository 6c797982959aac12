//! What is wrong with a request, and what must not be shown of it: pure functions, no I/O.

pub mod token;

//! What is promised of sessions wherever they are kept, checked against the memory of this process and against a store that
//! does what it is told to do wrong.
//!
//! - `places`: sessions in memory, and sessions in a store, with the same few methods.
//! - `promises`: what holds in both.
//! - `failures`: what holds when a store fails, by the numbers F1 to F31 of the failures that a first design did not survive.
//! - `double`: the store.

mod double;
mod failures;
mod places;
mod promises;

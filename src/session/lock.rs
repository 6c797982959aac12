//! How plain data is locked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder panicked guards plain data that is still good: one bad request must not take sessions down.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

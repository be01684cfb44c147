//! A lock that ignores panics of its earlier holders.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even if an earlier holder panicked. Only for data that no panic can leave inconsistent.
pub(crate) fn lock_unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

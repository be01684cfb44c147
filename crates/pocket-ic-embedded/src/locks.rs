//! Locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks data that is consistent even if a holder panicked: single inserts and removals only.
pub(crate) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

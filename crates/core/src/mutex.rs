//! std's Mutex, whichever thread has panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex that stays usable after a panic elsewhere: what it guards is changed in steps that each leave it whole, and
/// never over an await.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

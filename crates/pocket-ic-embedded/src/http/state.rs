//! What the server keeps: instances, blobs, and when it was last used.

use super::progress::Progress;
use crate::engine::{Engine, EngineError};
use crate::ic::{Instance, OpError};
use axum::body::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Everything that outlives one request.
pub struct ServerState {
    engine: Engine,
    print_logs: bool,
    /// `None` for a deleted instance: ids are never used again.
    instances: Mutex<Vec<Option<Arc<Slot>>>>,
    blobs: Mutex<HashMap<[u8; 32], Blob>>,
    activity: Activity,
}

/// Bytes that a client uploaded, as it sent them.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub bytes: Bytes,
    /// Whether they are compressed with gzip.
    pub gzip: bool,
}

/// An instance and its clock of its own, if it has one.
pub(super) struct Slot {
    instance: Mutex<Instance>,
    pub progress: tokio::sync::Mutex<Progress>,
}

impl Slot {
    /// The instance, once the operations before are done.
    pub fn lock(&self) -> Result<MutexGuard<'_, Instance>, OpError> {
        self.instance.lock().map_err(|_| {
            OpError::Other("The instance is unusable after an internal error of the embedded server".into())
        })
    }

    fn state_text(&self) -> &'static str {
        match self.instance.try_lock() {
            Ok(_) => "Available",
            Err(TryLockError::WouldBlock) => "Busy(an operation)",
            Err(TryLockError::Poisoned(_)) => "Busy(unusable after an internal error)",
        }
    }
}

impl ServerState {
    /// A server without instances. With `print_logs`, canister logs go to stderr.
    ///
    /// # Errors
    /// When the engine cannot be set up.
    pub fn new(print_logs: bool) -> Result<Self, EngineError> {
        Ok(Self {
            engine: Engine::new()?,
            print_logs,
            instances: Mutex::default(),
            blobs: Mutex::default(),
            activity: Activity::default(),
        })
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    pub(super) fn prints_logs(&self) -> bool {
        self.print_logs
    }

    /// When and whether the server is in use.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn add_instance(&self, instance: Instance) -> (usize, Arc<Slot>) {
        let slot = Arc::new(Slot { instance: Mutex::new(instance), progress: tokio::sync::Mutex::default() });
        let mut instances = unpoisoned(&self.instances);
        instances.push(Some(slot.clone()));
        (instances.len() - 1, slot)
    }

    pub(super) fn slot(&self, id: usize) -> Result<Arc<Slot>, OpError> {
        match unpoisoned(&self.instances).get(id) {
            Some(slot) => slot.clone().ok_or_else(deleted),
            None => Err(not_found()),
        }
    }

    pub(super) fn remove_instance(&self, id: usize) -> Result<Arc<Slot>, OpError> {
        match unpoisoned(&self.instances).get_mut(id) {
            Some(slot) => slot.take().ok_or_else(deleted),
            None => Err(not_found()),
        }
    }

    pub(super) fn list_instances(&self) -> Vec<&'static str> {
        unpoisoned(&self.instances)
            .iter()
            .map(|slot| slot.as_ref().map_or("Deleted", |slot| slot.state_text()))
            .collect()
    }

    pub(super) fn put_blob(&self, hash: [u8; 32], blob: Blob) {
        unpoisoned(&self.blobs).insert(hash, blob);
    }

    pub(super) fn blob(&self, hash: &[u8]) -> Option<Blob> {
        let hash: [u8; 32] = hash.try_into().ok()?;
        unpoisoned(&self.blobs).get(&hash).cloned()
    }
}

/// The error for an instance that was deleted.
pub(super) fn deleted() -> OpError {
    update_error("Instance was deleted")
}

fn not_found() -> OpError {
    update_error("Instance not found")
}

fn update_error(text: &str) -> OpError {
    OpError::Other(format!("UpdateError {{ message: {text:?} }}"))
}

/// A lock whose data is whole whatever panicked while it was held: single inserts and removals only.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether requests are being answered, and since when none is.
pub struct Activity {
    inner: Mutex<(usize, Instant)>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { inner: Mutex::new((0, Instant::now())) }
    }
}

impl Activity {
    /// Marks the server as busy until the guard is dropped.
    pub fn begin(&self) -> Busy<'_> {
        unpoisoned(&self.inner).0 += 1;
        Busy(self)
    }

    /// For how long no request has been pending; zero while one is.
    pub fn idle_for(&self) -> Duration {
        let inner = unpoisoned(&self.inner);
        match *inner {
            (0, since) => since.elapsed(),
            _ => Duration::ZERO,
        }
    }
}

/// A request that is being answered.
pub struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut inner = unpoisoned(&self.0.inner);
        inner.0 = inner.0.saturating_sub(1);
        inner.1 = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_request_keeps_the_server_busy() {
        let activity = Activity::default();
        let busy = activity.begin();
        assert_eq!(activity.idle_for(), Duration::ZERO);
        drop(busy);
        let first = activity.idle_for();
        let second = activity.idle_for();
        assert!(second >= first);
        let _busy = activity.begin();
        assert_eq!(activity.idle_for(), Duration::ZERO);
    }
}

//! The state of the server: instances, blobs, gateways, and when the server was last used.

use super::slot::Slot;
use crate::engine::{Engine, StableMemory};
use crate::gateway::Gateways;
use crate::ic::{Instance, OpError};
use crate::locks::lock_unpoisoned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
#[cfg(any(feature = "cli", test))]
use std::time::Duration;
use std::time::Instant;

/// Everything that outlives one request.
pub struct ServerState {
    engine: Engine,
    /// Whether what canisters print also goes to standard error.
    print_logs: bool,
    /// `None` for a deleted instance: ids are not reused.
    instances: Mutex<Vec<Option<Arc<Slot>>>>,
    /// By their SHA-256.
    blobs: Mutex<HashMap<[u8; 32], Blob>>,
    gateways: Gateways,
    /// Whether gateways may listen on addresses that other machines can reach.
    allow_remote: bool,
    activity: Activity,
}

/// Bytes that a client uploaded, unchanged. The server keeps them as long as it runs, so they are stored in the form of
/// a stable memory: zeros take no space, and a canister whose memory is set from the blob shares its pages.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    memory: StableMemory,
    /// Number of bytes, without the padding of the memory.
    len: usize,
    /// Whether the bytes are compressed with gzip.
    pub is_gzip: bool,
}

impl Blob {
    pub fn new(bytes: &[u8], is_gzip: bool) -> Blob {
        Blob { memory: StableMemory::from_bytes(bytes), len: bytes.len(), is_gzip }
    }

    /// Returns the bytes, still gzipped if they are, padded with zeros to whole pages.
    pub fn memory(&self) -> &StableMemory {
        &self.memory
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.memory.to_vec();
        bytes.truncate(self.len);
        bytes
    }
}

impl ServerState {
    /// Returns a server without instances. With `print_logs`, canister logs go to stderr.
    pub fn new(engine: Engine, print_logs: bool) -> Self {
        Self {
            engine,
            print_logs,
            instances: Mutex::default(),
            blobs: Mutex::default(),
            gateways: Gateways::default(),
            allow_remote: false,
            activity: Activity::default(),
        }
    }

    /// Sets whether gateways may listen on addresses that other machines can reach.
    #[cfg(feature = "cli")]
    pub fn allowing_remote(self, allow_remote: bool) -> Self {
        Self { allow_remote, ..self }
    }

    pub(crate) fn allows_remote(&self) -> bool {
        self.allow_remote
    }

    pub(crate) fn gateways(&self) -> &Gateways {
        &self.gateways
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    pub(super) fn prints_logs(&self) -> bool {
        self.print_logs
    }

    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn add_instance(&self, instance: Instance) -> (usize, Arc<Slot>) {
        let slot = Arc::new(Slot::new(instance));
        let mut instances = lock_unpoisoned(&self.instances);
        instances.push(Some(slot.clone()));
        (instances.len() - 1, slot)
    }

    /// Returns an instance; an error if there never was one with this id, or if it was deleted.
    pub(crate) fn slot(&self, id: usize) -> Result<Arc<Slot>, OpError> {
        match lock_unpoisoned(&self.instances).get(id) {
            Some(slot) => slot.clone().ok_or_else(deleted),
            None => Err(not_found()),
        }
    }

    /// Removes an instance from the list. Requests that have found it before may still use it.
    pub(super) fn remove_instance(&self, id: usize) -> Result<Arc<Slot>, OpError> {
        match lock_unpoisoned(&self.instances).get_mut(id) {
            Some(slot) => slot.take().ok_or_else(deleted),
            None => Err(not_found()),
        }
    }

    /// Returns a text about each instance, by id.
    pub(super) fn list_instances(&self) -> Vec<&'static str> {
        lock_unpoisoned(&self.instances)
            .iter()
            .map(|slot| slot.as_ref().map_or("Deleted", |slot| slot.state_text()))
            .collect()
    }

    pub(super) fn put_blob(&self, hash: [u8; 32], blob: Blob) {
        lock_unpoisoned(&self.blobs).insert(hash, blob);
    }

    pub(super) fn blob(&self, hash: &[u8]) -> Option<Blob> {
        let hash: [u8; 32] = hash.try_into().ok()?;
        lock_unpoisoned(&self.blobs).get(&hash).cloned()
    }
}

pub(super) fn deleted() -> OpError {
    update_error("Instance was deleted")
}

fn not_found() -> OpError {
    update_error("Instance not found")
}

/// Returns an error with the text that the official server has for it.
fn update_error(text: &str) -> OpError {
    OpError::Other(format!("UpdateError {{ message: {text:?} }}"))
}

/// Whether requests are being answered; if not, since when.
pub struct Activity(Mutex<ActivityState>);

struct ActivityState {
    requests_in_progress: usize,
    last_activity: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(ActivityState { requests_in_progress: 0, last_activity: Instant::now() }))
    }
}

impl Activity {
    /// Records activity of a client whose request has not arrived completely.
    pub fn touch(&self) {
        lock_unpoisoned(&self.0).last_activity = Instant::now();
    }

    /// Marks the server as busy until the guard is dropped.
    pub fn begin(&self) -> Busy<'_> {
        lock_unpoisoned(&self.0).requests_in_progress += 1;
        Busy(self)
    }

    /// Returns the time since the last activity; zero while a request is being answered.
    #[cfg(any(feature = "cli", test))]
    pub fn idle_for(&self) -> Duration {
        let state = lock_unpoisoned(&self.0);
        match state.requests_in_progress {
            0 => state.last_activity.elapsed(),
            _ => Duration::ZERO,
        }
    }
}

/// Dropped when a request has been answered.
pub struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = lock_unpoisoned(&self.0.0);
        state.requests_in_progress = state.requests_in_progress.saturating_sub(1);
        state.last_activity = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_takes_no_memory_for_zeros() {
        let mut bytes = vec![0; 64 << 20];
        bytes[40 << 20] = 1;
        let blob = Blob::new(&bytes, false);
        let resident = blob.memory().unshared_bytes(&StableMemory::new());
        assert!((1..=1 << 16).contains(&resident), "one byte that is not zero takes {resident} bytes");
        assert!(blob.to_vec() == bytes);
        assert_eq!(Blob::new(b"abc", true).to_vec(), b"abc");
    }

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

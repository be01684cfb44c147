//! The state of the server: instances, blobs, and when it was last used.

use super::progress::AutoProgressState;
use crate::engine::{Engine, StableMemory};
use crate::gateway::Gateways;
use crate::ic::{Instance, OpError};
use crate::threads::{self, Panicked, Work};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
#[cfg(any(feature = "cli", test))]
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Notify;

/// Everything that outlives one request.
pub struct ServerState {
    engine: Engine,
    print_logs: bool,
    /// `None` for a deleted instance: ids are never used again.
    instances: Mutex<Vec<Option<Arc<Slot>>>>,
    blobs: Mutex<HashMap<[u8; 32], Blob>>,
    gateways: Gateways,
    allow_remote: bool,
    activity: Activity,
}

/// Bytes that a client uploaded, as it sent them. The server keeps them as long as it runs, so they are stored as a
/// stable memory is: zeros take no space, and a canister that gets them as its memory shares the pages.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    memory: StableMemory,
    bytes: usize,
    /// Whether they are compressed with gzip.
    pub gzip: bool,
}

impl Blob {
    pub fn new(bytes: &[u8], gzip: bool) -> Blob {
        Blob { memory: StableMemory::from_bytes(bytes), bytes: bytes.len(), gzip }
    }

    /// Returns the bytes, padded with zeros to whole pages.
    pub fn memory(&self) -> &StableMemory {
        &self.memory
    }

    /// Returns the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.memory.to_vec();
        bytes.truncate(self.bytes);
        bytes
    }
}

/// An instance and its own clock, if it has one.
pub(crate) struct Slot {
    /// Held by the running operation. Waiting operations do not occupy a thread: the number of threads is
    /// limited, and operations on other instances need some, too.
    turn: tokio::sync::Mutex<()>,
    instance: Mutex<Instance>,
    pub(super) progress: tokio::sync::Mutex<AutoProgressState>,
    /// Whether agents must sign what they send.
    checks_envelopes: bool,
    /// The instance's root key, DER.
    root_key: &'static [u8],
    /// Notified when there is something to do, so that automatic progress need not wait for its next step.
    work: Notify,
}

impl Slot {
    fn new(instance: Instance) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            checks_envelopes: instance.checks_envelopes(),
            root_key: instance.root_key(),
            instance: Mutex::new(instance),
            progress: tokio::sync::Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Returns whether agents must sign what they send.
    pub fn checks_envelopes(&self) -> bool {
        self.checks_envelopes
    }

    /// Returns the instance's root key, DER.
    pub fn root_key(&self) -> &'static [u8] {
        self.root_key
    }

    /// Wakes up the task that advances time, if there is one.
    pub fn hurry(&self) {
        self.work.notify_one();
    }

    /// Returns when someone has woken up the task.
    pub async fn hurried(&self) {
        self.work.notified().await;
    }

    /// Runs an operation on the instance, after any earlier ones. The outer error is a panic: a bug in the server. It
    /// makes the instance unusable (its lock is poisoned), but not the server.
    pub async fn operate<T>(
        &self,
        work: Work,
        operation: impl FnOnce(&mut Instance) -> Result<T, OpError>,
    ) -> Result<Result<T, OpError>, Panicked> {
        let _turn = self.turn.lock().await;
        threads::run(work, || operation(&mut *self.instance.lock().map_err(|_| unusable())?))
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

    /// Returns the same server, with gateways that may listen on addresses that other machines can reach.
    #[cfg(feature = "cli")]
    pub fn allowing_remote(self, allow_remote: bool) -> Self {
        Self { allow_remote, ..self }
    }

    /// Returns whether gateways may listen on addresses that other machines can reach.
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

    /// Returns when and whether the server is in use.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn add_instance(&self, instance: Instance) -> (usize, Arc<Slot>) {
        let slot = Arc::new(Slot::new(instance));
        let mut instances = unpoisoned(&self.instances);
        instances.push(Some(slot.clone()));
        (instances.len() - 1, slot)
    }

    pub(crate) fn slot(&self, id: usize) -> Result<Arc<Slot>, OpError> {
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

fn unusable() -> OpError {
    OpError::Other("The instance is unusable after an internal error of the embedded server".into())
}

/// Returns the error for an instance that was deleted.
pub(super) fn deleted() -> OpError {
    update_error("Instance was deleted")
}

fn not_found() -> OpError {
    update_error("Instance not found")
}

fn update_error(text: &str) -> OpError {
    OpError::Other(format!("UpdateError {{ message: {text:?} }}"))
}

/// Locks data that is consistent even if a holder panicked: single inserts and removals only.
pub(crate) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether requests are being answered; if not, since when.
pub struct Activity {
    inner: Mutex<(usize, Instant)>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { inner: Mutex::new((0, Instant::now())) }
    }
}

impl Activity {
    /// Records activity of a client that is not waiting for an answer yet.
    pub fn touch(&self) {
        unpoisoned(&self.inner).1 = Instant::now();
    }

    /// Marks the server as busy until the guard is dropped.
    pub fn begin(&self) -> Busy<'_> {
        unpoisoned(&self.inner).0 += 1;
        Busy(self)
    }

    /// Returns the time since the last request ended; zero while one is pending.
    #[cfg(any(feature = "cli", test))]
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
    use pocket_ic::common::rest::{InstanceConfig, SubnetConfigSet};

    #[test]
    fn a_blob_takes_no_memory_for_zeros() {
        let mut bytes = vec![0; 64 << 20];
        bytes[40 << 20] = 1;
        let blob = Blob::new(&bytes, false);
        let page = blob.memory().bytes_apart(&StableMemory::new());
        assert!((1..=1 << 16).contains(&page), "{page} bytes for one that is not zero");
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

    const PATIENCE: Duration = Duration::from_secs(60);

    fn slot(state: &ServerState) -> Arc<Slot> {
        let set = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() };
        let config = InstanceConfig { subnet_config_set: set.into(), ..InstanceConfig::default() };
        state.add_instance(Instance::create(state.engine(), &config, false).unwrap().instance).1
    }

    /// The runtime has two threads: if requests waiting for the busy instance occupied them, nobody else would be
    /// served.
    #[test]
    fn requests_waiting_for_a_busy_instance_occupy_no_threads() {
        let runtime = threads::runtime().worker_threads(1).max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let state = ServerState::new(Engine::new().unwrap(), false);
            let (busy, idle) = (slot(&state), slot(&state));
            let (finish, finished) = std::sync::mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            let first = busy.clone();
            let mut waiting = vec![tokio::spawn(async move {
                let wait = move |_: &mut Instance| {
                    let _ = begin.send(());
                    finished.recv_timeout(PATIENCE).map_err(|error| OpError::Other(error.to_string()))
                };
                first.operate(Work::Long, wait).await
            })];
            begun.await.unwrap();
            waiting.extend((0..8).map(|number| {
                let busy = busy.clone();
                tokio::spawn(async move { busy.operate(Work::long_if(number % 2 == 0), |_| Ok(())).await })
            }));
            let answer =
                tokio::spawn(async move { idle.operate(Work::Long, |instance| Ok(instance.time())).await });
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            assert!(answer.expect("the other instance answers").unwrap().unwrap().is_ok());
            finish.send(()).unwrap();
            for operation in waiting {
                assert_eq!(operation.await.unwrap().unwrap(), Ok(()));
            }
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_makes_only_its_instance_unusable() {
        let state = ServerState::new(Engine::new().unwrap(), false);
        for work in [Work::Long, Work::Brief] {
            let (broken, other) = (slot(&state), slot(&state));
            let panics = |_: &mut Instance| -> Result<(), OpError> { panic!("by a test: {work:?}") };
            let panicked = broken.operate(work, panics).await;
            assert_eq!(panicked.unwrap_err().to_string(), format!("panic: by a test: {work:?}"));
            assert_eq!(broken.operate(Work::Long, |_| Ok(())).await, Ok(Err(unusable())));
            assert_eq!(broken.operate(Work::Brief, |_| Ok(())).await, Ok(Err(unusable())));
            assert_eq!(other.operate(Work::Long, |_| Ok(())).await, Ok(Ok(())));
        }
    }
}

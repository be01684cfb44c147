//! The slot of an instance in the server: its operations run one after another; and the state of the task that advances
//! its time, which itself is in `progress.rs`.

use crate::ic::{Instance, OpError};
use crate::threads::{self, Panicked, Work};
use std::sync::{Mutex, TryLockError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// An instance with what is needed to use it from many requests at the same time.
pub(crate) struct Slot {
    /// Held by the running operation. Waiting operations do not occupy a thread: the number of threads is
    /// limited, and operations on other instances need some, too.
    turn: tokio::sync::Mutex<()>,
    instance: Mutex<Instance>,
    /// Locked while automatic progress is started or ended, too, which may take a round.
    pub(super) progress: tokio::sync::Mutex<AutoProgressState>,
    /// See [`Instance::checks_envelopes`]; kept here, like the root key, so that reading it need not wait for
    /// operations.
    checks_envelopes: bool,
    /// The instance's root key, DER.
    root_key: &'static [u8],
    /// Notified when an agent has submitted a call, so that automatic progress runs a round before the next one is due.
    submitted: Notify,
}

impl Slot {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            checks_envelopes: instance.checks_envelopes(),
            root_key: instance.root_key(),
            instance: Mutex::new(instance),
            progress: tokio::sync::Mutex::default(),
            submitted: Notify::new(),
        }
    }

    pub fn checks_envelopes(&self) -> bool {
        self.checks_envelopes
    }

    pub fn root_key(&self) -> &'static [u8] {
        self.root_key
    }

    /// Makes the task that advances time, if there is one, run a round immediately.
    pub fn request_round(&self) {
        self.submitted.notify_one();
    }

    /// Returns once [`Self::request_round`] is called; immediately if it was called since the last return.
    pub async fn round_requested(&self) {
        self.submitted.notified().await;
    }

    /// Runs an operation on the instance, after any earlier ones. A panic, which is a bug in the server, poisons the
    /// instance's lock: the instance becomes unusable, but not the server.
    pub async fn operate<T>(
        &self,
        work: Work,
        operation: impl FnOnce(&mut Instance) -> Result<T, OpError>,
    ) -> Result<Result<T, OpError>, Panicked> {
        let _turn = self.turn.lock().await;
        threads::run(work, || operation(&mut *self.instance.lock().map_err(|_| unusable())?))
    }

    /// Returns what the list of instances shows about this one.
    pub(super) fn state_text(&self) -> &'static str {
        match self.instance.try_lock() {
            Ok(_) => "Available",
            Err(TryLockError::WouldBlock) => "Busy(an operation)",
            Err(TryLockError::Poisoned(_)) => "Busy(unusable after an internal error)",
        }
    }
}

/// Whether the time of an instance advances automatically.
#[derive(Default)]
pub(super) enum AutoProgressState {
    #[default]
    Off,
    On(AutoProgress),
    /// The instance was deleted: its time never advances again, even for a request that found the instance before.
    Deleted,
}

/// The running task that advances an instance's time.
pub(super) struct AutoProgress {
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
}

fn unusable() -> OpError {
    OpError::Other("The instance is unusable after an internal error of the embedded server".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::http::ServerState;
    use pocket_ic::common::rest::{InstanceConfig, SubnetConfigSet};
    use std::sync::Arc;
    use std::time::Duration;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn new_slot(state: &ServerState) -> Arc<Slot> {
        let set = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() };
        let config = InstanceConfig { subnet_config_set: set.into(), ..InstanceConfig::default() };
        state.add_instance(Instance::create(state.engine(), &config, false).unwrap().instance).1
    }

    /// The runtime has two threads: if requests waiting for the busy instance occupied them, no other request would be
    /// served.
    #[test]
    fn operations_waiting_for_a_busy_instance_take_no_threads() {
        let runtime = threads::runtime().worker_threads(1).max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let state = ServerState::new(Engine::new().unwrap(), false);
            let (busy, idle) = (new_slot(&state), new_slot(&state));
            let (finish, finished) = std::sync::mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            let first = busy.clone();
            let mut waiting = vec![tokio::spawn(async move {
                let wait = move |_: &mut Instance| {
                    let _ = begin.send(());
                    finished.recv_timeout(TIMEOUT).map_err(|error| OpError::Other(error.to_string()))
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
            let answer = tokio::time::timeout(TIMEOUT, answer).await;
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
            let (broken, other) = (new_slot(&state), new_slot(&state));
            let panics = |_: &mut Instance| -> Result<(), OpError> { panic!("by a test: {work:?}") };
            let panicked = broken.operate(work, panics).await;
            assert_eq!(panicked.unwrap_err().to_string(), format!("panic: by a test: {work:?}"));
            assert_eq!(broken.operate(Work::Long, |_| Ok(())).await, Ok(Err(unusable())));
            assert_eq!(broken.operate(Work::Brief, |_| Ok(())).await, Ok(Err(unusable())));
            assert_eq!(other.operate(Work::Long, |_| Ok(())).await, Ok(Ok(())));
        }
    }
}

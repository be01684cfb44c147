//! Automatic progress: a task that advances an instance by the real time that has passed.

use super::slot::{AutoProgress, AutoProgressState, Slot};
use super::state::deleted;
use crate::ic::clock;
use crate::ic::{Instance, OpError};
use crate::threads::Work;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

/// The pause between two rounds if the client specifies none.
const DEFAULT_PAUSE: Duration = Duration::from_millis(100);

impl AutoProgress {
    /// Sets the instance's time to the host's time, unless the instance is ahead, and starts the task. `delay_ms` is
    /// the pause between two rounds.
    async fn start(slot: Arc<Slot>, delay_ms: Option<u64>) -> Result<Self, OpError> {
        let pause = match delay_ms {
            // An interval cannot be zero.
            Some(delay) => Duration::from_millis(delay.max(1)),
            None => DEFAULT_PAUSE,
        };
        operate(&slot, set_to_host_time).await?;
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    // Yields once, so that other calls that are just being submitted get into the same round.
                    () = slot.round_requested() => yield_now().await,
                    _ = stopped.changed() => break,
                }
                let elapsed = last.elapsed();
                last += elapsed;
                let step = operate(&slot, |instance| {
                    instance.advance(elapsed);
                    Ok(())
                });
                if step.await.is_err() {
                    // The instance is unusable, and stays so: without this, the task would fail at every tick.
                    break;
                }
            }
        });
        Ok(Self { stop, task })
    }

    /// Ends the task and waits for its last round.
    async fn end(self) {
        // Both fail only if the task has ended already.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// Starts to advance the time of an instance automatically, unless it already does.
///
/// # Errors
/// If the time already advances automatically, or the instance was deleted or is unusable.
pub(super) async fn start(slot: &Arc<Slot>, delay_ms: Option<u64>) -> Result<(), OpError> {
    let mut progress = slot.progress.lock().await;
    match *progress {
        AutoProgressState::On(_) => {
            Err(OpError::Other("Auto progress mode has already been enabled.".into()))
        }
        AutoProgressState::Deleted => Err(deleted()),
        AutoProgressState::Off => {
            *progress = AutoProgressState::On(AutoProgress::start(slot.clone(), delay_ms).await?);
            Ok(())
        }
    }
}

/// Stops the task of an instance, if there is one, waits for its last round, and sets the next state; does nothing for
/// a deleted instance.
pub(super) async fn end(slot: &Slot, next: AutoProgressState) {
    let mut progress = slot.progress.lock().await;
    if let AutoProgressState::Deleted = *progress {
        return;
    }
    if let AutoProgressState::On(running) = std::mem::replace(&mut *progress, next) {
        running.end().await;
    }
}

fn set_to_host_time(instance: &mut Instance) -> Result<(), OpError> {
    // The time of an instance that is ahead of the host is left unchanged.
    let target = clock::host_time().max(instance.time());
    instance.set_certified_time(target)
}

/// Like [`Slot::operate`], but a panic is an error like any other.
async fn operate(
    slot: &Slot,
    operation: impl FnOnce(&mut Instance) -> Result<(), OpError>,
) -> Result<(), OpError> {
    slot.operate(Work::Long, operation).await.unwrap_or_else(|fault| Err(OpError::Other(fault.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::http::ServerState;
    use pocket_ic::common::rest::{InstanceConfig, SubnetConfigSet};

    /// A request that found the instance before another request deleted it must not start automatic progress.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_deleted_instance_does_not_advance() {
        let state = ServerState::new(Engine::new().unwrap(), false);
        let subnet_config_set = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() }.into();
        let config = InstanceConfig { subnet_config_set, ..InstanceConfig::default() };
        let created = Instance::create(state.engine(), &config, false).unwrap();
        let (id, found) = state.add_instance(created.instance);
        start(&found, None).await.unwrap();
        let removed = state.remove_instance(id).unwrap();
        end(&removed, AutoProgressState::Deleted).await;
        end(&found, AutoProgressState::Off).await;
        let refused = start(&found, None).await.unwrap_err();
        assert_eq!(refused, state.slot(id).err().unwrap());
        drop(removed);
        assert_eq!(Arc::strong_count(&found), 1, "no task holds the instance");
    }
}

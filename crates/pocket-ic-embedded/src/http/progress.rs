//! Time that goes on by itself: a task that advances an instance by the real time that passed.

use super::reply::{self, error};
use super::state::{ServerState, Slot};
use crate::ic::OpError;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use pocket_ic::common::rest::AutoProgressConfig;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// The pause between two rounds when the client names none.
const DEFAULT_PAUSE: Duration = Duration::from_millis(100);

/// A running task.
pub(super) struct AutoProgress {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AutoProgress {
    /// Sets the instance's time to the present and starts the task.
    pub async fn start(slot: Arc<Slot>, delay_ms: Option<u64>) -> Result<Self, OpError> {
        let pause = match delay_ms {
            // An interval cannot be zero.
            Some(delay) => Duration::from_millis(delay.max(1)),
            None => DEFAULT_PAUSE,
        };
        let first = slot.clone();
        run_blocking(move || set_present(&first)).await?;
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stopped.changed() => break,
                }
                let elapsed = last.elapsed();
                last += elapsed;
                let slot = slot.clone();
                let step = run_blocking(move || {
                    slot.lock()?.advance(elapsed);
                    Ok(())
                });
                if step.await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { stop, task })
    }

    /// Ends the task and waits for its last round.
    pub async fn end(self) {
        // Both fail only if the task has ended already.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

fn set_present(slot: &Slot) -> Result<(), OpError> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    let mut instance = slot.lock()?;
    // An instance that is ahead of the present stays there.
    let target = now.max(instance.time());
    instance.set_certified_time(target)
}

async fn run_blocking(work: impl FnOnce() -> Result<(), OpError> + Send + 'static) -> Result<(), OpError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|fault| Err(OpError::Other(fault.to_string())))
}

/// `POST /instances/<id>/auto_progress`
pub(super) async fn enable(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<usize>,
    body: Bytes,
) -> Response {
    let slot = match state.slot(id) {
        Ok(slot) => slot,
        Err(refusal) => return error(&refusal),
    };
    let config: AutoProgressConfig = match reply::parse(&body) {
        Ok(config) => config,
        Err(refusal) => return error(&refusal),
    };
    let mut progress = slot.progress.lock().await;
    if progress.is_some() {
        return error(&OpError::Other("Auto progress mode has already been enabled.".into()));
    }
    match AutoProgress::start(slot.clone(), config.artificial_delay_ms).await {
        Ok(started) => {
            *progress = Some(started);
            reply::json(StatusCode::OK, &())
        }
        Err(refusal) => error(&refusal),
    }
}

/// `GET /instances/<id>/auto_progress`
pub(super) async fn is_enabled(State(state): State<Arc<ServerState>>, Path(id): Path<usize>) -> Response {
    match state.slot(id) {
        Ok(slot) => reply::json(StatusCode::OK, &slot.progress.lock().await.is_some()),
        Err(refusal) => error(&refusal),
    }
}

/// `POST /instances/<id>/stop_progress`; the body says nothing.
pub(super) async fn disable(State(state): State<Arc<ServerState>>, Path(id): Path<usize>) -> Response {
    match state.slot(id) {
        Ok(slot) => {
            if let Some(running) = slot.progress.lock().await.take() {
                running.end().await;
            }
            reply::json(StatusCode::OK, &())
        }
        Err(refusal) => error(&refusal),
    }
}

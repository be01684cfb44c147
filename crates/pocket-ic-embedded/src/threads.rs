//! The threads of the server: they answer requests, and run canisters without handing each message to another thread, which
//! would take longer than most messages do.

use crate::engine;
use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use tokio::runtime::Builder;
use tokio::task;

/// A panic: a bug in the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panic: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("no message").to_owned())
    }
}

/// Returns a builder for the runtime of a server. Its threads have enough stack for canisters.
pub fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder
        .enable_all()
        .thread_stack_size(engine::THREAD_STACK)
        .on_thread_start(engine::allow_on_this_thread);
    builder
}

/// Runs work that is over in less than a millisecond.
///
/// # Errors
/// If it panics.
pub fn briefly<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What a panic leaves inconsistent is under a lock, which it poisons.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked::new(&*payload))
}

/// Runs work that may take long on the thread of the current task; another thread takes over the other tasks. Requires
/// a runtime with several threads.
///
/// # Errors
/// If it panics.
pub fn at_length<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    briefly(|| task::block_in_place(work))
}

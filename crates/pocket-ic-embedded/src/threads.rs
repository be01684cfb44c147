//! The threads of the server: they answer requests, and run canisters themselves, since handing a message to another
//! thread would take longer than most messages do.

use crate::engine;
use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use tokio::runtime::Builder;
use tokio::task;

/// A panic of the server's own code, with its message: a bug in the server, not a trap of a canister.
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

/// How long a piece of work is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The work ends in less than a millisecond; the other tasks of this thread wait for it.
    Brief,
    /// The work may take longer: another thread takes over the other tasks of this thread.
    Long,
}

/// Largest body with which a request counts as brief work, bytes.
const MAX_BRIEF_REQUEST_BYTES: usize = 64 << 10;

impl Work {
    /// Returns how long a request may take, judged by the length of its body alone.
    pub const fn for_request(body: &[u8]) -> Self {
        Self::long_if(body.len() > MAX_BRIEF_REQUEST_BYTES)
    }

    pub const fn long_if(may_be_long: bool) -> Self {
        if may_be_long { Self::Long } else { Self::Brief }
    }
}

/// Runs work on the thread of the current task; the runtime must have several threads.
///
/// # Errors
/// If the work panics.
pub fn run<T>(work: Work, job: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Data that a panic leaves inconsistent is under a lock, which the panic poisons, so that nobody uses it
    // afterwards.
    let done = panic::catch_unwind(AssertUnwindSafe(|| run_part(work, job)));
    done.map_err(|payload| Panicked::new(&*payload))
}

/// Like [`run`], but does not catch panics: for a part of work that runs under [`run`], which catches them.
pub fn run_part<T>(work: Work, job: impl FnOnce() -> T) -> T {
    match work {
        Work::Brief => job(),
        Work::Long => task::block_in_place(job),
    }
}

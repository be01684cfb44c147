//! The clock for pauses before a retry, and for the time that has passed.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// A clock that can also pause. Tests have clocks of their own, which only simulate long pauses.
pub trait Clock: Send + Sync {
    /// Returns the time since a fixed moment, which may be any.
    fn now(&self) -> Duration;
    /// Waits for the time `pause`.
    fn pause(&self, pause: Duration) -> BoxFuture<'static, ()>;
}

/// Returns the clock of the system.
pub fn system_clock() -> &'static Arc<dyn Clock> {
    static CLOCK: LazyLock<Arc<dyn Clock>> =
        LazyLock::new(|| Arc::new(SystemClock { began: Instant::now() }));
    &CLOCK
}

struct SystemClock {
    began: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&self, pause: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(pause).boxed()
    }
}

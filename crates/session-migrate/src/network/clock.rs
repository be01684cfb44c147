//! The clock of a driver: how long it pauses before a retry, and for how long it retries.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Reads the time, and waits. A test simulates minutes with a clock of its own.
pub trait Clock: Send + Sync {
    /// Returns the time since some fixed moment.
    fn now(&self) -> Duration;
    /// Waits.
    fn pause(&self, pause: Duration) -> BoxFuture<'static, ()>;
}

/// Returns the clock of the system.
pub fn system_clock() -> &'static Arc<dyn Clock> {
    static CLOCK: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(System { began: Instant::now() }));
    &CLOCK
}

struct System {
    began: Instant,
}

impl Clock for System {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&self, pause: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(pause).boxed()
    }
}

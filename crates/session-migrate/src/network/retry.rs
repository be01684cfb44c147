//! Retries calls that fail with a transient error, such as a stopped canister or a network that does not answer.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::{Clock, system_clock};
use crate::client::ClientError;
use crate::progress::Progress;

/// The longest pause before a retry; pauses grow up to it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Retries calls that may succeed later.
#[derive(Clone, Copy)]
pub struct Retry<'a> {
    /// Maximum sum of the pauses before the retries of one call; the time of the calls themselves does not count.
    pub retry_for: Duration,
    /// Where each retry is reported.
    pub progress: &'a Progress,
    /// The clock that times the pauses.
    pub clock: &'a Arc<dyn Clock>,
}

impl<'a> Retry<'a> {
    /// Creates a retry with the system's clock.
    pub fn new(retry_for: Duration, progress: &'a Progress) -> Retry<'a> {
        Retry { retry_for, progress, clock: system_clock() }
    }

    /// Makes a call, and repeats the call while its error is transient, as long as the pauses add up to at most
    /// `retry_for`. The call must be harmless if it is executed twice.
    ///
    /// # Errors
    /// The last error.
    pub async fn again<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        self.again_if(ClientError::is_transient, call).await
    }

    /// Makes a call that must not be executed twice. Repeats the call only if it was rejected for a transient reason,
    /// such as a stopped canister. A lost answer is returned as an error, since the call may have been executed. (The
    /// calls of `once.rs` may be sent again even then.)
    ///
    /// # Errors
    /// The last error.
    pub async fn once<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        let is_transient_rejection =
            |error: &ClientError| error.is_transient() && matches!(error, ClientError::Rejected { .. });
        self.again_if(is_transient_rejection, call).await
    }

    async fn again_if<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        is_retried: impl Fn(&ClientError) -> bool,
        call: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        let backoff = ExponentialBuilder::default()
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(self.retry_for));
        let report = |error: &ClientError, pause: Duration| {
            self.progress.line(&format!("{error}; again in {:.1} s", pause.as_secs_f64()));
        };
        let clock = self.clock.clone();
        call.retry(backoff).sleep(move |pause| clock.pause(pause)).when(is_retried).notify(report).await
    }
}

//! Counts the calls of the upload service: messages, instructions and errors.

use crate::api::Result;

use super::counts::CountedCall;
use super::service::UploadService;

impl UploadService<'_> {
    /// Runs a call, and counts it, with its error if it fails, for the path that served it, and in the cell of its
    /// canary.
    pub(super) fn run_counted<T>(
        &mut self,
        call: CountedCall,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.served_on = None;
        self.canary_cell = None;
        // The capsule that the call is about stays decoded until `let_go`, so that a call with many files decodes and
        // stores its record only once.
        self.storage.capsules.records.hold();
        let result = work(self);
        self.storage.capsules.records.let_go();
        // A whole file has no session and counts for no path, even if its idempotency key belongs to a session.
        let path = self.served_on.filter(|_| call != CountedCall::Whole);
        if let Err(error) = &result {
            self.storage.counters.count_error(path, error);
        }
        if let Some(cell) = self.canary_cell {
            self.storage.counters.canary().count_message(cell, self.meter.used(), result.as_ref().err());
        }
        self.storage.counters.count_message(path, call, self.meter.used());
        result
    }

    /// Counts, for no path, the error of one refused file of [`Self::put_many`], which itself succeeds.
    pub(super) fn count_file_error<T>(&self, result: &Result<T>) {
        if let Err(error) = result {
            self.storage.counters.count_error(None, error);
        }
    }
}

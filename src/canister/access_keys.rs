//! Creates the keys of access tokens from the subnet's randomness.

use std::cell::Cell;
use std::time::Duration;

use candid::Principal;
use ic_cdk::call::Call;

use super::app::{App, now, report, with_app};
use crate::api::{Error, Result};

thread_local! {
    /// True from a request for random bytes until its answer arrives or one run of [`watch`] is skipped.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
}

/// Requests random bytes for a new key if a key is due and there is a blob to use it for: about once in 30 days. Until
/// the answer arrives, the canister has an open call, and cannot be stopped.
pub fn watch() {
    let due = with_app(|App { storage, .. }| {
        Ok(storage.blobs.blob_total() > 0 && storage.access_keys.needs_renewal(now()))
    });
    // While an answer is outstanding, only one run is skipped: the answer may be lost, so the next run requests the
    // bytes again.
    if due != Ok(true) || REQUESTED.replace(false) {
        return;
    }
    REQUESTED.set(true);
    ic_cdk_timers::set_timer(Duration::ZERO, async {
        if let Err(error) = renew().await {
            report("access keys", error);
        }
        REQUESTED.set(false);
    });
}

/// Fetches 32 random bytes from the management canister, and stores them as the new key.
async fn renew() -> Result<()> {
    let failed = |error: String| Error::Internal(format!("raw_rand: {error}"));
    let answer = Call::bounded_wait(Principal::management_canister(), "raw_rand").await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let bytes: serde_bytes::ByteBuf = answer.candid().map_err(|error| failed(error.to_string()))?;
    let got = bytes.len();
    let key = bytes.into_vec().try_into().map_err(|_| failed(format!("{got} bytes, expected 32")))?;
    with_app(|App { storage, .. }| {
        storage.room.check_for_records()?;
        storage.access_keys.renew(key, now());
        Ok(())
    })
}

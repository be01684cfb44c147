//! Records for the entries of a [`State`](super::State). Their field names appear in reports.

use candid::{CandidType, Principal};
use serde_bytes::ByteBuf;
use upload_canister::api::{PathCounts, UploadCounts};

/// An ended session.
#[derive(CandidType)]
pub(super) struct ReceiptShown {
    pub owner: Principal,
    pub outcome: &'static str,
    pub memory_id: Option<String>,
    pub blob_id: Option<String>,
    pub size: Option<u64>,
    pub digest: Option<ByteBuf>,
    pub uploaded_at: Option<u64>,
    pub expires_at: u64,
    /// The session to which the idempotency key of the ended session belongs now.
    pub key_leads_to: Option<SessionOfKey>,
}

/// The session to which an idempotency key leads: a record, since the codec replaces ids by names only in fields named
/// `session`.
#[derive(CandidType)]
pub(super) struct SessionOfKey {
    pub session: u64,
}

/// Whether the indexes by owner and by activity contain a live session, and which session its idempotency key leads to.
#[derive(CandidType)]
pub(super) struct IndexShown {
    pub by_owner: bool,
    pub by_activity: bool,
    pub key_leads_to: Option<SessionOfKey>,
}

/// Sums over all sessions, receipts and accounts.
#[derive(CandidType)]
pub(super) struct SumsShown {
    pub live_sessions: u64,
    pub receipts: u64,
    pub accounts: u64,
    pub bytes_in_use: u64,
}

/// Upload outcomes, over all paths. Instructions are missing, since they are compared as costs.
#[derive(CandidType)]
pub(super) struct CountsShown {
    pub sessions_begun: u64,
    pub sessions_finished: u64,
    pub sessions_aborted: u64,
    pub sessions_expired: u64,
    pub bytes_stored: u64,
    pub messages: u64,
    pub refusals: u64,
}

impl CountsShown {
    pub fn of(counts: &UploadCounts) -> Self {
        let paths = [&counts.compat, &counts.direct, &counts.no_path];
        let sum = |count: fn(&PathCounts) -> u64| paths.iter().map(|path| count(path)).sum();
        CountsShown {
            sessions_begun: sum(|path| path.sessions_begun),
            sessions_finished: sum(|path| path.sessions_finished),
            sessions_aborted: sum(|path| path.sessions_aborted),
            sessions_expired: sum(|path| path.sessions_expired),
            bytes_stored: sum(|path| path.bytes_stored),
            messages: sum(|path| path.by_call().iter().map(|(_, call)| call.messages).sum()),
            refusals: sum(|path| path.errors.by_kind().iter().map(|(_, count)| count).sum()),
        }
    }
}

/// The bytes of a blob.
#[derive(CandidType)]
pub(super) struct ContentShown {
    pub bytes: u64,
    pub sha256: ByteBuf,
}

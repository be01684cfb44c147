//! The calls of agents: when each expires, and who is waiting for its answer. The functions are in `requests.rs`.

use super::calls::MessageId;
use super::certification::RangesForm;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// What an instance keeps about agents' calls besides their `IngressRecord`s.
#[derive(Default)]
pub struct Requests {
    /// The calls by the time at which they expire, nanoseconds since 1970.
    pub(super) by_expiry: BTreeSet<(u64, MessageId)>,
    pub(super) waiters: Vec<Waiter>,
}

/// A client that waits for the certificate of an answer.
pub(super) struct Waiter {
    pub(super) id: MessageId,
    pub(super) ranges_form: RangesForm,
    pub(super) certificate: oneshot::Sender<Vec<u8>>,
}

//! The outcome of an execution, which the engine returns to its caller.

use std::time::Duration;

use super::error::Trap;
use super::state::CanisterState;
use super::types::{OutgoingCall, Response};

/// What an execution did.
///
/// After a trap, `state` is the previous one, and `reply`, `calls`, `certified_data`, `global_timer`, the
/// cycles and `message_accepted` are as if the message had not run; the counters and `logs` show what
/// happened until then.
#[derive(Clone, Debug)]
pub struct MessageOutcome {
    /// `Ok` if the message ran to its end; otherwise why it ended early.
    pub result: Result<(), Trap>,
    /// The state after the message. After a query, the caller of the engine ignores it and keeps the previous one.
    pub state: CanisterState,
    /// The reply or reject; `None` if the message sent neither.
    pub reply: Option<Response>,
    /// Instructions used, system API charges included.
    pub instructions: u64,
    /// Bytes passed to stable memory writes.
    pub stable_bytes_written: u64,
    /// Bytes requested by stable memory reads.
    pub stable_bytes_read: u64,
    /// 4 KiB pages of stable memory written at least once.
    pub dirty_stable_pages: u64,
    /// 4 KiB pages of the wasm memory whose contents changed; after a trap, none.
    pub dirty_wasm_pages: u64,
    /// How long the wasm ran on this machine.
    pub wall_time: Duration,
    /// The texts of `debug_print` and, after a trap, the text about the trap as the last one. Only the newest texts, at
    /// most [`super::MAX_LOG_BYTES`] in total.
    pub logs: Vec<Vec<u8>>,
    /// The calls that the message performed, in order.
    pub calls: Vec<OutgoingCall>,
    /// What the message set as certified data; `None` if it set nothing.
    pub certified_data: Option<Vec<u8>>,
    /// The deadline set by the message: nanoseconds since 1970, 0 = inactive; `None` if the message set none.
    pub global_timer: Option<u64>,
    pub cycles_accepted: u128,
    pub cycles_burned: u128,
    /// Whether `canister_inspect_message` accepted the message; false for every other entry point.
    pub message_accepted: bool,
}

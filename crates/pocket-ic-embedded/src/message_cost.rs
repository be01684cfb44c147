//! The cost of one execution of a canister's code, as listed by the server and read by its clients.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What one execution of a canister's code cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCost {
    /// Number of the execution, counted from 0 for each canister; never reused, so that a reader can tell which costs
    /// are new.
    pub index: u64,
    /// The kind of entry point: `start`, `init`, `update`, `query`, `global_timer`, …
    pub entry: Cow<'static, str>,
    /// The method, or empty for entry points other than methods; for `inspect_message`, the method that is inspected.
    pub method: String,
    /// Instructions, with the engine's approximation of the Internet Computer's weights.
    pub instructions: u64,
    /// Bytes written to stable memory; bytes written twice count twice.
    pub stable_bytes_written: u64,
    /// Bytes read from stable memory; bytes read twice count twice.
    pub stable_bytes_read: u64,
    /// 4 KiB pages of stable memory that were written, each counted once.
    pub dirty_stable_pages: u64,
    /// 4 KiB pages of the wasm memory whose contents changed; 0 after a trap.
    pub dirty_wasm_pages: u64,
    /// Size of the wasm memory after the execution (after a trap: as before it), in 64 KiB pages.
    pub wasm_memory_pages: u64,
    /// Size of stable memory after the execution (after a trap: as before it), in 64 KiB pages.
    pub stable_memory_pages: u64,
    /// How long the wasm ran, nanoseconds; differs between runs.
    pub wall_nanos: u64,
    /// Time of the round, or of the last round for queries and `inspect_message`, nanoseconds since 1970.
    pub time_nanos: u64,
    /// Whether the execution ended without a trap; true also if the canister rejected the call.
    pub ok: bool,
}

impl MessageCost {
    /// Returns whether the execution was a step of an install, reinstall or upgrade.
    pub fn is_install(&self) -> bool {
        ["start", "init", "pre_upgrade", "post_upgrade"].contains(&&*self.entry)
    }
}

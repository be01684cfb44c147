//! The report of an upgrade.

use candid::Principal;
use serde::{Deserialize, Serialize};

use super::Facts;
use crate::build::Build;

/// How an upgrade has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Ending {
    /// The module is already running.
    NothingToDo,
    /// The preflight has reasons against the upgrade; nothing was done.
    Refused {
        /// The reasons.
        reasons: Vec<String>,
    },
    /// The module runs. If the build has changed, everything is converted and verified.
    Upgraded {
        /// Records in quarantine.
        quarantined: u64,
    },
    /// The module was not installed.
    NotInstalled {
        /// Why the module was not installed, and possibly why the canister could not be started again.
        why: String,
    },
    /// The upgrade failed after the installation. The previous module runs again, and what clients have written is
    /// kept.
    RolledBack {
        /// Why the upgrade failed.
        why: String,
    },
    /// The upgrade failed after the installation. The snapshot is restored.
    Restored {
        /// Why the upgrade failed.
        why: String,
        /// Why the rollback failed.
        no_rollback: String,
        /// What is lost; absent if the canister did not report it.
        lost: Option<WriteCounts>,
    },
    /// The upgrade failed after the installation, and there was no recovery, or the recovery failed, too.
    Held {
        /// Why the upgrade failed.
        why: String,
        /// Why there was no recovery, or why the recovery failed.
        no_recovery: String,
    },
}

/// Counts of what clients have written: between the snapshot and its restoration, or in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCounts {
    /// Calls that write: begin, put, finish, abort, and whole files.
    pub calls: u64,
    /// Sessions begun.
    pub sessions_begun: u64,
    /// Sessions finished.
    pub sessions_finished: u64,
    /// Bytes stored.
    pub bytes_stored: u64,
}

impl WriteCounts {
    /// Returns what was written after the counts were `before`.
    pub(super) fn since(self, before: WriteCounts) -> WriteCounts {
        WriteCounts {
            calls: self.calls.saturating_sub(before.calls),
            sessions_begun: self.sessions_begun.saturating_sub(before.sessions_begun),
            sessions_finished: self.sessions_finished.saturating_sub(before.sessions_finished),
            bytes_stored: self.bytes_stored.saturating_sub(before.bytes_stored),
        }
    }
}

impl std::fmt::Display for WriteCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WriteCounts { calls, sessions_begun, sessions_finished, bytes_stored } = self;
        write!(
            f,
            "{calls} calls: {sessions_begun} sessions begun, {sessions_finished} finished, {bytes_stored} bytes stored"
        )
    }
}

/// An upgrade that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The canister.
    pub canister: Principal,
    /// The build to install.
    pub to: Build,
    /// SHA-256 of the module to install, hex.
    pub module_hash: String,
    /// What the preflight has found; absent if the upgrade ended before that.
    pub before: Option<Facts>,
    /// Id of the snapshot that was taken, hex, unless the snapshot was deleted.
    pub snapshot: Option<String>,
    /// How the upgrade has ended.
    pub ending: Ending,
}

impl Report {
    /// Returns whether the module runs as planned.
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Ending::NothingToDo | Ending::Upgraded { .. })
    }

    /// Returns whether nothing was done.
    pub fn is_refused(&self) -> bool {
        matches!(self.ending, Ending::Refused { .. })
    }
}

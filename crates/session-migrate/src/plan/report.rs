//! A plan, as it is written.

use serde::{Deserialize, Serialize};

use super::Cycles;
use crate::Verdict;
use crate::inspect::SnapshotReport;
use crate::progress::Phase;
use crate::provenance::Provenance;

/// What the staged upgrade will do, as written with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pass: go. Fail: do not.
    pub verdict: Verdict,
    /// Why not to go; empty when the verdict is pass.
    pub reasons: Vec<String>,
    /// What to know before going.
    pub cautions: Vec<String>,
    /// When, with what and from which tree it was made.
    pub provenance: Provenance,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// How long it took here, seconds.
    pub seconds: f64,
    /// The snapshot.
    pub snapshot: SnapshotReport,
    /// Legacy records there are.
    pub records: u64,
    /// Of these: that become layout 2.
    pub converted: u64,
    /// Of these: that will be in quarantine.
    pub quarantined: u64,
    /// Of these: that are over.
    pub expired: u64,
    /// The same by class.
    pub classes: Vec<ClassPlan>,
    /// Size of stable memory, bytes.
    pub stable_before: u64,
    /// The same at the end.
    pub stable_after: u64,
    /// What each step takes.
    pub steps: Vec<Step>,
    /// Where the prices are from.
    pub prices: String,
}

/// Records of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassPlan {
    /// The class.
    pub class: String,
    /// What becomes of them.
    pub treatment: String,
    /// How many.
    pub count: u64,
}

/// What a step takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub name: String,
    /// Messages that the canister executes.
    pub messages: u64,
    /// Instructions of all of them.
    pub instructions: u64,
    /// Instructions of the largest one.
    pub largest: u64,
    /// Instructions that one message may take.
    pub limit: u64,
    /// What it costs.
    pub cycles: Cycles,
    /// At one message a round, seconds.
    pub seconds: u64,
    /// Size of stable memory afterwards, bytes.
    pub stable_bytes: u64,
    /// Size of the wasm memory afterwards, bytes.
    pub heap_bytes: u64,
}

impl Report {
    /// What an operator may tell clients.
    pub fn for_users(&self) -> String {
        let mut text = "We upgrade the upload canister. Uploads that are in flight go on where they are; nothing has to be begun \
             again. A call that is rejected or not answered during the upgrade may simply be repeated."
            .to_owned();
        if self.expired > 0 {
            text.push_str(" Uploads that have been idle for longer than their time are dropped, as always.");
        }
        if self.quarantined > 0 {
            text.push_str(&format!(
                " {} old uploads cannot be continued: their clients are answered with a conflict, and begin again.",
                self.quarantined
            ));
        }
        text
    }
}

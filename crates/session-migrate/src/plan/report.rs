//! The report of a plan.

use serde::{Deserialize, Serialize};

use super::Cycles;
use crate::Verdict;
use crate::inspect::SnapshotReport;
use crate::progress::Phase;
use crate::provenance::Provenance;

/// The effects of the staged upgrade, as written with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pass: upgrade. Fail: do not upgrade.
    pub verdict: Verdict,
    /// Reasons against the upgrade; empty if the verdict is pass.
    pub reasons: Vec<String>,
    /// What the operator should know before the upgrade.
    pub cautions: Vec<String>,
    /// When, how and from which tree the report was made.
    pub provenance: Provenance,
    /// The time of each phase.
    pub phases: Vec<Phase>,
    /// Time that the plan took, seconds.
    pub seconds: f64,
    /// The snapshot.
    pub snapshot: SnapshotReport,
    /// Number of legacy records. This and the next three numbers are 0 unless the first migration reached `Converted`.
    pub records: u64,
    /// Number of records that will be converted.
    pub converted: u64,
    /// Number of records that will be quarantined.
    pub quarantined: u64,
    /// Number of records whose sessions have expired: they are released, not converted.
    pub expired: u64,
    /// The records by class; empty unless the first migration reached `Converted`.
    pub classes: Vec<ClassPlan>,
    /// Size of stable memory before the upgrade, bytes.
    pub stable_before: u64,
    /// Size of stable memory after all steps, bytes.
    pub stable_after: u64,
    /// Size of the heap (wasm memory) before the upgrade, bytes; for a raw stable memory, which comes without a heap,
    /// that of the legacy build after its start.
    pub heap_before: u64,
    /// Size of the heap after all steps, bytes.
    pub heap_after: u64,
    /// The cost of each step.
    pub steps: Vec<StepCost>,
    /// Source of the prices.
    pub prices: String,
}

/// Records of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassPlan {
    /// The class.
    pub class: String,
    /// What the migration does with these records: the name of a treatment.
    pub treatment: String,
    /// Number of records.
    pub count: u64,
}

/// The cost of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCost {
    /// The name of the step.
    pub name: String,
    /// Messages that the canister executes, without queries.
    pub messages: u64,
    /// Instructions of all messages.
    pub instructions: u64,
    /// Instructions of the most expensive message.
    pub largest: u64,
    /// Instruction limit of a message of this step: of an installation, or of an update or a timer.
    pub limit: u64,
    /// Price of the messages.
    pub cycles: Cycles,
    /// Estimated duration in seconds, at one message per second.
    pub seconds: u64,
    /// Size of stable memory afterwards, bytes.
    pub stable_bytes: u64,
    /// Maximum size of stable memory, bytes.
    pub stable_limit: u64,
    /// Size of the heap (wasm memory) afterwards, bytes.
    pub heap_bytes: u64,
    /// Maximum size of the heap, bytes.
    pub heap_limit: u64,
}

impl StepCost {
    /// Returns each quantity that exceeds its limit: what it is, its size and the limit.
    pub fn exceeded(&self) -> Vec<(&'static str, u64, u64)> {
        let each = [
            ("instructions of a message", self.largest, self.limit),
            ("bytes of stable memory", self.stable_bytes, self.stable_limit),
            ("bytes of heap", self.heap_bytes, self.heap_limit),
        ];
        each.into_iter().filter(|(_, size, limit)| size > limit).collect()
    }

    /// Returns whether the step stays within the limits on instructions, stable memory and heap.
    pub fn fits(&self) -> bool {
        self.exceeded().is_empty()
    }
}

impl Report {
    /// Returns an announcement for the operator's users.
    pub fn for_users(&self) -> String {
        let mut text = "We upgrade the upload canister. Uploads in flight continue; nothing has to be started again. Repeat any \
             call that is rejected or not answered during the upgrade."
            .to_owned();
        if self.expired > 0 {
            text.push_str(" Uploads that have been idle for too long expire, as always.");
        }
        if self.quarantined > 0 {
            text.push_str(&format!(
                " {} old uploads are an exception: they cannot be continued, their clients get a conflict and start \
                again.",
                self.quarantined
            ));
        }
        text
    }
}

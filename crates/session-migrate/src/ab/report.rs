//! The report of a comparison of two builds, as written with `--json`.

use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::progress::Phase;
use crate::provenance::Provenance;
use crate::server::ServerKind;

/// The report of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pass or fail.
    pub verdict: Verdict,
    /// The kind of server on which the traces were replayed; the provenance has its name and version.
    pub server: ServerKind,
    /// The provenance of the report.
    pub provenance: Provenance,
    /// The phases, with their times.
    pub phases: Vec<Phase>,
    /// Side A.
    pub a: BuildReport,
    /// Side B.
    pub b: BuildReport,
    /// The comparison of each trace.
    pub runs: Vec<TraceComparison>,
    /// The rules: those for differences, then those for costs, each in the order of the file.
    pub rules: Vec<RuleUse>,
    /// Whether rules that matched nothing are reported as stale: true only if every workload was replayed, on the
    /// builds for which the rules are written, if they name any.
    pub judges_rules: bool,
}

/// One of the two builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReport {
    /// Name on the command line: `legacy`, `staged`, `direct`, or a file.
    pub name: String,
    /// Cargo features according to the metadata of the module.
    pub features: Vec<String>,
    /// SHA-256 of the gzipped module, in hex: the module hash.
    pub sha256: String,
}

/// One trace on both builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceComparison {
    /// The workload's name, or the trace's file.
    pub name: String,
    /// Number of calls in the trace, updates and queries.
    pub calls: u64,
    /// Bytes of payload that side A accepted, in chunks and in whole files; a repeated call counts once.
    pub uploaded_bytes: u64,
    /// All differences: first of answers, then of the final state, then of costs.
    pub differences: Vec<DifferenceReport>,
    /// Numbers of equal answers, of equal entries of the state, and of cost figures within the tolerance.
    pub equal: Equal,
    /// Costs of each endpoint; empty if the server does not report costs.
    pub endpoints: Vec<Endpoint>,
    /// Total costs; absent if the server does not report costs.
    pub totals: Option<Sides<Totals>>,
}

/// A value for each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The value for side A.
    pub a: T,
    /// The value for side B.
    pub b: T,
}

/// Numbers of values that are not reported as differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equal {
    /// Equal answers to calls and upgrades.
    pub replies: u64,
    /// Equal entries of the final state: sessions, memories, blobs by content, indexes, accounts.
    pub state: u64,
    /// Cost figures within the tolerance: the worst one of each endpoint, and three of the whole trace.
    pub costs: u64,
}

/// Where a difference was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the answer to a call or an upgrade.
    Reply,
    /// In the final states.
    State,
    /// In instructions, bytes written, stable memory or heap.
    Cost,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceReport {
    /// Whether an answer, the state or a cost differs.
    pub place: Place,
    /// The method or `upgrade`, the entry of the state, or the endpoint or figure of the whole trace.
    pub of: String,
    /// The line of the trace with the call or the upgrade; absent for state and cost.
    pub line: Option<usize>,
    /// The field, such as `Ok.path` or `instructions, median`; empty if the whole value differs.
    pub field: String,
    /// Side A's value.
    pub a: String,
    /// Side B's value.
    pub b: String,
    /// The rule that allows the difference; absent for a regression.
    pub rule: Option<String>,
}

/// Costs of an endpoint on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The method; `timer` for timers and the messages that they send to the canister itself, `upgrade` for upgrades.
    pub name: String,
    /// `update` or `query`; for `timer` and `upgrade`, the same as `name`.
    pub kind: String,
    /// Side A's costs.
    pub a: EndpointCost,
    /// Side B's costs.
    pub b: EndpointCost,
    /// How many more instructions side B uses in total, percent: negative if it uses fewer, 0 if neither uses any,
    /// 10,000 if only side A uses none.
    pub more_percent: f64,
}

/// Costs of an endpoint on one side: instructions by the weights of the Internet Computer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCost {
    /// Number of messages.
    pub messages: u64,
    /// Instructions of the median message.
    pub median: u64,
    /// Instructions that 99 % of the messages do not exceed.
    pub p99: u64,
    /// Instructions of all messages.
    pub total: u64,
    /// Bytes written to stable memory by all messages.
    pub stable_bytes_written: u64,
}

/// Costs of a whole trace on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Instructions of all updates, timers and upgrades, without the installation and queries.
    pub instructions: u64,
    /// Bytes written to stable memory by the same messages.
    pub stable_bytes_written: u64,
    /// Size of stable memory at the end, bytes.
    pub stable_bytes: u64,
    /// Size of the wasm memory at the end, bytes.
    pub heap_bytes: u64,
    /// Instructions per uploaded MiB; absent if nothing was uploaded.
    pub instructions_per_mib: Option<u64>,
    /// Bytes written to stable memory per uploaded MiB; absent if nothing was uploaded.
    pub stable_bytes_written_per_mib: Option<u64>,
}

/// A rule that allows differences, and how many it allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleUse {
    /// Name of the rule.
    pub name: String,
    /// Reason for the rule.
    pub reason: String,
    /// How many differences the rule allowed.
    pub matched: u64,
}

impl Report {
    /// Iterates over the differences that no rule allows, each with the name of its trace.
    pub fn regressions(&self) -> impl Iterator<Item = (&str, &DifferenceReport)> {
        self.runs.iter().flat_map(|run| {
            let unexplained = run.differences.iter().filter(|difference| difference.rule.is_none());
            unexplained.map(|difference| (run.name.as_str(), difference))
        })
    }

    /// Iterates over the rules that matched nothing; over none if [`Report::judges_rules`] is false.
    pub fn stale_rules(&self) -> impl Iterator<Item = &RuleUse> {
        self.rules.iter().filter(|rule| self.judges_rules && rule.matched == 0)
    }
}

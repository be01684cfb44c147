//! Compares two builds: replays traces on both, and compares answers, final states and costs.
//!
//! Owns: the comparison and its report. Does not own: replaying ([`crate::replay`]), differences and rules
//! ([`crate::compare`]).

mod endpoints;
mod error;
mod figures;
mod markdown;
mod page;
pub mod report;
mod side;
mod uploaded;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Verdict;
use crate::compare::{self, Difference, RuleError, Rules, Tally};
use crate::progress::Progress;
use crate::provenance::{Provenance, source_tree};
use crate::replay::{Builds, ReplayError, State};
use crate::server;
use crate::temporary;
use crate::trace::{EventKind, Trace, TraceError, TracedCall};
use crate::workload::{self, Order, Workload};

pub use error::AbError;
pub use report::Report;

use report::{BuildReport, DifferenceReport, Equal, Place, RuleUse, Sides, Totals, TraceComparison};
use side::Side;

/// A trace or a workload that is replayed on both builds.
#[derive(Clone, Debug)]
pub enum Comparand {
    /// A trace.
    Trace(PathBuf),
    /// A workload, which is recorded on side A first.
    Workload(Order),
}

/// Options of [`run`]: two builds, and what to replay on them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Side A: the name of a build, or a wasm file.
    pub a: String,
    /// Side B: the name of a build, or a wasm file.
    pub b: String,
    /// The traces and workloads to replay, one after the other.
    pub comparands: Vec<Comparand>,
    /// Allowed differences.
    pub rules: Rules,
    /// Modules to use instead of the tree's builds of the same names.
    pub builds: Builds,
}

/// A trace that has been read, or a workload that is still to be recorded.
enum Prepared {
    /// A trace, and its name in the report.
    Trace(String, Trace),
    Workload(Order),
}

impl Prepared {
    fn new(comparand: Comparand) -> Result<Prepared, TraceError> {
        Ok(match comparand {
            Comparand::Trace(path) => Prepared::Trace(path.display().to_string(), Trace::read(&path)?),
            Comparand::Workload(order) => Prepared::Workload(order),
        })
    }
}

/// Returns the rules that are checked in with the source tree of this program.
///
/// # Errors
/// [`RuleError`], also if the source tree no longer exists.
pub fn rules_of_the_tree() -> Result<Rules, RuleError> {
    Rules::read(&source_tree().join("ab/allowed.toml"))
}

/// Returns the rules in a file; without a file, the rules that are checked in.
///
/// # Errors
/// [`RuleError`].
pub fn rules(path: Option<&Path>) -> Result<Rules, RuleError> {
    path.map_or_else(rules_of_the_tree, Rules::read)
}

/// Compares two builds.
///
/// # Errors
/// [`AbError`]. Differences are no error: they are in the report.
pub fn run(options: Options, progress: &Progress) -> Result<Report, AbError> {
    let provenance = Provenance::now();
    let Options { a, b, comparands, rules, mut builds } = options;
    let rule_builds = rules.builds.clone();
    let mut tally = Tally::new(rules.for_two_builds());
    let folder = temporary::folder().map_err(AbError::Folder)?;
    let mut build_report = |name: &str| -> Result<BuildReport, AbError> {
        let module = builds.get(name)?;
        Ok(BuildReport {
            name: name.into(),
            features: module.features.clone(),
            sha256: module.sha256.clone(),
        })
    };
    let has_all_workloads = Workload::ALL.iter().all(|workload| {
        comparands
            .iter()
            .any(|comparand| matches!(comparand, Comparand::Workload(order) if order.workload == *workload))
    });
    // Traces are read before anything is built, so that an unreadable trace is reported at once. Workloads have no
    // trace yet.
    let prepared = comparands.into_iter().map(Prepared::new).collect::<Result<Vec<_>, _>>()?;
    let (report_a, report_b) =
        progress.silent("building wasms", || Ok::<_, AbError>((build_report(&a)?, build_report(&b)?)))?;
    let judges_rules = has_all_workloads && rule_builds.is_none_or(|builds| builds.a == a && builds.b == b);
    let mut runs = Vec::new();
    for (number, comparand) in prepared.into_iter().enumerate() {
        let (name, trace) = match comparand {
            Prepared::Trace(name, trace) => (name, trace),
            Prepared::Workload(order) => {
                progress.phase(format!("recording {} on {a}", order.workload));
                let path = folder.path().join(format!("{number}.trace"));
                let module = builds.get(&a)?;
                let path = workload::record(order, &a, &module, &path)?;
                (order.workload.name().to_owned(), Trace::read(&path)?)
            }
        };
        progress.phase(format!("playing {name} on {a} and {b}"));
        let sides = side::play_both(&trace, &a, &b, &builds)?;
        runs.push(compare_sides(name, &trace, &sides, &mut tally));
    }
    let rules = tally
        .uses()
        .map(|(name, reason, matched)| RuleUse { name: name.into(), reason: reason.into(), matched })
        .collect();
    let failed = runs.iter().any(|run| run.differences.iter().any(|difference| difference.rule.is_none()));
    let verdict = if failed { Verdict::Fail } else { Verdict::Pass };
    let server = server::chosen().map_err(ReplayError::from)?;
    Ok(Report {
        verdict,
        server: server.kind,
        provenance: provenance.on(server),
        phases: progress.finish(),
        a: report_a,
        b: report_b,
        runs,
        rules,
        judges_rules,
    })
}

fn compare_sides(name: String, trace: &Trace, sides: &Sides<Side>, tally: &mut Tally) -> TraceComparison {
    let uploaded_bytes = uploaded::bytes(traced_calls(trace), &sides.a.events);
    let mut run = TraceComparison {
        name,
        calls: traced_calls(trace).count() as u64,
        uploaded_bytes,
        differences: Vec::new(),
        equal: Equal::default(),
        endpoints: Vec::new(),
        totals: None,
    };
    run.compare_replies(trace, sides, tally);
    run.compare_state(sides, tally);
    if let (Some(a), Some(b)) = (&sides.a.costs, &sides.b.costs) {
        run.endpoints = endpoints::endpoints(a, b);
        let totals = endpoints::totals(Sides { a, b }, uploaded_bytes);
        run.compare_costs(&totals, tally);
        run.totals = Some(totals);
    }
    run
}

fn traced_calls(trace: &Trace) -> impl Iterator<Item = (usize, &TracedCall)> {
    trace.events.iter().enumerate().filter_map(|(index, event)| match &event.what {
        EventKind::Call(call) => Some((index, call)),
        _ => None,
    })
}

impl TraceComparison {
    fn compare_replies(&mut self, trace: &Trace, sides: &Sides<Side>, tally: &mut Tally) {
        for (index, (a, b)) in sides.a.events.iter().zip(&sides.b.events).enumerate() {
            let of = match trace.events.get(index).map(|event| &event.what) {
                Some(EventKind::Call(call)) => call.method.as_str(),
                Some(EventKind::Upgrade { .. }) => "upgrade",
                _ => continue,
            };
            let found = compare::differences(a, b);
            self.equal.replies += u64::from(found.is_empty());
            for difference in found {
                let rule = tally.use_rule_for(of, &difference);
                self.add_difference(Place::Reply, of, Some(trace.line_of(index)), difference, rule);
            }
        }
    }

    fn compare_state(&mut self, sides: &Sides<Side>, tally: &mut Tally) {
        let (a, b) = (&sides.a.state, &sides.b.state);
        for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            let (part, name) = key;
            let text = |state: &State| state.get(key).cloned().unwrap_or_else(|| "nothing".into());
            let found = compare::differences_of_texts(&text(a), &text(b));
            self.equal.state += u64::from(found.is_empty());
            for difference in found {
                // Rules name a part of the state, such as its sessions; the report also names the entry.
                let rule = tally.use_rule_for(part, &difference);
                self.add_difference(Place::State, &format!("{part} {name}"), None, difference, rule);
            }
        }
    }

    fn compare_costs(&mut self, totals: &Sides<Totals>, tally: &mut Tally) {
        let mut found = Vec::new();
        for (figure, judged_percent) in
            figures::figures(&self.endpoints, totals, tally.tolerance_instructions())
        {
            let (allowed_percent, rule) = tally.cost_allowance(figure.name, judged_percent);
            // A figure beyond the tolerance is reported as a difference, with the rule that allows it, if there is one.
            if rule.is_none() && judged_percent <= f64::from(allowed_percent) {
                self.equal.costs += 1;
                continue;
            }
            let b = format!("{}, {:.2} % more, {allowed_percent} % allowed", figure.b, figure.more_percent());
            let difference = Difference { field: figure.field.into(), a: figure.a.to_string(), b };
            found.push((figure.name_in_reports, difference, rule));
        }
        for (of, difference, rule) in found {
            self.add_difference(Place::Cost, &of, None, difference, rule);
        }
    }

    fn add_difference(
        &mut self,
        place: Place,
        of: &str,
        line: Option<usize>,
        difference: Difference,
        rule: Option<String>,
    ) {
        let Difference { field, a, b } = difference;
        self.differences.push(DifferenceReport { place, of: of.into(), line, field, a, b, rule });
    }
}

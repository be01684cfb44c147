//! Comparison of measured figures with the checked-in ones.

use std::fmt;

use session_migrate::build::Build;

use crate::bench::MeasuredStep;
use crate::results::Results;

/// Share by which a figure may change before it counts as worse or better.
const TOLERANCE: f64 = 0.02;

/// A change of a step's instructions up to this is ignored regardless of its share: a change of unrelated code can make
/// the compiler add as much to a call of 30,000 instructions.
pub const NOISE_INSTRUCTIONS: u64 = 2_000;

/// Returns whether a figure is worse by more than the tolerance and by more than `noise`.
pub fn is_worse(before: u64, now: u64, noise: u64) -> bool {
    now.abs_diff(before) > noise && now as f64 > before as f64 * (1.0 + TOLERANCE)
}

fn is_better(before: u64, now: u64, noise: u64) -> bool {
    now.abs_diff(before) > noise && (now as f64) < before as f64 * (1.0 - TOLERANCE)
}

/// A figure that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The build.
    pub build: Build,
    /// The benchmark.
    pub bench: String,
    /// The step.
    pub step: String,
    /// The name of the figure, such as `instructions`.
    pub figure: &'static str,
    /// As checked in.
    pub before: u64,
    /// As measured.
    pub after: u64,
}

impl Change {
    /// Returns the relative change; positive is worse, and any change from 0 is infinite.
    fn relative_change(&self) -> f64 {
        match self.before {
            0 => f64::INFINITY,
            before => self.after as f64 / before as f64 - 1.0,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { build, bench, step, figure, before, after } = self;
        write!(
            f,
            "{build} {bench}/{step}: {figure} {before} -> {after} ({:+.2} %)",
            self.relative_change() * 100.0
        )
    }
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Figures that are worse by more than the tolerance and the noise.
    pub losses: Vec<Change>,
    /// Figures that are better by more than the tolerance and the noise. A later loss of the gain is only noticed once
    /// they are checked in.
    pub gains: Vec<Change>,
    /// Steps that are checked in and were due in this run, but were not measured.
    pub missing: Vec<String>,
    /// Steps that were measured, but are not checked in.
    pub unrecorded: Vec<String>,
    /// Number of figures that were compared.
    pub compared: usize,
}

impl Comparison {
    /// Returns whether a figure is worse, or a step is missing or not checked in.
    pub fn fails(&self) -> bool {
        !self.losses.is_empty() || !self.missing.is_empty() || !self.unrecorded.is_empty()
    }

    /// Compares the figures measured on one build with the checked-in ones. Scenarios for which `is_due` returns
    /// `false` were not supposed to run.
    pub fn add(&mut self, recorded: Option<&Results>, measured: &Results, is_due: impl Fn(&str) -> bool) {
        let build = measured.build;
        let recorded = recorded.map_or(&[][..], |recorded| recorded.benches.as_slice());
        for bench in &measured.benches {
            let before = recorded.iter().find(|known| known.name == bench.name);
            for step in &bench.steps {
                match before.and_then(|known| known.steps.iter().find(|known| known.name == step.name)) {
                    Some(known) => self.compare(build, &bench.name, known, step),
                    None => self.unrecorded.push(format!("{build} {}/{}", bench.name, step.name)),
                }
            }
        }
        for bench in recorded.iter().filter(|bench| is_due(&bench.scenario)) {
            let now = measured.bench(&bench.name);
            for step in &bench.steps {
                if now.and_then(|now| now.step(&step.name)).is_none() {
                    self.missing.push(format!("{build} {}/{}", bench.name, step.name));
                }
            }
        }
    }

    fn compare(&mut self, build: Build, bench: &str, before: &MeasuredStep, after: &MeasuredStep) {
        let (old, new) = (before.cost, after.cost);
        let figures = [
            ("instructions", old.instructions, new.instructions, NOISE_INSTRUCTIONS),
            ("stable bytes written", old.stable_bytes_written, new.stable_bytes_written, 0),
        ];
        for (figure, before, now, noise) in figures {
            self.compared += 1;
            let change = Change {
                build,
                bench: bench.to_owned(),
                step: after.name.clone(),
                figure,
                before,
                after: now,
            };
            if is_worse(before, now, noise) {
                self.losses.push(change);
            } else if is_better(before, now, noise) {
                self.gains.push(change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;
    use crate::cost::Cost;

    fn results(steps: &[(&str, u64, u64)]) -> Results {
        let steps = steps.iter().map(|&(name, instructions, stable_bytes_written)| MeasuredStep {
            name: name.into(),
            cost: Cost { instructions, stable_bytes_written, ..Cost::default() },
        });
        let bench = Bench {
            scenario: "upload".into(),
            name: "upload".into(),
            payload_bytes: 0,
            steps: steps.collect(),
        };
        Results { build: Build::Direct, benches: vec![bench] }
    }

    fn compare(before: &Results, after: &Results) -> Comparison {
        let mut comparison = Comparison::default();
        comparison.add(Some(before), after, |_| true);
        comparison
    }

    #[test]
    fn two_percent_are_allowed_and_no_more() {
        let before = results(&[("put", 1_000_000, 0)]);
        assert!(!compare(&before, &results(&[("put", 1_020_000, 0)])).fails());
        let found = compare(&before, &results(&[("put", 1_021_000, 0)]));
        assert!(found.fails());
        assert_eq!(
            found.losses[0].to_string(),
            "direct upload/put: instructions 1000000 -> 1021000 (+2.10 %)"
        );
    }

    #[test]
    fn a_few_instructions_are_no_loss_and_no_gain() {
        let before = results(&[("put", 30_000, 0)]);
        for noise in [28_000, 32_000] {
            let found = compare(&before, &results(&[("put", noise, 0)]));
            assert_eq!((found.losses.len(), found.gains.len(), found.compared), (0, 0, 2));
        }
        assert!(compare(&before, &results(&[("put", 32_001, 0)])).fails());
        assert_eq!(compare(&before, &results(&[("put", 27_999, 0)])).gains.len(), 1);
    }

    #[test]
    fn bytes_count_too_and_gains_are_reported() {
        let found = compare(&results(&[("put", 100_000, 0)]), &results(&[("put", 90_000, 1)]));
        assert_eq!(found.losses[0].figure, "stable bytes written");
        assert_eq!(found.gains[0].figure, "instructions");
        assert_eq!((found.losses.len(), found.gains.len(), found.compared), (1, 1, 2));
    }

    #[test]
    fn new_and_missing_figures_are_reported() {
        let (put, both) = (results(&[("put", 1, 0)]), results(&[("put", 1, 0), ("finish", 1, 0)]));
        assert_eq!(compare(&both, &put).missing, ["direct upload/finish"]);
        assert_eq!(compare(&put, &both).unrecorded, ["direct upload/finish"]);
        let mut not_due = Comparison::default();
        not_due.add(Some(&both), &Results { benches: Vec::new(), ..put }, |_| false);
        assert!(!not_due.fails());
    }
}

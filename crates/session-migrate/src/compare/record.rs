//! Comparison of the answers of a replay (side B) with those recorded in its trace (side A).

use super::{Difference, Tally, differences};
use crate::replay::Played;
use crate::trace::{Event, EventKind, Trace, TracedAnswer};

/// The result of comparing a replay with its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Number of equal answers.
    pub equal: u64,
    /// Number of differences that a rule allows. An answer may have several differences.
    pub allowed: u64,
    /// The differences that no rule allows, in the order of the trace.
    pub wrong: Vec<Mismatch>,
}

/// One difference of an answer from the recorded one; side A is the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the trace.
    pub line: usize,
    /// The method, or `upgrade`.
    pub method: String,
    /// The difference.
    pub difference: Difference,
}

/// Compares every answer with the recorded one, and counts in `tally` how often each rule allows a difference.
pub fn with_record(trace: &Trace, played: &[Played], tally: &mut Tally) -> Judgement {
    let mut judgement = Judgement::default();
    for (index, (event, played)) in trace.events.iter().zip(played).enumerate() {
        let Some((method, recorded)) = recorded_answer(event) else { continue };
        let found = differences(&Played::Answered(recorded.clone()), played);
        judgement.equal += u64::from(found.is_empty());
        for difference in found {
            if tally.use_rule_for(method, &difference).is_some() {
                judgement.allowed += 1;
            } else {
                let line = trace.line_of(index);
                judgement.wrong.push(Mismatch { line, method: method.to_owned(), difference });
            }
        }
    }
    judgement
}

/// Returns the method (or `upgrade`) and the recorded answer; `None` for an event without an answer.
fn recorded_answer(event: &Event) -> Option<(&str, &TracedAnswer)> {
    match &event.what {
        EventKind::Call(call) => Some((&call.method, &call.answer)),
        EventKind::Upgrade { answer, .. } => Some(("upgrade", answer)),
        EventKind::Pass { .. } | EventKind::Stop | EventKind::Start | EventKind::ClockRuns => None,
    }
}

//! Replays the events of a trace one after the other, and calls that were in flight together at once.

use super::canister::PendingAnswer;
use super::interrupt::Interruption;
use super::{Builds, ReplayCanister, ReplayError};
use crate::trace::{Codec, CodecError, Event, EventKind, Trace, TracedAnswer, TracedCall};

/// Number of calls after which the costs are read. This many calls cause fewer than the 10,000 messages
/// whose costs the server keeps.
const CALLS_PER_READING: usize = 1_000;

/// Outcome of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Played {
    /// The event has no answer.
    Done,
    /// A call or an upgrade was answered.
    Answered(TracedAnswer),
    /// The call was not sent, since it names an id that this canister has not issued.
    NotSent {
        /// The name of the id in the trace.
        name: String,
    },
}

/// What was played of a trace.
pub struct Playback {
    /// Outcome of each played event, in order.
    pub events: Vec<Played>,
    /// The codec, which knows the ids that the canister has issued.
    pub codec: Codec,
}

/// Replays a trace to its end. `builds` provides the modules for the upgrades in the trace and the interruptions.
///
/// # Errors
/// If the environment fails, or an interruption does not have the expected effect.
pub fn play(
    trace: &Trace,
    subject: &mut ReplayCanister,
    builds: &mut Builds,
    interruptions: &[Interruption],
) -> Result<Playback, ReplayError> {
    let mut player = Player::new(trace, subject, builds, interruptions)?;
    player.play_to(trace.events.len())?;
    Ok(player.finish())
}

/// A replay that can be continued step by step.
pub struct Player<'a> {
    trace: &'a Trace,
    subject: &'a mut ReplayCanister,
    builds: &'a mut Builds,
    interruptions: &'a [Interruption],
    playback: Playback,
    /// Number of calls since the costs were last read.
    calls_since_reading: usize,
}

impl<'a> Player<'a> {
    /// Creates a player at the beginning of a trace.
    ///
    /// # Errors
    /// If the line of an interruption contains no event, or the upload canister's interface does not parse.
    pub fn new(
        trace: &'a Trace,
        subject: &'a mut ReplayCanister,
        builds: &'a mut Builds,
        interruptions: &'a [Interruption],
    ) -> Result<Self, ReplayError> {
        interruptions.iter().try_for_each(|interruption| interruption.check(trace))?;
        let playback = Playback {
            events: Vec::with_capacity(trace.events.len()),
            codec: Codec::new(trace.header.start)?,
        };
        Ok(Player { trace, subject, builds, interruptions, playback, calls_since_reading: 0 })
    }

    /// Returns the canister.
    pub fn subject(&self) -> &ReplayCanister {
        self.subject
    }

    /// Replays until event number `end` is next, or the trace ends. Calls in flight together are not separated, so the
    /// replay may end later.
    pub fn play_to(&mut self, end: usize) -> Result<(), ReplayError> {
        while self.playback.events.len() < end {
            let first = self.playback.events.len();
            let Some(event) = self.trace.events.get(first) else { break };
            let together = first..first + calls_in_flight_together(&self.trace.events, first).len().max(1);
            for interruption in self.interruptions {
                interruption.interrupt_if_due(together.clone(), self.trace, self.subject, self.builds)?;
            }
            self.subject.set_time(self.trace.header.start.saturating_add(event.at));
            self.play_event(first, &event.what)?;
            if self.calls_since_reading >= CALLS_PER_READING {
                self.calls_since_reading = 0;
                self.subject.read_costs()?;
            }
        }
        self.subject.read_costs()
    }

    /// Returns the outcomes of the events, and the codec.
    pub fn finish(self) -> Playback {
        self.playback
    }

    /// Plays the event at `first`; if it is a call, plays all calls that were in flight together with it.
    fn play_event(&mut self, first: usize, what: &EventKind) -> Result<(), ReplayError> {
        let played = match what {
            EventKind::Call(_) => {
                let calls = calls_in_flight_together(&self.trace.events, first);
                self.calls_since_reading += calls.len();
                return self.playback.play_calls(self.trace, self.subject, first, &calls);
            }
            EventKind::Pass { rounds } => {
                self.subject.rounds(*rounds);
                Played::Done
            }
            EventKind::Upgrade { build, .. } => {
                let module = self.builds.get(build)?;
                Played::Answered(match self.subject.upgrade(&module) {
                    Ok(()) => TracedAnswer::accepted(),
                    Err(reject) => TracedAnswer::from(&reject),
                })
            }
            EventKind::Stop => {
                self.subject.stop()?;
                Played::Done
            }
            EventKind::Start => {
                self.subject.start()?;
                Played::Done
            }
            EventKind::ClockRuns => {
                self.playback.codec.clock_runs();
                Played::Done
            }
        };
        self.playback.events.push(played);
        Ok(())
    }
}

/// Returns the call at `first`, and the following calls that were sent while an earlier call was not answered. Empty if
/// the event at `first` is not a call.
fn calls_in_flight_together(events: &[Event], first: usize) -> Vec<&TracedCall> {
    let calls = events.iter().skip(first).map_while(|event| match &event.what {
        EventKind::Call(call) => Some(call),
        _ => None,
    });
    calls.enumerate().take_while(|(index, call)| *index == 0 || call.together).map(|(_, call)| call).collect()
}

impl Playback {
    fn play_calls(
        &mut self,
        trace: &Trace,
        subject: &ReplayCanister,
        first: usize,
        calls: &[&TracedCall],
    ) -> Result<(), ReplayError> {
        let mut pending: Vec<(&TracedCall, Result<PendingAnswer, String>)> = Vec::with_capacity(calls.len());
        for (number, call) in calls.iter().enumerate() {
            let line = trace.line_of(first + number);
            let mut arg = self.encode(trace, line, call)?;
            if arg.is_err() {
                // The id may be in the answer to a call in flight; the recorded caller had received this answer.
                self.collect_answers(subject, &mut pending);
                arg = self.encode(trace, line, call)?;
            }
            pending.push((call, arg.map(|arg| subject.send(call.kind, call.caller, &call.method, arg))));
        }
        self.collect_answers(subject, &mut pending);
        Ok(())
    }

    /// Encodes the arguments of a call. The inner error is the name of an id that no reply has contained yet.
    fn encode(
        &self,
        trace: &Trace,
        line: usize,
        call: &TracedCall,
    ) -> Result<Result<Vec<u8>, String>, ReplayError> {
        let mut payload = |reference: &_| trace.payload(line, reference).map_err(CodecError::from);
        match self.codec.encode(&call.method, &call.arguments, &mut payload) {
            Ok(arg) => Ok(Ok(arg)),
            Err(CodecError::UnknownName(name)) => Ok(Err(name)),
            Err(CodecError::Trace(error)) => Err(error.into()),
            Err(error @ CodecError::Arguments { .. }) => Err(trace.malformed(line, error.to_string()).into()),
        }
    }

    /// Waits for the answers to these calls, and adds the outcome of each.
    fn collect_answers(
        &mut self,
        subject: &ReplayCanister,
        pending: &mut Vec<(&TracedCall, Result<PendingAnswer, String>)>,
    ) {
        for (call, sent) in pending.drain(..) {
            self.events.push(match sent {
                Ok(pending_answer) => {
                    let answer = subject.wait(pending_answer);
                    Played::Answered(self.codec.answer(&call.method, answer.as_deref()))
                }
                Err(name) => Played::NotSent { name },
            });
        }
    }
}

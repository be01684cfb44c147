//! Playing the events of a trace, one after the other or, as recorded, several calls at once.

use super::interrupt::{Interruption, Schedule};
use super::subject::OnItsWay;
use super::{Builds, ReplayError, Subject};
use crate::trace::{Answer, Call, Codec, CodecError, Event, Happening, Trace};

/// After so many calls the meter is read: each makes a message or two, and the server keeps 10,000.
const CALLS_PER_READING: usize = 1_000;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Played {
    /// It has no answer.
    Done,
    /// A call or an upgrade was answered.
    Answered(Answer),
    /// The call names something that this canister has not given out, so it could not be sent.
    NotSent {
        /// The name.
        name: String,
    },
}

/// A trace that was played to its end.
pub struct Playing {
    /// What became of each event, in order.
    pub events: Vec<Played>,
    /// The codec, which knows the ids by now.
    pub codec: Codec,
}

/// Plays a trace. An upgrade to a build of the trace takes its module from `builds`.
///
/// # Errors
/// When the environment fails, or an interruption does not go as it should.
pub fn play(
    trace: &Trace,
    subject: &mut Subject,
    builds: &mut Builds,
    interruptions: &[Interruption],
) -> Result<Playing, ReplayError> {
    let mut schedule = Schedule::new(interruptions);
    let mut playing =
        Playing { events: Vec::with_capacity(trace.events.len()), codec: Codec::new(trace.header.start)? };
    let mut unread = 0;
    while let Some(event) = trace.events.get(playing.events.len()) {
        let first = playing.events.len();
        schedule.before(first, trace, subject, builds)?;
        subject.set_time(trace.header.start.saturating_add(event.at));
        match &event.what {
            Happening::Call(_) => {
                let group = group(&trace.events, first);
                unread += group.len();
                playing.calls(trace, subject, first, &group)?;
            }
            Happening::Pass { rounds } => {
                subject.rounds(*rounds);
                playing.events.push(Played::Done);
            }
            Happening::Upgrade { build, .. } => {
                let answer = match subject.upgrade(&*builds.get(build)?) {
                    Ok(()) => Answer::accepted(),
                    Err(reject) => Answer::from(&reject),
                };
                playing.events.push(Played::Answered(answer));
            }
            Happening::Stop => {
                subject.stop()?;
                playing.events.push(Played::Done);
            }
            Happening::Start => {
                subject.start()?;
                playing.events.push(Played::Done);
            }
        }
        if unread >= CALLS_PER_READING {
            unread = 0;
            subject.read_meter()?;
        }
    }
    subject.read_meter()?;
    Ok(playing)
}

/// The call at `first` and those that were sent before it was answered.
fn group(events: &[Event], first: usize) -> Vec<&Call> {
    let calls = events.iter().skip(first).map_while(|event| match &event.what {
        Happening::Call(call) => Some(call),
        _ => None,
    });
    calls.enumerate().take_while(|(index, call)| *index == 0 || call.together).map(|(_, call)| call).collect()
}

impl Playing {
    fn calls(
        &mut self,
        trace: &Trace,
        subject: &Subject,
        first: usize,
        group: &[&Call],
    ) -> Result<(), ReplayError> {
        let mut sent: Vec<Result<OnItsWay, String>> = Vec::with_capacity(group.len());
        for (number, call) in group.iter().enumerate() {
            let line = trace.line_of(first + number);
            let mut payload = |reference: &_| trace.payload(line, reference).map_err(CodecError::from);
            sent.push(match self.codec.encode(&call.method, &call.arguments, &mut payload) {
                Ok(arg) => Ok(subject.send(call.kind, call.caller, &call.method, arg)),
                Err(CodecError::UnknownName(name)) => Err(name),
                Err(CodecError::Trace(error)) => return Err(error.into()),
                Err(error @ CodecError::Arguments { .. }) => {
                    return Err(trace.malformed(line, error.to_string()).into());
                }
            });
        }
        for (call, sent) in group.iter().zip(sent) {
            self.events.push(match sent {
                Ok(on_its_way) => {
                    let answer = subject.wait(on_its_way);
                    Played::Answered(self.codec.answer(&call.method, answer.as_deref()))
                }
                Err(name) => Played::NotSent { name },
            });
        }
        Ok(())
    }
}

//! The lines of a trace.

use candid::Principal;
use pocket_ic::RejectResponse;
use serde::{Deserialize, Serialize};

/// The version that is written, and the newest that can be read.
pub const VERSION: u32 = 1;

/// The name in the first line, which distinguishes a trace from other files.
pub(super) const FORMAT: &str = "upload-canister";

/// The first line: the source of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the format; always `upload-canister`.
    pub trace: String,
    /// Version of the format.
    pub version: u32,
    /// When the trace begins, nanoseconds since 1970. All times in the trace are relative to this time.
    pub start: u64,
    /// The build that was installed at the beginning.
    pub build: String,
    /// Origin of the calls, as text.
    pub source: String,
    /// Controllers of the canister.
    pub controllers: Vec<Principal>,
}

impl Header {
    /// Creates a header of the current version.
    pub fn new(start: u64, build: &str, source: impl Into<String>, controllers: Vec<Principal>) -> Self {
        Header {
            trace: FORMAT.into(),
            version: VERSION,
            start,
            build: build.into(),
            source: source.into(),
            controllers,
        }
    }
}

/// An event, which is a line between the header and the end line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time, nanoseconds since [`Header::start`]. Never less than in the previous line.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: EventKind,
}

/// What happened: a call, or an operation on the canister or the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A client's call.
    Call(TracedCall),
    /// Rounds without calls, for the canister's timers.
    Pass {
        /// Number of rounds.
        rounds: u32,
    },
    /// The canister was upgraded.
    Upgrade {
        /// The build to which the canister was upgraded.
        build: String,
        /// `{"reply":"()"}` if the upgrade was accepted, or the rejection.
        answer: TracedAnswer,
    },
    /// The canister was stopped.
    Stop,
    /// The canister was started again.
    Start,
    /// From here on, the clock advanced automatically. Later answers contain no times, since the time at which a call
    /// was executed is unknown.
    ClockRuns,
}

/// One call of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedCall {
    /// Update or query.
    pub kind: CallKind,
    /// The caller.
    pub caller: Principal,
    /// The canister's method.
    pub method: String,
    /// The arguments.
    #[serde(flatten)]
    pub arguments: Arguments,
    /// Whether the call was sent before a call of an earlier line was answered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub together: bool,
    /// The answer.
    pub answer: TracedAnswer,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Update or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// An update.
    Update,
    /// A query.
    Query,
}

/// Arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arguments {
    /// Candid text, with blobs and ids as [`crate::trace`] describes.
    #[serde(rename = "args")]
    Candid(String),
    /// Arguments that Candid text cannot represent: hexadecimal digits, or a reference to a payload.
    #[serde(rename = "raw_args")]
    Raw(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TracedAnswer {
    /// A reply, as Candid text.
    Reply(String),
    /// A reply that is not Candid: hexadecimal digits or, for a long reply, its digest.
    Raw(String),
    /// The call was rejected.
    Rejected {
        /// The IC's error code by name, such as `CanisterCalledTrap`.
        code: String,
        /// The first line of the IC's message. Not compared, since the message comes from the server, not from the
        /// canister.
        message: String,
    },
}

impl TracedAnswer {
    /// Returns the answer to an accepted upgrade.
    pub fn accepted() -> TracedAnswer {
        TracedAnswer::Reply("()".into())
    }
}

impl From<&RejectResponse> for TracedAnswer {
    fn from(reject: &RejectResponse) -> TracedAnswer {
        TracedAnswer::Rejected {
            code: format!("{:?}", reject.error_code),
            // The further lines of a trap's message are advice and a backtrace.
            message: reject.reject_message.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// The last line. A trace without it is truncated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// Number of events.
    pub end: usize,
}

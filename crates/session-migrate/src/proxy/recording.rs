//! The recorded canister: which one it is, how it changes, and where its trace ends.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use candid::Principal;
use pocket_ic::common::rest::{RawCanisterResult, RawMessageId};

use super::ProxyError;
use super::management::Change;
use super::protocol::InstanceId;
use super::transcript::Transcript;
use super::upstream::Upstream;
use crate::trace::queue::Entry;
use crate::trace::{EventKind, Header, TracedAnswer};

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Path of the trace.
    pub trace: PathBuf,
    /// The canister.
    pub canister: Principal,
    /// The build that was installed at the beginning.
    pub build: String,
    /// Calls in the trace, updates and queries.
    pub calls: u64,
    /// What the trace does not contain, one sentence each.
    pub notes: BTreeSet<String>,
}

/// The canister that is recorded, and the build that was installed at the beginning.
#[derive(Clone, Debug)]
struct RecordedInstance {
    instance: InstanceId,
    canister: Principal,
    build: String,
}

pub(super) struct Recording {
    upstream: Upstream,
    out: PathBuf,
    /// [`Options::canister`](super::Options::canister).
    requested: Option<Principal>,
    /// `None` until an upload canister is found.
    recorded: Option<RecordedInstance>,
    /// Canisters that have been found not to be upload canisters, so that they are not asked again.
    not_upload_canisters: HashSet<(InstanceId, Principal)>,
    /// The latest time that the server has reported, nanoseconds; 0 before the first.
    last_time: u64,
    /// Whether the trace already says that the clock advances automatically.
    clock_is_recorded: bool,
    pub transcript: Transcript,
}

impl Recording {
    pub fn new(upstream: Upstream, out: PathBuf, requested: Option<Principal>) -> Self {
        Recording {
            upstream,
            out,
            requested,
            recorded: None,
            not_upload_canisters: HashSet::new(),
            last_time: 0,
            clock_is_recorded: false,
            transcript: Transcript::default(),
        }
    }

    /// Returns whether calls to this canister go into the trace.
    pub fn records(&self, instance: &str, canister: Principal) -> bool {
        self.is_on(instance) && self.recorded.as_ref().is_some_and(|it| it.canister == canister)
    }

    /// Returns whether a canister on this instance is being recorded.
    pub fn is_on(&self, instance: &str) -> bool {
        self.transcript.is_open() && self.recorded.as_ref().is_some_and(|it| it.instance == instance)
    }

    /// Returns the instance's time, nanoseconds; if the server does not report it, the last known time.
    pub async fn now(&mut self, instance: &str) -> u64 {
        if let Some(time) = self.upstream.time(instance).await {
            self.last_time = time;
        }
        self.last_time
    }

    /// Begins to record this canister, if no canister is recorded yet, no other one was requested, and this is an
    /// upload canister. `fresh`: the canister was just installed.
    pub async fn begin_if_upload_canister(&mut self, instance: &str, canister: Principal, fresh: bool) {
        let key = (instance.to_owned(), canister);
        let other_is_requested = self.requested.is_some_and(|requested| requested != canister);
        if self.recorded.is_some() || other_is_requested || self.not_upload_canisters.contains(&key) {
            return;
        }
        let Some(build) = self.upstream.build(instance, canister).await else {
            self.not_upload_canisters.insert(key);
            return;
        };
        let start = self.now(instance).await;
        let controllers = self.upstream.controllers(instance, canister).await;
        let source = format!("a proxy before {}", self.upstream.url());
        if !fresh {
            self.transcript.note("the canister existed before the trace, and may not have been empty");
        }
        self.transcript.begin(&self.out, Header::new(start, &build, source, controllers));
        self.recorded = Some(RecordedInstance { instance: instance.into(), canister, build });
        if self.upstream.clock_runs(instance).await {
            self.record_running_clock(instance).await;
        }
    }

    /// Records that the time of an instance advances automatically; once for each trace.
    pub async fn record_running_clock(&mut self, instance: &str) {
        if self.is_on(instance) && !std::mem::replace(&mut self.clock_is_recorded, true) {
            self.transcript.note("the time advanced automatically, so later answers contain no times, and timers may run between other calls");
            let at = self.now(instance).await;
            self.transcript.push(Entry::Event { at, what: EventKind::ClockRuns });
        }
    }

    /// Records a change of the recorded canister. If none is recorded yet, the installation of a canister may begin the
    /// recording.
    pub async fn record_change(&mut self, instance: &str, canister: Principal, change: Change) {
        // It may have been stopped or have had another module when it was asked.
        self.not_upload_canisters.remove(&(instance.to_owned(), canister));
        if !self.records(instance, canister) {
            if change == Change::Install {
                self.begin_if_upload_canister(instance, canister, true).await;
            }
            return;
        }
        let what = match change {
            Change::Stop => EventKind::Stop,
            Change::Start => EventKind::Start,
            Change::Upgrade => match self.upstream.build(instance, canister).await {
                Some(build) => EventKind::Upgrade { build, answer: TracedAnswer::accepted() },
                None => return self.end_trace("the trace ends where another module was installed"),
            },
            Change::Install | Change::Replace => {
                return self
                    .end_trace("the trace ends where the canister was reinstalled, emptied or restored");
            }
        };
        let at = self.now(instance).await;
        self.transcript.push(Entry::Event { at, what });
    }

    /// Completes the trace, although further calls may follow; they are not recorded.
    fn end_trace(&mut self, note: &str) {
        self.transcript.note(note);
        self.transcript.complete();
    }

    /// Asks the server for the answers to earlier calls that no client has requested yet, and records them. Stops at
    /// the first call that is still unanswered, and returns `true`; `false` if all are answered.
    pub async fn still_has_unanswered(&mut self) -> bool {
        for (message, caller) in self.transcript.unanswered() {
            match self.outcome(&message, caller).await {
                Some(result) => self.transcript.answer(&message, result.into()),
                None => return true,
            }
        }
        false
    }

    async fn outcome(&self, message: &RawMessageId, caller: Principal) -> Option<RawCanisterResult> {
        let RecordedInstance { instance, .. } = self.recorded.as_ref()?;
        self.upstream.outcome(instance, message, caller).await
    }

    /// Completes the trace.
    ///
    /// # Errors
    /// If no canister was recorded, or the trace could not be written.
    pub async fn finish(mut self) -> Result<Recorded, ProxyError> {
        for (message, caller) in self.transcript.unanswered() {
            if let Some(result) = self.outcome(&message, caller).await {
                self.transcript.answer(&message, result.into());
            }
        }
        self.transcript.complete();
        let (Some(RecordedInstance { canister, build, .. }), Some(outcome)) =
            (self.recorded, self.transcript.outcome())
        else {
            return Err(ProxyError::NoCallReceived);
        };
        let (calls, notes) = outcome?;
        Ok(Recorded { trace: self.out, canister, build, calls, notes })
    }
}

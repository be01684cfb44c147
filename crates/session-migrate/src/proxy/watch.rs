//! What the requests of clients mean for the canister that is recorded.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use candid::Principal;
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterResult, RawMessageId};

use super::ProxyError;
use super::management::{self, Change};
use super::protocol::{InstanceId, Operation, OperationId, Submitted, json};
use super::queue::{Answered, Item, Sent};
use super::transcript::Transcript;
use super::upstream::Upstream;
use crate::trace::{Answer, Happening, Header, Kind};

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Where the trace is.
    pub trace: PathBuf,
    /// The canister.
    pub canister: Principal,
    /// The build that was installed at the beginning.
    pub build: String,
    /// Calls in the trace, updates and queries.
    pub calls: u64,
    /// What the trace does not tell, one sentence each.
    pub notes: BTreeSet<String>,
}

/// The canister that is recorded.
#[derive(Clone, Debug)]
struct Subject {
    instance: InstanceId,
    canister: Principal,
    build: String,
}

/// Sees every request that matters, before it goes to the server and after it was answered.
pub(super) struct Watch {
    upstream: Upstream,
    out: PathBuf,
    /// The canister that was asked for; none: the first upload canister that comes.
    wanted: Option<Principal>,
    subject: Option<Subject>,
    transcript: Transcript,
    /// Submitted calls of the management canister that change a canister.
    changes: HashMap<(InstanceId, Vec<u8>), (Principal, Change)>,
    /// Operations that the server goes on with.
    going_on: HashMap<OperationId, Begun>,
    /// Canisters that are no upload canisters.
    others: HashSet<(InstanceId, Principal)>,
    /// Whether a round may have answered calls since they were last asked about.
    rounds_since: bool,
    /// Requests on their way that make the server run rounds.
    running: u32,
    last_time: u64,
}

/// An operation that was handed on.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    instance: InstanceId,
    operation: Operation,
    at: u64,
    together: bool,
}

impl Watch {
    pub fn new(upstream: Upstream, out: PathBuf, wanted: Option<Principal>) -> Self {
        Watch {
            upstream,
            out,
            wanted,
            subject: None,
            transcript: Transcript::default(),
            changes: HashMap::new(),
            going_on: HashMap::new(),
            others: HashSet::new(),
            rounds_since: false,
            running: 0,
            last_time: 0,
        }
    }

    /// An operation is about to go to the server.
    pub async fn before(&mut self, instance: InstanceId, operation: Operation) -> Begun {
        let mut begun = Begun { instance, operation, at: 0, together: false };
        match &begun.operation {
            Operation::Submit(call) | Operation::Query(call) => {
                if let Some(canister) = canister_of(call) {
                    self.look_at(&begun.instance, canister, false).await;
                }
                if self.is_subject(&begun.instance) {
                    begun.at = self.now(&begun.instance).await;
                    self.ask_about_outstanding().await;
                    begun.together = self.transcript.is_waiting();
                }
            }
            Operation::Await(_) => self.running += 1,
            Operation::Tick if self.is_subject(&begun.instance) => {
                begun.at = self.now(&begun.instance).await;
            }
            _ => {}
        }
        begun
    }

    /// The server goes on with an operation and answers when it is asked for the result.
    pub fn goes_on(&mut self, id: OperationId, begun: Begun) {
        self.going_on.insert(id, begun);
    }

    /// An operation that the server went on with.
    pub fn went_on(&mut self, id: &OperationId) -> Option<Begun> {
        self.going_on.remove(id)
    }

    /// The server did not do an operation.
    pub fn refused(&mut self, begun: &Begun) {
        if matches!(begun.operation, Operation::Await(_)) {
            self.running = self.running.saturating_sub(1);
            self.rounds_since = true;
        }
    }

    /// The server did an operation.
    pub async fn done(&mut self, begun: Begun, answer: &[u8]) {
        if !self.understand(begun, answer).await {
            self.transcript.note("an answer of the server could not be read and is not in the trace");
        }
        self.transcript.write_down();
    }

    /// False when the answer is none of this operation.
    async fn understand(&mut self, begun: Begun, answer: &[u8]) -> bool {
        let Begun { instance, operation, at, together } = begun;
        match operation {
            Operation::Submit(call) => {
                let Some(submitted) = json(answer) else { return false };
                self.submitted(&instance, call, (at, together), submitted);
            }
            Operation::Query(call) => {
                let Some(result) = json(answer) else { return false };
                self.call(&instance, Kind::Query, call, (at, together), Answered::With(result));
            }
            Operation::Await(message) => {
                self.running = self.running.saturating_sub(1);
                self.rounds_since = true;
                let Some(result) = json(answer) else { return false };
                self.answered(&instance, &message, result).await;
            }
            Operation::IngressStatus(args) => {
                let Some(result) = json::<Option<RawCanisterResult>>(answer) else { return false };
                if let Some(result) = result {
                    self.answered(&instance, &args.raw_message_id, result).await;
                }
            }
            Operation::Tick => {
                self.rounds_since = true;
                // A round while somebody waits for an answer is a part of the waiting.
                if self.is_subject(&instance) && !self.transcript.is_waiting() {
                    self.transcript.push(Item::Happening { at, what: Happening::Pass { rounds: 1 } });
                }
            }
            Operation::SetStableMemory(canister) => {
                let Ok(canister) = Principal::try_from_slice(&canister.canister_id) else { return false };
                self.change(&instance, canister, Change::Replace).await;
            }
            Operation::AutoProgress => {
                self.transcript
                    .note("the time of the instance went on by itself, so timers may come at other calls");
            }
            Operation::Agent => self.transcript.note("calls of agents through /api are not in the trace"),
        }
        true
    }

    fn submitted(
        &mut self,
        instance: &str,
        call: RawCanisterCall,
        (at, together): (u64, bool),
        submitted: Submitted,
    ) {
        let answer = match submitted {
            Ok(message) => {
                if call.canister_id.is_empty()
                    && let Some(change) = management::change(&call.method, &call.payload)
                {
                    self.changes.insert((instance.into(), message.message_id.clone()), change);
                }
                Answered::NotYet(message)
            }
            Err(rejection) => Answered::With(RawCanisterResult::Err(rejection)),
        };
        self.call(instance, Kind::Update, call, (at, together), answer);
    }

    fn call(
        &mut self,
        instance: &str,
        kind: Kind,
        call: RawCanisterCall,
        (at, together): (u64, bool),
        answer: Answered,
    ) {
        let Ok(caller) = Principal::try_from_slice(&call.sender) else { return };
        let ours = canister_of(&call).is_some_and(|canister| self.records(instance, canister));
        if ours {
            let RawCanisterCall { method, payload: arg, .. } = call;
            self.transcript.push(Item::Call(Sent { at, kind, caller, method, arg, together, answer }));
        }
    }

    /// A submitted call was answered.
    async fn answered(&mut self, instance: &str, message: &RawMessageId, result: RawCanisterResult) {
        let change = self.changes.remove(&(instance.to_owned(), message.message_id.clone()));
        if let Some((canister, change)) = change {
            match result {
                RawCanisterResult::Ok(_) => self.change(instance, canister, change).await,
                RawCanisterResult::Err(_) if self.records(instance, canister) => {
                    self.transcript.note("what the management canister refused is not in the trace");
                }
                RawCanisterResult::Err(_) => {}
            }
        } else if self.is_subject(instance) {
            self.transcript.answer(message, result);
        }
    }

    /// A canister was changed.
    async fn change(&mut self, instance: &str, canister: Principal, change: Change) {
        if change == Change::Install {
            self.others.remove(&(instance.to_owned(), canister));
        }
        if !self.records(instance, canister) {
            if change == Change::Install {
                self.look_at(instance, canister, true).await;
            }
            return;
        }
        let what = match change {
            Change::Stop => Happening::Stop,
            Change::Start => Happening::Start,
            Change::Upgrade => match self.upstream.build(instance, canister).await {
                Some(build) => Happening::Upgrade { build, answer: Answer::accepted() },
                None => return self.end("the trace ends where the canister became another one"),
            },
            Change::Install | Change::Replace => {
                return self.end("the trace ends where the canister was reinstalled, emptied or restored");
            }
        };
        let at = self.now(instance).await;
        self.transcript.push(Item::Happening { at, what });
    }

    /// Begins the trace with this canister, if none is recorded and it is an upload canister.
    async fn look_at(&mut self, instance: &str, canister: Principal, fresh: bool) {
        let key = (instance.to_owned(), canister);
        let unwanted = self.wanted.is_some_and(|wanted| wanted != canister);
        if self.subject.is_some() || unwanted || self.others.contains(&key) {
            return;
        }
        let Some(build) = self.upstream.build(instance, canister).await else {
            self.others.insert(key);
            return;
        };
        let start = self.now(instance).await;
        let controllers = self.upstream.controllers(instance, canister).await;
        let source = format!("a proxy before {}", self.upstream.url());
        if !fresh {
            self.transcript.note("the canister was there before the trace, and may have held something then");
        }
        self.transcript.begin(&self.out, Header::new(start, &build, source, controllers));
        self.subject = Some(Subject { instance: instance.into(), canister, build });
    }

    /// The trace ends here, complete.
    fn end(&mut self, note: &str) {
        self.transcript.note(note);
        self.transcript.complete();
    }

    /// Whether calls of this canister go into the trace.
    fn records(&self, instance: &str, canister: Principal) -> bool {
        self.is_subject(instance) && self.subject.as_ref().is_some_and(|it| it.canister == canister)
    }

    fn is_subject(&self, instance: &str) -> bool {
        self.transcript.is_open() && self.subject.as_ref().is_some_and(|it| it.instance == instance)
    }

    /// The instance's time. Where the server does not tell, it is what it was.
    async fn now(&mut self, instance: &str) -> u64 {
        if let Some(time) = self.upstream.time(instance).await {
            self.last_time = time;
        }
        self.last_time
    }

    /// A call may be answered although nobody has asked for the answer.
    async fn ask_about_outstanding(&mut self) {
        if !self.rounds_since && self.running == 0 {
            return;
        }
        self.rounds_since = false;
        let Some(Subject { instance, .. }) = self.subject.clone() else { return };
        let outstanding: Vec<(RawMessageId, Principal)> =
            self.transcript.outstanding().map(|(message, caller)| (message.clone(), caller)).collect();
        for (message, caller) in outstanding {
            if let Some(result) = self.upstream.outcome(&instance, &message, caller).await {
                self.transcript.answer(&message, result);
            }
        }
    }

    /// Completes the trace.
    pub async fn finish(mut self) -> Result<Recorded, ProxyError> {
        self.rounds_since = true;
        self.ask_about_outstanding().await;
        self.transcript.complete();
        let (Some(Subject { canister, build, .. }), Some(outcome)) =
            (self.subject, self.transcript.outcome())
        else {
            return Err(ProxyError::NothingCame);
        };
        let (calls, notes) = outcome?;
        Ok(Recorded { trace: self.out, canister, build, calls, notes })
    }
}

/// The canister of a call; none for the management canister.
fn canister_of(call: &RawCanisterCall) -> Option<Principal> {
    let id = Principal::try_from_slice(&call.canister_id).ok()?;
    (id != Principal::management_canister()).then_some(id)
}

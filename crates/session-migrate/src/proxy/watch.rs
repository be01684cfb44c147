//! Interprets clients' requests: which of them are calls to the recorded canister, or change it.

use std::collections::{HashMap, HashSet};

use candid::Principal;
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterResult, RawMessageId};

use super::agent;
use super::management::{self, Change};
use super::protocol::{InstanceId, Operation, OperationId, Submitted, json};
use super::recording::Recording;
use crate::trace::queue::Entry;
use crate::trace::{CallKind, EventKind, SentCall};

pub(super) struct Watch {
    pub recording: Recording,
    /// Submitted calls of the management canister that change a canister.
    changes: HashMap<(InstanceId, Vec<u8>), (Principal, Change)>,
    /// Operations that continue on the server.
    running: HashMap<OperationId, Begun>,
    /// Calls of agents, to recognize repetitions: an agent repeats a call that gets no answer, and the server executes
    /// the call once.
    by_agents: HashSet<(InstanceId, Vec<u8>)>,
}

/// An operation that was forwarded.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    instance: InstanceId,
    operation: Operation,
    /// Time at which the operation was forwarded, nanoseconds; 0 if it is not recorded.
    at: u64,
    /// Whether an earlier call was still unanswered.
    together: bool,
    /// Whether the operation repeats an earlier call of an agent.
    again: bool,
}

impl Begun {
    pub fn is_call_of_agent(&self) -> bool {
        matches!(self.operation, Operation::AgentCall(..))
    }
}

impl Watch {
    pub fn new(recording: Recording) -> Self {
        Watch { recording, changes: HashMap::new(), running: HashMap::new(), by_agents: HashSet::new() }
    }

    /// Prepares to record an operation that is about to be sent to the server. Records an agent's call immediately.
    pub async fn before(&mut self, instance: InstanceId, operation: Operation) -> Begun {
        let mut begun = Begun { instance, operation, at: 0, together: false, again: false };
        match &begun.operation {
            Operation::Submit(call)
            | Operation::Query(call)
            | Operation::AgentCall(call, _)
            | Operation::AgentQuery(call) => {
                if let Some(canister) = canister_of(call) {
                    self.recording.begin_with(&begun.instance, canister, false).await;
                }
                if self.recording.is_on(&begun.instance) {
                    begun.at = self.recording.now(&begun.instance).await;
                    begun.together = self.recording.is_waiting().await;
                }
            }
            Operation::Tick if self.recording.is_on(&begun.instance) => {
                begun.at = self.recording.now(&begun.instance).await;
            }
            _ => {}
        }
        if let Operation::AgentCall(call, message) = &begun.operation {
            begun.again = !self.by_agents.insert((begun.instance.clone(), message.message_id.clone()));
            if !begun.again {
                // Recorded immediately, since the call may be answered before the server's acknowledgement arrives.
                self.submitted(
                    &begun.instance,
                    call.clone(),
                    (begun.at, begun.together),
                    Ok(message.clone()),
                );
            }
        }
        begun
    }

    /// Keeps an operation that continues on the server, until its result arrives.
    pub fn continues(&mut self, id: OperationId, begun: Begun) {
        self.running.insert(id, begun);
    }

    pub fn take_running(&mut self, id: &OperationId) -> Option<Begun> {
        self.running.remove(id)
    }

    /// Withdraws an agent's call that the server refused; ignores any other operation.
    pub fn refused(&mut self, begun: &Begun) {
        if let Operation::AgentCall(_, message) = &begun.operation
            && !begun.again
        {
            let call = (begun.instance.clone(), message.message_id.clone());
            self.changes.remove(&call);
            self.by_agents.remove(&call);
            self.recording.transcript.withdraw(message);
            self.recording.transcript.write_down();
        }
    }

    /// Records an operation that the server has completed.
    pub async fn done(&mut self, begun: Begun, answer: &[u8]) {
        if !self.record(begun, answer).await {
            self.recording
                .transcript
                .note("an answer of the server could not be read and is not in the trace");
        }
        self.recording.transcript.write_down();
    }

    /// Returns `false` if the answer cannot be decoded.
    async fn record(&mut self, begun: Begun, answer: &[u8]) -> bool {
        let Begun { instance, operation, at, together, .. } = begun;
        match operation {
            Operation::Submit(call) => {
                let Some(submitted) = json(answer) else { return false };
                self.submitted(&instance, call, (at, together), submitted);
            }
            Operation::Query(call) => {
                let Some(result) = json::<RawCanisterResult>(answer) else { return false };
                self.queried(&instance, call, (at, together), result);
            }
            Operation::Await(message) => {
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
                // Rounds that run while a call is unanswered are not events: a replay runs rounds until the call is
                // answered.
                if self.recording.is_on(&instance) && !self.recording.transcript.is_waiting() {
                    self.recording.transcript.push(Entry::Event { at, what: EventKind::Pass { rounds: 1 } });
                }
            }
            Operation::SetStableMemory(canister) => {
                let Ok(canister) = Principal::try_from_slice(&canister.canister_id) else { return false };
                self.recording.change(&instance, canister, Change::Replace).await;
            }
            Operation::AutoProgress => self.recording.clock_runs(&instance).await,
            Operation::AgentCall(_, message) => {
                let Some(called) = agent::called(answer, &message) else { return false };
                if let Some(result) = called {
                    self.answered(&instance, &message, result).await;
                }
            }
            Operation::AgentQuery(call) => {
                let Some(result) = agent::queried(answer) else { return false };
                self.queried(&instance, call, (at, together), result);
            }
            Operation::AgentReadState(messages) => {
                let Some(state) = agent::state(answer) else { return false };
                for message in messages {
                    if let Some(result) = agent::outcome(&state, &message) {
                        self.answered(&instance, &message, result).await;
                    }
                }
            }
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
        if let Ok(message) = &submitted
            && call.canister_id.is_empty()
            && let Some(change) = management::change(&call.method, &call.payload)
        {
            self.changes.insert((instance.into(), message.message_id.clone()), change);
        }
        let Some(sent) = self.recorded_call(instance, CallKind::Update, call, (at, together)) else { return };
        match submitted {
            Ok(message) => self.recording.transcript.sent(message, sent),
            Err(rejection) => self.recording.transcript.push(Entry::Call(sent, Err(rejection))),
        }
    }

    fn queried(
        &mut self,
        instance: &str,
        call: RawCanisterCall,
        (at, together): (u64, bool),
        result: RawCanisterResult,
    ) {
        if let Some(sent) = self.recorded_call(instance, CallKind::Query, call, (at, together)) {
            self.recording.transcript.push(Entry::Call(sent, result.into()));
        }
    }

    /// Returns the call as it appears in the trace; `None` for a call that is not to the recorded canister.
    fn recorded_call(
        &self,
        instance: &str,
        kind: CallKind,
        call: RawCanisterCall,
        (at, together): (u64, bool),
    ) -> Option<SentCall> {
        let caller = Principal::try_from_slice(&call.sender).ok()?;
        let canister = canister_of(&call)?;
        let RawCanisterCall { method, payload: arg, .. } = call;
        let sent = SentCall { at, kind, caller, method, arg, together };
        self.recording.records(instance, canister).then_some(sent)
    }

    async fn answered(&mut self, instance: &str, message: &RawMessageId, result: RawCanisterResult) {
        let change = self.changes.remove(&(instance.to_owned(), message.message_id.clone()));
        if let Some((canister, change)) = change {
            match result {
                RawCanisterResult::Ok(_) => self.recording.change(instance, canister, change).await,
                RawCanisterResult::Err(_) if self.recording.records(instance, canister) => {
                    self.recording
                        .transcript
                        .note("calls refused by the management canister are not in the trace");
                }
                RawCanisterResult::Err(_) => {}
            }
        } else if self.recording.is_on(instance) {
            self.recording.transcript.answer(message, result.into());
        }
    }
}

/// Returns `None` for the management canister and for an invalid id.
fn canister_of(call: &RawCanisterCall) -> Option<Principal> {
    let id = Principal::try_from_slice(&call.canister_id).ok()?;
    (id != Principal::management_canister()).then_some(id)
}

//! Interprets clients' requests: which of them are calls to the recorded canister, or change it.

use std::collections::{HashMap, HashSet};

use candid::Principal;
use pocket_ic::common::rest::{RawCanisterCall, RawCanisterResult, RawMessageId};

use super::agent::{self, CallAnswer};
use super::management::{self, Change};
use super::protocol::{InstanceId, Operation, OperationId, Submitted, parse_json};
use super::recording::Recording;
use crate::trace::queue::Entry;
use crate::trace::{CallKind, EventKind, SentCall};

pub(super) struct Watch {
    pub recording: Recording,
    /// Submitted calls to the management canister that change a canister, by instance and message id.
    changes: HashMap<(InstanceId, Vec<u8>), (Principal, Change)>,
    /// Operations that continue on the server.
    running: HashMap<OperationId, Begun>,
    /// Instance and message id of each call of an agent, to recognize repetitions: an agent repeats a call that gets no
    /// answer, and the server executes the call once.
    agent_calls: HashSet<(InstanceId, Vec<u8>)>,
}

/// The moment at which an operation was forwarded.
#[derive(Clone, Copy, Debug)]
struct Forwarded {
    /// Nanoseconds; 0 if the operation is not recorded with a time.
    at: u64,
    /// Whether an earlier call was still unanswered.
    together: bool,
}

/// An operation that is being forwarded, until its result is recorded.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    instance: InstanceId,
    operation: Operation,
    forwarded: Forwarded,
    /// Whether the operation repeats an earlier call of an agent.
    is_repeated: bool,
}

impl Begun {
    pub fn is_call_of_agent(&self) -> bool {
        matches!(self.operation, Operation::AgentCall(..))
    }
}

impl Watch {
    pub fn new(recording: Recording) -> Self {
        Watch { recording, changes: HashMap::new(), running: HashMap::new(), agent_calls: HashSet::new() }
    }

    /// Prepares to record an operation that is about to be sent to the server. Records an agent's call immediately.
    pub async fn begin(&mut self, instance: InstanceId, operation: Operation) -> Begun {
        let mut begun = Begun {
            instance,
            operation,
            forwarded: Forwarded { at: 0, together: false },
            is_repeated: false,
        };
        match &begun.operation {
            Operation::Submit(call)
            | Operation::Query(call)
            | Operation::AgentCall(call, _)
            | Operation::AgentQuery(call) => {
                if let Some(canister) = canister_of(call) {
                    self.recording.begin_if_upload_canister(&begun.instance, canister, false).await;
                }
                if self.recording.is_on(&begun.instance) {
                    begun.forwarded.at = self.recording.now(&begun.instance).await;
                    begun.forwarded.together = self.recording.still_has_unanswered().await;
                }
            }
            Operation::Tick if self.recording.is_on(&begun.instance) => {
                begun.forwarded.at = self.recording.now(&begun.instance).await;
            }
            _ => {}
        }
        if let Operation::AgentCall(call, message) = &begun.operation {
            begun.is_repeated =
                !self.agent_calls.insert((begun.instance.clone(), message.message_id.clone()));
            if !begun.is_repeated {
                // Recorded immediately, since the call may be answered before the server's acknowledgement arrives.
                self.record_submitted(&begun.instance, call.clone(), begun.forwarded, Ok(message.clone()));
            }
        }
        begun
    }

    /// Keeps an operation that continues on the server, until its result arrives.
    pub fn keep_running(&mut self, id: OperationId, begun: Begun) {
        self.running.insert(id, begun);
    }

    /// Returns a running operation; `None` if its result was recorded before.
    pub fn take_running(&mut self, id: &OperationId) -> Option<Begun> {
        self.running.remove(id)
    }

    /// Withdraws an agent's call that the server refused. Ignores a repetition, since the first call stays valid, and
    /// any other operation.
    pub fn withdraw_refused(&mut self, begun: &Begun) {
        if let Operation::AgentCall(_, message) = &begun.operation
            && !begun.is_repeated
        {
            let call = (begun.instance.clone(), message.message_id.clone());
            self.changes.remove(&call);
            self.agent_calls.remove(&call);
            self.recording.transcript.withdraw(message);
            self.recording.transcript.write_complete_entries();
        }
    }

    /// Records an operation that the server has completed.
    pub async fn record_completed(&mut self, begun: Begun, answer: &[u8]) {
        if !self.record_answer(begun, answer).await {
            self.recording
                .transcript
                .note("an answer of the server could not be read and is not in the trace");
        }
        self.recording.transcript.write_complete_entries();
    }

    /// Records what the answer shows. Returns `false` if the answer cannot be decoded.
    async fn record_answer(&mut self, begun: Begun, answer: &[u8]) -> bool {
        let Begun { instance, operation, forwarded, .. } = begun;
        match operation {
            Operation::Submit(call) => {
                let Some(submitted) = parse_json(answer) else { return false };
                self.record_submitted(&instance, call, forwarded, submitted);
            }
            Operation::Query(call) => {
                let Some(result) = parse_json::<RawCanisterResult>(answer) else { return false };
                self.record_query(&instance, call, forwarded, result);
            }
            Operation::Await(message) => {
                let Some(result) = parse_json(answer) else { return false };
                self.record_result(&instance, &message, result).await;
            }
            Operation::IngressStatus(args) => {
                let Some(result) = parse_json::<Option<RawCanisterResult>>(answer) else { return false };
                if let Some(result) = result {
                    self.record_result(&instance, &args.raw_message_id, result).await;
                }
            }
            Operation::Tick => {
                // Rounds that run while a call is unanswered are not events: a replay runs rounds until the call is
                // answered.
                if self.recording.is_on(&instance) && !self.recording.transcript.has_unanswered() {
                    let what = EventKind::Pass { rounds: 1 };
                    self.recording.transcript.push(Entry::Event { at: forwarded.at, what });
                }
            }
            Operation::SetStableMemory(canister) => {
                let Ok(canister) = Principal::try_from_slice(&canister.canister_id) else { return false };
                self.recording.record_change(&instance, canister, Change::Replace).await;
            }
            Operation::AutoProgress => self.recording.record_running_clock(&instance).await,
            Operation::AgentCall(_, message) => {
                let Some(answer) = agent::read_call_answer(answer, &message) else { return false };
                if let CallAnswer::Outcome(result) = answer {
                    self.record_result(&instance, &message, result).await;
                }
            }
            Operation::AgentQuery(call) => {
                let Some(result) = agent::read_query_answer(answer) else { return false };
                self.record_query(&instance, call, forwarded, result);
            }
            Operation::AgentReadState(messages) => {
                let Some(state) = agent::read_certificate(answer) else { return false };
                for message in messages {
                    if let Some(result) = agent::outcome_in(&state, &message) {
                        self.record_result(&instance, &message, result).await;
                    }
                }
            }
        }
        true
    }

    /// Records an update that was sent, or refused when it was sent. If it changes a canister, keeps the change until
    /// the result arrives.
    fn record_submitted(
        &mut self,
        instance: &str,
        call: RawCanisterCall,
        forwarded: Forwarded,
        submitted: Submitted,
    ) {
        // The id of the management canister has no bytes.
        if let Ok(message) = &submitted
            && call.canister_id.is_empty()
            && let Some(change) = management::read_change(&call.method, &call.payload)
        {
            self.changes.insert((instance.into(), message.message_id.clone()), change);
        }
        let Some(sent) = self.recorded_call(instance, CallKind::Update, call, forwarded) else { return };
        match submitted {
            Ok(message) => self.recording.transcript.push_unanswered(message, sent),
            Err(rejection) => self.recording.transcript.push(Entry::Call(sent, Err(rejection))),
        }
    }

    fn record_query(
        &mut self,
        instance: &str,
        call: RawCanisterCall,
        forwarded: Forwarded,
        result: RawCanisterResult,
    ) {
        if let Some(sent) = self.recorded_call(instance, CallKind::Query, call, forwarded) {
            self.recording.transcript.push(Entry::Call(sent, result.into()));
        }
    }

    /// Returns the call as it appears in the trace; `None` for a call that is not to the recorded canister.
    fn recorded_call(
        &self,
        instance: &str,
        kind: CallKind,
        call: RawCanisterCall,
        forwarded: Forwarded,
    ) -> Option<SentCall> {
        let caller = Principal::try_from_slice(&call.sender).ok()?;
        let canister = canister_of(&call)?;
        let RawCanisterCall { method, payload: arg, .. } = call;
        let Forwarded { at, together } = forwarded;
        let sent = SentCall { at, kind, caller, method, arg, together };
        self.recording.records(instance, canister).then_some(sent)
    }

    /// Records the result of a call; if it was a call to the management canister that changes a canister, records that
    /// change instead.
    async fn record_result(&mut self, instance: &str, message: &RawMessageId, result: RawCanisterResult) {
        let change = self.changes.remove(&(instance.to_owned(), message.message_id.clone()));
        if let Some((canister, change)) = change {
            match result {
                RawCanisterResult::Ok(_) => self.recording.record_change(instance, canister, change).await,
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

/// Returns the canister that is called; `None` for the management canister and for an invalid id.
fn canister_of(call: &RawCanisterCall) -> Option<Principal> {
    let id = Principal::try_from_slice(&call.canister_id).ok()?;
    (id != Principal::management_canister()).then_some(id)
}

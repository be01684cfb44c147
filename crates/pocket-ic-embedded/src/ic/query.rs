//! Queries: methods that answer from the last committed state and leave nothing behind, composite ones with the
//! queries they make included.

use super::calls::CallResult;
use super::certificate::data_certificate;
use super::error::{OpError, UserError, reject_number};
use super::execute::{entry_name, trap_error};
use super::ingress::UserCall;
use super::instance::Instance;
use super::management;
use crate::engine::{
    CallerInfo, CanisterState, EntryPoint, Limits, MessageContext, MethodKind, Outcome, OutgoingCall,
    Response,
};
use candid::Principal;
use pocket_ic::ErrorCode;
use std::collections::VecDeque;

/// How deep composite queries may call each other.
const MAX_DEPTH: usize = 6;

/// One query within a graph of queries.
struct QueryCall {
    callee: Principal,
    caller: Principal,
    method: String,
    arg: Vec<u8>,
    info: CallerInfo,
}

/// A composite query in progress: its own view of its canister's state, and what it waits for.
struct Composite {
    id: Principal,
    caller: Principal,
    state: CanisterState,
    calls: VecDeque<OutgoingCall>,
    reply: Option<Response>,
    instructions: u64,
}

impl Instance {
    /// Answers a query.
    ///
    /// # Errors
    /// A query that cannot be routed. The inner error is the answer of the canister.
    pub fn query(&mut self, call: UserCall) -> Result<CallResult, OpError> {
        if call.callee == Principal::management_canister() {
            return Ok(management::query(self, call.sender, &call.method, &call.arg));
        }
        self.destination(&call)?;
        let query = QueryCall {
            callee: call.callee,
            caller: call.sender,
            method: call.method,
            arg: call.arg,
            info: call.info,
        };
        Ok(self.run_query(query, &mut Vec::new()))
    }

    /// Runs a query; `path` lists the canisters whose composite queries wait for it.
    fn run_query(&mut self, call: QueryCall, path: &mut Vec<Principal>) -> CallResult {
        let id = call.callee;
        let canister = self.canisters.get(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        canister.check_running()?;
        let state = canister.state.as_ref().ok_or_else(|| UserError::no_wasm_module(id))?;
        if canister.check_not_frozen().is_err() {
            return Err(UserError::new(
                ErrorCode::CanisterOutOfCycles,
                format!(
                    "Canister {id} is unable to process query calls because it's frozen. Please top up the canister with cycles and try again."
                ),
            ));
        }
        let composite = state.module().has_export(MethodKind::CompositeQuery, &call.method);
        let entry = if composite {
            EntryPoint::CompositeQuery(call.method.clone())
        } else {
            EntryPoint::Query(call.method.clone())
        };
        let request_bytes = call.arg.len();
        let mut message = canister.message_context(call.caller, self.clock.last_round());
        message.method = call.method;
        message.arg = call.arg;
        message.caller_info = call.info;
        message.composite_query = composite;
        // Only the query that a user asks is answered with a certificate; those that it makes are not.
        if path.is_empty() {
            message.data_certificate =
                data_certificate(id, &canister.certified_data, self.clock.last_round());
        }
        let state = state.clone();
        let outcome = self.execute_query(id, &state, entry, message)?;
        let result = if composite {
            let run = Composite {
                id,
                caller: call.caller,
                state: outcome.state,
                calls: outcome.calls.into(),
                reply: outcome.reply,
                instructions: outcome.instructions,
            };
            path.push(id);
            let result = self.run_composite(run, path);
            path.pop();
            result
        } else {
            answer(id, outcome.reply)
        };
        self.count_query(id, request_bytes, outcome.instructions, &result);
        result
    }

    fn run_composite(&mut self, mut run: Composite, path: &mut Vec<Principal>) -> CallResult {
        let mut failure = None;
        while let Some(call) = run.calls.pop_front() {
            let (on_reply, on_reject, on_cleanup) = (call.on_reply, call.on_reject, call.on_cleanup);
            let result = self.query_from_canister(run.id, call, path);
            let Some(canister) = self.canisters.get(&run.id) else {
                return Err(UserError::canister_not_found(run.id));
            };
            let mut message = canister.message_context(run.caller, self.clock.last_round());
            message.composite_query = true;
            message.responded = run.reply.is_some();
            message.call_context_instructions = run.instructions;
            let cleanup_message = message.clone();
            let entry = match result {
                Ok(reply) => {
                    message.arg = reply;
                    EntryPoint::ReplyCallback { fun: on_reply.0, env: on_reply.1 }
                }
                Err(error) => {
                    message.reject_code = reject_number(error.reject_code());
                    message.reject_message = error.message;
                    EntryPoint::RejectCallback { fun: on_reject.0, env: on_reject.1 }
                }
            };
            let state = run.state.clone();
            match self.execute_query(run.id, &state, entry, message) {
                Ok(outcome) => {
                    run.state = outcome.state;
                    run.calls.extend(outcome.calls);
                    run.reply = run.reply.or(outcome.reply);
                    run.instructions = run.instructions.saturating_add(outcome.instructions);
                }
                Err(error) => {
                    if let Some((fun, env)) = on_cleanup {
                        let entry = EntryPoint::CleanupCallback { fun, env };
                        if let Ok(outcome) = self.execute_query(run.id, &state, entry, cleanup_message) {
                            run.state = outcome.state;
                        }
                    }
                    failure = Some(error);
                }
            }
        }
        match (run.reply, failure) {
            (None, Some(error)) => Err(error),
            (reply, _) => answer(run.id, reply),
        }
    }

    fn query_from_canister(
        &mut self,
        caller: Principal,
        call: OutgoingCall,
        path: &mut Vec<Principal>,
    ) -> CallResult {
        if path.len() >= MAX_DEPTH {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphTooDeep,
                format!("Composite query call exceeded the maximum call depth of {MAX_DEPTH}."),
            ));
        }
        if path.contains(&call.callee) {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphLoopDetected,
                "Loop detected when evaluating composite query call graph.",
            ));
        }
        if call.callee == Principal::management_canister() {
            return management::query(self, caller, &call.method, &call.arg);
        }
        self.run_query(
            QueryCall {
                callee: call.callee,
                caller,
                method: call.method,
                arg: call.arg,
                info: CallerInfo::default(),
            },
            path,
        )
    }

    fn execute_query(
        &mut self,
        id: Principal,
        state: &CanisterState,
        entry: EntryPoint,
        message: MessageContext,
    ) -> Result<Outcome, UserError> {
        let Some(canister) = self.canisters.get(&id) else {
            return Err(UserError::canister_not_found(id));
        };
        let limits = canister.limits(Limits::query());
        let (name, method) = entry_name(&entry, &message.method);
        let now = message.time_nanos;
        let outcome = self.engine.execute(state, entry, message, limits);
        self.record_cost(id, name, &method, &outcome, now);
        match &outcome.result {
            Ok(()) => Ok(outcome),
            Err(trap) => Err(trap_error(id, trap)),
        }
    }

    fn count_query(&mut self, id: Principal, request_bytes: usize, instructions: u64, result: &CallResult) {
        if let Some(canister) = self.canisters.get_mut(&id) {
            let stats = &mut canister.query_stats;
            stats.calls += 1;
            stats.instructions += u128::from(instructions);
            stats.request_bytes += request_bytes as u128;
            stats.response_bytes += result.as_ref().map_or(0, |reply| reply.len() as u128);
        }
    }
}

fn answer(id: Principal, reply: Option<Response>) -> CallResult {
    match reply {
        Some(Response::Reply(bytes)) => Ok(bytes),
        Some(Response::Reject(text)) => Err(UserError::rejected(text)),
        None => Err(UserError::from_execution(
            id,
            ErrorCode::CanisterDidNotReply,
            "Canister did not reply to the call",
        )),
    }
}

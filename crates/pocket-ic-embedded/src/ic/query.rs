//! Queries: methods that answer from the last committed state and change nothing, including composite queries
//! and the queries that they call.

use super::calls::CallResult;
use super::error::{OpError, UserError, cleanup_error, reject_number, trap_error};
use super::execute::names_in_costs;
use super::instance::Instance;
use super::management;
use super::user_call::UserCall;
use crate::engine::{
    CallerInfo, CanisterState, DataCertificate, EntryPoint, Limits, MessageContext, MessageOutcome,
    MethodKind, OutgoingCall, Response, Trap,
};
use candid::Principal;
use pocket_ic::ErrorCode;
use std::collections::VecDeque;

/// Maximum depth of composite queries that wait for other queries.
const MAX_DEPTH: usize = 6;
/// Instructions that all queries and callbacks of a call graph may use together: the limit of a single query, as on an
/// IC subnet.
const GRAPH_INSTRUCTIONS: u64 = 5_000_000_000;
/// Additional cost of each call within a graph, so that a graph has at most a hundred calls, as on an IC subnet.
const CALL_INSTRUCTIONS: u64 = 50_000_000;

/// The call graph of a user's query: what this query and all queries that are made to answer it use together.
struct Graph {
    /// Number of composite queries that wait for other queries.
    waiting_queries: usize,
    /// Instructions that are left for the graph.
    instructions_left: u64,
}

/// Why a query of a graph has no reply.
enum Failure {
    /// A rejection, which the caller of the query receives.
    Rejection(UserError),
    /// An error that ends the whole graph: only the user receives it.
    Graph(UserError),
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        Self::Rejection(error)
    }
}

type GraphResult = Result<Vec<u8>, Failure>;

impl Graph {
    /// Deducts instructions, at most down to 0; [`Self::check_limits`] makes that an error.
    fn charge(&mut self, instructions: u64) {
        self.instructions_left = self.instructions_left.saturating_sub(instructions);
    }

    /// Checks whether the graph may continue. An error ends the whole graph, whichever query caused it.
    fn check_limits(&self) -> Result<(), Failure> {
        if self.waiting_queries > MAX_DEPTH {
            return Err(Failure::Graph(UserError::new(
                ErrorCode::QueryCallGraphTooDeep,
                "Composite query calls exceeded the maximum call depth.",
            )));
        }
        if self.instructions_left == 0 {
            return Err(Failure::Graph(UserError::new(
                ErrorCode::QueryCallGraphTotalInstructionLimitExceeded,
                "Composite query calls exceeded the instruction limit.",
            )));
        }
        Ok(())
    }
}

/// One query of a graph: by the user, or by a composite query.
struct QueryCall {
    callee: Principal,
    caller: Principal,
    method: String,
    arg: Vec<u8>,
    caller_info: CallerInfo,
}

/// A composite query in progress: its own view of its canister's state, and the calls that it has not made yet.
struct Composite {
    id: Principal,
    caller: Principal,
    state: CanisterState,
    calls: VecDeque<OutgoingCall>,
    reply: Option<Response>,
    /// Instructions that the query and its callbacks have used so far.
    instructions: u64,
}

impl Instance {
    /// Answers a query. The outer error means that the query cannot be routed; the inner error is the canister's
    /// answer.
    pub fn query(&mut self, call: UserCall) -> Result<CallResult, OpError> {
        if call.callee == Principal::management_canister() {
            return Ok(management::query(self, call.sender, &call.method, &call.arg));
        }
        self.destination_subnet(&call)?;
        let query = QueryCall {
            callee: call.callee,
            caller: call.sender,
            method: call.method,
            arg: call.arg,
            caller_info: call.caller_info,
        };
        let instructions_left = match self.canisters.get(&query.callee) {
            Some(canister) => canister.instruction_limit_on_subnet(GRAPH_INSTRUCTIONS),
            None => GRAPH_INSTRUCTIONS,
        };
        let result = self.run_query(query, &mut Graph { waiting_queries: 0, instructions_left });
        Ok(result.map_err(|failure| match failure {
            Failure::Rejection(error) | Failure::Graph(error) => error,
        }))
    }

    /// Answers one query of a graph, with all queries that it makes.
    fn run_query(&mut self, call: QueryCall, graph: &mut Graph) -> GraphResult {
        let id = call.callee;
        let canister = self.canisters.get(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        canister.check_running()?;
        let state = canister.state.clone().ok_or_else(|| UserError::no_wasm_module(id))?;
        if canister.check_not_frozen().is_err() {
            return Err(UserError::new(
                ErrorCode::CanisterOutOfCycles,
                format!(
                    "Canister {id} is unable to process query calls because it's frozen. Please top up the canister with cycles and try again."
                ),
            )
            .into());
        }
        let is_composite = state.module().has_export(MethodKind::CompositeQuery, &call.method);
        let entry = if is_composite {
            EntryPoint::CompositeQuery(call.method.clone())
        } else {
            EntryPoint::Query(call.method.clone())
        };
        let request_bytes = call.arg.len();
        let mut message = canister.message_context(call.caller, self.clock.last_round());
        message.method = call.method;
        message.arg = call.arg;
        message.caller_info = call.caller_info;
        message.composite_query = is_composite;
        // Only the query sent by the user can read a certificate, not the queries that it calls.
        if graph.waiting_queries == 0 {
            let subnet = canister.subnet;
            message.data_certificate = Some(match state.module().reads_certificate() {
                true => self.data_certificate(id, subnet),
                // The module cannot read the certificate, and can only ask whether there is one.
                false => DataCertificate::new(Vec::new),
            });
        }
        let outcome =
            self.execute_query(id, &state, entry, message, graph).map_err(|trap| trap_error(id, &trap))?;
        let result = if is_composite {
            let composite = Composite {
                id,
                caller: call.caller,
                state: outcome.state,
                calls: outcome.calls.into(),
                reply: outcome.reply,
                instructions: outcome.instructions,
            };
            graph.waiting_queries += 1;
            let result = self.run_composite(composite, graph);
            graph.waiting_queries -= 1;
            result
        } else {
            to_graph_result(id, outcome.reply)
        };
        self.count_query(id, request_bytes, outcome.instructions, &result);
        result
    }

    /// Makes the calls of a composite query until the query has replied; the remaining calls are not made.
    fn run_composite(&mut self, mut composite: Composite, graph: &mut Graph) -> GraphResult {
        let mut failure = None;
        while composite.reply.is_none()
            && let Some(call) = composite.calls.pop_front()
        {
            let (on_reply, on_reject, on_cleanup) = (call.on_reply, call.on_reject, call.on_cleanup);
            graph.check_limits()?;
            let result = match self.query_from_canister(composite.id, call, graph) {
                Ok(reply) => Ok(reply),
                Err(Failure::Rejection(error)) => Err(error),
                Err(failure) => return Err(failure),
            };
            graph.check_limits()?;
            let Some(canister) = self.canisters.get(&composite.id) else {
                return Err(UserError::canister_not_found(composite.id).into());
            };
            let mut message = canister.message_context(composite.caller, self.clock.last_round());
            message.composite_query = true;
            message.call_context_instructions = composite.instructions;
            let cleanup_message = message.clone();
            let entry = match result {
                Ok(reply) => {
                    message.arg = reply;
                    let (fun, env) = on_reply;
                    EntryPoint::ReplyCallback { fun, env }
                }
                Err(error) => {
                    message.reject_code = reject_number(error.reject_code());
                    message.reject_message = error.reject_text();
                    let (fun, env) = on_reject;
                    EntryPoint::RejectCallback { fun, env }
                }
            };
            let state = composite.state.clone();
            match self.execute_query(composite.id, &state, entry, message, graph) {
                Ok(outcome) => {
                    composite.state = outcome.state;
                    composite.calls.extend(outcome.calls);
                    composite.reply = composite.reply.or(outcome.reply);
                    composite.instructions = composite.instructions.saturating_add(outcome.instructions);
                }
                Err(trap) => {
                    failure = Some(trap_error(composite.id, &trap));
                    if let Some((fun, env)) = on_cleanup {
                        let entry = EntryPoint::CleanupCallback { fun, env };
                        match self.execute_query(composite.id, &state, entry, cleanup_message, graph) {
                            Ok(outcome) => composite.state = outcome.state,
                            Err(cleanup) => failure = Some(cleanup_error(composite.id, &trap, &cleanup)),
                        }
                    }
                }
            }
        }
        match (composite.reply, failure) {
            (None, Some(error)) => Err(error.into()),
            (reply, _) => to_graph_result(composite.id, reply),
        }
    }

    /// Answers a query that a composite query makes.
    fn query_from_canister(
        &mut self,
        caller: Principal,
        call: OutgoingCall,
        graph: &mut Graph,
    ) -> GraphResult {
        graph.charge(CALL_INSTRUCTIONS);
        if call.callee == Principal::management_canister() {
            return Ok(management::query(self, caller, &call.method, &call.arg)?);
        }
        // A query can only call canisters on its own subnet, since the state of other subnets is not available there.
        if self.subnet_of_canister(call.callee) != self.subnet_of_canister(caller) {
            return Err(UserError::canister_not_found(call.callee).into());
        }
        self.run_query(
            QueryCall {
                callee: call.callee,
                caller,
                method: call.method,
                arg: call.arg,
                caller_info: CallerInfo::default(),
            },
            graph,
        )
    }

    /// Runs one message of a query (its method or a callback) on `state`, and charges the graph. The new state is only
    /// in the outcome.
    fn execute_query(
        &mut self,
        id: Principal,
        state: &CanisterState,
        entry: EntryPoint,
        message: MessageContext,
        graph: &mut Graph,
    ) -> Result<MessageOutcome, Trap> {
        let limits = match self.canisters.get(&id) {
            Some(canister) => canister.limits(Limits::query(), &entry),
            None => Limits::query(),
        };
        let instructions = limits.instructions.min(graph.instructions_left);
        let (name, method) = names_in_costs(&entry, &message.method);
        let now = message.time_nanos;
        let outcome = self.engine.execute(state, entry, message, limits.with_instructions(instructions));
        graph.charge(outcome.instructions);
        self.record_cost(id, name, &method, &outcome, now);
        // The canister's log does not store the output, since a query changes nothing.
        self.print_logs(id, &outcome.logs, now);
        match &outcome.result {
            Ok(()) => Ok(outcome),
            Err(trap) => Err(trap.clone()),
        }
    }

    /// Adds a query to the totals of its canister; callbacks are not counted.
    fn count_query(&mut self, id: Principal, request_bytes: usize, instructions: u64, result: &GraphResult) {
        if let Some(canister) = self.canisters.get_mut(&id) {
            let stats = &mut canister.query_stats;
            stats.calls += 1;
            stats.instructions += u128::from(instructions);
            stats.request_bytes += request_bytes as u128;
            stats.response_bytes += result.as_ref().map_or(0, |reply| reply.len() as u128);
        }
    }
}

fn to_graph_result(id: Principal, reply: Option<Response>) -> GraphResult {
    match reply {
        Some(Response::Reply(bytes)) => Ok(bytes),
        Some(Response::Reject(text)) => Err(UserError::rejected_by_canister(text).into()),
        None => Err(UserError::from_execution(
            id,
            ErrorCode::CanisterDidNotReply,
            "Canister did not reply to the call",
        )
        .into()),
    }
}

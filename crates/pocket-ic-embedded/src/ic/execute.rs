//! The execution of one message (a call or a response), and its consequences.
//!
//! A message changes a canister only if it completes; its cost and its logs are kept either way. `round.rs` decides
//! when messages are executed, and `engine/execute.rs` runs the wasm.

use super::calls::{CallIds, CallResult, Callback, CallbackId, ContextId, Origin};
use super::canister::{Canister, RunStatus};
use super::error::{UserError, cleanup_error, reject_number, trap_error};
use super::instance::Instance;
use super::management::empty_reply;
use super::queued_message::QueuedMessage;
use crate::MessageCost;
use crate::engine::{
    CallerInfo, EntryPoint, Limits, MessageContext, MessageOutcome, MethodKind, OutgoingCall, Response, Trap,
    WASM_PAGE,
};
use candid::Principal;
use pocket_ic::ErrorCode;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// One call of a canister method, from a user or a canister: `origin` says where the answer goes, `caller` who called.
pub(super) struct MethodCall {
    pub callee: Principal,
    pub origin: Origin,
    pub caller: Principal,
    pub method: String,
    pub arg: Vec<u8>,
    pub cycles: u128,
    pub caller_info: CallerInfo,
}

impl Instance {
    /// Delivers an answer to whoever waits for it: a user, or a canister, which also gets the refund in cycles.
    pub(super) fn respond(&mut self, origin: Origin, result: CallResult, refund: u128) {
        match origin {
            Origin::Ingress(id) => {
                let discarded = self.ingress.answer(id, result);
                for changed in discarded.into_iter().chain([id]) {
                    if let Some(record) =
                        self.ingress.get(&changed).filter(|record| record.agent_call.is_some())
                    {
                        self.certifier.request_changed(record.subnet, changed);
                    }
                }
            }
            Origin::Canister { caller, callback, .. } => {
                self.queue.push_back(QueuedMessage::Answer { canister: caller, callback, result, refund })
            }
            Origin::System => {}
        }
    }

    /// Executes a call of a canister method, or answers it with an error. Returns the instructions that the method
    /// used.
    pub(super) fn run_method(&mut self, call: MethodCall, now: u64) -> u64 {
        let entry = match self.method_entry(&call) {
            Ok(entry) => entry,
            Err(error) => {
                self.respond(call.origin, Err(error), call.cycles);
                return 0;
            }
        };
        let Some(canister) = self.canisters.get_mut(&call.callee) else {
            return 0;
        };
        let mut message = canister.message_context(call.caller, now);
        message.method = call.method;
        message.arg = call.arg;
        message.cycles_available = call.cycles;
        message.caller_info = call.caller_info;
        message.deadline = deadline_of(&call.origin);
        let context = canister.calls.open(&mut self.call_ids, call.origin, call.caller, call.cycles);
        self.run_in_context(call.callee, context, entry, message)
    }

    /// Returns the entry point for a call; an error if the callee cannot execute it.
    fn method_entry(&self, call: &MethodCall) -> Result<EntryPoint, UserError> {
        let id = call.callee;
        let canister = self.canisters.get(&id).ok_or_else(|| self.not_found_error(id).hiding_code())?;
        canister.check_running().map_err(UserError::hiding_code)?;
        let state = canister.state.as_ref().ok_or_else(|| UserError::no_wasm_module(id))?;
        canister.check_not_frozen()?;
        if let Origin::Canister { caller, .. } = call.origin
            && caller != id
        {
            canister.check_incoming_cycles(call.cycles)?;
        }
        let name = call.method.clone();
        let module = state.module();
        if module.has_export(MethodKind::Query, &name) {
            Ok(EntryPoint::ReplicatedQuery(name))
        } else if module.has_export(MethodKind::CompositeQuery, &name) {
            Err(UserError::from_execution(
                id,
                ErrorCode::CompositeQueryCalledInReplicatedMode,
                "Composite query cannot be called in replicated mode",
            ))
        } else {
            canister.check_wasm_memory(state.wasm_memory_bytes())?;
            Ok(EntryPoint::Update(name))
        }
    }

    /// Returns the error for a canister that does not exist; its text depends on whether a subnet owns the id.
    fn not_found_error(&self, id: Principal) -> UserError {
        match self.route(id) {
            Ok(_) => UserError::canister_not_found(id),
            Err(_) => UserError::new(ErrorCode::CanisterNotFound, format!("No route to canister {id}")),
        }
    }

    /// Runs one message of a call context and handles its consequences. Returns the instructions that the message
    /// used.
    pub(super) fn run_in_context(
        &mut self,
        id: Principal,
        context: ContextId,
        entry: EntryPoint,
        message: MessageContext,
    ) -> u64 {
        let now = message.time_nanos;
        let keeps_changes = !matches!(entry, EntryPoint::ReplicatedQuery(_));
        let Some(outcome) = self.execute(id, entry, message) else {
            return 0;
        };
        let used = outcome.instructions;
        let failure = match &outcome.result {
            Ok(()) => {
                self.apply_effects(id, context, outcome, keeps_changes, now);
                None
            }
            Err(trap) => Some(trap_error(id, trap)),
        };
        self.close_context(id, context, failure);
        used
    }

    /// Executes a message on the canister's current state. Records its costs and logs, and changes nothing else.
    /// Returns `None` if the canister or its code no longer exists.
    fn execute(
        &mut self,
        id: Principal,
        entry: EntryPoint,
        message: MessageContext,
    ) -> Option<MessageOutcome> {
        let canister = self.canisters.get(&id)?;
        let state = canister.state.as_ref()?;
        let limits = canister.limits(Limits::update(), &entry);
        let (name, method) = names_in_costs(&entry, &message.method);
        let now = message.time_nanos;
        let outcome = self.engine.execute(state, entry, message, limits);
        self.record_cost(id, name, &method, &outcome, now);
        self.record_logs(id, &outcome.logs, now);
        Some(outcome)
    }

    /// Applies the effects of a successful message: all of them if `keeps_changes` is set; otherwise, for a query, only
    /// its answer, its cycles and the instructions it used.
    fn apply_effects(
        &mut self,
        id: Principal,
        context: ContextId,
        outcome: MessageOutcome,
        keeps_changes: bool,
        now: u64,
    ) {
        let Some(canister) = self.canisters.get_mut(&id) else {
            return;
        };
        if keeps_changes {
            apply_to_canister(canister, &outcome);
        } else {
            update_balance(canister, &outcome);
        }
        let Some(open_context) = canister.calls.context_mut(context) else {
            return;
        };
        open_context.instructions = open_context.instructions.saturating_add(outcome.instructions);
        open_context.cycles = open_context.cycles.saturating_sub(outcome.cycles_accepted);
        if keeps_changes {
            for call in outcome.calls {
                let request = register_call(canister, &mut self.call_ids, context, call, now);
                self.queue.push_back(request);
            }
        }
        if let Some(reply) = outcome.reply {
            let result = match reply {
                Response::Reply(bytes) => Ok(bytes),
                Response::Reject(text) => Err(UserError::rejected_by_canister(text)),
            };
            self.answer_context(id, context, result);
        }
    }

    /// Answers the call of a context, unless it was answered before. The cycles that were not accepted are refunded.
    fn answer_context(&mut self, id: Principal, context: ContextId, result: CallResult) {
        let open_context =
            self.canisters.get_mut(&id).and_then(|canister| canister.calls.context_mut(context));
        let Some(open_context) = open_context.filter(|context| !context.responded) else {
            return;
        };
        open_context.responded = true;
        let refund = std::mem::take(&mut open_context.cycles);
        let origin = open_context.origin.clone();
        self.respond(origin, result, refund);
    }

    /// Closes a call context if nothing more can happen in it. If its call has no answer yet, answers it with
    /// `failure`, or else with the error that the canister did not reply. If the canister is stopping, this may
    /// complete the stop.
    fn close_context(&mut self, id: Principal, context: ContextId, failure: Option<UserError>) {
        let closed = self.canisters.get_mut(&id).and_then(|canister| canister.calls.close_if_done(context));
        let Some(closed) = closed else {
            return;
        };
        if !closed.responded {
            let error = failure.unwrap_or_else(|| {
                UserError::from_execution(
                    id,
                    ErrorCode::CanisterDidNotReply,
                    "Canister did not reply to the call",
                )
            });
            self.respond(closed.origin, Err(error), closed.cycles);
        }
        self.finish_stopping(id);
    }

    /// Stops a canister that is stopping, if it has no open calls; otherwise does nothing.
    pub(super) fn finish_stopping(&mut self, id: Principal) {
        let Some(canister) = self.canisters.get_mut(&id) else {
            return;
        };
        let RunStatus::Stopping(waiters) = &mut canister.status else {
            return;
        };
        if !canister.calls.is_idle() {
            return;
        }
        let waiters = std::mem::take(waiters);
        canister.status = RunStatus::Stopped;
        canister.version += 1;
        for waiter in waiters {
            self.respond(waiter.origin, Ok(empty_reply()), waiter.cycles);
        }
    }

    /// Executes the callback for an answer, if the canister still waits for this answer; the canister gets the refund
    /// in any case. Returns the instructions that the callback and its cleanup used.
    pub(super) fn run_callback(
        &mut self,
        id: Principal,
        callback_id: CallbackId,
        result: CallResult,
        refund: u128,
        now: u64,
    ) -> u64 {
        let Some(canister) = self.canisters.get_mut(&id) else {
            return 0;
        };
        canister.cycles = canister.cycles.saturating_add(refund);
        let Some(callback) = canister.calls.take_callback(callback_id) else {
            return 0;
        };
        let context = callback.context;
        let Some(open_context) = canister.calls.context(context).cloned() else {
            return 0;
        };
        let mut message = canister.message_context(open_context.caller, now);
        message.cycles_available = open_context.cycles;
        message.cycles_refunded = refund;
        message.responded = open_context.responded;
        message.call_context_instructions = open_context.instructions;
        message.deadline = deadline_of(&open_context.origin);
        let cleanup_message = message.clone();
        let entry = match result {
            Ok(reply) => {
                message.arg = reply;
                let (fun, env) = callback.on_reply;
                EntryPoint::ReplyCallback { fun, env }
            }
            Err(error) => {
                message.reject_code = reject_number(error.reject_code());
                message.reject_message = error.reject_text();
                let (fun, env) = callback.on_reject;
                EntryPoint::RejectCallback { fun, env }
            }
        };
        let Some(outcome) = self.execute(id, entry, message) else {
            return 0;
        };
        let mut used = outcome.instructions;
        let failure = match &outcome.result {
            Ok(()) => {
                self.apply_effects(id, context, outcome, true, now);
                None
            }
            Err(trap) => {
                let (cleanup_used, cleanup) = self.run_cleanup(id, &callback, cleanup_message);
                used += cleanup_used;
                Some(match cleanup {
                    Ok(()) => trap_error(id, trap),
                    Err(cleanup) => cleanup_error(id, trap, &cleanup),
                })
            }
        };
        self.close_context(id, context, failure);
        used
    }

    /// Runs the cleanup of a callback that trapped. Returns the instructions that the cleanup used, and its trap if the
    /// cleanup trapped as well, in which case it has changed nothing.
    fn run_cleanup(
        &mut self,
        id: Principal,
        callback: &Callback,
        message: MessageContext,
    ) -> (u64, Result<(), Trap>) {
        let Some((fun, env)) = callback.on_cleanup else {
            return (0, Ok(()));
        };
        let now = message.time_nanos;
        let Some(outcome) = self.execute(id, EntryPoint::CleanupCallback { fun, env }, message) else {
            return (0, Ok(()));
        };
        let (used, result) = (outcome.instructions, outcome.result.clone());
        if result.is_ok() {
            self.apply_effects(id, callback.context, outcome, true, now);
        }
        (used, result)
    }

    /// Appends an execution to the list of costs of its canister.
    pub(super) fn record_cost(
        &mut self,
        id: Principal,
        entry: &'static str,
        method: &str,
        outcome: &MessageOutcome,
        time_nanos: u64,
    ) {
        if let Some(canister) = self.canisters.get_mut(&id) {
            canister.costs.push(MessageCost {
                // `CostRing::push` sets it.
                index: 0,
                entry: entry.into(),
                method: method.to_owned(),
                instructions: outcome.instructions,
                stable_bytes_written: outcome.stable_bytes_written,
                stable_bytes_read: outcome.stable_bytes_read,
                dirty_stable_pages: outcome.dirty_stable_pages,
                dirty_wasm_pages: outcome.dirty_wasm_pages,
                wasm_memory_pages: outcome.state.wasm_memory_bytes() / WASM_PAGE,
                stable_memory_pages: outcome.state.stable().pages(),
                wall_nanos: u64::try_from(outcome.wall_time.as_nanos()).unwrap_or(u64::MAX),
                time_nanos,
                ok: outcome.result.is_ok(),
            });
        }
    }

    /// Stores what an execution logged in the canister's log, and prints it ([`Self::print_logs`]).
    pub(super) fn record_logs(&mut self, id: Principal, logs: &[Vec<u8>], now: u64) {
        let Some(canister) = self.canisters.get_mut(&id) else {
            return;
        };
        for content in logs {
            canister.log(now, content.clone());
        }
        self.print_logs(id, logs, now);
    }

    /// Prints what an execution logged on standard error, if the server prints logs; does not store it.
    pub(super) fn print_logs(&self, id: Principal, logs: &[Vec<u8>], now: u64) {
        if self.print_logs {
            for content in logs {
                super::stderr_log::print(id, now, content);
            }
        }
    }
}

/// Returns the deadline of a call, nanoseconds since 1970; 0 if it has none.
fn deadline_of(origin: &Origin) -> u64 {
    match origin {
        Origin::Canister { deadline, .. } => *deadline,
        Origin::Ingress(_) | Origin::System => 0,
    }
}

/// Applies the effects of a successful message on the canister itself.
pub(super) fn apply_to_canister(canister: &mut Canister, outcome: &MessageOutcome) {
    canister.state = Some(outcome.state.clone());
    update_balance(canister, outcome);
    if let Some(data) = &outcome.certified_data {
        canister.certified_data = data.clone();
    }
    if let Some(timer) = outcome.global_timer {
        canister.global_timer = timer;
    }
    canister.update_low_memory_hook();
    canister.version += 1;
}

/// Updates the balance by what the message accepted, burned and attached to its calls.
fn update_balance(canister: &mut Canister, outcome: &MessageOutcome) {
    let spent = outcome.calls.iter().fold(outcome.cycles_burned, |sum, call| sum.saturating_add(call.cycles));
    canister.cycles = canister.cycles.saturating_add(outcome.cycles_accepted).saturating_sub(spent);
    canister.cycles_burned = canister.cycles_burned.saturating_add(outcome.cycles_burned);
}

/// Registers the callback of a call, and returns the request to be queued.
fn register_call(
    canister: &mut Canister,
    ids: &mut CallIds,
    context: ContextId,
    call: OutgoingCall,
    now: u64,
) -> QueuedMessage {
    // Deadlines are whole seconds, counted from the current time rounded down to seconds.
    let deadline = call.timeout_seconds.map_or(0, |seconds| {
        (now / NANOS_PER_SECOND).saturating_add(seconds.into()).saturating_mul(NANOS_PER_SECOND)
    });
    let callback = Callback {
        context,
        on_reply: call.on_reply,
        on_reject: call.on_reject,
        on_cleanup: call.on_cleanup,
        deadline,
    };
    let callback_id = canister.calls.register(ids, callback);
    QueuedMessage::Request {
        caller: canister.id,
        callback: callback_id,
        deadline,
        callee: call.callee,
        method: call.method,
        arg: call.arg,
        cycles: call.cycles,
    }
}

/// Returns the names of an entry point and of its method in the cost list.
pub(super) fn names_in_costs(entry: &EntryPoint, method: &str) -> (&'static str, String) {
    let (name, method) = match entry {
        EntryPoint::Start => ("start", ""),
        EntryPoint::Init => ("init", ""),
        EntryPoint::PreUpgrade => ("pre_upgrade", ""),
        EntryPoint::PostUpgrade => ("post_upgrade", ""),
        EntryPoint::InspectMessage => ("inspect_message", method),
        EntryPoint::Update(name) => ("update", name.as_str()),
        EntryPoint::Query(name) => ("query", name.as_str()),
        EntryPoint::CompositeQuery(name) => ("composite_query", name.as_str()),
        EntryPoint::ReplicatedQuery(name) => ("replicated_query", name.as_str()),
        EntryPoint::Heartbeat => ("heartbeat", ""),
        EntryPoint::GlobalTimer => ("global_timer", ""),
        EntryPoint::OnLowWasmMemory => ("on_low_wasm_memory", ""),
        EntryPoint::ReplyCallback { .. } => ("reply_callback", ""),
        EntryPoint::RejectCallback { .. } => ("reject_callback", ""),
        EntryPoint::CleanupCallback { .. } => ("cleanup_callback", ""),
    };
    (name, method.to_owned())
}

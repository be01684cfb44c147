//! Rounds: first the hooks, timers and heartbeats that are due, then the waiting messages in order of arrival, until
//! each canister and each subnet has used its share of the round. The remaining messages wait for the next round.

use super::calls::{MessageId, Origin};
use super::canister::{Canister, LowMemoryHook, RunStatus, StopWaiter};
use super::error::UserError;
use super::execute::MethodCall;
use super::ingress_record::IngressState;
use super::instance::Instance;
use super::management::{self, ManagementCall};
use super::queued_message::QueuedMessage;
use super::requests;
use super::subnet::{Subnet, THREAD_INSTRUCTIONS};
use crate::engine::{CallerInfo, EntryPoint, SystemEntry};
use candid::Principal;
use pocket_ic::ErrorCode;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Instructions that a round is charged for each message, in addition to those that the message uses.
const MESSAGE_OVERHEAD: u64 = 2_000_000;
/// Maximum number of messages of one canister in a round: as many as fit into the budget of one thread of an
/// application subnet if only their overhead is counted.
const CANISTER_MESSAGES: u64 = THREAD_INSTRUCTIONS / MESSAGE_OVERHEAD;
/// Number of threads of a subnet: its share of a round is this many times a canister's share.
const THREADS: u64 = 4;
/// How long a stop call waits for open calls.
const STOP_TIMEOUT: Duration = Duration::from_secs(300);

impl Instance {
    /// Runs one round. The shares limit only the messages in the queue: hooks, timers and heartbeats that are due run
    /// in any case.
    pub fn round(&mut self) {
        let now = self.clock.begin_round();
        self.rounds += 1;
        self.forget_requests(now);
        self.answer_raw_rand(now);
        self.expire_calls(now);
        let ids: Vec<Principal> = self.canisters.keys().copied().collect();
        for id in ids {
            self.run_system_tasks(id, now);
        }
        let mut usage = RoundUsage::default();
        let mut postponed = VecDeque::new();
        while let Some(message) = self.queue.pop_front() {
            let payer = self.payer_of(&message);
            if payer.is_some_and(|payer| usage.uses_up_share_of(payer)) {
                postponed.push_back(message);
                continue;
            }
            let used = self.run_queued(message, now);
            if let Some(payer) = payer {
                usage.charge(payer, used);
            }
        }
        self.queue = postponed;
        for subnet in &mut self.subnets {
            subnet.transactions += usage.subnets.get(&subnet.id).map_or(0, |usage| usage.messages);
        }
        self.notify_waiters();
    }

    /// Returns the canister and the subnet to whose shares a message is charged; `None` for a message that does not
    /// run, but is only answered or dropped.
    fn payer_of(&self, message: &QueuedMessage) -> Option<Payer> {
        let (callee, sending_subnet) = match message {
            QueuedMessage::Ingress(id) => {
                let record = self.ingress.get(id)?;
                let IngressState::Received(call) = &record.state else { return None };
                (call.callee, Some(record.subnet))
            }
            QueuedMessage::Request { caller, callee, .. } => (*callee, self.subnet_of_canister(*caller)),
            QueuedMessage::Answer { canister, .. } => (*canister, None),
        };
        let (canister, subnet) = if callee == Principal::management_canister() {
            (None, sending_subnet?)
        } else {
            (Some(callee), self.subnet_of_canister(callee)?)
        };
        let canister_instructions = self.subnet(subnet).map(Subnet::round_instructions).ok()?;
        Some(Payer { canister, subnet, canister_instructions })
    }

    /// Executes a message, and returns the instructions that it used.
    fn run_queued(&mut self, message: QueuedMessage, now: u64) -> u64 {
        match message {
            QueuedMessage::Ingress(id) => self.run_ingress(id, now),
            QueuedMessage::Request { caller, callback, deadline, callee, method, arg, cycles } => {
                let origin = Origin::Canister { caller, callback, deadline };
                if callee == Principal::management_canister() {
                    let call = ManagementCall::by_canister(caller, &method, &arg, cycles, origin, now);
                    return management::execute(self, call);
                }
                self.run_method(
                    MethodCall {
                        callee,
                        origin,
                        caller,
                        method,
                        arg,
                        cycles,
                        caller_info: CallerInfo::default(),
                    },
                    now,
                )
            }
            QueuedMessage::Answer { canister, callback, result, refund } => {
                self.run_callback(canister, callback, result, refund, now)
            }
        }
    }

    /// Executes a user's call, or rejects it if it has expired. Returns the instructions that it used.
    fn run_ingress(&mut self, id: MessageId, now: u64) -> u64 {
        let Some((call, record)) = self.ingress.begin(&id) else {
            return 0;
        };
        let subnet = record.subnet;
        let origin = Origin::Ingress(id);
        if let Some(expiry) = record.agent_call.as_ref().map(|agent_call| agent_call.expiry) {
            self.certifier.request_changed(subnet, id);
            if expiry < now {
                self.respond(origin, Err(requests::expiry_error(&id)), 0);
                return 0;
            }
        }
        if call.callee == Principal::management_canister() {
            return management::execute(self, ManagementCall::by_user(&call, Some(subnet), origin, now));
        }
        self.run_method(
            MethodCall {
                callee: call.callee,
                origin,
                caller: call.sender,
                method: call.method,
                arg: call.arg,
                cycles: 0,
                caller_info: call.caller_info,
            },
            now,
        )
    }

    /// Runs the hook, the timer and the heartbeat of a canister, as far as they are due.
    fn run_system_tasks(&mut self, id: Principal, now: u64) {
        for task in [SystemEntry::OnLowWasmMemory, SystemEntry::GlobalTimer, SystemEntry::Heartbeat] {
            let Some(canister) = self.canisters.get_mut(&id) else {
                break;
            };
            let Some(entry) = due_entry(canister, task, now) else {
                continue;
            };
            let caller = Principal::management_canister();
            let message = canister.message_context(caller, now);
            let context = canister.calls.open(&mut self.call_ids, Origin::System, caller, 0);
            self.run_in_context(id, context, entry, message);
        }
    }

    /// Ends best-effort calls whose deadline has passed, and stop calls that have waited too long.
    fn expire_calls(&mut self, now: u64) {
        let mut answers = Vec::new();
        for canister in self.canisters.values_mut() {
            for callback in canister.calls.expired_callbacks(now) {
                // The answer is delivered without regard to the deadline.
                answers.push((
                    Origin::Canister { caller: canister.id, callback, deadline: 0 },
                    UserError::new(ErrorCode::DeadlineExpired, "Call deadline has expired.").hiding_code(),
                    0,
                ));
            }
            if let RunStatus::Stopping(waiters) = &mut canister.status {
                let timeout = STOP_TIMEOUT.as_nanos();
                let has_timed_out =
                    |waiter: &mut StopWaiter| u128::from(now.saturating_sub(waiter.since)) >= timeout;
                for waiter in waiters.extract_if(.., has_timed_out) {
                    answers.push((
                        waiter.origin,
                        UserError::new(
                            ErrorCode::StopCanisterRequestTimeout,
                            "Stop canister request timed out",
                        ),
                        waiter.cycles,
                    ));
                }
            }
        }
        for (origin, error, refund) in answers {
            self.respond(origin, Err(error), refund);
        }
    }
}

/// The canister and the subnet to whose shares a message is charged, and the number of instructions that one canister
/// may use in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payer {
    /// `None` for calls of the management canister, which are limited only by the subnet's share.
    canister: Option<Principal>,
    subnet: Principal,
    canister_instructions: u64,
}

/// What the messages of a round have used so far.
#[derive(Debug, Default)]
struct RoundUsage {
    canisters: BTreeMap<Principal, Usage>,
    subnets: BTreeMap<Principal, Usage>,
}

/// What the messages of one canister or subnet have used of their share.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    messages: u64,
    instructions: u64,
}

impl Usage {
    /// Returns whether the share of `threads` threads is used up: 1 for a canister, [`THREADS`] for a subnet.
    /// `thread_instructions` is the limit of one thread.
    fn uses_up_share(self, threads: u64, thread_instructions: u64) -> bool {
        let overhead = self.messages.saturating_mul(MESSAGE_OVERHEAD);
        self.messages >= threads * CANISTER_MESSAGES
            || self.instructions.saturating_add(overhead) >= threads.saturating_mul(thread_instructions)
    }

    fn charge(&mut self, instructions: u64) {
        self.messages += 1;
        self.instructions = self.instructions.saturating_add(instructions);
    }
}

impl RoundUsage {
    /// Returns whether the share of the payer's subnet or canister is used up.
    fn uses_up_share_of(&self, payer: Payer) -> bool {
        let used_up = |usages: &BTreeMap<Principal, Usage>, id: &Principal, threads| {
            usages.get(id).is_some_and(|usage| usage.uses_up_share(threads, payer.canister_instructions))
        };
        used_up(&self.subnets, &payer.subnet, THREADS)
            || payer.canister.is_some_and(|id| used_up(&self.canisters, &id, 1))
    }

    fn charge(&mut self, payer: Payer, instructions: u64) {
        if let Some(canister) = payer.canister {
            self.canisters.entry(canister).or_default().charge(instructions);
        }
        self.subnets.entry(payer.subnet).or_default().charge(instructions);
    }
}

/// Returns the entry point of a task if it is due, and marks the task as no longer due (a heartbeat is due in every
/// round).
fn due_entry(canister: &mut Canister, task: SystemEntry, now: u64) -> Option<EntryPoint> {
    let exported = canister.state.as_ref()?.module().exports_system(task);
    if canister.status != RunStatus::Running || !exported || canister.check_not_frozen().is_err() {
        return None;
    }
    match task {
        SystemEntry::OnLowWasmMemory if canister.low_memory_hook == LowMemoryHook::Ready => {
            canister.low_memory_hook = LowMemoryHook::Executed;
            Some(EntryPoint::OnLowWasmMemory)
        }
        SystemEntry::GlobalTimer if canister.global_timer != 0 && canister.global_timer <= now => {
            // The timer fires once; the canister may set it again.
            canister.global_timer = 0;
            Some(EntryPoint::GlobalTimer)
        }
        SystemEntry::Heartbeat => Some(EntryPoint::Heartbeat),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::ic::UserCall;
    use crate::ic::user_call::Target;
    use candid::encode_one;
    use ic_management_canister_types as types;
    use pocket_ic::common::rest::{InstanceConfig, RawEffectivePrincipal, SubnetConfigSet};

    #[test]
    fn a_share_is_used_up_by_messages_or_by_instructions() {
        // The overhead of a thousand messages uses up the share of one thread.
        let used_up = |messages, instructions, threads| {
            Usage { messages, instructions }.uses_up_share(threads, 1_000 * MESSAGE_OVERHEAD)
        };
        assert!(!used_up(999, MESSAGE_OVERHEAD - 1, 1));
        assert!(used_up(999, MESSAGE_OVERHEAD, 1));
        assert!(used_up(1_000, 0, 1) && !used_up(1_000, 0, 4) && used_up(4_000, 0, 4));
        // On a subnet whose messages may use any number of instructions, the number of messages is nevertheless
        // limited.
        let used_up_by_messages =
            |messages, threads| Usage { messages, instructions: 0 }.uses_up_share(threads, u64::MAX);
        assert!(!used_up_by_messages(CANISTER_MESSAGES - 1, 1) && used_up_by_messages(CANISTER_MESSAGES, 1));
        assert!(
            !used_up_by_messages(4 * CANISTER_MESSAGES - 1, 4)
                && used_up_by_messages(4 * CANISTER_MESSAGES, 4)
        );
    }

    #[test]
    fn instructions_of_an_installation_count_towards_the_round() {
        let subnet_config_set = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() }.into();
        let config = InstanceConfig { subnet_config_set, ..InstanceConfig::default() };
        let mut instance = Instance::create(Engine::new().unwrap(), &config, false).unwrap().instance;
        let canister_id = instance.subnets[0].first_canister_id();
        let mut run = |method: &str, arg: Vec<u8>| {
            let call = UserCall {
                sender: Principal::anonymous(),
                callee: Principal::management_canister(),
                effective: RawEffectivePrincipal::None,
                method: method.into(),
                arg,
                caller_info: CallerInfo::default(),
                target: Target::default(),
            };
            instance.submit(call).unwrap().unwrap();
            let message = instance.queue.pop_front().unwrap();
            instance.run_queued(message, 1)
        };
        let create = types::ProvisionalCreateCanisterWithCyclesArgs::default();
        assert_eq!(run("provisional_create_canister_with_cycles", encode_one(create).unwrap()), 0);
        for end in ["(unreachable)", ""] {
            let module = format!(
                r#"(module (memory 1)
                    (func (export "canister_init")
                        (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000)) {end}))"#
            );
            let install = types::InstallCodeArgs {
                mode: types::CanisterInstallMode::Install,
                canister_id,
                wasm_module: wat::parse_str(module).unwrap(),
                arg: vec![],
                sender_canister_version: None,
            };
            assert!(
                run("install_code", encode_one(install).unwrap()) > 60_000,
                "an initialization that ends with {end:?}"
            );
        }
    }
}

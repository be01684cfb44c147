//! Rounds: what is due by itself, then the waiting messages in the order in which they came.

use super::calls::{CallResult, CallbackId, MessageId, Origin};
use super::canister::{Canister, LowMemoryHook, RunStatus};
use super::error::UserError;
use super::execute::MethodCall;
use super::instance::Instance;
use super::management::{self, Caller};
use crate::engine::{CallerInfo, EntryPoint, SystemEntry};
use candid::Principal;
use pocket_ic::ErrorCode;
use std::time::Duration;

/// A round ends once its messages used this many instructions; the rest waits for the next round.
const ROUND_INSTRUCTIONS: u64 = 80_000_000_000;
/// A round ends after this many messages.
const ROUND_MESSAGES: usize = 20_000;
/// How long a stop call waits for open calls.
const STOP_TIMEOUT: Duration = Duration::from_secs(300);

/// A message that waits for execution.
#[derive(Debug)]
pub(super) enum Work {
    /// A user's call.
    Ingress(MessageId),
    /// A call by a canister.
    Request {
        /// The canister that called.
        caller: Principal,
        /// Where its answer goes.
        callback: CallbackId,
        /// When it expires (best-effort calls), nanoseconds; 0 for never.
        deadline: u64,
        /// The canister that is called.
        callee: Principal,
        /// The method.
        method: String,
        /// The argument.
        arg: Vec<u8>,
        /// Cycles attached.
        cycles: u128,
    },
    /// An answer to a canister.
    Answer {
        /// The canister that called.
        canister: Principal,
        /// Where to go on.
        callback: CallbackId,
        /// The answer.
        result: CallResult,
        /// Cycles that come back.
        refund: u128,
    },
}

impl Instance {
    /// Runs one round: timers and heartbeats that are due, then the waiting messages and what they bring about.
    pub fn round(&mut self) {
        let now = self.clock.begin_round();
        self.expire_calls(now);
        let ids: Vec<Principal> = self.canisters.keys().copied().collect();
        let mut used = 0u64;
        for id in ids {
            used = used.saturating_add(self.run_system_tasks(id, now));
        }
        for _ in 0..ROUND_MESSAGES {
            if used >= ROUND_INSTRUCTIONS {
                break;
            }
            let Some(work) = self.queue.pop_front() else {
                break;
            };
            used = used.saturating_add(self.run_work(work, now));
        }
    }

    fn run_work(&mut self, work: Work, now: u64) -> u64 {
        match work {
            Work::Ingress(id) => self.run_ingress(id, now),
            Work::Request { caller, callback, deadline, callee, method, arg, cycles } => {
                let origin = Origin::Canister { caller, callback, deadline };
                if callee == Principal::management_canister() {
                    let caller = Caller::canister(caller);
                    return management::execute(self, origin, caller, None, &method, &arg, cycles, now);
                }
                self.run_method(
                    MethodCall { callee, origin, caller, method, arg, cycles, info: CallerInfo::default() },
                    now,
                )
            }
            Work::Answer { canister, callback, result, refund } => {
                self.run_callback(canister, callback, result, refund, now)
            }
        }
    }

    fn run_ingress(&mut self, id: MessageId, now: u64) -> u64 {
        let Some(record) = self.ingress.get_mut(&id) else {
            return 0;
        };
        let Some(call) = record.call.take() else {
            return 0;
        };
        let subnet = record.subnet;
        let origin = Origin::Ingress(id);
        if call.callee == Principal::management_canister() {
            let caller = Caller::user(call.sender);
            return management::execute(self, origin, caller, Some(subnet), &call.method, &call.arg, 0, now);
        }
        self.run_method(
            MethodCall {
                callee: call.callee,
                origin,
                caller: call.sender,
                method: call.method,
                arg: call.arg,
                cycles: 0,
                info: call.info,
            },
            now,
        )
    }

    /// Runs what is due by itself: the hook for low memory, the global timer, the heartbeat.
    fn run_system_tasks(&mut self, id: Principal, now: u64) -> u64 {
        let mut used = 0;
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
            used += self.run_in_context(id, context, entry, message);
        }
        used
    }

    /// Ends best-effort calls whose deadline has passed and stop calls that waited too long.
    fn expire_calls(&mut self, now: u64) {
        let mut answers = Vec::new();
        for canister in self.canisters.values_mut() {
            for callback in canister.calls.expired(now) {
                answers.push((
                    Origin::Canister { caller: canister.id, callback, deadline: 0 },
                    UserError::new(ErrorCode::DeadlineExpired, "Call deadline has expired."),
                    0,
                ));
            }
            if let RunStatus::Stopping(waiters) = &mut canister.status {
                let timeout = STOP_TIMEOUT.as_nanos();
                let waited = |since: u64| u128::from(now.saturating_sub(since)) >= timeout;
                for waiter in waiters.extract_if(.., |waiter| waited(waiter.since)) {
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

/// The entry point of a task if it is due, which it is not any more afterwards.
fn due_entry(canister: &mut Canister, task: SystemEntry, now: u64) -> Option<EntryPoint> {
    let exported = canister.state.as_ref()?.module().exports_system(task);
    if canister.status != RunStatus::Running || !exported || canister.check_not_frozen().is_err() {
        return None;
    }
    match task {
        SystemEntry::OnLowWasmMemory if canister.low_memory == LowMemoryHook::Ready => {
            canister.low_memory = LowMemoryHook::Executed;
            Some(EntryPoint::OnLowWasmMemory)
        }
        SystemEntry::GlobalTimer if canister.global_timer != 0 && canister.global_timer <= now => {
            // It fires once; the canister may set it anew.
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
    use candid::encode_one;
    use ic_management_canister_types as types;
    use pocket_ic::common::rest::{InstanceConfig, RawEffectivePrincipal, SubnetConfigSet};

    #[test]
    fn what_an_installation_runs_counts_towards_the_round() {
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
                info: CallerInfo::default(),
            };
            instance.submit(call).unwrap().unwrap();
            let work = instance.queue.pop_front().unwrap();
            instance.run_work(work, 1)
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
            assert!(run("install_code", encode_one(install).unwrap()) > 60_000, "{end}");
        }
    }
}

//! The kinds of execution that the system API distinguishes, and the table of its functions with the kinds in which
//! each may be called.
//!
//! The table follows the IC interface specification, section "Overview of imports"; the constants for single kinds are
//! named by the letters used there. The instruction charges are the fixed parts that the IC's execution layer
//! publishes. For stable memory, they are the charges of the IC's native implementation, in which reading the size is
//! free, since it is not a system call.

use super::entry::EntryPoint;

/// A set of kinds of execution, one bit each.
pub(super) type ExecutionKinds = u16;

/// The `(start)` function.
pub(super) const S: ExecutionKinds = 1;
/// `canister_init` and `canister_post_upgrade`.
pub(super) const I: ExecutionKinds = 1 << 1;
/// `canister_pre_upgrade`.
pub(super) const G: ExecutionKinds = 1 << 2;
/// Update methods.
pub(super) const U: ExecutionKinds = 1 << 3;
/// Query methods in replicated mode.
pub(super) const RQ: ExecutionKinds = 1 << 4;
/// Query methods in non-replicated mode.
pub(super) const NRQ: ExecutionKinds = 1 << 5;
/// Composite query methods.
pub(super) const CQ: ExecutionKinds = 1 << 6;
/// Reply callbacks.
pub(super) const RY: ExecutionKinds = 1 << 7;
/// Reject callbacks.
pub(super) const RT: ExecutionKinds = 1 << 8;
/// Reply callbacks of composite queries.
pub(super) const CRY: ExecutionKinds = 1 << 9;
/// Reject callbacks of composite queries.
pub(super) const CRT: ExecutionKinds = 1 << 10;
/// Cleanup callbacks.
pub(super) const C: ExecutionKinds = 1 << 11;
/// Cleanup callbacks of composite queries.
pub(super) const CC: ExecutionKinds = 1 << 12;
/// `canister_inspect_message`.
pub(super) const F: ExecutionKinds = 1 << 13;
/// System tasks: heartbeat, global timer, low wasm memory hook.
pub(super) const T: ExecutionKinds = 1 << 14;

/// Everywhere but in `(start)`: the specification's `*`.
const ANY: ExecutionKinds = I | G | U | RQ | NRQ | CQ | RY | RT | CRY | CRT | C | CC | F | T;
/// The specification's `* s`.
const ALL: ExecutionKinds = ANY | S;
// The following sets are each for one group of functions in the table. Some have the same kinds, since the
// specification lists them separately.
const ARG: ExecutionKinds = I | U | RQ | NRQ | CQ | RY | CRY | F;
const CALLER_INFO: ExecutionKinds = U | RQ | NRQ | CQ | RY | RT | CRY | CRT | C | CC | F;
const RESPOND: ExecutionKinds = U | RQ | NRQ | CQ | RY | RT | CRY | CRT;
const DEADLINE: ExecutionKinds = U | RQ | NRQ | CQ | RY | RT | CRY | CRT;
const CYCLES: ExecutionKinds = U | RQ | RT | RY;
const BURN: ExecutionKinds = I | G | U | RQ | RY | RT | C | T;
const ROOT_KEY: ExecutionKinds = I | G | U | RQ | RY | RT | C | T;
const CALL: ExecutionKinds = U | CQ | RY | RT | CRY | CRT | T;
const CALL_CYCLES: ExecutionKinds = U | RY | RT | T;
const CERTIFY: ExecutionKinds = I | G | U | RY | RT | T;
const TIMER: ExecutionKinds = I | G | U | RY | RT | C | T;

/// Kinds of execution whose results all nodes of the subnet agree on: what `in_replicated_execution` returns.
pub(super) const REPLICATED: ExecutionKinds = ALL & !(NRQ | CQ | CRY | CRT | CC | F);

/// Returns the kind of execution of an entry point, and the kind's name in error texts. `composite_query` matters only
/// for callbacks: whether they belong to a composite query.
pub(super) fn execution_kind_of(entry: &EntryPoint, composite_query: bool) -> (ExecutionKinds, &'static str) {
    match (entry, composite_query) {
        (EntryPoint::Start, _) => (S, "start"),
        (EntryPoint::Init | EntryPoint::PostUpgrade, _) => (I, "init"),
        (EntryPoint::PreUpgrade, _) => (G, "pre upgrade"),
        (EntryPoint::InspectMessage, _) => (F, "inspect message"),
        (EntryPoint::Update(_), _) => (U, "update"),
        (EntryPoint::Query(_), _) => (NRQ, "non replicated query"),
        (EntryPoint::CompositeQuery(_), _) => (CQ, "composite query"),
        (EntryPoint::ReplicatedQuery(_), _) => (RQ, "replicated query"),
        (EntryPoint::Heartbeat, _) => (T, "heartbeat"),
        (EntryPoint::GlobalTimer, _) => (T, "global timer"),
        (EntryPoint::OnLowWasmMemory, _) => (T, "on low Wasm memory"),
        (EntryPoint::ReplyCallback { .. }, false) => (RY, "reply callback"),
        (EntryPoint::ReplyCallback { .. }, true) => (CRY, "composite reply callback"),
        (EntryPoint::RejectCallback { .. }, false) => (RT, "reject callback"),
        (EntryPoint::RejectCallback { .. }, true) => (CRT, "composite reject callback"),
        (EntryPoint::CleanupCallback { .. }, false) => (C, "cleanup"),
        (EntryPoint::CleanupCallback { .. }, true) => (CC, "composite cleanup"),
    }
}

/// A function of the system API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) allowed_kinds: ExecutionKinds,
    /// Instructions charged for every call; charges that depend on sizes are added to this.
    pub(super) cost: u64,
    /// Whether only modules with a 32-bit memory may import the function: it is an old one, with a 64-bit or 128-bit
    /// successor.
    is_narrow: bool,
}

const fn api(name: &'static str, allowed_kinds: ExecutionKinds, cost: u64) -> Api {
    Api { name, allowed_kinds, cost, is_narrow: false }
}

/// A row for a function that is only for modules with a 32-bit memory.
const fn narrow(name: &'static str, allowed_kinds: ExecutionKinds, cost: u64) -> Api {
    Api { is_narrow: true, ..api(name, allowed_kinds, cost) }
}

/// Every function that modules may import.
pub(super) static APIS: &[Api] = &[
    api("accept_message", F, 500),
    narrow("call_cycles_add", CALL_CYCLES, 500),
    api("call_cycles_add128", CALL_CYCLES, 500),
    api("call_data_append", CALL, 500),
    api("call_new", CALL, 1500),
    api("call_on_cleanup", CALL, 500),
    api("call_perform", CALL, 5000),
    api("call_with_best_effort_response", CALL, 500),
    narrow("canister_cycle_balance", ANY, 500),
    api("canister_cycle_balance128", ANY, 500),
    api("canister_liquid_cycle_balance128", ANY, 500),
    api("canister_self_copy", ANY, 500),
    api("canister_self_size", ANY, 500),
    api("canister_status", ANY, 500),
    api("canister_version", ANY, 500),
    api("certified_data_set", CERTIFY, 500),
    api("cost_call", ALL, 500),
    api("cost_create_canister", ALL, 500),
    api("cost_http_request", ALL, 500),
    api("cost_http_request_v2", ALL, 10_000),
    api("cost_sign_with_ecdsa", ALL, 500),
    api("cost_sign_with_schnorr", ALL, 500),
    api("cost_vetkd_derive_key", ALL, 500),
    api("cycles_burn128", BURN, 500),
    api("data_certificate_copy", NRQ | CQ, 500),
    api("data_certificate_present", ANY, 500),
    api("data_certificate_size", NRQ | CQ, 500),
    api("debug_print", ALL, 100),
    api("env_var_count", ANY, 500),
    api("env_var_name_copy", ANY, 500),
    api("env_var_name_exists", ANY, 500),
    api("env_var_name_size", ANY, 500),
    api("env_var_value_copy", ANY, 500),
    api("env_var_value_size", ANY, 500),
    api("global_timer_set", TIMER, 500),
    api("in_replicated_execution", ALL, 500),
    api("is_controller", ALL, 1000),
    narrow("mint_cycles", CALL_CYCLES, 500),
    api("mint_cycles128", CALL_CYCLES, 500),
    api("msg_arg_data_copy", ARG, 500),
    api("msg_arg_data_size", ARG, 500),
    api("msg_caller_copy", ANY, 500),
    api("msg_caller_info_data_copy", CALLER_INFO, 500),
    api("msg_caller_info_data_size", CALLER_INFO, 500),
    api("msg_caller_info_signer_copy", CALLER_INFO, 500),
    api("msg_caller_info_signer_size", CALLER_INFO, 500),
    api("msg_caller_size", ANY, 500),
    narrow("msg_cycles_accept", CYCLES, 500),
    api("msg_cycles_accept128", CYCLES, 500),
    narrow("msg_cycles_available", CYCLES, 500),
    api("msg_cycles_available128", CYCLES, 500),
    narrow("msg_cycles_refunded", RY | RT, 500),
    api("msg_cycles_refunded128", RY | RT, 500),
    api("msg_deadline", DEADLINE, 500),
    api("msg_method_name_copy", F, 500),
    api("msg_method_name_size", F, 500),
    api("msg_reject", RESPOND, 500),
    api("msg_reject_code", RY | RT | CRY | CRT | C, 500),
    api("msg_reject_msg_copy", RT | CRT, 500),
    api("msg_reject_msg_size", RT | CRT, 500),
    api("msg_reply", RESPOND, 500),
    api("msg_reply_data_append", RESPOND, 500),
    api("performance_counter", ALL, 200),
    api("root_key_copy", ROOT_KEY, 500),
    api("root_key_size", ROOT_KEY, 500),
    api("stable64_grow", ALL, 100),
    api("stable64_read", ALL, 20),
    api("stable64_size", ALL, 0),
    api("stable64_write", ALL, 20),
    narrow("stable_grow", ALL, 100),
    narrow("stable_read", ALL, 20),
    narrow("stable_size", ALL, 0),
    narrow("stable_write", ALL, 20),
    api("subnet_self_copy", ANY, 500),
    api("subnet_self_node_count", ANY, 500),
    api("subnet_self_size", ANY, 500),
    api("time", ANY, 500),
    api("trap", ALL, 500),
];

/// Returns the row of a function; `None` if there is no such function.
pub(super) fn find_api(name: &str) -> Option<&'static Api> {
    APIS.iter().find(|api| api.name == name)
}

/// Returns whether there is such a function, and modules with this type of memory may import it.
pub(super) fn may_import(name: &str, memory64: bool) -> bool {
    find_api(name).is_some_and(|api| !(memory64 && api.is_narrow))
}

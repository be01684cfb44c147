//! Input and effects of an execution: message context, limits, replies and calls.

use std::fmt;
use std::sync::{Arc, LazyLock};

use candid::Principal;

use super::entry::MAX_METHOD_NAME_BYTES;
use super::stable::MAX_STABLE_BYTES;

/// The status of the canister, with the numbers of `ic0.canister_status`. (`RunStatus` in `ic/canister.rs` also has the
/// callers that wait for the stop.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CanisterRunStatus {
    /// Accepts messages.
    Running = 1,
    /// Waits for outstanding calls to end.
    Stopping = 2,
    /// Accepts no messages.
    Stopped = 3,
}

/// A canister's signed statement about the sender of an ingress message (`msg_caller_info_*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerInfo {
    /// The signed bytes; empty if there is no statement.
    pub data: Vec<u8>,
    /// The canister that signed the information, as principal bytes.
    pub signer: Vec<u8>,
}

/// A certificate that is created when the canister first reads it: signing takes longer than most queries.
#[derive(Clone)]
pub struct DataCertificate(Arc<LazyLock<Vec<u8>, Maker>>);

type Maker = Box<dyn FnOnce() -> Vec<u8> + Send + Sync>;

impl DataCertificate {
    pub fn new(make: impl FnOnce() -> Vec<u8> + Send + Sync + 'static) -> Self {
        let make: Maker = Box::new(make);
        Self(Arc::new(LazyLock::new(make)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DataCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataCertificate")
    }
}

/// Everything that the system API needs to know about the message and the canister.
#[derive(Clone, Debug)]
pub struct MessageContext {
    /// The executing canister.
    pub canister_id: Principal,
    /// The caller.
    pub caller: Principal,
    /// The argument of the call; for a reply callback, the reply; empty for entry points that have neither.
    pub arg: Vec<u8>,
    /// The method that an ingress message calls (`msg_method_name` in `canister_inspect_message`).
    pub method: String,
    /// IC time in nanoseconds since 1970.
    pub time_nanos: u64,
    /// The canister's controllers.
    pub controllers: Vec<Principal>,
    /// The canister's subnet.
    pub subnet_id: Principal,
    /// Nodes in that subnet.
    pub subnet_node_count: u32,
    /// Whether everything is free on that subnet.
    pub cycles_are_free: bool,
    /// The canister's cycles balance, without `cycles_available`.
    pub balance: u128,
    /// The part of `balance` that keeps the canister from freezing: it cannot be spent.
    pub frozen_balance: u128,
    /// Cycles of the call that have not been accepted yet.
    pub cycles_available: u128,
    /// For callbacks: cycles refunded with the reply or reject.
    pub cycles_refunded: u128,
    /// Increases with every change of the canister's code, settings, status and state.
    pub canister_version: u64,
    /// The canister's status.
    pub status: CanisterRunStatus,
    /// What `data_certificate_*` returns in non-replicated queries; `None` if there is no certificate.
    pub data_certificate: Option<DataCertificate>,
    /// The reject code; 0 where there is no reject.
    pub reject_code: u32,
    /// The reject message; empty where there is no reject.
    pub reject_message: String,
    /// The deadline of the global timer, nanoseconds since 1970; 0 = inactive.
    pub global_timer: u64,
    /// The canister's environment variables, in the order in which `env_var_name_*` numbers them.
    pub environment: Vec<(String, String)>,
    /// The IC's root key, DER.
    pub root_key: &'static [u8],
    /// When the call that is being answered expires, nanoseconds since 1970; 0 for calls without a time limit. Only
    /// best-effort calls have one.
    pub deadline: u64,
    /// A canister's signed statement about the sender.
    pub caller_info: CallerInfo,
    /// For callbacks: whether the call context has already replied or rejected, so that doing so again is a violation.
    pub responded: bool,
    /// For callbacks: whether the call context belongs to a composite query (non-replicated).
    pub composite_query: bool,
    /// Instructions that earlier messages of the same call context used (`performance_counter(1)`).
    pub call_context_instructions: u64,
}

impl MessageContext {
    /// Returns a context with these three values, for a running canister on a subnet of 13 nodes; everything else is
    /// empty or 0.
    pub fn new(canister_id: Principal, caller: Principal, time_nanos: u64) -> Self {
        Self {
            canister_id,
            caller,
            arg: Vec::new(),
            method: String::new(),
            time_nanos,
            controllers: Vec::new(),
            subnet_id: Principal::anonymous(),
            subnet_node_count: 13,
            cycles_are_free: false,
            balance: 0,
            frozen_balance: 0,
            cycles_available: 0,
            cycles_refunded: 0,
            canister_version: 0,
            status: CanisterRunStatus::Running,
            data_certificate: None,
            reject_code: 0,
            reject_message: String::new(),
            global_timer: 0,
            environment: Vec::new(),
            root_key: &[],
            deadline: 0,
            caller_info: CallerInfo::default(),
            responded: false,
            composite_query: false,
            call_context_instructions: 0,
        }
    }
}

/// Limits for one execution. The constructors return the limits of an application subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions that may be used, including system API charges.
    pub instructions: u64,
    /// The limit named in error texts. Larger than `instructions` if earlier steps of the same message, such as the
    /// pre-upgrade hook of an upgrade, have used some instructions.
    pub message_instructions: u64,
    /// Maximum length of a reply, bytes.
    pub reply_bytes: u64,
    /// Maximum length of the argument of an outgoing call, bytes.
    pub call_bytes: u64,
    /// Maximum length of the name of a called method, bytes.
    pub method_name_bytes: u64,
    /// Maximum number of outgoing calls of one message; for further calls, `call_perform` returns an error code.
    pub calls: usize,
    /// The canister's wasm memory limit in bytes; 0 = none.
    pub wasm_memory_bytes: u64,
    /// Largest stable memory in bytes.
    pub stable_memory_bytes: u64,
    /// Largest number of bytes of stable memory read or written, in whole 4 KiB pages.
    pub stable_accessed_bytes: u64,
    /// Largest number of bytes of stable memory written, in whole 4 KiB pages.
    pub stable_dirtied_bytes: u64,
}

const GIB: u64 = 1 << 30;

impl Limits {
    /// Returns the limits of update calls, replicated queries, heartbeats, timers and callbacks: 40 billion
    /// instructions.
    pub fn update() -> Self {
        Self {
            instructions: 40_000_000_000,
            message_instructions: 40_000_000_000,
            reply_bytes: 2 << 20,
            call_bytes: 2 << 20,
            method_name_bytes: MAX_METHOD_NAME_BYTES as u64,
            calls: 500,
            wasm_memory_bytes: 0,
            stable_memory_bytes: MAX_STABLE_BYTES,
            stable_accessed_bytes: 2 * GIB,
            stable_dirtied_bytes: 2 * GIB,
        }
    }

    /// Returns the limits of queries in non-replicated mode: 5 billion instructions, replies of up to 3 MiB.
    pub fn query() -> Self {
        Self {
            instructions: 5_000_000_000,
            message_instructions: 5_000_000_000,
            reply_bytes: 3 << 20,
            stable_accessed_bytes: GIB,
            stable_dirtied_bytes: GIB,
            ..Self::update()
        }
    }

    /// Returns the limits of install, reinstall and upgrade: 300 billion instructions for all their steps
    /// together.
    pub fn install() -> Self {
        Self {
            instructions: 300_000_000_000,
            message_instructions: 300_000_000_000,
            stable_accessed_bytes: 8 * GIB,
            stable_dirtied_bytes: 8 * GIB,
            ..Self::update()
        }
    }

    /// Returns the limits of `canister_inspect_message`: 200 million instructions.
    pub fn inspect() -> Self {
        Self { instructions: 200_000_000, message_instructions: 200_000_000, ..Self::query() }
    }

    /// Returns the same limits with another number of instructions for the whole message.
    pub fn with_instructions(mut self, instructions: u64) -> Self {
        self.instructions = instructions;
        self.message_instructions = instructions;
        self
    }
}

/// The answer that a canister sent: the bytes of a reply, or the text of a reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Reply(Vec<u8>),
    Reject(String),
}

/// A call that the canister makes: under construction, or made with `call_perform`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingCall {
    pub callee: Principal,
    pub method: String,
    pub arg: Vec<u8>,
    /// Cycles attached; already deducted from the balance that the rest of the message sees.
    pub cycles: u128,
    /// Index in the function table, and environment; likewise in the next two fields.
    pub on_reply: (u32, u64),
    pub on_reject: (u32, u64),
    /// Runs if the callback for the reply or reject traps.
    pub on_cleanup: Option<(u32, u64)>,
    /// `None`: wait without a time limit. `Some`: best effort, for at most this many seconds.
    pub timeout_seconds: Option<u32>,
}

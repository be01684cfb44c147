//! Where an execution starts: methods, system functions, callbacks.

/// Maximum total length of the names of the methods that a module exports, in bytes; also the maximum length of the
/// name of a called method.
pub(super) const MAX_METHOD_NAME_BYTES: usize = 20_000;

/// The kinds of methods a canister exports for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodKind {
    /// `canister_update <name>`
    Update,
    /// `canister_query <name>`
    Query,
    /// `canister_composite_query <name>`
    CompositeQuery,
}

impl MethodKind {
    /// Returns the prefix of the wasm export, without the space before the method name.
    pub fn export_prefix(self) -> &'static str {
        match self {
            MethodKind::Update => "canister_update",
            MethodKind::Query => "canister_query",
            MethodKind::CompositeQuery => "canister_composite_query",
        }
    }
}

/// The entry points of [`EntryPoint`] that are system functions, for asking whether a module has one. All but `Start`
/// are exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemEntry {
    Start,
    Init,
    PreUpgrade,
    PostUpgrade,
    InspectMessage,
    Heartbeat,
    GlobalTimer,
    OnLowWasmMemory,
}

/// Where an execution starts, with what is needed to find the function.
///
/// Entry points other than methods and callbacks may be missing from the module: executing a missing one
/// succeeds without running anything, as on the IC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// The module's `(start)` function: once per install, reinstall and upgrade, before `canister_init`
    /// or `canister_post_upgrade`.
    Start,
    /// `canister_init`
    Init,
    /// `canister_pre_upgrade`
    PreUpgrade,
    /// `canister_post_upgrade`
    PostUpgrade,
    /// `canister_inspect_message`; `MessageContext::method` names the method that the ingress message calls.
    InspectMessage,
    /// An update method.
    Update(String),
    /// A query method in non-replicated mode: the caller of the engine discards the changes of the query.
    Query(String),
    /// A composite query method, in non-replicated mode.
    CompositeQuery(String),
    /// A query method called through an update call: in replicated mode, but its changes are nevertheless discarded.
    ReplicatedQuery(String),
    /// `canister_heartbeat`
    Heartbeat,
    /// `canister_global_timer`
    GlobalTimer,
    /// `canister_on_low_wasm_memory`
    OnLowWasmMemory,
    /// The function registered by `call_new` for a reply; `MessageContext::arg` is the reply.
    ReplyCallback {
        /// Index in the function table.
        fun: u32,
        /// Passed to the function.
        env: u64,
    },
    /// The function registered by `call_new` for a reject; see `MessageContext::reject_code`.
    RejectCallback {
        /// Index in the function table.
        fun: u32,
        /// Passed to the function.
        env: u64,
    },
    /// The function registered by `call_on_cleanup`, run after a callback has trapped.
    CleanupCallback {
        /// Index in the function table.
        fun: u32,
        /// Passed to the function.
        env: u64,
    },
}

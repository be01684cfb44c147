//! Why a module is refused and why an execution ends early, with the texts and codes of the IC.

use thiserror::Error;

use super::entry::MethodKind;

/// The engine itself could not be set up. (Errors of modules are [`InvalidWasm`].)
#[derive(Debug, Error)]
#[error("cannot set up the wasm runtime: {0}")]
pub struct EngineError(pub String);

/// The IC would not install the module, or the runtime cannot compile it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Canister's Wasm module is not valid: {0}")]
pub struct InvalidWasm(pub String);

impl InvalidWasm {
    /// `CanisterInvalidWasm`.
    pub fn error_code(&self) -> u16 {
        505
    }
}

/// A saved wasm memory or set of globals does not fit the module.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StateMismatch {
    #[error(
        "the wasm memory has {got} bytes; the module's memory takes whole pages of 65536 bytes, from {min} to {max} bytes"
    )]
    WasmMemory { got: u64, min: u64, max: u64 },
    #[error("{got} globals given; the module has {expected} that are mutable or exported")]
    GlobalCount { got: usize, expected: usize },
    #[error(
        "saved global {index} is of type {got}; the module's global is of type {expected} (numbered from 0 among the \
         globals that are mutable or exported)"
    )]
    GlobalType { index: usize, got: &'static str, expected: &'static str },
}

/// Why an execution ended early, or could not begin. `Display` gives the IC's text without the canister prefix and the
/// advice at the end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Trap {
    /// `ic0.trap`
    #[error("Canister called `ic0.trap` with message: '{0}'")]
    CalledTrap(String),
    /// A wasm trap, or a use of the system API that the IC counts as one, such as an access beyond the end of stable
    /// memory.
    #[error("Canister trapped: {0}")]
    Wasm(String),
    /// The message used more instructions than this limit.
    #[error("Canister exceeded the limit of {0} instructions for single message execution.")]
    InstructionLimit(u64),
    /// The canister requested more wasm memory than its settings allow.
    #[error(
        "Canister exceeded its current Wasm memory limit of {limit} bytes. The peak Wasm memory usage was {peak} bytes. \
         If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable."
    )]
    WasmMemoryLimit {
        /// The limit, in bytes.
        limit: u64,
        /// The size of the wasm memory that the canister requested, in bytes.
        peak: u64,
    },
    /// The message accessed or modified more stable memory than one message may.
    #[error("Canister exceeded memory access limits: {0}")]
    MemoryAccessLimit(String),
    /// The host has no memory left for the canister.
    #[error("Canister cannot grow its memory usage.")]
    OutOfMemory,
    /// The canister broke a rule of the system API, for example by calling a function in a kind of execution that does
    /// not allow it.
    #[error("Canister violated contract: {0}")]
    ContractViolation(String),
    /// The module does not export the method.
    #[error("Canister has no {} method '{name}'.", kind_text(.kind))]
    MethodNotFound {
        /// The kind of method that was called.
        kind: MethodKind,
        /// The method's name.
        name: String,
    },
    /// A callback's index is outside the function table or names an empty entry.
    #[error("Canister requested to invoke a non-existent Wasm function {index} from table {table}")]
    FunctionNotFound {
        /// The table.
        table: u32,
        /// The index in the table.
        index: u32,
    },
    /// The canister tried to attach more cycles to a call than it can spend.
    #[error(
        "Canister {canister} is out of cycles: requested {requested} cycles but the available balance is {available} cycles"
    )]
    OutOfCycles {
        /// The canister.
        canister: String,
        /// Cycles requested.
        requested: u128,
        /// Cycles available.
        available: u128,
    },
    /// The wasm runtime failed; a fault of the server, not of the canister.
    #[error("Canister encountered a Wasm engine error: {0}")]
    Engine(String),
}

/// The kind as the IC names it in texts; `MethodKind::export_prefix` has `canister_` in front.
fn kind_text(kind: &MethodKind) -> &'static str {
    match kind {
        MethodKind::Update => "update",
        MethodKind::Query => "query",
        MethodKind::CompositeQuery => "composite_query",
    }
}

impl Trap {
    /// Returns the IC's error code; its first digit is the reject code.
    pub fn error_code(&self) -> u16 {
        match self {
            Trap::CalledTrap(_) => 503,
            Trap::Wasm(_) => 502,
            Trap::InstructionLimit(_) => 522,
            Trap::WasmMemoryLimit { .. } => 539,
            Trap::MemoryAccessLimit(_) => 524,
            Trap::OutOfMemory => 507,
            Trap::ContractViolation(_) => 504,
            Trap::MethodNotFound { .. } => 536,
            Trap::OutOfCycles { .. } => 207,
            Trap::FunctionNotFound { .. } => 513,
            Trap::Engine(_) => 521,
        }
    }
}

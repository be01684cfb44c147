//! The execution engine: accepts a canister's wasm, runs one message of the canister at a time, and returns the
//! outcome.
//!
//! The engine owns validation and compilation of wasm ([`Engine::compile`]), the heap, globals and stable memory of a
//! canister ([`CanisterState`]), the system API, and metering. The engine does not own time, balances, queues or call
//! contexts: what a message can read about these is in [`MessageContext`], and its effects on them are in
//! [`MessageOutcome`].
//!
//! [`Engine::execute`] is a function of its arguments: the given state is not changed, the new one is in the outcome.
//! States share unchanged pages, so keeping an old state (for a snapshot, or to return to it) takes only the space of
//! the pages that have changed since.

mod allocator;
mod api;
mod costs;
mod entry;
mod error;
mod execute;
mod heap;
mod host;
mod instance;
mod module;
mod module_cache;
mod module_info;
mod outcome;
mod page_file;
mod paged;
mod permissions;
mod prices;
mod rewrite;
mod runtime;
mod stable;
mod state;
#[cfg(test)]
mod tests;
mod texts;
mod types;
mod validation;

pub use entry::{EntryPoint, MethodKind, SystemEntry};
pub use error::{EngineError, Trap};
pub use execute::{Engine, allow_on_this_thread};
pub use heap::Heap;
pub use module::{CanisterModule, GlobalValue, MAX_WASM_MEMORY, MAX_WASM_MEMORY_32};
pub use module_cache::{ModuleCache, ModuleCacheError};
pub use outcome::MessageOutcome;
pub use runtime::THREAD_STACK;
pub use stable::{MAX_STABLE_BYTES, StableMemory, WASM_PAGE};
pub use state::CanisterState;
pub use texts::{LOG_RECORD_BYTES, MAX_LOG_BYTES};
pub use types::{
    CallerInfo, CanisterRunStatus, DataCertificate, Limits, MessageContext, OutgoingCall, Response,
};
pub use validation::MAX_MODULE_BYTES;

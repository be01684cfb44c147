//! An in-process Internet Computer for tests: the PocketIC REST protocol over wasmtime.
//!
//! The official `pocket-ic` client works with this server in the same way as with the official server. This server is
//! meant for tests that must run anywhere: no program is downloaded or started, and the instances live in the test's
//! process.
//!
//! ```no_run
//! use pocket_ic::PocketIcBuilder;
//! use pocket_ic_embedded::EmbeddedServer;
//!
//! let server = EmbeddedServer::start()?;
//! let pic = PocketIcBuilder::new()
//!     .with_server_url(server.url())
//!     .with_application_subnet()
//!     .build();
//! let canister = pic.create_canister();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * `engine` executes one message of a canister's wasm: system API, metering, heap and stable
//!   memory.
//! * `ic` is the network around the engine: canisters, rounds, time, the management canister.
//! * `http` is the PocketIC protocol, `agent_api` is the protocol of agents, and `gateway` serves canisters' pages to
//!   browsers.
//! * [`Extensions`] is a client for requests that the PocketIC protocol lacks, such as the costs of messages; feature
//!   `client`, on by default.
//! * `serve` is the stand-alone server, which can replace the official binary; feature `cli`, on by default.
//!
//! Requests that the server does not support are answered with "not supported by the embedded server", never with a
//! guess. The README lists the endpoints and the known differences from the official server.

#![deny(clippy::print_stderr, clippy::print_stdout)]

#[cfg(feature = "cli")]
pub mod serve;

mod agent_api;
mod cache_folder;
mod cbor;
#[cfg(feature = "cli")]
mod detach;
mod engine;
#[cfg(feature = "client")]
mod extensions;
mod gateway;
mod http;
mod ic;
#[cfg(feature = "cli")]
mod live;
mod locks;
mod message_cost;
#[cfg(feature = "cli")]
mod port_file;
mod server;
mod sparse;
mod stderr;
mod threads;

pub use cache_folder::CacheFolder;
#[cfg(feature = "client")]
pub use extensions::{ExtensionError, Extensions};
pub use message_cost::MessageCost;
pub use server::{EmbeddedServer, StartError};

/// Items that the other crates and the tests of this workspace share with the server. They are not part of its
/// interface: any release may change them.
#[doc(hidden)]
pub mod internals {
    /// Execution of one message.
    pub mod engine {
        pub use crate::engine::{
            CanisterState, Engine, EntryPoint, Limits, MessageContext, MethodKind, Trap,
        };
    }

    pub use crate::http::without_delay;
    pub use crate::ic::SubnetKeys;
    pub use crate::sparse::data_ranges;
}

/// What `--version` prints. Clients accept build metadata (after `+`) and compare only the part before it.
pub const VERSION_LINE: &str = "pocket-ic-server 16.1.0+embedded";

//! An in-process Internet Computer for tests: the PocketIC REST protocol over wasmtime.
//!
//! The official `pocket-ic` client works with this server as it does with the official one. It is meant for
//! tests that must run anywhere: nothing is downloaded or started, and the instance lives in the test's
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
//! * [`engine`] executes one message of a canister's wasm: system API, metering, memories.
//! * [`ic`] is the network around it: canisters, rounds, time, the management canister.
//! * [`http`] is the PocketIC protocol, [`agent_api`] that of agents, and [`gateway`] serves canisters' pages
//!   to browsers.
//! * [`serve`] is the stand-alone server, which can replace the official binary.
//!
//! Requests that it does not support are answered with "not supported by the embedded server", never with a
//! guess. The README lists the endpoints and the known differences from the official server.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod agent_api;
pub mod engine;
pub mod gateway;
pub mod http;
pub mod ic;
pub mod serve;
pub mod sparse;

mod cache_folder;
mod detach;
mod live;
mod port_file;
mod server;
mod stderr;

pub use cache_folder::CacheFolder;
pub use server::{EmbeddedServer, StartError};

/// What `--version` prints. Clients accept build metadata (after `+`) and compare only the part before it.
pub const VERSION_LINE: &str = "pocket-ic-server 16.1.0+embedded";

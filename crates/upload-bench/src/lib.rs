//! Costs of the calls and migrations of the upload canister, measured on the real wasm by the embedded server's
//! metering.
//!
//! Owns: the scenarios ([`scenarios`]), the checked-in figures and the comparison with them, the report. Does not own:
//! the metering (the embedded server), and building the wasms (the toolkit).
//! Boundary: instructions and bytes are compared and may fail a check; times are shown, but never fail one.

pub mod bare_map;
pub mod bench;
pub mod compare;
pub mod cost;
pub mod engine;
pub mod error;
pub mod full_chunks;
pub mod measure;
pub mod metered_canister;
pub mod payload;
pub mod peers;
pub mod publish;
pub mod report;
pub mod results;
pub mod scenarios;
pub mod seed;
pub mod sizes;
mod sparse;

//! Costs of the calls and migrations of the upload canister, measured on the real wasm by the embedded server's
//! metering.
//!
//! Owns: the scenarios ([`scenarios`]), the checked-in figures and the comparison with them, the report. Does
//! not own: the metering, which is the embedded server's, and building the wasms, which is the toolkit's.
//! Boundary: instructions and bytes are compared and may fail a check; times are shown but never judged.

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

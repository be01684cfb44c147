//! The toolkit around the upload canister: builds its wasms and rehearses the staged upgrade on real bytes.
//!
//! The command-line program `session-migrate` is a thin shell over this library.

pub mod ab;
pub mod build;
pub mod client;
pub mod compare;
pub mod costs;
pub mod rehearse;
pub mod replay;
pub mod server;
pub mod trace;

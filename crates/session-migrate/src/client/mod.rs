//! A typed client of the upload canister over PocketIC.
//!
//! [`Canister`] knows the canister's functions; [`Uploader`] knows how a front end uploads one file with them and can
//! stop and go on at any point. Neither knows anything about builds, upgrades or rehearsals.

mod asset;
mod canister;
mod error;
mod functions;
mod uploader;

pub use asset::Asset;
pub(crate) use canister::NO_ARGUMENTS;
pub use canister::{Call, Canister, Sent};
pub use error::ClientError;
pub use uploader::{Answer, Step, Uploader, chunks_of};

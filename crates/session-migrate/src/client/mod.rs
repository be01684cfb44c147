//! A typed client of the upload canister: calls over PocketIC, and uploads over any transport.
//!
//! [`Canister`] has the canister's functions. [`Uploader`] uploads one file, like a front end, and can stop
//! and resume at any point. Neither depends on rehearsals.

mod asset;
mod canister;
mod error;
mod functions;
mod settled;
mod uploader;

pub use asset::Asset;
pub use canister::{CallInFlight, Canister, EncodedCall};
pub(crate) use canister::{NO_ARGUMENTS, decode as decode_reply, decode_result, rejected};
pub use error::ClientError;
pub(crate) use settled::{MAX_UNCHANGED_ROUNDS, is_settled};
pub use uploader::{StepOutcome, UploadStep, Uploader};

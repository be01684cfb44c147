//! The Internet Computer of one instance: canisters, messages, rounds, time, and the management canister.
//!
//! This module is independent of HTTP, and leaves wasm to the engine.

mod calls;
mod canister;
mod canister_snapshots;
mod certification;
mod chunks;
pub(crate) mod clock;
mod error;
mod execute;
mod ingress;
mod ingress_history;
mod ingress_record;
mod instance;
mod management;
mod query;
mod queued_message;
mod read_state;
mod records;
mod replies;
mod request_table;
mod requests;
mod round;
mod settings;
mod snapshot;
mod snapshot_dir;
mod stderr_log;
mod subnet;
mod user_call;

pub use calls::CallResult;
pub use certification::{RangesForm, SubnetKeys};
pub use error::{OpError, UserError};
pub use ingress_record::Effective;
pub use instance::{Created, Instance};
pub use management::{DownloadRequest, UploadRequest};
pub use read_state::{ReadRefusal, ReadRequest};
pub use requests::{AgentCall, QueryAnswer};
pub use snapshot_dir::StableFile;
pub use user_call::{UserCall, parse_canister_id, parse_principal};

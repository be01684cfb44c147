//! A live network, defined by its URL, its root key and an identity.

mod canister;
mod clock;
mod connect;
mod identity;
mod management;
mod once;
mod retry;

pub use canister::LiveCanister;
pub use clock::{Clock, system_clock};
pub use connect::{Network, NetworkError, RootKey};
pub use identity::read_identity;
pub use management::{Certified, Management};
pub use once::{OneCall, Rejection, RequestOutcome, Target, Ticket, answered_at};
pub use retry::Retry;

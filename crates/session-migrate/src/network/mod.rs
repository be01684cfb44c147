//! A live network, defined by its URL, its root key and an identity.

mod canister;
mod connect;
mod identity;

pub use canister::LiveCanister;
pub use connect::{Network, NetworkError, RootKey};
pub use identity::read_identity;

//! What a subnet certifies: its keys, its state tree, and the certificates for agents and canisters.
//!
//! All work is done on demand, at most once per round: the tree is updated with what has changed, and its
//! root hash is signed once, however many certificates reveal parts of it.

mod certifier;
mod keys;
mod state_tree;
mod trees;

pub use keys::SubnetKeys;
pub(super) use state_tree::{Path, path_of, request_path};
pub(super) use trees::Certifier;
pub use trees::RangesForm;

//! What a subnet certifies: its keys, its state tree, and the certificates that agents and canisters get.
//!
//! Nothing here is done before somebody asks for a certificate, and then at most once a round: the tree is brought up to
//! date with what has changed, and its root hash is signed once, however many certificates show parts of it.

mod certifier;
mod keys;
mod state_tree;

pub(super) use certifier::Certifier;
pub use certifier::RangesForm;
pub use keys::SubnetKeys;
pub(super) use state_tree::{Path, path_of, request_path};

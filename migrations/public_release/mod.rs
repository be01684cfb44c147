//! The records that the first public release keeps in stable memory; see `README.md`.
//!
//! They are for the tools that read snapshots of that release: every build of this canister refuses its memory.

mod asset;
mod record;

pub use asset::{PublicAssetMetadata, PublicAssetType, PublicBase, PublicNote};
pub use record::{
    PublicAccess, PublicBlob, PublicBlobAsset, PublicBlobRef, PublicCapsule, PublicExternalAsset,
    PublicInlineAsset, PublicMemory, PublicMemoryMetadata, PublicMemoryType, PublicOwner, PublicPerson,
    PublicStore, decode, session_prefix,
};

#[cfg(test)]
mod tests;

//! The records that the first public release keeps in stable memory; see `README.md`.
//!
//! No build of the canister reads them: the memory of that release is refused. These types are for the tools that read
//! its snapshots.

mod asset;
mod record;

pub use asset::{PublicAssetMetadata, PublicAssetType, PublicBase, PublicNote};
pub use record::{
    PublicAccess, PublicBlob, PublicBlobAsset, PublicBlobRef, PublicCapsule, PublicExternalAsset,
    PublicInlineAsset, PublicMemory, PublicMemoryMetadata, PublicMemoryType, PublicOwner, PublicPerson,
    PublicStore, chunk_key, decode,
};

#[cfg(test)]
mod tests;

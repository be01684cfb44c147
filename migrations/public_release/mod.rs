//! The records that the first public release keeps in stable memory; see `README.md`.
//!
//! No build of the canister reads them: the memory of that release is refused. They are here for the tools.

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

//! A build of the upload canister as a peer.

use serde_bytes::{ByteBuf, Bytes};
use upload_canister::api::BlobMeta;

use super::{Content, Peer};
use crate::error::BenchError;
use crate::scenarios::uploads::{begin, capsule, finish};
use crate::world::{MeteredCanister, NO_ARGUMENTS, Wasm};

/// The upload canister and the capsule that all files go to.
pub struct Uploads {
    world: MeteredCanister,
    capsule: String,
}

impl Uploads {
    /// Returns a fresh canister.
    pub fn install(wasm: &Wasm) -> Result<Self, BenchError> {
        let world = MeteredCanister::installed("side by side", wasm)?;
        let capsule = capsule(&world)?;
        Ok(Self { world, capsule })
    }
}

impl Peer for Uploads {
    fn world(&self) -> &MeteredCanister {
        &self.world
    }

    fn upload(&self, content: &Content) -> Result<String, BenchError> {
        let Content { name, chunks, sha256, file } = content;
        let session = begin(&self.world, &self.capsule, file, name)?;
        for (index, chunk) in (0u32..).zip(chunks) {
            let args = (session, index, Bytes::new(chunk), None::<ByteBuf>);
            self.world.update::<()>("uploads_put_chunk", args)?;
        }
        Ok(finish(&self.world, session, sha256, file.bytes)?.blob_id)
    }

    fn read(&self, key: &str, _: [u8; 32]) -> Result<Vec<u8>, BenchError> {
        let meta: BlobMeta = self.world.query("blob_get_meta", (key,))?;
        let mut bytes = Vec::new();
        for index in 0..meta.chunk_count {
            let chunk: ByteBuf = self.world.query("blob_read_chunk", (key, index))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn upgrade(&self) -> Result<(), BenchError> {
        self.world.upgrade(NO_ARGUMENTS)
    }
}

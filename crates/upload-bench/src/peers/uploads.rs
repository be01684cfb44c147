//! A build of the upload canister as a peer.

use serde_bytes::{ByteBuf, Bytes};
use upload_canister::api::BlobMeta;

use super::{Content, Peer};
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS, Wasm};
use crate::scenarios::uploads::{begin, capsule, finish};

/// The upload canister and the capsule that all files go to.
pub struct Uploads {
    canister: MeteredCanister,
    capsule: String,
}

impl Uploads {
    /// Returns a fresh canister.
    pub fn install(wasm: &Wasm) -> Result<Self, BenchError> {
        let canister = MeteredCanister::installed("side by side", wasm)?;
        let capsule = capsule(&canister)?;
        Ok(Self { canister, capsule })
    }
}

impl Peer for Uploads {
    fn canister(&self) -> &MeteredCanister {
        &self.canister
    }

    fn upload(&self, content: &Content) -> Result<String, BenchError> {
        let Content { name, chunks, sha256, file } = content;
        let session = begin(&self.canister, &self.capsule, file, name)?;
        for (index, chunk) in (0u32..).zip(chunks) {
            let args = (session, index, Bytes::new(chunk), None::<ByteBuf>);
            self.canister.update::<()>("uploads_put_chunk", args)?;
        }
        Ok(finish(&self.canister, session, sha256, file.bytes)?.blob_id)
    }

    fn read(&self, key: &str, _: [u8; 32]) -> Result<Vec<u8>, BenchError> {
        let meta: BlobMeta = self.canister.query("blob_get_meta", (key,))?;
        let mut bytes = Vec::new();
        for index in 0..meta.chunk_count {
            let chunk: ByteBuf = self.canister.query("blob_read_chunk", (key, index))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn upgrade(&self) -> Result<(), BenchError> {
        self.canister.upgrade(NO_ARGUMENTS)
    }
}

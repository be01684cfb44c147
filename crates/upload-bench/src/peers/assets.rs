//! The asset canister of the crate `ic-certified-assets` as a peer: a batch, its chunks, a commit that hashes
//! them.

use candid::{CandidType, Deserialize, Nat};
use pocket_ic_fixtures::assets::{Batch, Chunk, Commit, IDENTITY, NewBatch, NewChunk};
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};

use super::{Content, FILE_BYTES, Peer};
use crate::error::BenchError;
use crate::metered_canister::MeteredCanister;
use crate::payload::CHUNK_BYTES;

/// As it is called in the tables.
pub const NAME: &str = "ic-certified-assets";

#[derive(CandidType)]
struct GetChunk {
    key: String,
    content_encoding: String,
    index: Nat,
    sha256: Option<ByteBuf>,
}

#[derive(CandidType, Deserialize)]
struct Part {
    content: ByteBuf,
}

/// Returns the module, building it if necessary.
pub fn module() -> Result<Vec<u8>, BenchError> {
    let path = pocket_ic_fixtures::certified_assets()?;
    std::fs::read(&path).map_err(BenchError::file("read", &path))
}

/// The asset canister.
pub struct Assets {
    canister: MeteredCanister,
}

impl Assets {
    /// Returns a fresh canister.
    pub fn install(module: Vec<u8>) -> Result<Self, BenchError> {
        let canister = MeteredCanister::of("side by side", NAME, module)?;
        canister.install(&no_settings())?;
        Ok(Self { canister })
    }

    fn call<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        arg: impl CandidType,
    ) -> Result<T, BenchError> {
        let reply = self.canister.controller_call(method, (arg,))?;
        candid::decode_one(&reply).map_err(|error| self.canister.bad_reply(method, &error))
    }
}

/// Returns its optional argument, left out.
fn no_settings() -> Vec<u8> {
    b"DIDL\x00\x01\x7f".to_vec()
}

impl Peer for Assets {
    fn canister(&self) -> &MeteredCanister {
        &self.canister
    }

    fn upload(&self, content: &Content) -> Result<String, BenchError> {
        let key = content.name.clone();
        let batch: Batch = self.call("create_batch", NewBatch {})?;
        let mut chunk_ids = Vec::new();
        for chunk in &content.chunks {
            let chunk = NewChunk { batch_id: batch.batch_id.clone(), content: Bytes::new(chunk) };
            chunk_ids.push(self.call::<Chunk>("create_chunk", chunk)?.chunk_id);
        }
        // Without a digest from us: then it hashes what it stores, as the upload canister does.
        let commit = Commit::of_asset(batch, &key, chunk_ids, None);
        self.canister.controller_call("commit_batch", (commit,))?;
        Ok(key)
    }

    fn read(&self, key: &str, sha256: [u8; 32]) -> Result<Vec<u8>, BenchError> {
        let mut bytes = Vec::new();
        for index in 0..FILE_BYTES.div_ceil(CHUNK_BYTES) {
            let args = GetChunk {
                key: key.to_owned(),
                content_encoding: IDENTITY.into(),
                index: Nat::from(index),
                sha256: Some(ByteBuf::from(sha256)),
            };
            bytes.extend_from_slice(&self.call::<Part>("get_chunk", args)?.content);
        }
        Ok(bytes)
    }

    fn upgrade(&self) -> Result<(), BenchError> {
        self.canister.upgrade(&no_settings())
    }
}

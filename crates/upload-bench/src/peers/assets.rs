//! The asset canister of the crate `ic-certified-assets` as a peer.

use std::ops::Range;

use candid::{CandidType, Principal};
use pocket_ic_fixtures::assets::{
    self, Batch, Chunk, Chunks, Commit, Get, GetChunk, Grant, HttpRequest, HttpResponse, Key, Listed,
    NewChunk, NewChunks, Nothing, Operation, Part, Permission, Store, Strategy,
};
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;

use super::peer::{Content, Peer, Stored, range_header};
use crate::error::BenchError;
use crate::metered_canister::MeteredCanister;
use crate::payload::CHUNK_BYTES;
use crate::scenarios::populated::MEMBERS;

pub const NAME: &str = "ic-certified-assets";

pub fn module() -> Result<Vec<u8>, BenchError> {
    let path = pocket_ic_fixtures::certified_assets()?;
    std::fs::read(&path).map_err(BenchError::file("read", &path))
}

pub struct Assets {
    canister: MeteredCanister,
}

impl Assets {
    pub fn install(module: Vec<u8>) -> Result<Self, BenchError> {
        let canister = MeteredCanister::of("side by side", NAME, module)?;
        canister.install(&no_settings_argument())?;
        Ok(Self { canister })
    }

    /// Makes an update call as the controller.
    fn call<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        arg: impl CandidType,
    ) -> Result<T, BenchError> {
        let reply = self.canister.controller_call(method, (arg,))?;
        self.decode(method, &reply)
    }

    /// Makes an update call as the controller, and ignores the reply.
    fn call_only(&self, method: &'static str, arg: impl CandidType) -> Result<(), BenchError> {
        self.canister.controller_call(method, (arg,)).map(drop)
    }

    /// Makes a query call as the client.
    fn query<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        arg: impl CandidType,
    ) -> Result<T, BenchError> {
        let reply = self.canister.raw_query(method, (arg,))?;
        self.decode(method, &reply)
    }

    fn decode<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        reply: &[u8],
    ) -> Result<T, BenchError> {
        candid::decode_one(reply).map_err(|error| self.canister.reply_error(method, &error))
    }

    fn create_batch(&self) -> Result<Batch, BenchError> {
        self.call("create_batch", Nothing {})
    }
}

/// Returns the arguments of an installation or upgrade: the only one, which is optional, is null.
fn no_settings_argument() -> Vec<u8> {
    b"DIDL\x00\x01\x7f".to_vec()
}

fn stored_asset(content: &Content) -> Stored {
    let Content { name, sha256, spec, .. } = content;
    Stored { delete_key: name.clone(), read_key: name.clone(), bytes: spec.bytes, sha256: *sha256 }
}

impl Peer for Assets {
    fn canister(&self) -> &MeteredCanister {
        &self.canister
    }

    fn upload(&self, content: &Content) -> Result<Stored, BenchError> {
        let batch = self.create_batch()?;
        let mut chunk_ids = Vec::new();
        for chunk in &content.chunks {
            let chunk = NewChunk { batch_id: batch.batch_id.clone(), content: Bytes::new(chunk) };
            chunk_ids.push(self.call::<Chunk>("create_chunk", chunk)?.chunk_id);
        }
        // Without a digest from the client, the asset canister hashes the file, as the upload canister does.
        self.call_only("commit_batch", Commit::of_asset(batch, &content.name, chunk_ids, None))?;
        Ok(stored_asset(content))
    }

    fn upload_at_once(&self, content: &Content) -> Result<Stored, BenchError> {
        self.call_only("store", Store::new(&content.name, &content.chunks[0], content.sha256))?;
        Ok(stored_asset(content))
    }

    fn upload_together(&self, contents: &[Content], on_trust: bool) -> Result<Vec<Stored>, BenchError> {
        let Batch { batch_id } = self.create_batch()?;
        let bytes = contents.iter().map(|content| Bytes::new(&content.chunks[0]));
        let operations = if on_trust {
            let named = contents.iter().zip(bytes);
            named
                .flat_map(|(content, bytes)| {
                    Operation::creation(&content.name, Vec::new(), Some(bytes), Some(content.sha256))
                })
                .collect()
        } else {
            let chunks = NewChunks { batch_id: batch_id.clone(), content: bytes.collect() };
            let Chunks { chunk_ids } = self.call("create_chunks", chunks)?;
            let named = contents.iter().zip(chunk_ids);
            named.flat_map(|(content, id)| Operation::creation(&content.name, vec![id], None, None)).collect()
        };
        self.call_only("commit_batch", Commit { batch_id, operations })?;
        Ok(contents.iter().map(stored_asset).collect())
    }

    fn read_small(&self, stored: &Stored) -> Result<Vec<u8>, BenchError> {
        let got: assets::Content = self.query("get", Get::new(&stored.read_key))?;
        Ok(got.content.into_vec())
    }

    fn read_range(&self, stored: &Stored, range: Range<u64>) -> Result<Vec<u8>, BenchError> {
        let first = range.start / CHUNK_BYTES;
        let mut bytes = Vec::new();
        for index in first..range.end.div_ceil(CHUNK_BYTES) {
            let chunk = GetChunk::new(&stored.read_key, index, stored.sha256);
            bytes.extend(self.query::<assets::Content>("get_chunk", chunk)?.content);
        }
        Ok(bytes_of_range(bytes, range, first * CHUNK_BYTES))
    }

    fn open_to_browsers(&self, stored: &Stored, private: bool) -> Result<Option<String>, BenchError> {
        // Everyone may read every asset, so nothing is to be done, and no asset can be private.
        Ok((!private).then(|| stored.read_key.clone()))
    }

    fn browse(&self, url: &str, range: Option<Range<u64>>) -> Result<Vec<u8>, BenchError> {
        let request = HttpRequest::get(url, range_header(range.as_ref()));
        let response: HttpResponse = self.query("http_request", request)?;
        self.canister.check_equal("status", 200, response.status_code)?;
        let mut body = response.body.into_vec();
        let mut next = response.streaming_strategy.map(|Strategy::Callback { token, .. }| token);
        // The asset canister ignores the range; a client can only stop reading.
        let end = range.as_ref().map_or(u64::MAX, |range| range.end);
        while let Some(token) = next.take_if(|_| (body.len() as u64) < end) {
            let more: Option<Part> = self.query("http_request_streaming_callback", token)?;
            let Some(Part { body: more, token }) = more else { break };
            body.extend(more);
            next = token;
        }
        Ok(match range {
            Some(range) => bytes_of_range(body, range, 0),
            None => body,
        })
    }

    fn delete(&self, stored: &[Stored]) -> Result<(), BenchError> {
        let key = |stored: &Stored| Key { key: stored.delete_key.clone() };
        if let [one] = stored {
            return self.call_only("delete_asset", key(one));
        }
        let Batch { batch_id } = self.create_batch()?;
        let operations = stored.iter().map(|stored| Operation::DeleteAsset(key(stored))).collect();
        self.call_only("commit_batch", Commit { batch_id, operations })
    }

    fn is_freeing(&self) -> Result<bool, BenchError> {
        Ok(false)
    }

    fn list(&self) -> Result<Vec<String>, BenchError> {
        let all: Vec<Listed> = self.query("list", Nothing {})?;
        Ok(all.into_iter().map(|listed| listed.key).collect())
    }

    fn fill_access_lists(&self) -> Result<(), BenchError> {
        (0..MEMBERS - 1).try_for_each(|number| {
            let to_principal = Principal::self_authenticating(number.to_be_bytes());
            self.call_only("grant_permission", Grant { to_principal, permission: Permission::Commit })
        })
    }

    fn upgrade(&self) -> Result<(), BenchError> {
        self.canister.upgrade(&no_settings_argument())
    }
}

/// Returns the bytes of a range of a file, given the bytes of the file from `offset` on.
fn bytes_of_range(bytes: Vec<u8>, range: Range<u64>, offset: u64) -> Vec<u8> {
    let from = (range.start - offset) as usize;
    bytes.into_iter().skip(from).take((range.end - range.start) as usize).collect()
}

//! A build of the upload canister as a peer.

use std::ops::Range;

use serde_bytes::{ByteBuf, Bytes};
use upload_canister::api::{
    self, AccessToken, AdminStats, Capsule, HttpRequest, SmallFile, StreamingBody, StreamingStrategy,
    UploadFinishResult,
};

use super::peer::{Content, Peer, Stored, range_header};
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS, Wasm, client};
use crate::scenarios::populated::open_to_many;
use crate::scenarios::uploads::{begin, create_capsule, finish};

/// The upload canister, and the capsule to which all files are uploaded.
pub struct Uploads {
    canister: MeteredCanister,
    capsule: String,
}

impl Uploads {
    pub fn install(wasm: &Wasm) -> Result<Self, BenchError> {
        let canister = MeteredCanister::installed("side by side", wasm)?;
        let capsule = create_capsule(&canister)?;
        Ok(Self { canister, capsule })
    }

    fn small_file<'c>(&self, content: &'c Content) -> SmallFile<'c> {
        SmallFile {
            capsule_id: self.capsule.clone(),
            asset_metadata: content.spec.metadata(),
            idem: content.name.clone(),
            bytes: Bytes::new(&content.chunks[0]),
            digest: ByteBuf::from(content.sha256),
            hash: None,
        }
    }
}

fn stored_file(content: &Content, finished: UploadFinishResult) -> Stored {
    let Content { sha256, spec, .. } = content;
    Stored { delete_key: finished.memory_id, read_key: finished.blob_id, bytes: spec.bytes, sha256: *sha256 }
}

impl Peer for Uploads {
    fn canister(&self) -> &MeteredCanister {
        &self.canister
    }

    fn upload(&self, content: &Content) -> Result<Stored, BenchError> {
        let Content { name, chunks, sha256, spec } = content;
        let session = begin(&self.canister, &self.capsule, spec, name)?;
        for (index, chunk) in (0u32..).zip(chunks) {
            let args = (session, index, Bytes::new(chunk), None::<ByteBuf>);
            self.canister.update::<()>("uploads_put_chunk", args)?;
        }
        Ok(stored_file(content, finish(&self.canister, session, sha256, spec.bytes)?))
    }

    fn upload_at_once(&self, content: &Content) -> Result<Stored, BenchError> {
        let finished = self.canister.update("uploads_put_whole", (self.small_file(content),))?;
        Ok(stored_file(content, finished))
    }

    // The upload canister does not have the option of uploads on trust.
    fn upload_together(&self, contents: &[Content], _: bool) -> Result<Vec<Stored>, BenchError> {
        let small_files: Vec<SmallFile<'_>> =
            contents.iter().map(|content| self.small_file(content)).collect();
        let answers: Vec<api::Result<UploadFinishResult>> =
            self.canister.update("uploads_put_many", (small_files,))?;
        let stored: Vec<Stored> = contents
            .iter()
            .zip(answers)
            .filter_map(|(content, finished)| Some(stored_file(content, finished.ok()?)))
            .collect();
        self.canister.check_equal("files taken", contents.len(), stored.len())?;
        Ok(stored)
    }

    fn read_small(&self, stored: &Stored) -> Result<Vec<u8>, BenchError> {
        let bytes: ByteBuf = self.canister.query("blob_read_chunk", (&stored.read_key, 0u32))?;
        Ok(bytes.into_vec())
    }

    fn read_range(&self, stored: &Stored, range: Range<u64>) -> Result<Vec<u8>, BenchError> {
        let args = (&stored.read_key, range.start, range.end - range.start);
        Ok(self.canister.query::<ByteBuf>("blob_read_range", args)?.into_vec())
    }

    fn open_to_browsers(&self, stored: &Stored, private: bool) -> Result<Option<String>, BenchError> {
        if private {
            let token: AccessToken =
                self.canister.query("blob_access_token", (&stored.read_key, None::<u32>))?;
            return Ok(Some(token.path));
        }
        // This makes all files of the capsule public.
        self.canister.update::<Capsule>("capsules_set_public", (&self.capsule, true))?;
        Ok(Some(format!("/blob/{}", stored.read_key)))
    }

    fn browse(&self, url: &str, range: Option<Range<u64>>) -> Result<Vec<u8>, BenchError> {
        let headers = range_header(range.as_ref());
        let request = HttpRequest { method: "GET".into(), url: url.into(), headers, body: ByteBuf::new() };
        let response = self.canister.http_request(request)?;
        let status = if range.is_some() { 206 } else { 200 };
        self.canister.check_equal("status", status, response.status_code)?;
        let mut body = response.body.into_vec();
        let mut next = response.streaming_strategy.map(|StreamingStrategy::Callback { token, .. }| token);
        while let Some(token) = next {
            let method = "http_request_streaming_callback";
            let reply = self.canister.raw_query(method, (token,))?;
            let more: StreamingBody =
                candid::decode_one(&reply).map_err(|error| self.canister.reply_error(method, &error))?;
            body.extend(more.body);
            next = more.token;
        }
        Ok(body)
    }

    fn delete(&self, stored: &[Stored]) -> Result<(), BenchError> {
        stored.iter().try_for_each(|stored| self.canister.update("memories_delete", (&stored.delete_key,)))
    }

    fn is_freeing(&self) -> Result<bool, BenchError> {
        let stats: AdminStats = self.canister.controller_query("admin_stats", ())?;
        Ok(stats.releases_pending > 0)
    }

    fn list(&self) -> Result<Vec<String>, BenchError> {
        let all = self.canister.typed_client().memories_all(client(), &self.capsule);
        let all = all.map_err(|source| self.canister.call_error(source))?;
        Ok(all.into_iter().map(|memory| memory.blob.locator).collect())
    }

    fn fill_access_lists(&self) -> Result<(), BenchError> {
        open_to_many(&self.canister, &self.capsule)
    }

    fn upgrade(&self) -> Result<(), BenchError> {
        self.canister.upgrade(NO_ARGUMENTS)
    }
}

//! Digests of individual stored chunks, which a client compares with its file after a checksum mismatch.

use serde_bytes::ByteBuf;
use sha2::Digest;

use crate::api::{ChunkDigest, ChunkDigests, Result};
use crate::session::SessionId;

use super::hashing::Sha256;
use super::limits::DIGEST_INSTRUCTIONS;
use super::service::UploadService;

impl UploadService<'_> {
    /// Returns the SHA-256 of each stored chunk of the caller's session, starting at chunk `from`: at most `limit`
    /// digests, and no more than the message can hash, but at least one, even if `limit` is 0, unless no chunk is left.
    /// `next` is the chunk with which the next call continues; `None` if no chunk is left.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::api::Error::NotFound), [`Error::Conflict`](crate::api::Error::Conflict) for a session
    /// that has ended or is quarantined, or a damaged record.
    pub fn chunk_digests(&mut self, id: u64, from: u32, limit: usize) -> Result<ChunkDigests> {
        let id = SessionId(id);
        let (upload, _) = self.load_own_uncounted(id)?;
        let place = self.storage.payload_of(id)?.place(id, &upload.meta);
        let session = &upload.session;
        let mut digests = Vec::new();
        let ranges = session.received_idxs.ranges().filter(|(_, last)| *last >= from);
        for idx in ranges.flat_map(|(first, last)| first.max(from)..=last) {
            let is_full = digests.len() >= limit || self.meter.used() > DIGEST_INSTRUCTIONS;
            if is_full && !digests.is_empty() {
                return Ok(ChunkDigests { digests, next: Some(idx) });
            }
            let mut sha256 = Sha256::new();
            let len = session.chunking().len(idx);
            self.storage.blobs.read(&place, session.offset(idx), len, &mut |block| sha256.update(block))?;
            digests.push(ChunkDigest { idx, sha256: ByteBuf::from(sha256.finalize().to_vec()) });
        }
        Ok(ChunkDigests { digests, next: None })
    }
}

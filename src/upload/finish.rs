//! Finishing an upload: verify, commit as a whole, and give the same answer again.

use serde_bytes::ByteBuf;

use crate::api::{Error, Result, UploadFinishResult};
use crate::blob::{BlobRecord, ChunkPrefix};
use crate::capsule::{Content, MemoryRecord};
use crate::session::SessionId;

use super::error::digest_of;
use super::limits::MESSAGE_INSTRUCTIONS;
use super::path::Upload;
use super::service::{UploadService, check_digest};
use super::{Finished, Outcome, Receipt};

impl UploadService<'_> {
    /// Verifies the stored bytes against `sha256` and `total_len`, and makes them a memory of the capsule.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::Incomplete`],
    /// [`Error::ChecksumMismatch`], and [`Error::Hashing`] when the work goes on in the next call. After any
    /// of them the session is as it was.
    pub fn finish(&mut self, id: u64, sha256: &ByteBuf, total_len: u64) -> Result<UploadFinishResult> {
        let id = SessionId(id);
        if let Some(Receipt { owner, outcome: Outcome::Finished(finished), .. }) = self.receipt(id)?
            && owner == self.caller
        {
            return finished_before(id, &finished, sha256, total_len);
        }
        let upload = self.authorized(id)?;
        let expected = digest_of("sha256", sha256)?;
        if total_len != upload.session.bytes_expected {
            return Err(Error::invalid("total_len", upload.session.bytes_expected.to_string(), total_len));
        }
        upload.session.check_complete(id)?;
        let got = self.digest(id, &upload)?;
        check_digest(expected, got)?;
        self.commit(id, upload, got)
    }

    /// Goes on hashing a complete session whose `finish` did not fit into one message. True when every byte
    /// is hashed, or the session is gone.
    ///
    /// # Errors
    /// A damaged record.
    pub fn hash_on(&mut self, id: u64) -> Result<bool> {
        let id = SessionId(id);
        let Some(upload) = self.path.load(self.storage, id, self.now)? else { return Ok(true) };
        match self.digest(id, &upload) {
            Ok(_) => Ok(true),
            Err(Error::Hashing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// SHA-256 over the stored bytes, as far as this message may go.
    fn digest(&mut self, id: SessionId, upload: &Upload) -> Result<[u8; 32]> {
        let prefix = ChunkPrefix::of(&upload.meta.provisional_memory_id, id);
        let chunks = upload.session.chunk_count();
        let mut hash = self.storage.hashes.get(&id.0)?.unwrap_or_default();
        while hash.next_chunk() < chunks {
            if self.meter.used() > MESSAGE_INSTRUCTIONS {
                self.storage.hashes.insert(id.0, &hash);
                let hashed = upload.session.offset(hash.next_chunk());
                return Err(Error::Hashing { hashed, total: upload.session.bytes_expected });
            }
            let idx = hash.next_chunk();
            let bytes = self.storage.blobs.chunk(prefix, idx).ok_or_else(|| {
                Error::Internal(format!("chunk {idx} of session {id} is recorded but not stored"))
            })?;
            hash.absorb(&bytes);
        }
        self.storage.hashes.insert(id.0, &hash);
        Ok(hash.digest())
    }

    /// Makes a verified upload a memory. What could be refused was refused before the first change, so that
    /// the upload is committed as a whole.
    fn commit(&mut self, id: SessionId, upload: Upload, checksum: [u8; 32]) -> Result<UploadFinishResult> {
        let Upload { session, meta, .. } = upload;
        let (capsule_id, memory_id) = (&meta.capsule_id, &meta.provisional_memory_id);
        let size = session.bytes_expected;
        let prefix = ChunkPrefix::of(memory_id, id);
        let blob = BlobRecord { size, checksum, created_at: self.now, prefix: prefix.0 };

        let committed = self.storage.blobs.commit(prefix.blob_id(), &blob, memory_id, capsule_id)?;
        let memory = MemoryRecord {
            capsule_id: capsule_id.clone(),
            asset_metadata: meta.asset_metadata.clone(),
            content: Content::Blob { id: committed.id.0, checksum, size },
            created_at: self.now.as_nanos(),
            created_by: self.caller,
            request: None,
        };
        self.storage.capsules.attach(self.caller, memory_id, &memory)?;
        self.path.finish(self.storage, id, self.caller.as_slice(), self.now)?;
        self.storage.index.end(id, self.caller, session.session_meta.last_seen);
        self.storage.hashes.remove(&id.0);
        self.storage.usage.end(self.caller, size)?;
        if !committed.stored {
            self.storage.usage.free(capsule_id, size)?;
        }
        let finished = Finished {
            memory_id: memory_id.clone(),
            blob_id: committed.id.0,
            size,
            checksum,
            finished_at: self.now.as_nanos(),
        };
        self.leave_receipt(id, &session, &meta, Outcome::Finished(finished.clone()))?;
        Ok(finished.to_api())
    }
}

/// The same answer to the same finish; a different one contradicts what was committed.
fn finished_before(
    id: SessionId,
    finished: &Finished,
    sha256: &ByteBuf,
    total_len: u64,
) -> Result<UploadFinishResult> {
    if finished.checksum != sha256.as_slice() || finished.size != total_len {
        let detail = format!("was finished with {} bytes, and another digest or size", finished.size);
        return Err(Error::conflict("session", id, detail));
    }
    Ok(finished.to_api())
}

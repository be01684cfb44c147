//! Finishes uploads: verifies, commits atomically, and returns the same result when repeated.

use serde_bytes::ByteBuf;

use crate::api::{Error, HashAlgorithm, Result, SessionPath, UploadFinishResult};
use crate::blob::{BlobRecord, ChunkPrefix, ContentDigest};
use crate::capsule::{Content, MemoryRecord};
use crate::session::SessionId;

use super::asset_metadata::contradicting_sha256;
use super::chunk_hashing::{final_digest, hashed_bytes};
use super::counts::CountedCall;
use super::error::parse_digest;
use super::idempotency::{IdemKey, id_of_new_memory};
use super::in_flight::Upload;
use super::limits::FINISH_INSTRUCTIONS;
use super::service::{UploadService, check_digest};
use super::{
    Ended, Event, Finished, Outcome, PayloadState, Receipt, UploadMeta, free_with_subtrees, leave_receipt,
};

impl UploadService<'_> {
    /// Makes the stored bytes a memory of the capsule, if `total_len` is their length in bytes and `digest` is their
    /// digest, by the hash function that was chosen at begin.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::Incomplete`],
    /// [`Error::ChecksumMismatch`], [`Error::Conflict`] if the session has ended or is quarantined, or if the SHA-256
    /// differs from the one given at begin, [`Error::ResourceExhausted`], [`Error::Hashing`] if another call has to
    /// continue hashing, or a damaged record. After [`Error::ChecksumMismatch`], the chunks of the session may be
    /// replaced, unless they belong to a blob.
    pub fn finish(&mut self, id: u64, digest: &ByteBuf, total_len: u64) -> Result<UploadFinishResult> {
        self.run_counted(CountedCall::Finish, |uploads| {
            uploads.verify_and_commit(SessionId(id), digest, total_len)
        })
    }

    fn verify_and_commit(
        &mut self,
        id: SessionId,
        digest: &ByteBuf,
        total_len: u64,
    ) -> Result<UploadFinishResult> {
        if let Some(Receipt { outcome: Outcome::Finished(finished), .. }) = self.own_receipt(id) {
            return repeat_finish(id, &finished, digest, total_len);
        }
        let upload = self.load_authorized(id)?;
        let expected = parse_digest("digest", digest)?;
        if total_len != upload.session.bytes_expected {
            return Err(Error::invalid("total_len", upload.session.bytes_expected.to_string(), total_len));
        }
        upload.session.check_complete(id)?;
        let payload = self.storage.payload_of(id)?;
        let expected_digest = ContentDigest { algorithm: payload.hash.algorithm(), bytes: expected };
        if let Some(claimed) = contradicting_sha256(&upload.meta.asset_metadata, expected_digest) {
            let given = hex::encode(expected);
            let detail = format!(
                "the asset_metadata.sha256 given at begin is {claimed}, but finish was given {given}: \
                finish with the first, or abort and begin again with the second"
            );
            return Err(Error::conflict("session", id, detail));
        }
        let (payload, got) = self.complete_hashing(id, &upload, payload)?;
        match check_digest(expected, got) {
            Ok(()) => {
                // A complete session may use the reserve of stable memory, since a finish ends the session.
                self.storage.room.check_for_step()?;
                self.commit(id, upload, &payload, got)
            }
            Err(mismatch) => {
                self.let_chunks_be_replaced(id, &upload, payload)?;
                Err(mismatch)
            }
        }
    }

    /// After a finish failed on the checksum, lets the chunks be replaced, unless they belong to a blob.
    fn let_chunks_be_replaced(
        &mut self,
        id: SessionId,
        upload: &Upload,
        mut payload: PayloadState,
    ) -> Result<()> {
        // The first public release kept the records of committed sessions, whose bytes belong to a blob.
        let is_committed = self.storage.blobs.is_committed(&payload.place(id, &upload.meta));
        if payload.replaced.is_some() || is_committed {
            return Ok(());
        }
        // `Some` lets chunks be replaced from now on; 0, since none has been so far.
        payload.replaced = Some(0);
        // The chaining values are no longer needed: every chunk is hashed by now, and if one is replaced, hashing
        // restarts from the stored bytes.
        if let Some(slots) = &payload.subtrees {
            self.storage.blobs.extents_mut().free(slots)?;
        }
        payload.subtrees = None;
        self.storage.payloads.insert(id.0, &payload);
        Ok(())
    }

    /// Continues hashing a complete session whose `finish` did not fit into one message. Returns `true` if every byte
    /// is hashed, or the session no longer exists; `false` if another message has to continue. Commits nothing: that
    /// takes another call of `finish`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the session is quarantined, or a damaged record.
    pub fn continue_hashing(&mut self, id: u64) -> Result<bool> {
        let id = SessionId(id);
        self.run_counted(CountedCall::Finish, |uploads| {
            let loaded = uploads.path.load(uploads.storage, id, None, uploads.now)?;
            let Some(upload) = loaded else { return Ok(true) };
            uploads.count_for(&upload);
            let payload = uploads.storage.payload_of(id)?;
            match uploads.complete_hashing(id, &upload, payload) {
                Ok(_) => Ok(true),
                Err(Error::Hashing { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Hashes the stored bytes that are not hashed yet, and stores the progress, in either case. Returns the payload
    /// state and the digest, or [`Error::Hashing`] if this message cannot hash all bytes.
    fn complete_hashing(
        &mut self,
        id: SessionId,
        upload: &Upload,
        mut payload: PayloadState,
    ) -> Result<(PayloadState, [u8; 32])> {
        let session = &upload.session;
        let place = payload.place(id, &upload.meta);
        let next_before = payload.next_chunk;
        self.catch_up(&mut payload, &place, session, FINISH_INSTRUCTIONS)?;
        if payload.next_chunk > next_before {
            self.storage.payloads.insert(id.0, &payload);
        }
        if payload.next_chunk < session.chunk_count() {
            let hashed = hashed_bytes(&payload, session);
            return Err(Error::Hashing { hashed, total: session.bytes_expected });
        }
        let digest = final_digest(&self.storage.blobs, &payload, &place, session)?;
        Ok((payload, digest))
    }

    /// Turns a verified upload into a memory. If the memory is refused, nothing has changed.
    fn commit(
        &mut self,
        id: SessionId,
        upload: Upload,
        payload: &PayloadState,
        digest: [u8; 32],
    ) -> Result<UploadFinishResult> {
        let Upload { session, meta, path } = &upload;
        let blob = BlobRecord {
            size: session.bytes_expected,
            digest: ContentDigest { algorithm: payload.hash.algorithm(), bytes: digest },
            created_at: self.now,
            place: payload.place(id, meta),
        };
        // The settings and the account may be damaged, so they are read before the first change: an error after it
        // would leave a memory whose session has no receipt.
        let ttl = self.storage.config()?.session_ttl_seconds;
        let caller_in_flight = self.storage.usage.in_flight(self.caller)?;
        // A foreign session, one of the first public release, is on no account until it is converted or committed.
        // Every session of the direct path is on the accounts; on the compat path, only sessions in the index are.
        let is_on_accounts = *path == SessionPath::Direct || self.storage.index.contains(id, self.caller);
        let finished = if is_on_accounts {
            self.commit_blob(id, meta, &blob, payload)?
        } else {
            self.commit_foreign_blob(id, meta, &blob, payload)?
        };
        self.path.finish(self.storage, id, &upload, self.now)?;
        self.storage.index.remove_keeping_key(id, self.caller, session.session_meta.last_seen);
        self.storage.payloads.remove(&id.0);
        // The bytes of a foreign session were reserved in this message, so they are not in `caller_in_flight`.
        let session_in_flight = if is_on_accounts { blob.size } else { 0 };
        self.storage.usage.set_in_flight(self.caller, caller_in_flight.saturating_sub(session_in_flight));
        let ended = Ended {
            owner: self.caller,
            key: IdemKey::of(&meta.capsule_id, &self.caller, &session.session_meta.idem),
            meta,
            hash: blob.digest.algorithm,
            receipt_expires_at: self.now.plus_seconds(ttl),
        };
        leave_receipt(self.storage, id, &ended, Outcome::Finished(finished.clone()));
        self.storage.counters.count_event(*path, Event::Finished);
        if let Some(cell) = self.canary_cell {
            self.storage.counters.canary().count_finished(cell, blob.size);
        }
        Ok(finished.to_api())
    }

    /// Does the same as [`Self::commit_blob`] for a foreign session: its bytes are on no account yet, so they are
    /// reserved first.
    fn commit_foreign_blob(
        &mut self,
        id: SessionId,
        meta: &UploadMeta,
        blob: &BlobRecord,
        payload: &PayloadState,
    ) -> Result<Finished> {
        self.storage.usage.reserve_unlimited(self.caller, &meta.capsule_id, blob.size)?;
        let finished = self.commit_blob(id, meta, blob, payload);
        if finished.is_err() {
            self.release_reservation(&meta.capsule_id, blob.size, None)?;
        }
        finished
    }

    /// Returns the id of the memory that an upload becomes. A session of the first public release may have none, and
    /// gets a new one.
    fn memory_id_of(&self, id: SessionId, meta: &UploadMeta) -> String {
        if meta.provisional_memory_id.is_empty() {
            id_of_new_memory(id, IdemKey::of(&meta.capsule_id, &self.caller, ""), self.now)
        } else {
            meta.provisional_memory_id.clone()
        }
    }

    /// Commits stored bytes, frees the chaining values of `payload`, and creates the memory that refers to the bytes.
    /// If this fails, the memory does not exist, and the bytes still belong to the session.
    pub(super) fn commit_blob(
        &mut self,
        id: SessionId,
        meta: &UploadMeta,
        blob: &BlobRecord,
        payload: &PayloadState,
    ) -> Result<Finished> {
        let capsule_id = &meta.capsule_id;
        let memory_id = self.memory_id_of(id, meta);
        let blob_id = ChunkPrefix::of(&meta.provisional_memory_id, id).blob_id();
        let destination = self.storage.blobs.destination(blob_id, blob.digest, capsule_id)?;
        // If the capsule already has a blob with the same content, the bytes of this upload are freed and subtracted
        // from these accounts. `None` if the blob is new.
        let accounts =
            (!destination.is_new).then(|| self.storage.usage.stored_accounts(capsule_id)).transpose()?;
        let memory = MemoryRecord {
            capsule_id: capsule_id.clone(),
            asset_metadata: meta.asset_metadata.clone(),
            content: Content::blob(destination.id, blob),
            created_at: self.now.as_nanos(),
            created_by: self.caller,
            request: None,
        };
        self.storage.capsules.attach(self.caller, &memory_id, &memory)?;
        let committed = free_with_subtrees(self.storage, id, payload, |storage| {
            storage.blobs.commit(destination, blob, &memory_id, capsule_id)
        });
        if let Err(damage) = committed {
            // Damage to the tables of free extents is noticed only now, when something is freed. To notice it before
            // the first change, the tables would have to be read twice, which would double the cost of freeing.
            self.storage.capsules.detach(&memory_id, &memory)?;
            return Err(damage.into());
        }
        if let Some(accounts) = accounts {
            self.storage.usage.subtract_freed(&accounts, blob.size);
        }
        Ok(Finished {
            memory_id,
            blob_id: destination.id.0,
            size: blob.size,
            checksum: blob.digest.bytes,
            finished_at: self.now.as_nanos(),
            algorithm: Some(blob.digest.algorithm).filter(|algorithm| *algorithm != HashAlgorithm::Sha256),
        })
    }
}

/// Repeats the answer of the finish that committed the session; if this call has another digest or size, returns a
/// conflict.
pub(super) fn repeat_finish(
    id: SessionId,
    finished: &Finished,
    digest: &ByteBuf,
    total_len: u64,
) -> Result<UploadFinishResult> {
    if finished.checksum != digest.as_slice() || finished.size != total_len {
        let detail = format!("was finished with {} bytes, and another digest or size", finished.size);
        return Err(Error::conflict("session", id, detail));
    }
    Ok(finished.to_api())
}

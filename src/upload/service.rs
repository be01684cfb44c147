//! The upload service: put, abort, status, list and expiry.

use candid::Principal;
use serde_bytes::ByteBuf;
use sha2::Digest;

use crate::api::{AdminConfig, Error, Result, SessionPath, UploadStatus};
use crate::blob::Place;
use crate::capsule::Access;
use crate::meter::Meter;
use crate::session::{ByteSource, PutOutcome, Session, SessionError, SessionId, Time};
use crate::storage::Storage;

use super::canary::CanaryCell;
use super::chunk_hashing::{add_hashed_chunk, add_stored_chunk, grow_slot, hasher_for};
use super::counts::CountedCall;
use super::error::{parse_digest, to_ranges};
use super::hashing::{HashingSource, Sha256};
use super::idempotency::IdemKey;
use super::in_flight::Upload;
use super::limits::{CATCH_UP_INSTRUCTIONS, SWEEP_BATCH, SWEEP_INSTRUCTIONS};
use super::path::{Chunk, UploadPath};
use super::{
    Ended, Outcome, PayloadState, Receipt, forget_session, free_with_subtrees, leave_receipt,
    mapped_sessions, release_payload,
};

/// The operations on uploads, for one message of one caller.
pub struct UploadService<'a> {
    /// The stable structures.
    pub storage: &'a mut Storage,
    /// The layer that stores sessions.
    pub path: &'a mut dyn UploadPath,
    /// The caller.
    pub caller: Principal,
    /// The time of the message.
    pub now: Time,
    /// Reads how many instructions the message has used.
    pub meter: &'a dyn Meter,
    /// The path that serves the current call; `None`, which counts for no path, as long as it is not known.
    pub(super) served_on: Option<SessionPath>,
    /// The cell in which the message is counted, if its session began during a canary.
    pub(super) canary_cell: Option<CanaryCell>,
}

impl<'a> UploadService<'a> {
    /// Creates the service for one message of `caller` at `now`.
    pub fn new(
        storage: &'a mut Storage,
        path: &'a mut dyn UploadPath,
        caller: Principal,
        now: Time,
        meter: &'a dyn Meter,
    ) -> Self {
        Self { storage, path, caller, now, meter, served_on: None, canary_cell: None }
    }
}

impl UploadService<'_> {
    /// Stores chunk `idx` of a session. Chunks may arrive in any order. If `sha256` is given, it must be the digest of
    /// the chunk.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`] for a wrong index, chunk length or
    /// digest length, [`Error::ChecksumMismatch`], [`Error::Conflict`] if other bytes are stored, or if the session has
    /// ended or is quarantined, [`Error::ResourceExhausted`], or a damaged record.
    pub fn put_chunk(
        &mut self,
        id: u64,
        idx: u32,
        chunk: &mut dyn ByteSource,
        sha256: Option<ByteBuf>,
    ) -> Result<()> {
        self.run_counted(CountedCall::Put, |uploads| uploads.store_chunk(SessionId(id), idx, chunk, sha256))
    }

    fn store_chunk(
        &mut self,
        id: SessionId,
        idx: u32,
        chunk: &mut dyn ByteSource,
        sha256: Option<ByteBuf>,
    ) -> Result<()> {
        let upload = self.load_authorized(id)?;
        let Upload { session, meta, path } = &upload;
        if let Some(expected) = sha256 {
            let expected = parse_digest("sha256", &expected)?;
            check_digest(expected, sha256_of(chunk)?)?;
        }
        let mut payload = self.storage.payload_of(id)?;
        let place = payload.place(id, meta);
        let collected;
        let mut in_memory;
        let chunk: &mut dyn ByteSource = match &place {
            // The chunk map stores a chunk as one value, so the chunk is collected on the heap first.
            Place::Chunks(_) => {
                collected = collect_bytes(chunk)?;
                in_memory = collected.as_slice();
                &mut in_memory
            }
            Place::Extents(_) => &mut *chunk,
        };
        let chunk_len = chunk.len();
        grow_slot(&mut self.storage.blobs, &payload, session, idx)?;
        let mut source = HashingSource::new(chunk, hasher_for(&payload, session, idx));
        let may_replace = payload.replaced.is_some();
        let chunk = Chunk { idx, bytes: &mut source, place: &place, may_replace };
        match self.path.put_chunk(self.storage, id, &upload, chunk, self.now)? {
            PutOutcome::AlreadyThere => return Ok(()),
            PutOutcome::Stored => {
                self.storage.promises.subtract(id, chunk_len);
                if let Some(hasher) = source.into_hasher()
                    && add_hashed_chunk(&mut self.storage.blobs, &mut payload, &place, session, idx, hasher)?
                {
                    self.catch_up(&mut payload, &place, session, CATCH_UP_INSTRUCTIONS)?;
                    self.storage.payloads.insert(id.0, &payload);
                }
            }
            PutOutcome::Replaced => {
                payload.record_replaced(idx);
                self.storage.payloads.insert(id.0, &payload);
            }
        }
        self.storage.counters.count_bytes(Some(*path), chunk_len);
        self.storage.index.move_activity(id, session.session_meta.last_seen, self.now);
        Ok(())
    }

    /// Hashes the stored chunks that are next in order, until a chunk is missing or this message has used more than
    /// `budget` instructions.
    pub(super) fn catch_up(
        &mut self,
        payload: &mut PayloadState,
        place: &Place,
        session: &Session,
        budget: u64,
    ) -> Result<()> {
        while session.received_idxs.contains(payload.next_chunk) && self.meter.used() <= budget {
            add_stored_chunk(&mut self.storage.blobs, payload, place, session)?;
        }
        Ok(())
    }

    /// Ends the caller's session and releases its bytes. While the receipt exists, a repeated call succeeds and changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for a session that has ended otherwise or is quarantined, or a damaged
    /// record.
    pub fn abort(&mut self, id: u64) -> Result<()> {
        let id = SessionId(id);
        self.run_counted(CountedCall::Abort, |uploads| {
            if let Some(Receipt { outcome: Outcome::Aborted, .. }) = uploads.own_receipt(id) {
                return Ok(());
            }
            let upload = uploads.load_own(id)?;
            uploads.drop_session(id, &upload, Outcome::Aborted)
        })
    }

    /// Returns the status of the caller's session.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for a session that has ended or is quarantined, or a damaged record.
    pub fn status(&mut self, id: u64) -> Result<UploadStatus> {
        let (upload, expires_at) = self.load_own_uncounted(SessionId(id))?;
        Ok(status_of(id, upload, expires_at))
    }

    /// Lists up to `limit` of the caller's sessions that have not expired, with ids above `after`, in order of id.
    ///
    /// # Errors
    /// A damaged record.
    pub fn list(&mut self, after: Option<u64>, limit: usize) -> Result<Vec<UploadStatus>> {
        let mut page = Vec::new();
        let limits = self.storage.config()?;
        // Reading all ids is affordable: the number of sessions of a caller is limited.
        for id in self.storage.index.sessions_of(self.caller, after, usize::MAX) {
            if page.len() == limit {
                break;
            }
            // Loading a session that migration 1 has quarantined would fail. It may still be in the owner index: if its
            // record did not decode, the migration did not know its owner.
            if self.storage.migration.quarantine.contains(1, id.0) {
                continue;
            }
            let Some(upload) = self.path.load(self.storage, id, None, self.now)? else { continue };
            let expires_at = upload.expires_at(&limits);
            if expires_at > self.now {
                page.push(status_of(id.0, upload, expires_at));
            }
        }
        Ok(page)
    }

    /// Ends sessions that are idle too long or too old, drops expired receipts, and removes released chunks, a limited
    /// number of each. Returns `true` if there is nothing more to do now, `false` if it must be called again.
    ///
    /// # Errors
    /// The first error. An error of one session or receipt does not keep the others from being handled.
    pub fn sweep(&mut self) -> Result<bool> {
        let limits = self.storage.config()?;
        let idle_limit = self.now.minus_seconds(limits.session_ttl_seconds);
        let idle = self.storage.index.idle_since(idle_limit, SWEEP_BATCH);
        let mut first_error = Ok(());
        for (last_seen, id) in &idle {
            if let Err(error) = self.end_idle(*id, *last_seen, &limits) {
                // Its index entry moves to now, so the session is retried after all other idle sessions.
                self.storage.index.move_activity(*id, *last_seen, self.now);
                first_error = first_error.and(Err(error));
            }
            if self.meter.used() > SWEEP_INSTRUCTIONS {
                // If this message was to empty the chunk map, it no longer does so. That must not be taken for a trap.
                self.storage.blobs.defer_removal();
                return first_error.and(Ok(false));
            }
        }
        let none_ended = self.end_oldest(SWEEP_BATCH.saturating_sub(idle.len()), &limits);
        if self.storage.index.is_empty() {
            self.storage.promises.clear();
        }
        let dropped = self.storage.receipts.drop_expired(self.now, SWEEP_BATCH);
        let dropped_count = dropped.len();
        for (id, receipt) in dropped {
            let key_removed = match receipt {
                Ok(Some(receipt)) => self.storage.index.remove_key_of(IdemKey(receipt.idem_key), id),
                Ok(None) => Ok(()),
                Err(damage) => Err(damage),
            };
            first_error = first_error.and(key_removed.map_err(Error::from));
        }
        let swept = self.sweep_chunks();
        first_error?;
        Ok(swept? && none_ended && idle.len() < SWEEP_BATCH && dropped_count < SWEEP_BATCH)
    }

    /// Removes released chunks, a few or all at once. While the migration moves payload out of the chunk map and stable
    /// memory has ample room, they stay in the map, which is emptied in one step afterwards. Returns `true` if there is
    /// nothing to do now.
    fn sweep_chunks(&mut self) -> Result<bool> {
        let is_deferred =
            self.storage.blobs.may_defer_removal() && mapped_sessions::is_payload_moving(self.storage)?;
        if is_deferred {
            self.storage.blobs.defer_removal();
        }
        Ok(is_deferred || self.storage.blobs.sweep())
    }

    /// Ends a session that, according to the index, has been idle since `indexed_at`, if it has expired; if it has not,
    /// or no longer exists, corrects the index.
    fn end_idle(&mut self, id: SessionId, indexed_at: Time, limits: &AdminConfig) -> Result<()> {
        match self.path.load(self.storage, id, None, self.now)? {
            None => self.storage.index.remove_activity(id, indexed_at),
            // If `indexed_at` is not the session's own last activity, dropping it leaves this index entry; a later run
            // removes it.
            Some(upload) if self.has_expired(&upload, limits) => {
                self.drop_session(id, &upload, Outcome::Expired)?;
            }
            Some(upload) => {
                self.storage.index.move_activity(id, indexed_at, upload.session.session_meta.last_seen)
            }
        }
        Ok(())
    }

    /// Ends expired sessions, including those that are in use but too old, which `end_idle` does not find. Ids ascend
    /// with time, so only the first `limit` sessions are checked, in each layout up to the first that has not expired.
    /// Sessions that cannot be loaded or ended are skipped, but count for the limit; if they use it up, later sessions
    /// end only when they are idle. Returns `true` if no session was ended.
    fn end_oldest(&mut self, limit: usize, limits: &AdminConfig) -> bool {
        let tables = &self.storage.sessions;
        // The tables are checked, since sessions of the first public release are in no index.
        if tables.legacy.is_empty() && tables.sessions.is_empty() {
            return true;
        }
        let legacy_ids: Vec<u64> = tables.legacy.keys_after(None).take(limit).collect();
        let split_ids: Vec<u64> =
            tables.sessions.keys(..).take(limit.saturating_sub(legacy_ids.len())).collect();
        let mut none_ended = true;
        for oldest in [legacy_ids, split_ids] {
            for id in oldest.into_iter().map(SessionId) {
                // With the caller as the asker, no session of another owner is converted; the sweep's caller owns none.
                let loaded = self.path.load(self.storage, id, Some(self.caller), self.now);
                let Ok(Some(upload)) = loaded else { continue };
                if self.meter.used() > SWEEP_INSTRUCTIONS || !self.has_expired(&upload, limits) {
                    break;
                }
                none_ended &= self.drop_session(id, &upload, Outcome::Expired).is_err();
            }
        }
        none_ended
    }

    /// Returns the caller's session, if the caller may still write to its capsule.
    pub(super) fn load_authorized(&mut self, id: SessionId) -> Result<Upload> {
        let upload = self.load_own(id)?;
        self.storage.capsules.authorize(self.caller, Access::Write, &upload.meta.capsule_id)?;
        Ok(upload)
    }

    /// Returns whether a session has expired. An expired session accepts no call, even if it has not been ended yet.
    /// Until it is ended, the bytes that it reserved count against the limits of begin.
    pub(super) fn has_expired(&self, upload: &Upload, limits: &AdminConfig) -> bool {
        upload.expires_at(limits) <= self.now
    }

    /// Returns the receipt of a session, whoever owned it; `None` if there is none or it has expired.
    pub(super) fn receipt(&self, id: SessionId) -> Result<Option<Receipt>> {
        let receipt = self.storage.receipts.get(id)?;
        Ok(receipt.filter(|receipt| receipt.expires_at > self.now.as_nanos()))
    }

    /// Returns the receipt of the caller's session, unless it has expired. A receipt that does not decode is `None` for
    /// every caller, since its owner is unknown.
    pub(super) fn own_receipt(&self, id: SessionId) -> Option<Receipt> {
        self.receipt(id).ok().flatten().filter(|receipt| receipt.owner == self.caller)
    }

    /// Returns the caller's session in flight, and counts the message for it.
    pub(super) fn load_own(&mut self, id: SessionId) -> Result<Upload> {
        let (upload, _) = self.load_own_uncounted(id)?;
        self.count_for(&upload);
        Ok(upload)
    }

    /// Returns the caller's session in flight and when it expires. Counts nothing, so that queries can use it.
    /// Sessions of other callers, damaged or not, are reported as not found.
    pub(super) fn load_own_uncounted(&mut self, id: SessionId) -> Result<(Upload, Time)> {
        let found = match self.path.load(self.storage, id, Some(self.caller), self.now) {
            Ok(found) => found.filter(|upload| upload.session.owner == self.caller.as_slice()),
            Err(Error::Internal(_)) if !self.storage.index.contains(id, self.caller) => None,
            Err(error) => return Err(error),
        };
        if let Some(upload) = found {
            let limits = self.storage.config()?;
            let expires_at = upload.expires_at(&limits);
            if expires_at > self.now {
                return Ok((upload, expires_at));
            }
            // The answer is the same as from the receipt that the timer will leave, for as long as that receipt would
            // be valid.
            if expires_at.plus_seconds(limits.session_ttl_seconds) > self.now {
                return Err(Outcome::Expired.conflict(id));
            }
        }
        let receipt = self.own_receipt(id);
        Err(receipt.map_or_else(|| Error::not_found("session", id), |receipt| receipt.outcome.conflict(id)))
    }

    /// Makes this message count for the session's path and, if the session began during a canary, for its cell.
    pub(super) fn count_for(&mut self, upload: &Upload) {
        self.served_on = Some(upload.path);
        self.canary_cell = self.storage.counters.canary().cell_of(upload);
    }

    /// Ends a session without a file (`outcome` is any but finished): releases everything that it holds, except bytes
    /// that belong to a blob, and leaves a receipt, unless the receipt would already have expired.
    pub(super) fn drop_session(&mut self, id: SessionId, upload: &Upload, outcome: Outcome) -> Result<()> {
        let limits = self.storage.config()?;
        let (session, meta) = (&upload.session, &upload.meta);
        let owner = Principal::try_from_slice(&session.owner).map_err(|e| Error::Internal(e.to_string()))?;
        let payload = self.storage.payload_of(id)?;
        let place = payload.place(id, meta);
        // This reads the accounts and frees the extents, whose tables may be damaged, before the record is removed. In
        // the other order, an error would leave the bytes of an ended session on its accounts permanently.
        let key = forget_session(self.storage, id, owner, session, &meta.capsule_id, |storage| {
            free_with_subtrees(storage, id, &payload, |storage| {
                release_payload(storage, session, meta, &place)
            })
        })?;
        self.path.abort(self.storage, id, upload)?;
        self.storage.counters.count_dropped(upload, outcome.event());
        // An expired session ended when it expired, however much later it is dropped.
        let ended_at = upload.expires_at(&limits).min(self.now);
        let receipt_expires_at = ended_at.plus_seconds(limits.session_ttl_seconds);
        if receipt_expires_at > self.now {
            let ended = Ended { owner, key, meta, hash: payload.hash.algorithm(), receipt_expires_at };
            leave_receipt(self.storage, id, &ended, outcome);
        }
        Ok(())
    }
}

fn status_of(id: u64, upload: Upload, expires_at: Time) -> UploadStatus {
    let Upload { session, meta, path } = upload;
    let chunks = session.chunk_count();
    let missing = to_ranges(session.received_idxs.missing_below(chunks));
    UploadStatus {
        session: id,
        capsule_id: meta.capsule_id,
        idem: session.session_meta.idem,
        bytes_expected: session.bytes_expected,
        bytes_received: session.bytes_received,
        chunk_size: session.chunk_size,
        expected_chunks: chunks,
        received: to_ranges(session.received_idxs.ranges()),
        next_expected: missing.first().map(|range| range.first),
        missing,
        provisional_memory_id: meta.provisional_memory_id,
        last_seen: session.session_meta.last_seen.as_nanos(),
        expires_at: expires_at.as_nanos(),
        path,
    }
}

/// Returns the SHA-256 of one chunk, as it arrives. Not the digest of the upload.
fn sha256_of(chunk: &mut dyn ByteSource) -> Result<[u8; 32]> {
    let mut sha256 = Sha256::new();
    chunk
        .each_block(&mut |_, block| {
            sha256.update(block);
            Ok(())
        })
        .map_err(SessionError::from)?;
    Ok(sha256.finalize().into())
}

/// Copies a chunk to the heap.
fn collect_bytes(chunk: &mut dyn ByteSource) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(chunk.len()).unwrap_or(0));
    chunk
        .each_block(&mut |_, block| {
            bytes.extend_from_slice(block);
            Ok(())
        })
        .map_err(SessionError::from)?;
    Ok(bytes)
}

/// Returns `Ok(())` if two digests are equal, or else [`Error::ChecksumMismatch`].
pub(super) fn check_digest(expected: [u8; 32], got: [u8; 32]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::ChecksumMismatch { expected: ByteBuf::from(expected), got: ByteBuf::from(got) })
}

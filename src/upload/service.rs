//! The upload contract: what begin, put, finish, abort and status promise, on whichever path.

use candid::Principal;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::{AssetMetadata, Error, Result, UploadStatus};
use crate::blob::CHUNK_SIZE;
use crate::capsule::{Access, CapsuleStore};
use crate::meter::Meter;
use crate::session::{Session, SessionId, SessionSpec, Time};
use crate::storage::Storage;

use super::error::{digest_of, to_ranges};
use super::idempotency::{Fingerprint, IdemKey, memory_id};
use super::limits::{MAX_CHUNKS, MAX_UPLOAD_BYTES, SWEEP_BATCH, check_idem, check_metadata};
use super::path::{Chunk, Upload, UploadPath};
use super::{Outcome, Receipt, UploadMeta, forget_session};

/// One message's view of the uploads.
///
/// Every method decides on all it may refuse before it changes anything.
pub struct UploadService<'a> {
    /// Everything that is kept.
    pub storage: &'a mut Storage,
    /// The layer that keeps sessions.
    pub path: &'a mut dyn UploadPath,
    /// Who calls.
    pub caller: Principal,
    /// When; a message sees one time.
    pub now: Time,
    /// What the message has used.
    pub meter: &'a dyn Meter,
}

impl UploadService<'_> {
    /// Begins an upload of `asset_metadata.base.bytes` bytes, or finds the one that this call began before.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::Conflict`] when the key was used with
    /// other parameters, [`Error::ResourceExhausted`].
    pub fn begin(
        &mut self,
        capsule_id: String,
        asset_metadata: AssetMetadata,
        expected_chunks: u32,
        idem: String,
    ) -> Result<u64> {
        let capsule = self.storage.capsules.authorize(self.caller, Access::Write, &capsule_id)?;
        check_begin(&asset_metadata, expected_chunks, &idem)?;
        let key = IdemKey::of(&capsule_id, &self.caller, &idem);
        let fingerprint = Fingerprint::of(&asset_metadata, expected_chunks);
        if let Some(id) = self.begun_before(key, fingerprint, &idem)? {
            return Ok(id.0);
        }
        let limits = self.storage.config()?;
        CapsuleStore::check_memories(&capsule, limits.memories_per_capsule())?;
        let allowed = limits.max_sessions_per_caller;
        let sessions = self.storage.index.count_of(self.caller, allowed);
        if sessions >= allowed {
            return Err(Error::exhausted("sessions per caller", allowed, sessions.saturating_add(1)));
        }
        let bytes = asset_metadata.base().bytes;
        self.storage.usage.reserve(self.caller, &capsule_id, bytes, &limits)?;

        let id = SessionId(self.storage.sessions.counter.count_up()?);
        let spec = SessionSpec {
            chunk_size: CHUNK_SIZE,
            bytes_expected: bytes,
            owner: self.caller.as_slice().to_vec(),
            idem,
        };
        let meta = UploadMeta {
            provisional_memory_id: memory_id(id, key, self.now),
            capsule_id,
            asset_metadata,
            blob_id: None,
            created_at: self.now.as_nanos(),
            expected_chunks,
        };
        self.path.begin(self.storage, id, spec, meta, self.now)?;
        self.storage.index.insert(id, key, self.caller, self.now);
        Ok(id.0)
    }

    /// Takes chunk `idx` of a session, in any order, with its SHA-256 if the caller sends one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`] for an index or a length that
    /// the file does not have, [`Error::ChecksumMismatch`], [`Error::Conflict`] for other bytes than before.
    pub fn put_chunk(&mut self, id: u64, idx: u32, bytes: &[u8], sha256: Option<ByteBuf>) -> Result<()> {
        let id = SessionId(id);
        let upload = self.authorized(id)?;
        if let Some(expected) = sha256 {
            let expected = digest_of("sha256", &expected)?;
            check_digest(expected, Sha256::digest(bytes).into())?;
        }
        let mut hash = self.storage.hashes.get(&id.0)?.unwrap_or_default();
        let chunk = Chunk { caller: self.caller.as_slice(), idx, bytes };
        self.path.put_chunk(self.storage, id, chunk, self.now)?;
        if hash.next_chunk() == idx {
            hash.absorb(bytes);
            self.storage.hashes.insert(id.0, &hash);
        }
        self.storage.index.touch(id, upload.session.session_meta.last_seen, self.now);
        Ok(())
    }

    /// Ends a session and gives its bytes back. Aborting it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Conflict`] for a session that was finished.
    pub fn abort(&mut self, id: u64) -> Result<()> {
        let id = SessionId(id);
        if let Some(Receipt { owner, outcome: Outcome::Aborted, .. }) = self.receipt(id)?
            && owner == self.caller
        {
            return Ok(());
        }
        let upload = self.own(id)?;
        self.drop_session(id, &upload)?;
        self.leave_receipt(id, &upload.session, &upload.meta, Outcome::Aborted)
    }

    /// How far one's own session is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn status(&mut self, id: u64) -> Result<UploadStatus> {
        let upload = self.own(SessionId(id))?;
        self.status_of(id, upload)
    }

    /// Up to `limit` of one's own sessions, in order of id, behind `after`.
    ///
    /// # Errors
    /// A damaged record.
    pub fn list(&mut self, after: Option<u64>, limit: usize) -> Result<Vec<UploadStatus>> {
        let mut page = Vec::new();
        for id in self.storage.index.of(self.caller, after, limit) {
            if let Some(upload) = self.path.load(self.storage, id, self.now)?
                && !self.expired(&upload)?
            {
                page.push(self.status_of(id.0, upload)?);
            }
        }
        Ok(page)
    }

    fn status_of(&self, id: u64, upload: Upload) -> Result<UploadStatus> {
        let Upload { session, meta, path } = upload;
        let ttl = self.storage.config()?.session_ttl_seconds;
        let chunks = session.chunk_count();
        let missing = to_ranges(session.received_idxs.missing_below(chunks));
        Ok(UploadStatus {
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
            expires_at: session.session_meta.last_seen.plus_seconds(ttl).as_nanos(),
            path,
        })
    }

    /// Ends some of the sessions that were idle too long, drops some of the receipts that ran out, and
    /// removes some chunks of ended sessions. True when nothing of this is left to do.
    ///
    /// # Errors
    /// A damaged record.
    pub fn sweep(&mut self) -> Result<bool> {
        let ttl = self.storage.config()?.session_ttl_seconds;
        let until = self.now.minus_seconds(ttl);
        let idle = self.storage.index.idle_since(until, SWEEP_BATCH);
        for id in &idle {
            if let Some(upload) = self.path.load(self.storage, *id, self.now)? {
                self.drop_session(*id, &upload)?;
            }
        }
        let dropped = self.storage.receipts.drop_expired(self.now, SWEEP_BATCH)?;
        for (id, receipt) in &dropped {
            self.storage.index.forget_key(IdemKey(receipt.idem_key), *id)?;
        }
        let swept = self.storage.blobs.sweep();
        Ok(swept && idle.len() < SWEEP_BATCH && dropped.len() < SWEEP_BATCH)
    }

    /// The session that this call of begin made before, if it lives or has left a receipt.
    fn begun_before(
        &mut self,
        key: IdemKey,
        fingerprint: Fingerprint,
        idem: &str,
    ) -> Result<Option<SessionId>> {
        let Some(id) = self.storage.index.find(key)? else {
            return Ok(None);
        };
        let found = if let Some(receipt) = self.receipt(id)? {
            if let Outcome::Finished(finished) = &receipt.outcome
                && !self.storage.capsules.has_memory(&finished.memory_id)
            {
                // What that upload made was deleted since, so this is a new one.
                return Ok(None);
            }
            Fingerprint(receipt.fingerprint)
        } else if let Some(upload) = self.path.load(self.storage, id, self.now)? {
            if self.expired(&upload)? {
                self.drop_session(id, &upload)?;
                return Ok(None);
            }
            Fingerprint::of(&upload.meta.asset_metadata, upload.meta.expected_chunks)
        } else {
            return Ok(None);
        };
        if found == fingerprint {
            Ok(Some(id))
        } else {
            let detail = format!("session {id} was begun under this key with other parameters");
            Err(Error::conflict("idem", idem, detail))
        }
    }

    /// The caller's session, whose capsule the caller may still write to.
    pub(super) fn authorized(&mut self, id: SessionId) -> Result<Upload> {
        let upload = self.own(id)?;
        self.storage.capsules.authorize(self.caller, Access::Write, &upload.meta.capsule_id)?;
        Ok(upload)
    }

    /// Whether a session was idle too long. From then on it does not exist for anybody, whether the timer
    /// has come by already or not: the answer must not depend on that.
    fn expired(&self, upload: &Upload) -> Result<bool> {
        let ttl = self.storage.config()?.session_ttl_seconds;
        Ok(upload.session.session_meta.last_seen.plus_seconds(ttl) <= self.now)
    }

    /// The receipt of a session, unless it has run out.
    pub(super) fn receipt(&self, id: SessionId) -> Result<Option<Receipt>> {
        let receipt = self.storage.receipts.get(id)?;
        Ok(receipt.filter(|receipt| receipt.expires_at > self.now.as_nanos()))
    }

    /// The caller's session in flight. Somebody else's does not exist for the caller.
    fn own(&mut self, id: SessionId) -> Result<Upload> {
        let found = self.path.load(self.storage, id, self.now)?;
        if let Some(upload) = found.filter(|upload| upload.session.owner == self.caller.as_slice())
            && !self.expired(&upload)?
        {
            return Ok(upload);
        }
        match self.receipt(id)?.filter(|receipt| receipt.owner == self.caller) {
            None => Err(Error::not_found("session", id)),
            Some(Receipt { outcome: Outcome::Finished(_), .. }) => {
                Err(Error::conflict("session", id, "is finished"))
            }
            Some(Receipt { outcome: Outcome::Aborted, .. }) => {
                Err(Error::conflict("session", id, "was aborted"))
            }
        }
    }

    /// Remembers how the caller's session ended, for as long as a session may be idle.
    pub(super) fn leave_receipt(
        &mut self,
        id: SessionId,
        session: &Session,
        meta: &UploadMeta,
        outcome: Outcome,
    ) -> Result<()> {
        let ttl = self.storage.config()?.session_ttl_seconds;
        let receipt = Receipt {
            owner: self.caller,
            idem_key: IdemKey::of(&meta.capsule_id, &self.caller, &session.session_meta.idem).0,
            fingerprint: Fingerprint::of(&meta.asset_metadata, meta.expected_chunks).0,
            expires_at: self.now.plus_seconds(ttl).as_nanos(),
            outcome,
        };
        self.storage.receipts.insert(id, &receipt);
        Ok(())
    }

    /// Ends a session, whoever asked for it, and gives everything of it back.
    fn drop_session(&mut self, id: SessionId, upload: &Upload) -> Result<()> {
        let (session, capsule_id) = (&upload.session, &upload.meta.capsule_id);
        let owner = Principal::try_from_slice(&session.owner).map_err(|e| Error::Internal(e.to_string()))?;
        self.path.abort(self.storage, id, &session.owner, self.now)?;
        Ok(forget_session(self.storage, id, owner, session, capsule_id)?)
    }
}

fn check_begin(asset_metadata: &AssetMetadata, expected_chunks: u32, idem: &str) -> Result<()> {
    check_idem(idem)?;
    check_metadata(asset_metadata)?;
    let base = asset_metadata.base();
    let chunks = base.bytes.div_ceil(u64::from(CHUNK_SIZE));
    if chunks > u64::from(MAX_CHUNKS) {
        return Err(Error::exhausted("bytes per upload", MAX_UPLOAD_BYTES, base.bytes));
    }
    if u64::from(expected_chunks) != chunks {
        let expected = format!("{chunks}, for {} bytes in chunks of {CHUNK_SIZE}", base.bytes);
        return Err(Error::invalid("expected_chunks", expected, expected_chunks));
    }
    Ok(())
}

/// Nothing, when the digests are the same.
pub(super) fn check_digest(expected: [u8; 32], got: [u8; 32]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::ChecksumMismatch { expected: ByteBuf::from(expected), got: ByteBuf::from(got) })
}

//! The upload contract: what begin, put, finish, abort and status promise, on whichever path.

use candid::Principal;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::{AssetMetadata, Error, Result, UploadFinishResult, UploadStatus};
use crate::blob::{BlobRecord, CHUNK_SIZE, ChunkPrefix};
use crate::capsule::{Access, MemoryRecord};
use crate::meter::Meter;
use crate::session::{SessionId, SessionSpec, Time};
use crate::stable::codec;
use crate::storage::Storage;

use super::error::{digest_of, to_ranges};
use super::idempotency::{Fingerprint, IdemKey};
use super::limits::{
    MAX_CHUNKS, MAX_IDEM_BYTES, MAX_METADATA_BYTES, MAX_SESSIONS_PER_CALLER, MESSAGE_INSTRUCTIONS,
    SWEEP_BATCH,
};
use super::path::{Chunk, Upload, UploadPath};
use super::{Receipt, UploadMeta};

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
        self.storage.capsules.authorize(self.caller, Access::Write, &capsule_id)?;
        check_begin(&asset_metadata, expected_chunks, &idem)?;
        let key = IdemKey::of(&capsule_id, &self.caller, &idem);
        let fingerprint = Fingerprint::of(&asset_metadata, expected_chunks);
        if let Some(id) = self.begun_before(key, fingerprint, &idem)? {
            return Ok(id.0);
        }
        let sessions = self.storage.index.count_of(self.caller, MAX_SESSIONS_PER_CALLER);
        if sessions >= MAX_SESSIONS_PER_CALLER {
            return Err(Error::exhausted("sessions per caller", MAX_SESSIONS_PER_CALLER, sessions + 1));
        }

        let id = SessionId(self.storage.sessions.counter.next()?);
        let spec = SessionSpec {
            chunk_size: CHUNK_SIZE,
            bytes_expected: asset_metadata.base().bytes,
            owner: self.caller.as_slice().to_vec(),
            idem,
        };
        let meta = UploadMeta {
            provisional_memory_id: self.memory_id(id, key),
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

    /// Verifies the stored bytes against `sha256` and `total_len`, and makes them a memory of the capsule.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::Incomplete`],
    /// [`Error::ChecksumMismatch`], and [`Error::Hashing`] when the work goes on in the next call. After any
    /// of them the session is as it was.
    pub fn finish(&mut self, id: u64, sha256: &ByteBuf, total_len: u64) -> Result<UploadFinishResult> {
        let id = SessionId(id);
        if let Some(receipt) = self.storage.receipts.get(id)? {
            return self.finished_before(id, &receipt, sha256, total_len);
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

    /// Ends a session and gives its bytes back.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn abort(&mut self, id: u64) -> Result<()> {
        let id = SessionId(id);
        let upload = self.own(id)?;
        self.drop_session(id, &upload)
    }

    /// How far one's own session is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn status(&mut self, id: u64) -> Result<UploadStatus> {
        let Upload { session, meta, path } = self.own(SessionId(id))?;
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
        let found = if let Some(receipt) = self.storage.receipts.get(id)? {
            Fingerprint(receipt.fingerprint)
        } else if let Some(upload) = self.path.load(self.storage, id, self.now)? {
            let ttl = self.storage.config()?.session_ttl_seconds;
            if upload.session.session_meta.last_seen.plus_seconds(ttl) <= self.now {
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
    fn authorized(&mut self, id: SessionId) -> Result<Upload> {
        let upload = self.own(id)?;
        self.storage.capsules.authorize(self.caller, Access::Write, &upload.meta.capsule_id)?;
        Ok(upload)
    }

    /// The caller's session. Somebody else's does not exist for the caller.
    fn own(&mut self, id: SessionId) -> Result<Upload> {
        self.path
            .load(self.storage, id, self.now)?
            .filter(|upload| upload.session.owner == self.caller.as_slice())
            .ok_or_else(|| Error::not_found("session", id))
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
        let fingerprint = Fingerprint::of(&meta.asset_metadata, meta.expected_chunks);
        let prefix = ChunkPrefix::of(&meta.provisional_memory_id, id);
        let blob_id = prefix.blob_id();
        let blob =
            BlobRecord { size: session.bytes_expected, checksum, created_at: self.now, prefix: prefix.0 };
        let memory = MemoryRecord {
            capsule_id: meta.capsule_id,
            asset_metadata: meta.asset_metadata,
            blob_id: blob_id.0,
            checksum,
            size: session.bytes_expected,
            created_at: self.now.as_nanos(),
            created_by: self.caller,
        };
        let memory_id = meta.provisional_memory_id;
        let key = IdemKey::of(&memory.capsule_id, &self.caller, &session.session_meta.idem);
        let ttl = self.storage.config()?.session_ttl_seconds;

        self.storage.blobs.commit(blob_id, &blob, &memory_id, &memory.capsule_id)?;
        self.storage.capsules.attach(self.caller, &memory_id, &memory)?;
        self.path.finish(self.storage, id, self.caller.as_slice(), self.now)?;
        self.storage.index.end(id, self.caller, session.session_meta.last_seen);
        self.storage.hashes.remove(&id.0);
        let receipt = Receipt {
            owner: self.caller,
            idem_key: key.0,
            fingerprint: fingerprint.0,
            memory_id,
            blob_id: blob_id.0,
            size: blob.size,
            checksum,
            finished_at: self.now.as_nanos(),
            expires_at: self.now.plus_seconds(ttl).as_nanos(),
        };
        self.storage.receipts.insert(id, &receipt);
        Ok(receipt.to_api())
    }

    /// The same answer to the same finish; a different one contradicts what was committed.
    fn finished_before(
        &self,
        id: SessionId,
        receipt: &Receipt,
        sha256: &ByteBuf,
        total_len: u64,
    ) -> Result<UploadFinishResult> {
        if receipt.owner != self.caller {
            return Err(Error::not_found("session", id));
        }
        if receipt.checksum != sha256.as_slice() || receipt.size != total_len {
            let detail = format!("was finished with {} bytes and another digest or size", receipt.size);
            return Err(Error::conflict("session", id, detail));
        }
        Ok(receipt.to_api())
    }

    /// Ends a session, whoever asked for it, and gives everything of it back.
    fn drop_session(&mut self, id: SessionId, upload: &Upload) -> Result<()> {
        let session = &upload.session;
        let owner = Principal::try_from_slice(&session.owner).map_err(|e| Error::Internal(e.to_string()))?;
        self.path.abort(self.storage, id, &session.owner, self.now)?;
        self.storage.index.end(id, owner, session.session_meta.last_seen);
        let key = IdemKey::of(&upload.meta.capsule_id, &owner, &session.session_meta.idem);
        self.storage.index.forget_key(key, id)?;
        self.storage.hashes.remove(&id.0);
        Ok(())
    }

    /// A memory id that no other session has or will have: the session id is part of what is hashed, and
    /// never comes twice.
    fn memory_id(&self, id: SessionId, key: IdemKey) -> String {
        let digest = Sha256::new()
            .chain_update(key.0)
            .chain_update(id.0.to_be_bytes())
            .chain_update(self.now.as_nanos().to_be_bytes())
            .finalize();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("mem_{}_{hex}", id.0)
    }
}

fn check_begin(asset_metadata: &AssetMetadata, expected_chunks: u32, idem: &str) -> Result<()> {
    if idem.is_empty() || idem.len() > MAX_IDEM_BYTES {
        return Err(Error::invalid(
            "idem",
            format!("1 to {MAX_IDEM_BYTES} bytes"),
            format!("{} bytes", idem.len()),
        ));
    }
    let metadata_bytes = codec::encode(1, asset_metadata).len();
    if metadata_bytes > MAX_METADATA_BYTES {
        let expected = format!("at most {MAX_METADATA_BYTES} bytes");
        return Err(Error::invalid("asset_metadata", expected, format!("{metadata_bytes} bytes")));
    }
    let base = asset_metadata.base();
    if let Some(sha256) = &base.sha256 {
        digest_of("asset_metadata.sha256", sha256)?;
    }
    let chunks = base.bytes.div_ceil(u64::from(CHUNK_SIZE));
    if chunks > u64::from(MAX_CHUNKS) {
        let largest = u64::from(MAX_CHUNKS) * u64::from(CHUNK_SIZE);
        return Err(Error::exhausted("bytes per upload", largest, base.bytes));
    }
    if u64::from(expected_chunks) != chunks {
        let expected = format!("{chunks}, for {} bytes in chunks of {CHUNK_SIZE}", base.bytes);
        return Err(Error::invalid("expected_chunks", expected, expected_chunks));
    }
    Ok(())
}

fn check_digest(expected: [u8; 32], got: [u8; 32]) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::ChecksumMismatch { expected: ByteBuf::from(expected), got: ByteBuf::from(got) })
}

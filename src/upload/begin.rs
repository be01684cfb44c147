//! Begin: refusals, reservation of bytes, and repeated calls.

use crate::api::{AssetMetadata, Error, HashAlgorithm, Result};
use crate::blob::CHUNK_SIZE;
use crate::capsule::{Access, CapsuleStore};
use crate::session::{Chunking, SessionId, SessionSpec};
use crate::stable::layout::Layout;

use super::asset_metadata::check_metadata;
use super::chunk_hashing::bytes_of_slots;
use super::counts::CountedCall;
use super::evict::RoomFor;
use super::idempotency::{Fingerprint, IdemKey, id_of_new_memory};
use super::limits::{MAX_CHUNKS, MAX_UPLOAD_BYTES, check_idem};
use super::service::UploadService;
use super::{Event, Outcome, PayloadState, UploadMeta};

impl UploadService<'_> {
    /// Begins an upload of `asset_metadata.base.bytes` bytes and returns its session. A call repeated with the same
    /// parameters returns the same session: as long as the session is in flight and, once it is finished, until the
    /// receipt expires or the memory is deleted.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::Conflict`] if the session of this key has other
    /// parameters or is quarantined, [`Error::ResourceExhausted`], or a damaged record.
    pub fn begin(
        &mut self,
        capsule_id: String,
        asset_metadata: AssetMetadata,
        expected_chunks: u32,
        idem: String,
        hash: HashAlgorithm,
    ) -> Result<u64> {
        self.run_counted(CountedCall::Begin, |uploads| {
            uploads.begin_session(capsule_id, asset_metadata, expected_chunks, idem, hash)
        })
    }

    fn begin_session(
        &mut self,
        capsule_id: String,
        asset_metadata: AssetMetadata,
        expected_chunks: u32,
        idem: String,
        hash: HashAlgorithm,
    ) -> Result<u64> {
        let capsule = self.storage.capsules.authorize(self.caller, Access::Write, &capsule_id)?;
        check_begin(&asset_metadata, expected_chunks, &idem)?;
        let key = IdemKey::of(&capsule_id, &self.caller, &idem);
        let fingerprint = Fingerprint::of(&asset_metadata, expected_chunks, hash);
        if let Some(id) = self.find_begun_session(key, fingerprint, &idem)? {
            return Ok(id.0);
        }
        let path = self.path.for_new(self.storage, key)?;
        self.served_on = Some(path);
        let limits = self.storage.limits()?;
        self.storage.room.check_for_records()?;
        CapsuleStore::check_memory_limit(&capsule, limits.memories_per_capsule())?;
        let max_sessions = limits.max_sessions_per_caller;
        let sessions = self.storage.index.count_of(self.caller, max_sessions);
        if sessions >= max_sessions {
            return Err(Error::exhausted("sessions per caller", max_sessions, sessions.saturating_add(1)));
        }
        let bytes = asset_metadata.base().bytes;
        self.storage.created_with_first_upload.create(&self.storage.room)?;
        self.reserve_room(&capsule_id, bytes, RoomFor::Session, &limits)?;
        let payload = match self.allocate_payload(bytes, expected_chunks, hash) {
            Ok(payload) => payload,
            Err(refused) => {
                self.release_reservation(&capsule_id, bytes, None)?;
                return Err(refused);
            }
        };

        let id = SessionId(self.storage.sessions.ids.issue()?);
        let spec = SessionSpec {
            chunk_size: CHUNK_SIZE,
            bytes_expected: bytes,
            owner: self.caller.as_slice().to_vec(),
            idem,
        };
        let meta = self.new_meta(id, key, capsule_id.clone(), asset_metadata, expected_chunks);
        if let Err(refused) = self.path.begin(self.storage, path, id, spec, meta, self.now) {
            self.release_reservation(&capsule_id, bytes, payload)?;
            return Err(refused);
        }
        if let Some(payload) = payload {
            self.storage.payloads.insert(id.0, &payload);
        }
        self.storage.index.insert(id, key, self.caller, self.now);
        self.storage.promises.add(id, bytes);
        self.storage.counters.count_event(path, Event::Begun);
        self.canary_cell = self.storage.counters.canary().count_begun(path, key, bytes, self.now);
        Ok(id.0)
    }

    /// Releases what was reserved for a call that was then refused: `bytes` on the accounts and, if given, both extents
    /// of `payload`.
    pub(super) fn release_reservation(
        &mut self,
        capsule_id: &str,
        bytes: u64,
        payload: Option<PayloadState>,
    ) -> Result<()> {
        self.storage.usage.release_reserved(self.caller, capsule_id, bytes)?;
        let PayloadState { extents, subtrees, .. } = payload.unwrap_or_default();
        for extents in [extents, subtrees].into_iter().flatten() {
            self.storage.blobs.extents_mut().free(&extents)?;
        }
        Ok(())
    }

    /// Returns the upload meta of a session that begins now under `key`.
    pub(super) fn new_meta(
        &self,
        id: SessionId,
        key: IdemKey,
        capsule_id: String,
        asset_metadata: AssetMetadata,
        expected_chunks: u32,
    ) -> UploadMeta {
        UploadMeta {
            provisional_memory_id: id_of_new_memory(id, key, self.now),
            capsule_id,
            asset_metadata,
            blob_id: None,
            created_at: self.now.as_nanos(),
            expected_chunks,
        }
    }

    /// Returns the payload state of a new session; in layout 3, allocates its extents. `None` if the session needs no
    /// stored state, since its bytes go to the chunk map and are verified by SHA-256. After an error, nothing remains
    /// allocated.
    fn allocate_payload(
        &mut self,
        bytes: u64,
        expected_chunks: u32,
        hash: HashAlgorithm,
    ) -> Result<Option<PayloadState>> {
        let mut payload = PayloadState::new(hash);
        if !self.uses_extents()? {
            return Ok((hash != HashAlgorithm::Sha256).then_some(payload));
        }
        let extents = self.storage.blobs.allocate(bytes)?;
        if hash == HashAlgorithm::Blake3 {
            // A slot for each chunk, for its chaining values in case it arrives out of order.
            match self.storage.blobs.allocate(bytes_of_slots(expected_chunks)) {
                Ok(slots) => payload.subtrees = Some(slots),
                Err(refused) => {
                    self.storage.blobs.extents_mut().free(&extents)?;
                    return Err(refused.into());
                }
            }
        }
        payload.extents = Some(extents);
        Ok(Some(payload))
    }

    /// Returns whether new payload goes to extents, which is so in layout 3; otherwise it goes to the chunk map.
    pub(super) fn uses_extents(&self) -> Result<bool> {
        Ok(self.storage.layout.get()?.is_some_and(|layout| layout >= Layout::EXTENTS))
    }

    /// Returns the session that a repeated [`Self::begin`] returns, or `None` if the call must begin a new one. That
    /// includes two cases: the finished session's memory has been deleted, or the session has expired (this function
    /// then ends it).
    pub(super) fn find_begun_session(
        &mut self,
        key: IdemKey,
        fingerprint: Fingerprint,
        idem: &str,
    ) -> Result<Option<SessionId>> {
        let Some(id) = self.storage.index.find(key)? else {
            return Ok(None);
        };
        let stored_fingerprint = if let Some(receipt) = self.receipt(id)? {
            if let Outcome::Finished(finished) = &receipt.outcome
                && !self.storage.capsules.has_memory(&finished.memory_id)
            {
                // The memory has been deleted since, so this call begins a new upload.
                return Ok(None);
            }
            Fingerprint(receipt.fingerprint)
        } else if let Some(upload) = self.path.load(self.storage, id, None, self.now)? {
            if self.has_expired(&upload, &self.storage.config()?) {
                self.drop_session(id, &upload, Outcome::Expired)?;
                return Ok(None);
            }
            self.count_for(&upload);
            let hash = self.storage.payload_of(id)?.hash.algorithm();
            Fingerprint::of(&upload.meta.asset_metadata, upload.meta.expected_chunks, hash)
        } else {
            return Ok(None);
        };
        if stored_fingerprint == fingerprint {
            Ok(Some(id))
        } else {
            let detail = format!("session {id} was begun under this key with other parameters");
            Err(Error::conflict("idem", idem, detail))
        }
    }
}

/// Checks the parameters of a begin that can be checked without anything stored.
pub(super) fn check_begin(asset_metadata: &AssetMetadata, expected_chunks: u32, idem: &str) -> Result<()> {
    check_idem(idem)?;
    check_metadata(asset_metadata)?;
    let base = asset_metadata.base();
    let chunks = Chunking::new(base.bytes, u64::from(CHUNK_SIZE)).chunks();
    if chunks > u64::from(MAX_CHUNKS) {
        return Err(Error::exhausted("bytes per upload", MAX_UPLOAD_BYTES, base.bytes));
    }
    if u64::from(expected_chunks) != chunks {
        let expected = format!("{chunks}, for {} bytes in chunks of {CHUNK_SIZE}", base.bytes);
        return Err(Error::invalid("expected_chunks", expected, expected_chunks));
    }
    Ok(())
}

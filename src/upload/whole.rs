//! Whole files: begun, stored, verified and committed in one call.

use crate::api::{Error, Result, SmallFile, UploadFinishResult};
use crate::blob::{BlobRecord, CHUNK_SIZE, ContentDigest, Place, StableBlobSink};
use crate::capsule::{Access, CapsuleStore};
use crate::session::{ByteSink, SessionError, SessionId};

use super::asset_metadata::contradicting_sha256;
use super::begin::check_begin;
use super::chunk_hashing::digest_of_bytes;
use super::counts::CountedCall;
use super::error::parse_digest;
use super::evict::RoomFor;
use super::finish::repeat_finish;
use super::idempotency::{Fingerprint, IdemKey};
use super::limits::MAX_FILES_PER_CALL;
use super::service::{UploadService, check_digest};
use super::{Outcome, PayloadState, Receipt, UploadMeta};

impl UploadService<'_> {
    /// Stores a whole file and makes it a memory of its capsule. While the receipt and the memory exist, a repeated
    /// call returns the same result.
    ///
    /// # Errors
    /// The errors of begin, put and finish, except [`Error::Incomplete`] and [`Error::Hashing`]. A refused file leaves
    /// nothing stored.
    pub fn put_whole(&mut self, file: SmallFile<'_>) -> Result<UploadFinishResult> {
        self.run_counted(CountedCall::Whole, |uploads| uploads.store_file(file))
    }

    fn store_file(&mut self, file: SmallFile<'_>) -> Result<UploadFinishResult> {
        let SmallFile { capsule_id, asset_metadata, idem, bytes, digest, hash } = file;
        let hash = hash.unwrap_or_default();
        let capsule = self.storage.capsules.authorize(self.caller, Access::Write, &capsule_id)?;
        let size = bytes.len() as u64;
        if size > u64::from(CHUNK_SIZE) {
            return Err(Error::invalid("bytes", format!("at most {CHUNK_SIZE} bytes"), size));
        }
        if asset_metadata.base().bytes != size {
            let expected = format!("{} bytes, as in asset_metadata", asset_metadata.base().bytes);
            return Err(Error::invalid("bytes", expected, format!("{size} bytes")));
        }
        let expected_chunks = u32::from(size > 0);
        check_begin(&asset_metadata, expected_chunks, &idem)?;
        let expected = parse_digest("digest", &digest)?;
        let key = IdemKey::of(&capsule_id, &self.caller, &idem);
        let fingerprint = Fingerprint::of(&asset_metadata, expected_chunks, hash);
        if let Some(id) = self.find_begun_session(key, fingerprint, &idem)? {
            return match self.receipt(id)? {
                Some(Receipt { outcome: Outcome::Finished(finished), .. }) => {
                    repeat_finish(id, &finished, &digest, size)
                }
                Some(receipt) => Err(receipt.outcome.conflict(id)),
                None => Err(Error::conflict("session", id, "is in flight under this key")),
            };
        }
        if let Some(claimed) =
            contradicting_sha256(&asset_metadata, ContentDigest { algorithm: hash, bytes: expected })
        {
            let expected = format!("{claimed}, as in asset_metadata.sha256");
            return Err(Error::invalid("digest", expected, hex::encode(digest)));
        }
        check_digest(expected, digest_of_bytes(hash, bytes))?;
        let limits = self.storage.limits()?;
        self.storage.room.check_for_records()?;
        CapsuleStore::check_memory_limit(&capsule, limits.memories_per_capsule())?;
        // The record of the capsule is changed in place only if nothing else refers to it, as `capsule` does.
        drop(capsule);
        self.storage.created_with_first_upload.create(&self.storage.room)?;
        self.reserve_room(&capsule_id, size, RoomFor::File, &limits)?;

        let id = SessionId(self.storage.sessions.ids.issue()?);
        let meta = self.new_meta(id, key, capsule_id, asset_metadata, expected_chunks);
        let place = match self.store_bytes(id, &meta, bytes) {
            Ok(place) => place,
            Err(refused) => {
                self.storage.usage.free(&meta.capsule_id, size)?;
                return Err(refused);
            }
        };
        let digest = ContentDigest { algorithm: hash, bytes: expected };
        let blob = BlobRecord { size, digest, created_at: self.now, place };
        let finished = match self.commit_blob(id, &meta, &blob, &PayloadState::default()) {
            Ok(finished) => finished,
            Err(refused) => {
                // The bytes are freed unless a memory may refer to them: one that could not be removed again, or that
                // existed before. `free` would fail if the commit has failed because it could not free them: damaged
                // free extents.
                if !self.storage.capsules.has_memory(&meta.provisional_memory_id) {
                    self.storage.blobs.discard(&blob.place)?;
                    self.storage.usage.free(&meta.capsule_id, size)?;
                }
                return Err(refused);
            }
        };
        self.storage.index.insert_key(key, id);
        let receipt = Receipt {
            owner: self.caller,
            idem_key: key.0,
            fingerprint: fingerprint.0,
            expires_at: self.now.plus_seconds(limits.session_ttl_seconds).as_nanos(),
            outcome: Outcome::Finished(finished.clone()),
        };
        self.storage.receipts.insert(id, &receipt);
        self.storage.counters.count_bytes(None, size);
        Ok(finished.to_api())
    }

    /// Stores many whole files, in order; each is accepted or refused independently, so `Ok` does not mean that all are
    /// stored.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more files than [`MAX_FILES_PER_CALL`], in which case no file is stored.
    pub fn put_many(&mut self, files: Vec<SmallFile<'_>>) -> Result<Vec<Result<UploadFinishResult>>> {
        self.run_counted(CountedCall::Whole, |uploads| {
            if files.len() > MAX_FILES_PER_CALL {
                let expected = format!("at most {MAX_FILES_PER_CALL} files");
                return Err(Error::invalid("files", expected, files.len()));
            }
            let store = |file| {
                let result = uploads.store_file(file);
                uploads.count_file_error(&result);
                result
            };
            Ok(files.into_iter().map(store).collect())
        })
    }

    /// Stores the bytes of a file that has no session. After an error, nothing remains stored.
    fn store_bytes(&mut self, id: SessionId, meta: &UploadMeta, bytes: &[u8]) -> Result<Place> {
        let extents =
            if self.uses_extents()? { Some(self.storage.blobs.allocate(bytes.len() as u64)?) } else { None };
        let place = PayloadState { extents, ..PayloadState::default() }.place(id, meta);
        if !bytes.is_empty() {
            let mut sink = StableBlobSink::new(&mut self.storage.blobs, &place, CHUNK_SIZE);
            if let Err(refused) = sink.write_at(0, bytes) {
                self.storage.blobs.discard(&place)?;
                return Err(SessionError::from(refused).into());
            }
        }
        Ok(place)
    }
}

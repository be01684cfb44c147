//! The treatment of upload sessions, in flight and committed.

use super::*;

impl Planner<'_> {
    pub(super) fn plan_sessions(&mut self, heap: &Heap) -> Result<(), SnapshotError> {
        for session in &heap.sessions {
            let id = session.id.to_string();
            let prefix = session_prefix(session.id);
            let decided = match session.is_committed {
                true => self.plan_committed(session),
                false => self.plan_pending(session),
            };
            let capsule = Some(session.capsule.as_str());
            match decided {
                Ok(notes) => drop(self.plan.outcomes.add_taken(RecordKind::Session, &id, capsule, notes)),
                Err(why) => {
                    self.plan.outcomes.add_not_taken(RecordKind::Session, &id, capsule, &why);
                    self.refused_chunks.entry(prefix).or_insert_with(|| format!("of session {id}: {why}"));
                }
            }
            let Session { caller, created_at, upload, .. } = session;
            let metadata = upload.as_ref().ok().map(|upload| &upload.metadata);
            let chunks = upload.as_ref().map_or(0, |upload| upload.chunks);
            let why = "what its release reports about it, without its idempotency key";
            let line = Line::new(RecordKind::Session, &id, why).in_capsule(&session.capsule);
            self.left.write(&line.with_record(&(
                caller,
                created_at,
                session.is_committed,
                chunks,
                metadata,
            )))?;
        }
        Ok(())
    }

    /// Checks that a session's caller may upload to its capsule. The error is the reason why not.
    fn check_may_upload(&self, session: &Session) -> Result<(), String> {
        use upload_canister::capsule::Access;
        let Session { capsule, caller, .. } = session;
        let Some(record) = self.plan.capsules.get(capsule) else {
            return Err(format!("{capsule} does not exist, or is not taken"));
        };
        match record.access_of(caller) {
            Some(access) if access >= Access::Write => Ok(()),
            _ => Err(format!("{caller} may not upload to {capsule}")),
        }
    }

    /// Plans a session in flight. Returns what was repaired; the error is the reason why the session is not taken.
    fn plan_pending(&mut self, session: &Session) -> Result<Vec<String>, String> {
        self.check_may_upload(session)?;
        let prefix = session_prefix(session.id);
        // Chunks are hashed only if a committed blob refers to their prefix.
        if self.source.chunks_by_prefix.get(&prefix).is_some_and(|stored| stored.hashed.is_some()) {
            return Err(
                "a committed blob has the same chunks: the release issued its number again after an \
                upgrade"
                    .into(),
            );
        }
        let Upload { chunks, received, metadata } = session.upload.clone()?;
        let no_chunks = StoredChunks::default();
        let stored = &self.source.chunks_by_prefix.get(&prefix).unwrap_or(&no_chunks).chunks;
        let declared = asset::declared_bytes(&metadata);
        let full_len = u64::from(CHUNK_SIZE);
        let bytes_before_last = full_len * u64::from(chunks.saturating_sub(1));
        let mut notes = Vec::new();
        let last = chunks.checked_sub(1).filter(|last| received.contains(last));
        let last_len = last.and_then(|last| stored.get(&last)).map(|len| u64::from(*len));
        // The size of the file follows from the last chunk. If this chunk has not arrived, or has an impossible length,
        // the declared size is used; if that contradicts the number of chunks, the session is not taken.
        let bytes = match last_len.filter(|len| (1..=full_len).contains(len)) {
            Some(len) => bytes_before_last + len,
            None if declared > bytes_before_last && declared <= bytes_before_last + full_len => declared,
            None => {
                return Err(format!(
                    "{declared} bytes were declared for {chunks} chunks, and the last one has not arrived: its size is unknown"
                ));
            }
        };
        if bytes > MAX_UPLOAD_BYTES {
            return Err(format!("{bytes} bytes are more than the {MAX_UPLOAD_BYTES} of an upload"));
        }
        let chunking = Chunking::new(bytes, full_len);
        let keep: BTreeSet<u32> = received
            .iter()
            .copied()
            .filter(|idx| stored.get(idx).is_some_and(|len| u64::from(*len) == chunking.len(*idx)))
            .collect();
        if keep.len() < received.len() {
            notes.push(format!(
                "{} of its chunks do not have the length of a chunk; its client must send them again",
                received.len() - keep.len()
            ));
        }
        if stored.len() > received.len() {
            notes.push(format!(
                "{} chunks under its key belong to an earlier session of the same number",
                stored.len() - received.len()
            ));
        }
        let asset_metadata = asset::convert(metadata, bytes, None, &mut notes);
        let record = LegacyUploadSession {
            session_id: session.id,
            capsule_id: session.capsule.clone(),
            caller: session.caller,
            // In that release, a session never expires; here, sessions expire, so its age begins at the time of the
            // snapshot.
            created_at: self.taken_at.as_nanos(),
            expected_chunks: chunks,
            status: LegacyStatus::Pending,
            chunk_count: chunks,
            asset_metadata: asset_metadata.into(),
            provisional_memory_id: String::new(),
            chunk_size: full_len,
            idem: idem_of_adopted(session.id),
            blob_id: None,
        };
        let missing = bytes - keep.iter().map(|idx| chunking.len(*idx)).sum::<u64>();
        self.plan.sessions.push(PlannedSession { record, missing });
        let (used, why) = (ChunkUse::Session(keep), format!("not a chunk of session {}", session.id));
        self.plan.chunks_by_prefix.insert(prefix, PlannedChunks { used, session: Some(session.id), why });
        Ok(notes)
    }

    /// Plans a session whose blob is committed: that release failed to create the memory, or to remove the session. It
    /// gets a receipt and, if no memory refers to its blob, a memory. Results as of [`Self::plan_pending`].
    fn plan_committed(&mut self, session: &Session) -> Result<Vec<String>, String> {
        let prefix = ChunkPrefix(session_prefix(session.id));
        let blob = prefix.blob_id();
        let Some(sound) = self.sound_blobs.get(&blob.0) else {
            return Err(format!("{blob}, which it has committed, is not taken"));
        };
        let Upload { chunks, metadata, .. } = session.upload.clone()?;
        let record = sound.record.clone();
        let blob_capsule = sound.capsule.clone();
        let content = Content::blob(blob, &record);
        let mut notes = Vec::new();
        let asset_metadata = asset::convert(metadata, record.size, Some(&record.digest.bytes), &mut notes);
        let existing_memory =
            self.plan.blobs.get(&blob.0).and_then(|planned| planned.memories.first().cloned());
        let memory_id = match existing_memory {
            Some(memory) => memory,
            None => {
                self.check_may_upload(session)?;
                if blob_capsule.as_deref() != Some(&session.capsule) {
                    return Err(format!("{blob} does not belong to {}", session.capsule));
                }
                let id = self.unused_id(&format!("mem_{}", record.created_at.as_nanos()));
                self.add_reference(blob.0, &session.capsule, &id);
                notes.push(format!("its upload was committed and never became a memory; it is {id} now"));
                let memory = MemoryRecord {
                    capsule_id: session.capsule.clone(),
                    asset_metadata: asset_metadata.clone(),
                    content,
                    created_at: record.created_at.as_nanos(),
                    created_by: session.caller,
                    request: None,
                };
                self.plan.memories.insert(id.clone(), memory);
                id
            }
        };
        let finished = Finished {
            memory_id,
            blob_id: blob.0,
            size: record.size,
            checksum: record.digest.bytes,
            finished_at: record.created_at.as_nanos(),
            algorithm: None,
        };
        self.plan.receipts.push(PlannedReceipt {
            id: session.id,
            owner: session.caller,
            capsule: session.capsule.clone(),
            metadata: asset_metadata,
            chunks,
            finished,
        });
        Ok(notes)
    }
}

//! Executes an operation: makes its call, and passes the answer to the model.

use std::collections::BTreeMap;

use super::expect::{BeginCall, SeenSessions, SentChunk, digest_sent, len_sent};
use super::memories::CreateMemoryCall;
use super::operation::{FinishKind, Guest, MemoryKind, Operation, PutKind, Stage, Who};
use super::run::ModelRun;
use super::state::{Capsule, Model, Session, chunk_count, chunk_len, fills, idem};
use super::target::{NewContent, NewMemory, Phase, Put, Refusal};
use super::{ALL_EXPIRED_SECONDS, PEOPLE, chunk_bytes, fill};

/// Byte that fills a chunk whose bytes are not those of the file.
const OTHER_FILL: u8 = 0xee;

/// Highest index for which [`fill`] is computed; it is used for higher ones, too. No file has a chunk with such an
/// index, so the canister refuses the chunk, whatever its bytes.
const MAX_FILL_IDX: u32 = 14;

/// Key of sessions left by the first public release; no begin uses it.
const FOREIGN_KEY: u8 = u8::MAX;

impl ModelRun<'_> {
    pub fn execute(&mut self, operation: &Operation) -> Result<(), String> {
        match *operation {
            Operation::Begin { who, capsule, key, bytes, content, wrong_count } => {
                let capsule = self.model.places[usize::from(capsule)];
                self.begin(BeginCall { who, capsule, key, bytes, content, wrong_count })
            }
            Operation::BeginAgain { session } => {
                let (id, _) = self.model.session_at(session);
                let Some(Session { owner: who, capsule, key, bytes, content, .. }) =
                    self.model.sessions.get(&id).cloned()
                else {
                    return Ok(());
                };
                self.begin(BeginCall { who, capsule, key, bytes, content, wrong_count: false })
            }
            Operation::Put { who, session, idx, kind } => {
                let (id, who) = self.caller(who, session);
                self.put(who, id, idx, kind)
            }
            Operation::PutMissing { session, last } => {
                let (id, who) = self.caller(Who::Owner, session);
                let missing = self.model.sessions.get(&id).map(Session::missing_chunks).unwrap_or_default();
                let idx = if last { missing.last() } else { missing.first() };
                self.put(who, id, idx.copied().unwrap_or(0), PutKind::Right)
            }
            Operation::Finish { who, session, kind } => {
                let (id, who) = self.caller(who, session);
                self.finish(who, id, kind)
            }
            Operation::PutAll { session } => {
                let (id, who) = self.caller(Who::Owner, session);
                self.put_all(who, id)
            }
            Operation::Complete { session } => {
                let (id, who) = self.caller(Who::Owner, session);
                self.put_all(who, id)?;
                self.finish(who, id, FinishKind::Right)
            }
            Operation::Abort { who, session } => {
                let (id, who) = self.caller(who, session);
                self.abort(who, id)
            }
            Operation::Status { who, session } => {
                let (id, who) = self.caller(who, session);
                let got = self.target.status(who, id);
                self.model.check_status(self.target.now(), who, id, got.as_ref().map_err(|refusal| *refusal))
            }
            Operation::Pass { seconds } => {
                self.target.pass(seconds);
                self.sweep();
                Ok(())
            }
            Operation::PassWithoutTimers { seconds } => {
                self.target.pass_without_timers(seconds);
                Ok(())
            }
            Operation::Share { who, capsule, guest } => {
                let number = self.model.places[usize::from(capsule)];
                let Capsule { id, owner, .. } = self.model.capsules[number].clone();
                let got = self.target.share(who, owner, &id, guest);
                if self.model.check_owner_only(who, number, &got)? {
                    self.model.capsules[number].guest = guest;
                }
                Ok(())
            }
            Operation::CreateMemory { who, capsule, key, kind, version } => {
                let capsule = self.model.places[usize::from(capsule)];
                let (content, bytes) = self.new_content(kind);
                self.create_memory(CreateMemoryCall { who, capsule, key, content, bytes, version })
            }
            Operation::UpdateMemory { who, memory, version, right_size } => {
                let Some(id) = self.model.memory_at(memory) else { return Ok(()) };
                let size = self.model.memories.get(&id).map_or(0, |memory| memory.bytes);
                let bytes = if right_size { size } else { size.wrapping_add(1) };
                self.update_limits();
                let got = self.target.update_memory(who, &id, bytes, version);
                self.model.check_update_memory(who, &id, bytes, version, &got)?;
                self.model.check_read_memory(who, &id, &self.target.memory(who, &id))
            }
            Operation::DeleteMemory { who, memory } => {
                let Some(id) = self.model.memory_at(memory) else { return Ok(()) };
                let got = self.target.delete_memory(who, &id);
                self.model.check_delete_memory(who, &id, &got)
            }
            Operation::DeleteBlob { who, memory } => {
                let Some(id) = self.model.memory_at(memory) else { return Ok(()) };
                let Some(locator) = self.model.memories.get(&id).map(|memory| memory.locator.clone()) else {
                    return Ok(());
                };
                let got = self.target.delete_blob(who, &locator);
                self.model.check_delete_blob(who, &locator, &got)
            }
            Operation::DeleteCapsule { who, capsule } => {
                let number = self.model.places[usize::from(capsule)];
                let got = self.target.delete_capsule(who, &self.model.capsules[number].id);
                if self.model.check_owner_only(who, number, &got)? {
                    self.model.capsules[number].exists = false;
                }
                Ok(())
            }
            Operation::CreateCapsule { capsule } => {
                if self.model.capsules[self.model.places[usize::from(capsule)]].exists {
                    return Ok(());
                }
                self.new_capsule(capsule)
            }
            Operation::Upgrade { share } => {
                self.upgrade(share);
                Ok(())
            }
            Operation::UpgradeLate => {
                self.target.pass_without_timers(ALL_EXPIRED_SECONDS);
                self.upgrade(0);
                self.target.migrate(30);
                Ok(())
            }
            Operation::Restart { share } => {
                self.target.upgrade(self.stage, share);
                Ok(())
            }
            Operation::Migrate { steps } => {
                self.target.migrate(steps);
                Ok(())
            }
            Operation::Control { control } => {
                let phase = self.target.phase();
                let Some(got) = self.target.control(control) else { return Ok(()) };
                self.model.check_control(self.stage, phase, control, &got)?;
                self.model.check_phase(self.target.phase())
            }
            Operation::GoBack => {
                if self.stage == Stage::Staged && self.target.phase() == Phase::RolledBack {
                    self.stage = Stage::Legacy;
                    self.target.upgrade(self.stage, 100);
                }
                Ok(())
            }
            Operation::EndForeign { who, capsule, bytes, content, kind } => {
                let capsule = self.model.places[usize::from(capsule)];
                self.end_foreign(
                    BeginCall { who, capsule, key: FOREIGN_KEY, bytes, content, wrong_count: false },
                    kind,
                )
            }
            Operation::UnreadableRecords { records } => {
                self.target.add_unreadable_records(records);
                Ok(())
            }
            Operation::DamageQuarantined { record } => {
                self.model.damaged_in_quarantine |= self.target.damage_quarantined(record);
                Ok(())
            }
            Operation::TakeSnapshot => {
                if self.target.take_snapshot() {
                    self.snapshot = Some((self.model.clone(), self.stage));
                }
                Ok(())
            }
            Operation::LoadSnapshot => {
                if let Some((model, stage)) = self.snapshot.clone() {
                    self.target.load_snapshot();
                    self.stage = stage;
                    self.model.restore_snapshot(model);
                    // A timer in the snapshot may be due, and then runs between any two of the next messages.
                    self.target.pass(1);
                    self.sweep();
                }
                Ok(())
            }
            Operation::FillMemory { left } => {
                self.model.overpromised |= self.target.fill_memory(left) && !self.model.sessions.is_empty();
                Ok(())
            }
        }
    }

    /// Records the limits in force, and whether stable memory is so full that additions may be refused.
    fn update_limits(&mut self) {
        self.model.limits = self.target.limits();
        self.model.lacks_room = self.target.lacks_room();
    }

    /// Sends all missing chunks of a session; none if the session has ended.
    fn put_all(&mut self, who: u8, id: u64) -> Result<(), String> {
        let missing = self.model.sessions.get(&id).map(Session::missing_chunks).unwrap_or_default();
        missing.into_iter().try_for_each(|idx| self.put(who, id, idx, PutKind::Right))
    }

    /// Returns the content of a memory to be created, and the size that the call declares.
    fn new_content(&self, kind: MemoryKind) -> (NewContent, u64) {
        match kind {
            MemoryKind::Inline { bytes } => (NewContent::Inline, bytes),
            MemoryKind::Elsewhere { bytes } => (NewContent::Elsewhere, bytes),
            MemoryKind::Nothing => (NewContent::Nothing, 0),
            MemoryKind::Blob { memory, right_size } => {
                let memory = self.model.memory_at(memory).and_then(|id| self.model.memories.get(&id));
                let (locator, size) = memory.map_or(("blob_1", 1), |memory| (&memory.locator, memory.bytes));
                (NewContent::Blob(locator.into()), if right_size { size } else { size.wrapping_add(1) })
            }
        }
    }

    fn create_memory(&mut self, call: CreateMemoryCall) -> Result<(), String> {
        let CreateMemoryCall { who, capsule, key, bytes, version, .. } = call;
        let (capsule, idem) = (self.model.capsules[capsule].id.clone(), idem(key));
        let new = NewMemory { capsule: &capsule, idem: &idem, content: call.content.clone(), bytes, version };
        self.update_limits();
        let got = self.target.create_memory(who, &new);
        self.model.check_create_memory(call, &got)
    }

    /// Executes `Operation::EndForeign`.
    fn end_foreign(&mut self, call: BeginCall, kind: FinishKind) -> Result<(), String> {
        let BeginCall { who, capsule, bytes, content, .. } = call;
        let now = self.target.now();
        let chunks: BTreeMap<u32, u8> = (0..).zip(fills(content, bytes)).collect();
        let file: Vec<_> =
            chunks.iter().map(|(idx, fill)| chunk_bytes(*fill, chunk_len(bytes, *idx))).collect();
        let Some(id) = self.target.add_first_release_session(who, &self.model.capsules[capsule].id, &file)
        else {
            return Ok(());
        };
        self.model.add_session(id, call, now, chunks);
        self.finish(who, id, kind)?;
        if self.model.sessions.contains_key(&id) { self.abort(who, id) } else { Ok(()) }
    }

    /// Returns the session that an operation refers to, and the person who makes the call.
    fn caller(&self, who: Who, session: u8) -> (u64, u8) {
        let (id, owner) = self.model.session_at(session);
        (id, if who == Who::Owner { owner } else { (owner + 1) % PEOPLE })
    }

    /// Executes `Operation::Upgrade`.
    fn upgrade(&mut self, share: u8) {
        self.stage = match self.stage {
            Stage::Legacy => Stage::Staged,
            Stage::Staged if Model::is_in_rollback(self.target.phase()) => Stage::Staged,
            Stage::Staged | Stage::Direct => Stage::Direct,
        };
        self.target.upgrade(self.stage, share);
    }

    /// Creates a capsule in this place. The number of the place is also the number of the owner. If stable memory lacks
    /// room, the place may stay as it is.
    pub fn new_capsule(&mut self, place: u8) -> Result<(), String> {
        self.update_limits();
        let id = match self.target.create_capsule(place) {
            Ok(id) => id,
            Err(Refusal::Exhausted) if self.model.lacks_room => return Ok(()),
            Err(refusal) => return Err(format!("create capsule: got {refusal:?}")),
        };
        if !self.model.capsule_ids.insert(id.clone()) {
            return Err(format!("create capsule: {id} was issued before"));
        }
        self.model.places[usize::from(place)] = self.model.capsules.len();
        self.model.capsules.push(Capsule { id, owner: place, guest: Guest::Write, exists: true });
        Ok(())
    }

    fn begin(&mut self, call: BeginCall) -> Result<(), String> {
        let BeginCall { who, capsule, key, bytes, wrong_count, .. } = call;
        let now = self.target.now();
        let chunks = chunk_count(bytes) + u32::from(wrong_count);
        let capsule = self.model.capsules[capsule].id.clone();
        // A session that is not converted when the call arrives cannot be evicted by it.
        let all_converted = self.target.all_converted();
        self.update_limits();
        let got = self.target.begin(who, &capsule, bytes, chunks, &idem(key));
        let alive = (0..PEOPLE).flat_map(|who| self.target.sessions_of(who)).map(|view| view.id).collect();
        self.model.check_begin(now, call, &got, &SeenSessions { alive, all_converted })
    }

    fn put(&mut self, who: u8, id: u64, idx: u32, kind: PutKind) -> Result<(), String> {
        let (bytes, content) = self.file_of(id);
        let sent_fill =
            if kind == PutKind::OtherBytes { OTHER_FILL } else { fill(content, idx.min(MAX_FILL_IDX)) };
        let now = self.target.now();
        let digest = match kind {
            PutKind::WithDigest => Some(true),
            PutKind::WrongDigest => Some(false),
            _ => None,
        };
        let put = Put { session: id, idx, bytes: chunk_bytes(sent_fill, len_sent(kind, bytes, idx)), digest };
        self.update_limits();
        let got = self.target.put(who, &put);
        self.model.check_put(now, who, SentChunk { id, idx, kind, fill: sent_fill }, &got)
    }

    fn finish(&mut self, who: u8, id: u64, kind: FinishKind) -> Result<(), String> {
        let (bytes, content) = self.file_of(id);
        let len = bytes + u64::from(kind == FinishKind::WrongLength);
        let digest = digest_sent(kind, content, bytes);
        let now = self.target.now();
        self.update_limits();
        let got = self.target.finish(who, id, &digest, len, kind == FinishKind::WithoutBudget);
        self.model.check_finish(now, who, id, kind, content, &got)?;
        match got {
            Ok(finished) => self.read_back(&finished.locator),
            Err(_) => Ok(()),
        }
    }

    pub fn abort(&mut self, who: u8, id: u64) -> Result<(), String> {
        let now = self.target.now();
        let got = self.target.abort(who, id);
        self.model.check_abort(now, who, id, &got)
    }

    /// Returns length and content of the file of a session. If the session has ended without a finish, the content is
    /// 0.
    fn file_of(&self, id: u64) -> (u64, u8) {
        if let Some(session) = self.model.sessions.get(&id) {
            return (session.bytes, session.content);
        }
        let receipt = self.model.receipts.get(&id);
        let content = receipt
            .and_then(|receipt| receipt.finished.as_ref())
            .and_then(|(_, fills)| fills.first())
            // The inverse of `fill` for the first chunk.
            .map_or(0, |first| (first - 1) / 16);
        (receipt.map_or(1, |receipt| receipt.bytes), content)
    }
}

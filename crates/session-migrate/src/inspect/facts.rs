//! The contents of a snapshot, read from its tables into maps that can be compared.

mod session;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candid::Principal;
use ic_stable_structures::storable::Blob as ShortBlob;
use sha2::{Digest, Sha256};
use upload_canister::api::AdminConfig;
use upload_canister::blob::extents::AllocatorState;
use upload_canister::blob::{BlobRecord, ChunkPrefix, Place, Sha256Blob};
use upload_canister::blob_access::Keys;
use upload_canister::capsule::{CapsuleRecord, Content, MemoryRecord, Request};
use upload_canister::capsule_creation::Listed;
use upload_canister::config::Config;
use upload_canister::migrate::{JournalRecord, MigrationState, QuarantineRecord};
use upload_canister::migrations::split_sessions::{
    Class, Decision, Examined, LegacyUploadSession, Split, examine,
};
use upload_canister::session::{ChunkSet, Chunking, SessionId, Time};
use upload_canister::stable::Record;
use upload_canister::stable::keys::{NumberAndText, TwoTexts};
use upload_canister::stable::layout::Layout;
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::upload::mapped_sessions::MappedSessions;
use upload_canister::upload::{
    IdemKey, Leftovers, LegacySession, PROMISES_PLACE, PayloadState, RawRecord, Receipt, SessionRecord,
    UploadMeta,
};

use super::finding::FindingKind;
use super::scan::Scan;

pub(super) use session::Session;

/// The chunks that are stored under one prefix: the number of each in its file, and its length.
pub(super) type Chunks = Vec<(u32, u32)>;

/// The class of a legacy record, and why it cannot be converted; the reason is `None` if it can be, or has expired.
#[derive(Clone, Debug)]
pub(super) struct Examination {
    pub class: Class,
    pub reason: Option<String>,
}

/// A memory of a capsule.
#[derive(Clone, Debug)]
pub(super) struct MemoryFact {
    pub capsule_id: String,
    pub content: ContentFact,
    /// The `memories_create` call that created the memory; `None` if an upload created it.
    pub request: Option<Request>,
}

#[derive(Clone, Debug)]
pub(super) enum ContentFact {
    Blob {
        id: u64,
        checksum: [u8; 32],
        size: u64,
    },
    /// Number of bytes.
    Inline(u64),
    External,
}

#[derive(Clone, Debug)]
pub(super) struct CapsuleFact {
    pub members: BTreeSet<Principal>,
    /// Members who may upload.
    pub uploaders: BTreeSet<Principal>,
    /// Number of memories according to the record.
    pub memories: u64,
    /// Inline bytes of its memories according to the record.
    pub inline_bytes: u64,
    pub created_by: Option<Principal>,
}

/// A quarantined unit.
#[derive(Clone, Debug)]
pub(super) struct QuarantineFact {
    pub migration: u16,
    pub unit: u64,
    pub reason: String,
    /// The legacy record; `None` if it does not decode, or the unit is not of the first migration.
    pub legacy: Option<Box<LegacyUploadSession>>,
}

#[derive(Default)]
pub(super) struct Facts {
    /// The time of the snapshot or, if it is not known, of the last activity of any session: ages count up to it.
    pub now: Time,
    pub layout: Option<Layout>,
    pub config: AdminConfigOrDefault,
    pub last_session_id: u64,
    /// The stored sum of promised bytes, and the id of the first session whose bytes are in it. The id is 0 if no
    /// session has been counted yet.
    pub promised: Option<[u64; 2]>,
    /// The leftover mark.
    pub mark: Option<Leftovers>,
    /// Sessions in flight whose records decode, in either layout.
    pub sessions: BTreeMap<u64, Session>,
    /// Sessions with a record that does not decode, or without upload meta, each with its layout.
    pub unreadable: BTreeMap<u64, u16>,
    /// Keys of the table of layout 1, also those of leftovers.
    pub legacy_ids: BTreeSet<u64>,
    /// The legacy records that are not leftovers, as the first migration examines them.
    pub examinations: BTreeMap<u64, Examination>,
    /// Keys of the two tables of layout 2: `split_ids` of sessions, `meta_ids` of upload metas.
    pub split_ids: BTreeSet<u64>,
    pub meta_ids: BTreeSet<u64>,
    /// Stored chunks by key prefix.
    pub chunks_by_prefix: HashMap<[u8; 32], Chunks>,
    /// Key prefixes whose chunks must still be removed.
    pub released_prefixes: BTreeSet<[u8; 32]>,
    pub sessions_by_idem: HashMap<[u8; 32], u64>,
    /// Time of the last activity in nanoseconds, and id of the session.
    pub sessions_by_activity: BTreeSet<(u64, u64)>,
    pub sessions_by_owner: BTreeSet<(Principal, u64)>,
    pub payloads: BTreeMap<u64, PayloadState>,
    pub receipts: BTreeMap<u64, Receipt>,
    pub receipts_by_expiry: BTreeSet<(u64, u64)>,
    /// Blobs, each with the memory id of its table.
    pub blobs: BTreeMap<u64, (u8, BlobRecord)>,
    /// The references of memories to blobs: the id of the capsule, by the ids of blob and memory.
    pub blob_refs: BTreeMap<(u64, String), String>,
    pub blobs_by_content: BTreeMap<TwoTexts, u64>,
    pub capsules: BTreeMap<String, CapsuleFact>,
    /// Memories of capsules, by the text that identifies a memory.
    pub memories: BTreeMap<String, MemoryFact>,
    /// The index of memories by capsule: id of the capsule, and id of the memory.
    pub memories_by_capsule: BTreeSet<TwoTexts>,
    pub capsules_by_member: BTreeSet<(Principal, String)>,
    /// Deleted capsules whose memories must still be removed.
    pub condemned_capsules: BTreeSet<String>,
    /// Ids of the memories that `memories_create` created, without an upload, by idempotency key.
    pub memories_by_idem: BTreeMap<[u8; 32], String>,
    /// The stored number of capsules that each caller has created.
    pub capsule_count_by_creator: BTreeMap<Principal, u64>,
    pub download_count: u64,
    /// Bytes by account. The key is `caller`, `capsule` or `canister`, and the id of the caller or capsule (empty for
    /// the canister).
    pub usage: BTreeMap<TwoTexts, u64>,
    /// Lengths of free extents by offset.
    pub free_extents: BTreeMap<u64, u64>,
    /// Length and offset of each free extent.
    pub free_extents_by_len: BTreeSet<(u64, u64)>,
    pub extent_state: AllocatorState,
    pub migrations: BTreeMap<u16, MigrationState>,
    /// Number of entries in the migration journal.
    pub journal_entries: u64,
    pub quarantine: Vec<QuarantineFact>,
    /// Sessions in the quarantine of the first migration.
    pub quarantined_sessions: BTreeSet<u64>,
}

/// The settings in force; the defaults if none are stored.
#[derive(Clone, Copy)]
pub(super) struct AdminConfigOrDefault(pub AdminConfig);

impl Default for AdminConfigOrDefault {
    fn default() -> Self {
        AdminConfigOrDefault(Config::default().effective())
    }
}

impl Facts {
    /// Returns whether the bytes of a session are in the chunk map, and not in extents.
    pub fn is_mapped(&self, id: u64) -> bool {
        self.payloads.get(&id).is_none_or(|state| state.extents.is_none())
    }

    /// Reads every table. `taken_at` is the time of the snapshot in nanoseconds, if known.
    pub fn read(scan: &mut Scan, taken_at: Option<u64>) -> Facts {
        let mut facts = Facts::default();
        facts.read_cells_and_counters(scan);
        facts.read_indexes(scan);
        let last_activity = facts.sessions_by_activity.last().map_or(0, |(seen, _)| *seen);
        facts.now = Time::from_nanos(taken_at.unwrap_or(last_activity));
        facts.read_payload(scan);
        facts.read_migrations(scan);
        facts.read_sessions(scan);
        facts.read_capsules(scan);
        facts
    }

    /// Returns whether a session is in flight, in either layout.
    pub fn is_live(&self, id: u64) -> bool {
        self.split_ids.contains(&id) || self.is_live_legacy(id)
    }

    /// Like [`Self::is_live`], in layout 1.
    pub fn is_live_legacy(&self, id: u64) -> bool {
        self.legacy_ids.contains(&id) && !self.is_leftover(id)
    }

    pub fn is_leftover(&self, id: u64) -> bool {
        self.mark.is_some_and(|mark| mark.records > 0 && id <= mark.through)
    }

    /// Returns whether a session is in the quarantine of the first migration.
    pub fn is_quarantined(&self, id: u64) -> bool {
        self.quarantined_sessions.contains(&id)
    }

    /// Returns whether there are unreadable sessions, or quarantined legacy records that do not decode. If so, bytes
    /// and chunks without an owner may be theirs.
    pub fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
            || self.quarantine.iter().any(|unit| unit.migration == 1 && unit.legacy.is_none())
    }

    /// Reads the cells, and the counters of promised bytes. Cells whose values are not stored here are read only to
    /// check that they decode.
    fn read_cells_and_counters(&mut self, scan: &mut Scan) {
        self.layout = scan.read_cell::<Layout>(ids::LAYOUT);
        self.last_session_id = scan.read_cell::<u64>(ids::SESSION_COUNTER).unwrap_or(0);
        scan.read_cell::<u64>(ids::CAPSULE_COUNTER);
        if let Some(config) = scan.read_cell::<Config>(ids::CONFIG) {
            self.config = AdminConfigOrDefault(config.effective());
        }
        scan.read_cell::<MappedSessions>(ids::MAPPED_SESSIONS);
        scan.read_cell::<Listed>(ids::CAPSULE_MAKERS);
        scan.read_cell::<Keys>(ids::ACCESS_KEYS);
        self.mark = scan.read_cell::<Leftovers>(ids::LEGACY_LEFT_BEHIND);
        self.extent_state = scan.read_cell::<AllocatorState>(ids::EXTENT_STATE).unwrap_or_default();
        self.promised = scan.read_counters(ids::UPLOAD_COUNTS, PROMISES_PLACE);
        // The first migration has tables of its own for its state and its quarantine.
        if let Some(state) = scan.read_cell::<MigrationState>(ids::MIGRATION_STATE) {
            self.migrations.insert(1, state);
        }
    }

    fn read_indexes(&mut self, scan: &mut Scan) {
        scan.for_each_record(ids::SESSION_BY_IDEM, |key: [u8; 32], id: u64| {
            self.sessions_by_idem.insert(key, id);
        });
        scan.for_each_record(ids::SESSION_BY_ACTIVITY, |key: (u64, u64), ()| {
            self.sessions_by_activity.insert(key);
        });
        scan.for_each_record(ids::SESSION_BY_OWNER, |key: (Principal, u64), ()| {
            self.sessions_by_owner.insert(key);
        });
        scan.for_each_record(ids::RECEIPTS, |id: u64, receipt: Receipt| {
            self.receipts.insert(id, receipt);
        });
        scan.for_each_record(ids::RECEIPT_BY_EXPIRY, |key: (u64, u64), ()| {
            self.receipts_by_expiry.insert(key);
        });
        scan.for_each_record(ids::DOWNLOADS, |_: u64, _: SessionRecord| self.download_count += 1);
        scan.for_each_record(ids::USAGE, |key: TwoTexts, bytes: u64| {
            self.usage.insert(key, bytes);
        });
    }

    fn read_payload(&mut self, scan: &mut Scan) {
        scan.for_each_entry(ids::CHUNKS, |(prefix, idx): ([u8; 32], u32), entry, _| {
            self.chunks_by_prefix.entry(prefix).or_default().push((idx, entry.len));
        });
        scan.for_each_record(ids::RELEASED_CHUNKS, |prefix: [u8; 32], ()| {
            self.released_prefixes.insert(prefix);
        });
        scan.for_each_record(ids::PAYLOAD_STATES, |id: u64, state: PayloadState| {
            self.payloads.insert(id, state);
        });
        scan.for_each_record(ids::BLOB_META, |id: u64, blob: Sha256Blob| {
            self.blobs.insert(id, (ids::BLOB_META, blob.into()));
        });
        for table in [ids::MAPPED_BLOBS, ids::BLOBS] {
            scan.for_each_record(table, |id: u64, blob: BlobRecord| {
                self.blobs.insert(id, (table, blob));
            });
        }
        scan.for_each_record(ids::BLOB_REFS, |NumberAndText(blob, memory), capsule: String| {
            self.blob_refs.insert((blob, memory), capsule);
        });
        scan.for_each_record(ids::BLOB_BY_CONTENT, |key: TwoTexts, blob: u64| {
            self.blobs_by_content.insert(key, blob);
        });
        scan.for_each_record(ids::FREE_EXTENTS, |offset: u64, len: u64| {
            self.free_extents.insert(offset, len);
        });
        scan.for_each_record(ids::FREE_EXTENTS_BY_LEN, |key: (u64, u64), ()| {
            self.free_extents_by_len.insert(key);
        });
    }

    fn read_migrations(&mut self, scan: &mut Scan) {
        scan.for_each_record(ids::MIGRATION_STATES, |number: u16, state: MigrationState| {
            self.migrations.insert(number, state);
        });
        let journal = ids::MIGRATION_JOURNAL;
        let mut last_hash = [0; 32];
        scan.for_each_entry(journal, |index: u64, entry, findings| {
            let stored = entry.value();
            match JournalRecord::decode(&stored) {
                Err(why) => findings.add_at_offset(
                    FindingKind::DamagedRecord,
                    journal,
                    Some(index.to_string()),
                    entry.offset,
                    format!("{}: {why}", JournalRecord::NAME),
                ),
                Ok(record) => {
                    if index != self.journal_entries || record.previous != last_hash {
                        let what = format!(
                            "entry {index} is number {}, and gives {} as the hash of the previous entry, whose hash is {}",
                            self.journal_entries,
                            hex::encode(record.previous),
                            hex::encode(last_hash)
                        );
                        findings.add_at_key(FindingKind::JournalBroken, journal, index.to_string(), what);
                    }
                }
            }
            last_hash = Sha256::digest(&stored).into();
            self.journal_entries = index.saturating_add(1);
        });
        let quarantine_fact = |migration, unit, QuarantineRecord { reason, raw, .. }: QuarantineRecord| {
            let legacy = if migration == 1 { LegacyUploadSession::decode(&raw).ok() } else { None };
            QuarantineFact { migration, unit, reason, legacy: legacy.map(Box::new) }
        };
        scan.for_each_record(ids::MIGRATION_QUARANTINE, |unit: u64, record| {
            self.quarantined_sessions.insert(unit);
            self.quarantine.push(quarantine_fact(1, unit, record));
        });
        scan.for_each_record(ids::MIGRATION_QUARANTINES, |(migration, unit): (u16, u64), record| {
            self.quarantine.push(quarantine_fact(migration, unit, record));
        });
    }

    fn read_sessions(&mut self, scan: &mut Scan) {
        let (legacy_table, activity_table) = (ids::LEGACY_SESSIONS, ids::LEGACY_ACTIVITY);
        let mut activity = BTreeMap::new();
        scan.for_each_record(activity_table, |id: u64, seen: u64| {
            activity.insert(id, seen);
        });
        // The keys are read first, because the class of a record depends on which other sessions are in flight.
        scan.for_each_entry(legacy_table, |id: u64, _, _| {
            self.legacy_ids.insert(id);
        });
        scan.for_each_entry(ids::SESSIONS, |id: u64, _, _| {
            self.split_ids.insert(id);
        });
        scan.for_each_entry(ids::UPLOAD_META, |id: u64, _, _| {
            self.meta_ids.insert(id);
        });
        self.read_split(scan);
        let mut examined_sessions = Vec::new();
        let facts = &*self;
        scan.for_each_record(legacy_table, |id: u64, RawRecord(raw)| {
            if facts.is_leftover(id) {
                return;
            }
            let activity = activity.get(&id).copied();
            let session = LegacySession { id, raw, activity: activity.map(Time::from_nanos) };
            // `examine` fails only if it cannot read a table, which is impossible with `Facts`.
            if let Ok(examined) = examine(facts, &session, facts.now) {
                examined_sessions.push((id, activity, examined));
            }
        });
        for (id, activity, Examined { class, decision }) in examined_sessions {
            let (split, reason) = match decision {
                Decision::Convert { split, .. } | Decision::Release { split, .. } => (Some(split), None),
                Decision::Reject { legacy: None, reason } => {
                    scan.findings.add_at_key(
                        FindingKind::DamagedRecord,
                        legacy_table,
                        id.to_string(),
                        format!("legacy session: {reason}"),
                    );
                    self.unreadable.insert(id, 1);
                    (None, Some(reason))
                }
                Decision::Reject { legacy: Some(record), reason } => {
                    let session = self.session_of_unconvertible(&record, id, activity);
                    self.sessions.insert(id, session);
                    (None, Some(reason))
                }
            };
            if let Some(split) = split {
                let session = Session { activity, ..Session::from_split(1, id, *split) };
                self.sessions.insert(id, session);
            }
            self.examinations.insert(id, Examination { class, reason });
        }
        let without_session = activity.keys().filter(|id| !self.legacy_ids.contains(id));
        if scan.fully_read(&[legacy_table]) {
            for id in without_session {
                scan.findings.add_at_key(
                    FindingKind::IndexToNowhere,
                    activity_table,
                    id.to_string(),
                    "the session of this activity does not exist",
                );
            }
        }
    }

    fn read_split(&mut self, scan: &mut Scan) {
        let mut metas: BTreeMap<u64, UploadMeta> = BTreeMap::new();
        scan.for_each_record(ids::UPLOAD_META, |id: u64, meta: UploadMeta| {
            metas.insert(id, meta);
        });
        let mut decoded = Vec::new();
        scan.for_each_record(ids::SESSIONS, |id: u64, record: SessionRecord| {
            decoded.push((id, record.into_session()));
        });
        for (id, session) in decoded {
            match (session, metas.remove(&id)) {
                (Ok(session), Some(meta)) => {
                    self.sessions.insert(id, Session::from_split(2, id, Split { session, meta }));
                }
                (Ok(_), None) => {}
                (Err(why), _) => {
                    scan.findings.add_at_key(
                        FindingKind::DamagedRecord,
                        ids::SESSIONS,
                        id.to_string(),
                        format!("session: {why}"),
                    );
                }
            }
        }
        let unreadable = self.split_ids.iter().filter(|id| !self.sessions.contains_key(id));
        self.unreadable.extend(unreadable.map(|id| (*id, 2)));
    }

    /// Returns the session of a legacy record that decodes but cannot be converted, as far as the record describes the
    /// session.
    fn session_of_unconvertible(
        &self,
        record: &LegacyUploadSession,
        id: u64,
        activity: Option<u64>,
    ) -> Session {
        let prefix = record.chunk_prefix();
        let received: ChunkSet = self.chunks_under(prefix).map(|(idx, _)| idx).collect();
        let bytes_expected = record.asset_metadata.bytes();
        let chunk_size = u32::try_from(record.chunk_size).unwrap_or(u32::MAX);
        let bytes_received = Chunking::new(bytes_expected, record.chunk_size).len_of(&received);
        Session {
            layout: 1,
            owner: record.caller,
            capsule: record.capsule_id.clone(),
            bytes_expected,
            bytes_received,
            received,
            chunk_count: record.expected_chunks,
            chunk_size,
            last_seen: Time::from_nanos(activity.unwrap_or(record.created_at)),
            is_committed: false,
            idem_key: IdemKey::of(&record.capsule_id, &record.caller, &record.idem),
            // If the record names another session, the chunks under its prefix belong to that session.
            prefix: if record.session_id == id { prefix } else { ChunkPrefix::of("", SessionId(id)) },
            blob: record.blob_id,
            activity,
        }
    }

    /// Returns the number and the length of each chunk that is stored under a prefix.
    pub fn chunks_under(&self, prefix: ChunkPrefix) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.chunks_by_prefix.get(&prefix.0).into_iter().flatten().copied()
    }

    fn read_capsules(&mut self, scan: &mut Scan) {
        scan.for_each_record(ids::CAPSULES, |id: String, record: CapsuleRecord| {
            let fact = CapsuleFact {
                members: record.members().copied().collect(),
                uploaders: record.owners.iter().chain(&record.writers).copied().collect(),
                memories: record.memory_count,
                inline_bytes: record.inline_bytes,
                created_by: record.created_by,
            };
            self.capsules.insert(id, fact);
        });
        scan.for_each_record(ids::MEMORIES, |id: String, record: MemoryRecord| {
            let content = match record.content {
                Content::Blob { id, checksum, size, .. } => ContentFact::Blob { id, checksum, size },
                Content::Inline(bytes) => ContentFact::Inline(bytes.len() as u64),
                Content::External { .. } => ContentFact::External,
            };
            let MemoryRecord { capsule_id, request, .. } = record;
            self.memories.insert(id, MemoryFact { capsule_id, content, request });
        });
        scan.for_each_record(ids::MEMORY_BY_CAPSULE, |key: TwoTexts, ()| {
            self.memories_by_capsule.insert(key);
        });
        scan.for_each_record(ids::CAPSULE_BY_MEMBER, |(member, capsule): (Principal, ShortBlob<32>), ()| {
            self.capsules_by_member
                .insert((member, String::from_utf8_lossy(capsule.as_slice()).into_owned()));
        });
        scan.for_each_record(ids::CONDEMNED_CAPSULES, |capsule: String, ()| {
            self.condemned_capsules.insert(capsule);
        });
        scan.for_each_record(ids::MEMORY_BY_IDEM, |key: [u8; 32], memory: String| {
            self.memories_by_idem.insert(key, memory);
        });
        scan.for_each_record(ids::CAPSULES_BY_CREATOR, |creator: Principal, count: u64| {
            self.capsule_count_by_creator.insert(creator, count);
        });
    }
}

/// Returns the prefix of a blob's chunks; `None` if its bytes are in extents.
pub(super) fn mapped_prefix(blob: &BlobRecord) -> Option<ChunkPrefix> {
    match blob.place {
        Place::Chunks(prefix) => Some(prefix),
        Place::Extents(_) => None,
    }
}

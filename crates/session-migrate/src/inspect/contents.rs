//! The facts about a snapshot that a rehearsal needs: who may read which memories, and which uploads clients can
//! continue in layout 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use candid::Principal;
use upload_canister::api::{AssetMetadata, HashAlgorithm};
use upload_canister::blob::ChunkPrefix;
use upload_canister::migrate::Treatment;
use upload_canister::migrations::split_sessions::{CLASSES, Class, LegacyUploadSession};
use upload_canister::session::SessionId;
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::upload::{IdemKey, RawRecord};

use super::checks;
use super::facts::{ContentFact, Facts};
use super::finding::FindingKind;
use super::scan::Scan;
use super::{InspectError, read};
use crate::snapshot::{Snapshot, SnapshotError};

/// The facts about a snapshot that a rehearsal needs.
pub struct Contents {
    scan: Scan,
    /// The time of the snapshot or, if it is not recorded, of the last activity of any session, nanoseconds.
    pub as_of: u64,
    /// The stable layout: 1 to 3.
    pub layout: u16,
    /// Number of legacy records that the first migration will quarantine.
    pub unconvertible: u64,
    /// Number of legacy records that the first migration will release because they have expired.
    pub expired: u64,
    /// Number of all legacy records, also leftovers.
    pub legacy_records: u64,
    /// Uploads that a client can continue. The classes alternate, and in each class, uploads with fewer bytes to send
    /// come first, so that any number of them from the beginning is varied and quick to upload.
    pub open: Vec<OpenSession>,
    /// Every capsule.
    pub capsules: Vec<CapsuleContents>,
    /// Number of findings of each kind of damage; blobs were not hashed.
    pub damage: BTreeMap<FindingKind, u64>,
}

/// An upload in flight in layout 1 that its owner can continue.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Id of the session.
    pub id: u64,
    /// Owner of the session.
    pub owner: Principal,
    /// The capsule of the upload.
    pub capsule: String,
    /// Idempotency key of the upload.
    pub idem: String,
    /// The metadata that begin was called with.
    pub metadata: AssetMetadata,
    /// Size of the file.
    pub bytes: u64,
    /// Length of every chunk but the last.
    pub chunk_size: u32,
    /// The chunks that are stored.
    pub stored: BTreeSet<u32>,
    /// Whether a repeated begin finds the session; if not, the client needs its id.
    pub is_found_by_begin: bool,
    /// Class of the legacy record.
    pub class: &'static str,
    prefix: ChunkPrefix,
}

/// A capsule with its members and memories.
#[derive(Clone, Debug)]
pub struct CapsuleContents {
    /// Id of the capsule.
    pub id: String,
    /// All principals on the capsule's access lists.
    pub members: Vec<Principal>,
    /// Ids of the memories in the capsule, each with the id of the memory's blob, if it has one.
    pub memories: Vec<(String, Option<u64>)>,
}

/// Sessions that expire within this many seconds (an hour) are not among the open ones: a rehearsal takes minutes of
/// the canister's time.
const SOON_SECONDS: u64 = 60 * 60;

/// Reads all tables and compares them with one another. Blobs are not hashed.
fn read_and_check(snapshot: &Snapshot) -> Result<(Scan, Facts), InspectError> {
    let (mut scan, _, facts) = read(snapshot)?;
    checks::run(&facts, &mut scan);
    snapshot.stable.failure()?;
    Ok((scan, facts))
}

/// Returns the number of findings of each kind of damage; does not hash blobs.
///
/// # Errors
/// See [`super::run`].
pub fn damage(snapshot: &Snapshot) -> Result<BTreeMap<FindingKind, u64>, InspectError> {
    Ok(read_and_check(snapshot)?.0.findings.damage())
}

/// Reads the facts that a rehearsal needs.
///
/// # Errors
/// See [`super::run`].
pub fn contents(snapshot: &Snapshot) -> Result<Contents, InspectError> {
    let (mut scan, facts) = read_and_check(snapshot)?;
    let damage = scan.findings.damage();
    let count_treated = |treatment: Treatment| {
        let has_treatment = |class: Class| CLASSES[class.index()].treatment == treatment;
        facts.examinations.values().filter(|examined| has_treatment(examined.class)).count() as u64
    };
    let open = open_sessions(&facts, &mut scan);
    Ok(Contents {
        as_of: facts.now.as_nanos(),
        layout: facts.layout.map_or(1, |layout| layout.0),
        unconvertible: count_treated(Treatment::Quarantine),
        expired: count_treated(Treatment::Release),
        legacy_records: facts.legacy_ids.len() as u64,
        open,
        capsules: capsules(&facts),
        damage,
        scan,
    })
}

fn capsules(facts: &Facts) -> Vec<CapsuleContents> {
    let mut memories: BTreeMap<&String, Vec<(String, Option<u64>)>> = BTreeMap::new();
    for (memory_id, memory) in &facts.memories {
        let blob = if let ContentFact::Blob { id, .. } = memory.content { Some(id) } else { None };
        memories.entry(&memory.capsule_id).or_default().push((memory_id.clone(), blob));
    }
    let capsule = |(id, capsule): (&String, &super::facts::CapsuleFact)| CapsuleContents {
        id: id.clone(),
        members: capsule.members.iter().copied().collect(),
        memories: memories.remove(id).unwrap_or_default(),
    };
    facts.capsules.iter().map(capsule).collect()
}

/// Returns the sessions that their owners can continue, in the order of [`Contents::open`].
fn open_sessions(facts: &Facts, scan: &mut Scan) -> Vec<OpenSession> {
    let now_seconds = facts.now.as_nanos() / 1_000_000_000;
    let ttl = facts.config.0.session_ttl_seconds;
    let class_if_open = |id: &u64| {
        let session = facts.sessions.get(id)?;
        let class = facts.examinations.get(id)?.class;
        let class_can_continue = matches!(
            class,
            Class::TimeUnit
                | Class::EmptyKey
                | Class::PendingPartial
                | Class::PendingComplete
                | Class::PendingEmpty
        );
        let idle = now_seconds.saturating_sub(session.last_seen.as_nanos() / 1_000_000_000);
        let is_sha256 =
            facts.payloads.get(id).is_none_or(|state| state.hash.algorithm() == HashAlgorithm::Sha256);
        let may_upload = facts.capsules.get(&session.capsule)?.uploaders.contains(&session.owner);
        let is_unfinished = !session.is_committed && session.blob.is_none();
        let has_no_extra_chunks = session.received.len() <= u64::from(session.chunk_count);
        let expires_soon = idle + SOON_SECONDS >= ttl;
        let can_continue = class_can_continue && is_unfinished && has_no_extra_chunks;
        (can_continue && !expires_soon && is_sha256 && may_upload).then_some(class)
    };
    let open_classes: BTreeMap<u64, Class> =
        facts.examinations.keys().filter_map(|id| Some((*id, class_if_open(id)?))).collect();
    // Two sessions may have the same key. Once both are converted, the key refers to the session that was begun later,
    // so neither counts as found.
    let mut sessions_per_key: BTreeMap<[u8; 32], u32> = BTreeMap::new();
    for session in facts.sessions.values() {
        *sessions_per_key.entry(session.idem_key.0).or_default() += 1;
    }
    let mut by_class: BTreeMap<Class, Vec<OpenSession>> = BTreeMap::new();
    scan.for_each_record(ids::LEGACY_SESSIONS, |id: u64, RawRecord(raw)| {
        let (Some(class), Some(session)) = (open_classes.get(&id), facts.sessions.get(&id)) else { return };
        let Ok(legacy) = LegacyUploadSession::decode(&raw) else { return };
        let age = now_seconds.saturating_sub(legacy.created_at / 1_000_000_000);
        // The creation time of a record of the class `TimeUnit` is in another unit, and says nothing about its age.
        if *class != Class::TimeUnit && age + SOON_SECONDS >= facts.config.0.session_age_seconds() {
            return;
        }
        let key = IdemKey::of(&legacy.capsule_id, &legacy.caller, &legacy.idem);
        let is_found_by_begin = facts.sessions_by_owner.contains(&(session.owner, id))
            && facts.sessions_by_idem.get(&key.0) == Some(&id)
            && sessions_per_key.get(&key.0) == Some(&1);
        by_class.entry(*class).or_default().push(OpenSession {
            id,
            owner: session.owner,
            capsule: session.capsule.clone(),
            metadata: legacy.asset_metadata.into(),
            bytes: session.bytes_expected,
            chunk_size: session.chunk_size,
            stored: session.received.ranges().flat_map(|(first, last)| first..=last).collect(),
            is_found_by_begin,
            class: CLASSES[class.index()].name,
            prefix: ChunkPrefix::of(&legacy.provisional_memory_id, SessionId(id)),
            idem: legacy.idem,
        });
    });
    for sessions in by_class.values_mut() {
        sessions.sort_by_key(|session| std::cmp::Reverse(session.bytes_to_send()));
    }
    let mut open = Vec::new();
    // One session of each class at a time; `pop` takes the last one, which has the fewest bytes to send.
    while by_class.values().any(|sessions| !sessions.is_empty()) {
        open.extend(by_class.values_mut().filter_map(Vec::pop));
    }
    open
}

impl OpenSession {
    /// Returns the number of bytes that have not arrived.
    pub fn bytes_to_send(&self) -> u64 {
        let size = u64::from(self.chunk_size);
        let len_of = |idx: &u32| self.bytes.saturating_sub(u64::from(*idx) * size).min(size);
        self.bytes.saturating_sub(self.stored.iter().map(len_of).sum())
    }
}

impl Contents {
    /// Writes the stored chunks of some sessions into files, each chunk at its offset. The files must exist and have
    /// their full lengths.
    ///
    /// # Errors
    /// If a file cannot be written, or the snapshot cannot be read.
    pub fn write_chunks(
        &mut self,
        snapshot: &Snapshot,
        sessions: &[(&OpenSession, &Path)],
    ) -> Result<(), SnapshotError> {
        let places: BTreeMap<[u8; 32], (&OpenSession, &Path)> =
            sessions.iter().map(|(session, path)| (session.prefix.0, (*session, *path))).collect();
        let mut first_error = None;
        self.scan.for_each_entry(ids::CHUNKS, |(prefix, idx): ([u8; 32], u32), entry, _| {
            let Some((session, path)) = places.get(&prefix) else { return };
            let write = || {
                let mut file = File::options().write(true).open(path)?;
                file.seek(SeekFrom::Start(u64::from(idx) * u64::from(session.chunk_size)))?;
                file.write_all(&entry.value())
            };
            if let Err(error) = write() {
                first_error.get_or_insert_with(|| SnapshotError::io("write", path)(error));
            }
        });
        first_error.map_or(Ok(()), Err)?;
        snapshot.stable.failure()
    }
}

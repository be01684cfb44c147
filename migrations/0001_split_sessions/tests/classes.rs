//! The treatment of legacy records: all combinations of status, key, blob and chunks, and damaged records.

use candid::Principal;

use super::*;
use crate::blob::ChunkPrefix;
use crate::meter::Unmetered;
use crate::migrate::{self, Migration as _, Phase, RunOutcome, Treatment};
use crate::stable::layout::Layout;
use crate::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use crate::upload::tests::{TestCanister, set_share};
use crate::upload::{IdemKey, RawRecord};

const CHUNKS: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Own,
    Shared,
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StoredChunks {
    Nothing,
    Some,
    All,
    TooMany,
}

#[derive(Clone, Copy, Debug)]
struct RecordCase {
    committed: bool,
    key: Key,
    /// Whether the record names a blob.
    blob: bool,
    stored: StoredChunks,
    counts_agree: bool,
}

fn cases() -> Vec<RecordCase> {
    let mut cases = Vec::new();
    for committed in [false, true] {
        for key in [Key::Own, Key::Shared, Key::Empty] {
            for blob in [false, true] {
                for stored in
                    [StoredChunks::Nothing, StoredChunks::Some, StoredChunks::All, StoredChunks::TooMany]
                {
                    for counts_agree in [true, false] {
                        cases.push(RecordCase { committed, key, blob, stored, counts_agree });
                    }
                }
            }
        }
    }
    cases
}

fn expected_class(case: RecordCase) -> Class {
    match case {
        RecordCase { counts_agree: false, .. } => Class::CountsDisagree,
        RecordCase { stored: StoredChunks::TooMany, .. } => Class::ExtraChunks,
        RecordCase { key: Key::Shared, .. } => Class::DuplicateKey,
        RecordCase { key: Key::Empty, .. } => Class::EmptyKey,
        RecordCase { committed: true, blob: false, .. } => Class::CommittedWithoutBlob,
        RecordCase { committed: true, stored: StoredChunks::All, .. } => Class::Committed,
        RecordCase { committed: true, .. } => Class::CommittedIncomplete,
        RecordCase { blob: true, .. } => Class::PendingWithBlob,
        RecordCase { stored: StoredChunks::All, .. } => Class::PendingComplete,
        RecordCase { stored: StoredChunks::Some, .. } => Class::PendingPartial,
        RecordCase { stored: StoredChunks::Nothing, .. } => Class::PendingEmpty,
    }
}

/// Layout 1 as the first public release left it: without indexes and without recorded activity.
struct Layout1 {
    canister: TestCanister,
    next_id: u64,
    /// Id and expected class of each record.
    expected: Vec<(u64, Class)>,
}

impl Layout1 {
    fn new() -> Self {
        let mut canister = TestCanister::direct();
        canister.storage.layout.set(&Layout::LEGACY);
        Self { canister, next_id: 1, expected: Vec::new() }
    }

    /// Returns a sound record with the next id.
    fn record(&self) -> LegacyUploadSession {
        let mut legacy = super::sample();
        legacy.session_id = self.next_id;
        legacy.caller = Principal::self_authenticating(self.next_id.to_be_bytes());
        legacy.created_at = self.canister.now.as_nanos() - 1;
        // The sample has two chunks of this size.
        (legacy.expected_chunks, legacy.chunk_count, legacy.chunk_size) = (CHUNKS, CHUNKS, 20_000_000);
        legacy.provisional_memory_id = format!("mem_{}", self.next_id);
        legacy
    }

    fn add(&mut self, legacy: &LegacyUploadSession, class: Class) -> u64 {
        self.add_raw(legacy.encode(), class)
    }

    fn add_raw(&mut self, raw: Vec<u8>, class: Class) -> u64 {
        let id = self.next_id;
        self.canister.storage.sessions.legacy.insert(id, &RawRecord(raw));
        self.expected.push((id, class));
        self.next_id += 1;
        id
    }

    fn store_chunk(&mut self, legacy: &LegacyUploadSession, idx: u32) {
        let prefix = ChunkPrefix::of(&legacy.provisional_memory_id, SessionId(legacy.session_id));
        self.canister.storage.blobs.write_chunk(prefix, idx, b"chunk");
    }

    fn add_case(&mut self, case: RecordCase) {
        let mut legacy = self.record();
        if case.committed {
            legacy.status = LegacyStatus::Committed { completed_at: 5 };
        }
        match case.key {
            Key::Own => {}
            Key::Shared => {
                legacy.idem = "shared".into();
                legacy.caller = Principal::anonymous();
            }
            Key::Empty => legacy.idem.clear(),
        }
        legacy.blob_id = case.blob.then_some(9);
        legacy.chunk_count = if case.counts_agree { CHUNKS } else { CHUNKS + 1 };
        let stored: &[u32] = match case.stored {
            StoredChunks::Nothing => &[],
            StoredChunks::Some => &[1],
            StoredChunks::All => &[0, 1],
            StoredChunks::TooMany => &[0, 1, 2],
        };
        stored.iter().for_each(|idx| self.store_chunk(&legacy, *idx));
        self.add(&legacy, expected_class(case));
    }

    /// Adds records of the classes that do not depend on key, blob and chunks.
    fn add_dirty(&mut self) {
        self.add_raw(b"rubbish".to_vec(), Class::Undecodable);
        let later = candid::encode_args((2u16, self.record())).unwrap();
        self.add_raw(later, Class::UnknownVersion);
        let mut foreign = self.record();
        foreign.session_id += 1_000;
        self.add(&foreign, Class::ForeignKey);
        let change = |legacy: &mut LegacyUploadSession, class| match class {
            Class::ChunkSize => legacy.chunk_size = 0,
            Class::SizeDisagrees => (legacy.expected_chunks, legacy.chunk_count) = (3, 3),
            Class::Expired => legacy.created_at -= DEFAULT_SESSION_TTL_SECONDS * 1_000_000_000,
            Class::NoTime => legacy.created_at = 0,
            _ => unreachable!(),
        };
        for class in [Class::ChunkSize, Class::SizeDisagrees, Class::Expired, Class::NoTime] {
            let mut legacy = self.record();
            change(&mut legacy, class);
            self.add(&legacy, class);
        }
        for unit in [1_000, 1_000_000, 1_000_000_000] {
            let mut legacy = self.record();
            legacy.created_at /= unit;
            self.add(&legacy, Class::TimeUnit);
        }
    }

    /// Runs the migration until nothing is left to do, and returns its state.
    fn migrate(&mut self) -> migrate::MigrationState {
        set_share(&mut self.canister.storage, 0);
        let ran = migrate::run(&mut self.canister.storage, self.canister.now, &Unmetered, 0);
        assert_eq!(ran, Ok(RunOutcome::Done));
        self.canister.storage.migration.state().unwrap()
    }
}

/// Creates a layout 1 with records of every class. The first record has the idempotency key that others share.
fn all_classes() -> Layout1 {
    let mut layout_1 = Layout1::new();
    let mut first = layout_1.record();
    (first.idem, first.caller) = ("shared".into(), Principal::anonymous());
    layout_1.add(&first, Class::PendingEmpty);
    cases().into_iter().for_each(|case| layout_1.add_case(case));
    layout_1.add_dirty();
    layout_1
}

#[test]
fn every_class_is_met_and_treated_as_declared() {
    let mut layout_1 = all_classes();
    let state = layout_1.migrate();
    assert_eq!(state.phase, Phase::Converted, "{}", state.note);
    assert_eq!(state.digest_before, state.digest_after);
    let storage = &layout_1.canister.storage;
    for (id, class) in &layout_1.expected {
        let [split, quarantined] =
            [storage.sessions.sessions.contains(id), storage.migration.quarantine.contains(1, *id)];
        let treatment = match (split, quarantined) {
            (true, false) => Treatment::Convert,
            (false, true) => Treatment::Quarantine,
            (false, false) => Treatment::Release,
            // Converted, and in quarantine as well.
            (true, true) => panic!("session {id} is in both layouts"),
        };
        assert_eq!(treatment, CLASSES[class.index()].treatment, "session {id}, {class:?}");
        assert!(!storage.sessions.legacy.contains(id));
    }
    // The engine reports exactly the classes that there are, and every class occurs.
    for class in Class::ALL {
        let expected_count = layout_1.expected.iter().filter(|(_, of)| of == class).count() as u64;
        let name = CLASSES[class.index()].name;
        let count = state.classes.iter().find(|(class, _)| class == name).map_or(0, |(_, count)| *count);
        assert_eq!(count, expected_count, "{name}");
        assert!(expected_count > 0 || *class == Class::TrappedAlone, "no record of the class {name}");
    }
}

#[test]
fn a_dry_run_predicts_the_migration_and_writes_nothing() {
    let mut layout_1 = all_classes();
    set_share(&mut layout_1.canister.storage, 0);
    let memory = layout_1.canister.raw.borrow().clone();
    let mut forecast = std::collections::BTreeMap::<String, u64>::new();
    let (mut after, mut pages) = (None, 0);
    loop {
        let message =
            migrate::MessageBudget { now: layout_1.canister.now.into(), meter: &Unmetered, budget: 1 };
        let page = migrate::dry_run(&layout_1.canister.storage, message, after, Some(20)).unwrap();
        assert_eq!(page.units, page.classes.iter().map(|class| class.count).sum::<u64>());
        for class in &page.classes {
            *forecast.entry(class.class.clone()).or_default() += class.count;
            assert_eq!(class.reason.is_empty(), class.treatment != "quarantine", "{class:?}");
            assert!(!class.examples.is_empty());
        }
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, layout_1.expected.len().div_ceil(20));
    assert!(memory == *layout_1.canister.raw.borrow(), "a dry run has written");
    // A dry run indexes no records, so it detects no shared keys; it classifies by status, blob and chunks instead.
    let state = layout_1.migrate();
    for (class, count) in &state.classes {
        let may_differ =
            ["duplicate key", "committed", "committed, chunks missing", "committed without blob"];
        if !may_differ.contains(&class.as_str()) && !class.starts_with("pending") {
            assert_eq!(forecast.get(class), Some(count), "{class}");
        }
    }
}

#[test]
fn a_key_that_leads_to_an_ended_session_is_free() {
    let mut layout_1 = Layout1::new();
    let legacy = layout_1.record();
    let id = layout_1.add(&legacy, Class::PendingEmpty);
    let key = IdemKey::of(&legacy.capsule_id, &legacy.caller, &legacy.idem);
    layout_1.canister.storage.index.insert_key(key, SessionId(id + 1));
    let state = layout_1.migrate();
    assert_eq!(state.classes, [(CLASSES[Class::PendingEmpty.index()].name.to_owned(), 1)]);
    assert_eq!(layout_1.canister.storage.index.find(key), Ok(Some(SessionId(id))));
}

#[test]
fn an_expired_session_leaves_a_receipt_for_as_long_as_others_do() {
    // A session expires after its time to live, and its receipt after the same time again.
    const TTL: u64 = DEFAULT_SESSION_TTL_SECONDS;
    for (idle, nanos_left, expired, receipts) in
        [(TTL, 1, 0, 0), (TTL, 0, 1, 1), (2 * TTL, 1, 1, 1), (2 * TTL, 0, 1, 0)]
    {
        let mut layout_1 = Layout1::new();
        let mut legacy = layout_1.record();
        legacy.created_at = layout_1.canister.now.as_nanos() - idle * 1_000_000_000 + nanos_left;
        layout_1.add(&legacy, if expired == 1 { Class::Expired } else { Class::PendingEmpty });
        let state = layout_1.migrate();
        assert_eq!(
            (state.expired, layout_1.canister.storage.receipts.len()),
            (expired, receipts),
            "{idle} s, {nanos_left} ns"
        );
    }
}

/// The estimate must have the order of magnitude of the measured cost, 0.16 million instructions per session.
#[test]
fn a_dry_run_estimates_what_writing_takes() {
    let mut layout_1 = Layout1::new();
    for _ in 0..3 {
        let legacy = layout_1.record();
        layout_1.add(&legacy, Class::PendingEmpty);
    }
    set_share(&mut layout_1.canister.storage, 0);
    let message = migrate::MessageBudget { now: layout_1.canister.now.into(), meter: &Unmetered, budget: 1 };
    let page = migrate::dry_run(&layout_1.canister.storage, message, None, None).unwrap();
    let per_session = (page.estimated_instructions - page.instructions) / 3;
    assert!((50_000..200_000).contains(&per_session), "{per_session} instructions per session");
}

#[test]
fn the_later_one_of_two_sessions_keeps_the_key() {
    // Session 2 began later; `order` is the order in which the two are converted.
    for order in [[1, 2], [2, 1]] {
        let mut layout_1 = Layout1::new();
        let mut key = None;
        for _ in 0..2 {
            let mut legacy = layout_1.record();
            (legacy.idem, legacy.caller) = ("shared".into(), Principal::anonymous());
            key = Some(IdemKey::of(&legacy.capsule_id, &legacy.caller, &legacy.idem));
            layout_1.add(&legacy, Class::PendingEmpty);
        }
        set_share(&mut layout_1.canister.storage, 0);
        for id in order {
            migrate::touch(&mut layout_1.canister.storage, SessionId(id), None, layout_1.canister.now)
                .unwrap();
        }
        assert_eq!(layout_1.canister.storage.index.find(key.unwrap()), Ok(Some(SessionId(2))), "{order:?}");
        assert_eq!(layout_1.migrate().phase, Phase::Converted);
    }
}

#[test]
fn a_session_that_began_in_another_unit_of_time_has_not_expired() {
    let mut layout_1 = Layout1::new();
    let mut legacy = layout_1.record();
    legacy.created_at /= 1_000_000;
    let id = layout_1.add(&legacy, Class::TimeUnit);
    assert_eq!(layout_1.migrate().converted, 1);
    let session =
        layout_1.canister.storage.sessions.sessions.get(&id).unwrap().unwrap().into_session().unwrap();
    assert_eq!(session.session_meta.last_seen.as_nanos(), legacy.created_at * 1_000_000);
    let meta = layout_1.canister.storage.sessions.metas.get(&id).unwrap().unwrap();
    assert_eq!(meta.created_at, legacy.created_at, "the stored number does not change");
}

#[test]
fn a_quarantined_record_is_retried() {
    let mut layout_1 = Layout1::new();
    let mut legacy = layout_1.record();
    legacy.chunk_count = 7;
    let id = layout_1.add(&legacy, Class::CountsDisagree);
    let other = layout_1.record();
    layout_1.add(&other, Class::PendingEmpty);
    assert_eq!(layout_1.migrate().quarantined, 1);
    // A later build could convert the record; the test repairs it instead.
    legacy.chunk_count = CHUNKS;
    let storage = &mut layout_1.canister.storage;
    let mut state = storage.migration.state().unwrap();
    let broken = storage.migration.quarantine.get(1, id).unwrap().unwrap();
    for digest in [&mut state.digest_before, &mut state.digest_after] {
        digest.remove(LegacyUploadSession::digest_of_stored(&broken.raw));
        digest.add(LegacyUploadSession::digest_of_stored(&legacy.encode()));
    }
    storage.migration.set_state(1, &state);
    let repaired = migrate::QuarantineRecord { raw: legacy.encode(), ..broken };
    storage.migration.quarantine.insert(1, id, &repaired);

    let now = layout_1.canister.now;
    migrate::controls::retry(&mut layout_1.canister.storage, now, Some(99)).unwrap_err();
    migrate::controls::retry(&mut layout_1.canister.storage, now, None).unwrap();
    let state = layout_1.migrate();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 2, 0), "{}", state.note);
    assert!(layout_1.canister.storage.sessions.sessions.contains(&id));
    assert!(layout_1.canister.storage.index.contains(SessionId(id), legacy.caller));
}

#[test]
fn the_readme_lists_every_class_and_every_field() {
    let readme = include_str!("../README.md");
    let rows: Vec<String> = CLASSES
        .iter()
        .map(|class| format!("| {} | {} | {} |", class.name, class.treatment.name(), class.what))
        .collect();
    let table = rows.join("\n");
    assert!(readme.contains(&table), "the table of classes is:\n{table}");
    for (field, _) in super::convert::FIELDS {
        assert!(readme.contains(&format!("| `{field}` |")), "{field}");
    }
}

#[test]
fn every_changed_bit_of_a_converted_record_is_found() {
    let mut layout_1 = Layout1::new();
    let legacy = layout_1.record();
    layout_1.store_chunk(&legacy, 1);
    let raw = legacy.encode();
    let id = layout_1.add(&legacy, Class::PendingPartial);
    assert_eq!(layout_1.migrate().converted, 1);
    let migration = SplitSessions;
    let storage = &mut layout_1.canister.storage;
    assert_eq!(migration.check(storage, id), Ok(None));
    let [session, meta] =
        [storage.sessions.sessions.get_raw(&id).unwrap(), storage.sessions.metas.get_raw(&id).unwrap()];
    let mut unseen = Vec::new();
    for bit in 0..(session.len() + meta.len()) * 8 {
        let mut bytes = [session.clone(), meta.clone()].concat();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (changed_session, changed_meta) = bytes.split_at(session.len());
        storage.sessions.sessions.insert_raw(id, changed_session.to_vec());
        storage.sessions.metas.insert_raw(id, changed_meta.to_vec());
        let found = migration.check(storage, id) != Ok(None)
            || !super::write::read_as_legacy(storage, SessionId(id))
                .is_ok_and(|back| back.digest_if_decoded_from(&raw).is_some());
        if !found {
            unseen.push(bit);
        }
    }
    assert_eq!(unseen, Vec::<usize>::new(), "bits of {} + {} bytes", session.len(), meta.len());
}

#[test]
fn records_with_nan_or_of_another_encoder_are_converted() {
    let mut layout_1 = Layout1::new();
    let mut strange = layout_1.record();
    if let LegacyAssetMetadata::Image(image) = &mut strange.asset_metadata {
        image.compression_ratio = Some(f32::NAN);
    }
    let first = layout_1.add(&strange, Class::PendingEmpty);
    let other = candid::encode_args((1u16, layout_1.record(), 7u64)).unwrap();
    let second = layout_1.add_raw(other, Class::PendingEmpty);
    let state = layout_1.migrate();
    assert_eq!((state.phase, state.converted), (Phase::Converted, 2), "{}", state.note);
    let TestCanister { storage, now, .. } = &mut layout_1.canister;
    migrate::controls::verify(storage, *now).unwrap();
    migrate::run(storage, *now, &Unmetered, 0).unwrap();
    let state = storage.migration.state().unwrap();
    assert_eq!((state.note.as_str(), state.proven_since), ("", Some(now.as_nanos())));
    if crate::build_profile::SERVES_LAYOUT_1 {
        migrate::controls::rollback(storage, *now).unwrap();
        migrate::run(storage, *now, &Unmetered, 0).unwrap();
        assert_eq!(storage.sessions.legacy.get_raw(&first), Some(strange.encode()));
        assert!(storage.sessions.legacy.contains(&second));
    }
}

#[test]
fn only_a_build_that_serves_layout_1_rolls_back() {
    let allowed = migrate::Reversal::allowed(&SplitSessions);
    assert_eq!(allowed.is_ok(), crate::build_profile::SERVES_LAYOUT_1, "{allowed:?}");
}

//! Tests of every finding of `inspect`: each is planted in a sound canister, and found by its kind and
//! memory.

use candid::Principal;
use ic_stable_structures::memory_manager::MemoryId;
use ic_stable_structures::storable::Blob;
use ic_stable_structures::{Memory as _, StableBTreeMap};
use session_migrate::inspect::FindingKind;
use upload_canister::blob::extents::{AllocatorState, Extent};
use upload_canister::blob::{BlobRecord, Extents, Place, Sha256Blob};
use upload_canister::capsule::{CapsuleRecord, MemoryRecord};
use upload_canister::migrate::QuarantineRecord;
use upload_canister::stable::Table;
use upload_canister::stable::keys::{NumberAndText, TwoTexts};
use upload_canister::stable::layout::Layout;
use upload_canister::stable::memory_ids::{self as ids, numbers};
use upload_canister::upload::{PayloadState, RawRecord, Receipt, SessionRecord, UploadMeta};
use upload_model::public_release::PublicRelease;

use super::aged::person;
use super::damaged_canister::{DamagedCanister, expect_finding};
use super::inspection::{inspected, lines};

const LAYOUT_1: Layout = Layout::LEGACY;
const LAYOUT_2: Layout = Layout::SPLIT;
const LAYOUT_3: Layout = Layout::EXTENTS;

#[test]
fn damaged_structures_are_found_with_memory_and_offset() {
    expect_finding(LAYOUT_1, FindingKind::ForeignStructure, numbers::RECEIPTS, |canister| {
        canister.memory(numbers::RECEIPTS).write(0, b"XYZ");
    });
    let node = expect_finding(LAYOUT_1, FindingKind::DamagedStructure, numbers::CHUNKS, |canister| {
        canister.overwrite(numbers::CHUNKS, b"BTN");
    });
    assert!(node.offset.unwrap() > 100, "{node}");
    expect_finding(LAYOUT_2, FindingKind::DamagedStructure, numbers::CHUNKS, |canister| {
        canister.overwrite(numbers::CHUNKS, b"NOF");
    });
    expect_finding(LAYOUT_2, FindingKind::DamagedStructure, numbers::SESSIONS, |canister| {
        canister.memory(numbers::SESSIONS).write(20, &[99]);
    });
    expect_finding(LAYOUT_1, FindingKind::DamagedStructure, numbers::CONFIG, |canister| {
        canister.memory(numbers::CONFIG).write(4, &[0xff; 4]);
    });
    expect_finding(LAYOUT_1, FindingKind::DamagedStructure, numbers::UPLOAD_COUNTS, |canister| {
        canister.memory(numbers::UPLOAD_COUNTS).write(3, &[9]);
    });
    let canister = DamagedCanister::new(LAYOUT_1);
    canister.memory(200).grow(1);
    let report = inspected(&canister.raw.borrow(), false).unwrap();
    assert!(lines(&report).iter().any(|line| line.contains("memory id 200")), "{:?}", lines(&report));
    let header = DamagedCanister::new(LAYOUT_1);
    header.raw.write(6, &[0, 0]);
    let error = inspected(&header.raw.borrow(), false).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("offset 6"), "{error}");
}

#[test]
fn records_that_do_not_decode_are_found_with_their_keys() {
    let rubbish = || RawRecord(b"rubbish".to_vec());
    let tables: [(Layout, MemoryId, u8); 9] = [
        (LAYOUT_1, ids::LEGACY_SESSIONS, numbers::LEGACY_SESSIONS),
        (LAYOUT_2, ids::SESSIONS, numbers::SESSIONS),
        (LAYOUT_2, ids::UPLOAD_META, numbers::UPLOAD_META),
        (LAYOUT_1, ids::RECEIPTS, numbers::RECEIPTS),
        (LAYOUT_1, ids::BLOB_META, numbers::BLOB_META),
        (LAYOUT_3, ids::BLOBS, numbers::BLOBS),
        (LAYOUT_2, ids::MIGRATION_JOURNAL, numbers::MIGRATION_JOURNAL),
        (LAYOUT_2, ids::MIGRATION_QUARANTINE, numbers::MIGRATION_QUARANTINE),
        (LAYOUT_3, ids::PAYLOAD_STATES, numbers::PAYLOAD_STATES),
    ];
    for (layout, id, number) in tables {
        let mut key = 0;
        let found = expect_finding(layout, FindingKind::DamagedRecord, number, |canister| {
            let mut table: Table<u64, RawRecord> = canister.table(id);
            key = table.keys(..).next().unwrap();
            table.insert(key, &rubbish());
        });
        assert_eq!(found.key, Some(key.to_string()), "{found}");
    }
    for (id, number) in [(ids::CAPSULES, numbers::CAPSULES), (ids::MEMORIES, numbers::MEMORIES)] {
        expect_finding(LAYOUT_2, FindingKind::DamagedRecord, number, |canister| {
            let mut table: Table<String, RawRecord> = canister.table(id);
            let key = table.keys(..).next().unwrap();
            table.insert(key, &rubbish());
        });
    }
    for (id, number) in [(ids::CONFIG, numbers::CONFIG), (ids::MIGRATION_STATE, numbers::MIGRATION_STATE)] {
        expect_finding(LAYOUT_2, FindingKind::DamagedRecord, number, |canister| {
            canister.register(id).set(&rubbish())
        });
    }
    let later = expect_finding(LAYOUT_1, FindingKind::DamagedRecord, numbers::LEGACY_SESSIONS, |canister| {
        let raw = candid::encode_args((2_u16, "later")).unwrap();
        canister.table(ids::LEGACY_SESSIONS).insert(u64::from(u32::MAX), &RawRecord(raw));
    });
    assert!(later.what.contains("record version 2"), "{later}");
}

/// Inserts a record that does not decode after the last entry of each table; `inspect` must name memory and key.
#[track_caller]
fn expect_finding_of_last<K>(layout: Layout, tables: &[u8], key: K)
where
    K: upload_canister::stable::Key,
{
    for id in tables {
        let shown = key.shown();
        let found = expect_finding(layout, FindingKind::DamagedRecord, *id, |canister| {
            let mut table: Table<K, RawRecord> = Table::over(canister.memory(*id));
            assert!(table.last_key().is_none_or(|last| last < key), "{id}: the last key is not {shown}");
            table.insert(key.clone(), &RawRecord(vec![0xff; 7]));
        });
        assert_eq!(found.key, Some(shown), "{found}");
    }
}

#[test]
fn a_wrong_last_record_of_any_table_is_found_by_its_key() {
    use numbers as n;
    let last = Principal::from_slice(&[0xff; 29]);
    let text = || "\u{10ffff}".to_owned();
    expect_finding_of_last(
        LAYOUT_1,
        &[n::LEGACY_SESSIONS, n::LEGACY_ACTIVITY, n::BLOB_META, n::RECEIPTS],
        u64::MAX,
    );
    expect_finding_of_last(
        LAYOUT_2,
        &[n::SESSIONS, n::UPLOAD_META, n::MIGRATION_QUARANTINE, n::MAPPED_BLOBS],
        u64::MAX,
    );
    expect_finding_of_last(LAYOUT_3, &[n::PAYLOAD_STATES, n::FREE_EXTENTS, n::BLOBS, n::DOWNLOADS], u64::MAX);
    expect_finding_of_last(LAYOUT_2, &[n::MIGRATION_JOURNAL], u64::MAX);
    expect_finding_of_last(LAYOUT_1, &[n::SESSION_BY_ACTIVITY, n::RECEIPT_BY_EXPIRY], (u64::MAX, u64::MAX));
    expect_finding_of_last(LAYOUT_3, &[n::FREE_EXTENTS_BY_LEN], (u64::MAX, u64::MAX));
    expect_finding_of_last(
        LAYOUT_1,
        &[n::SESSION_BY_IDEM, n::RELEASED_CHUNKS, n::MEMORY_BY_IDEM],
        [0xff; 32],
    );
    expect_finding_of_last(LAYOUT_1, &[n::SESSION_BY_OWNER], (last, u64::MAX));
    expect_finding_of_last(LAYOUT_1, &[n::CAPSULES, n::MEMORIES, n::CONDEMNED_CAPSULES], text());
    expect_finding_of_last(
        LAYOUT_1,
        &[n::MEMORY_BY_CAPSULE, n::USAGE, n::BLOB_BY_CONTENT],
        TwoTexts(text(), text()),
    );
    expect_finding_of_last(LAYOUT_1, &[n::BLOB_REFS], NumberAndText(u64::MAX, text()));
    expect_finding_of_last(
        LAYOUT_1,
        &[n::CAPSULE_BY_MEMBER],
        (last, Blob::<32>::try_from([0xff_u8; 32].as_slice()).unwrap()),
    );
    expect_finding_of_last(LAYOUT_2, &[n::MIGRATION_STATES], u16::MAX);
    expect_finding_of_last(LAYOUT_2, &[n::MIGRATION_QUARANTINES], (u16::MAX, u64::MAX));
    expect_finding_of_last(LAYOUT_1, &[n::CAPSULES_BY_CREATOR], last);
}

#[test]
fn the_memory_of_another_canister_is_named() {
    // To the builds, a snapshot of the first public release is the memory of another canister.
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), 1_759_000_000_000_000_000);
    let (_, blob) = release.upload(&capsule, 1, b"a file", 1_759_000_000_000_000_001);
    release.put(3, b"half of another");
    let whole = release.stable_memory();
    release.put(1, b"not it");
    let cases = [
        (whole, "1 capsules with 1 memories".to_owned()),
        (release.stable_memory(), format!("damaged: blob_{blob}: 6 bytes with the SHA-256 ")),
        (release.after_pre_upgrade(), "stable_save".to_owned()),
    ];
    for (stable, expected) in cases {
        let error = inspected(&stable, false).unwrap_err();
        let text = error.to_string();
        assert!(
            !error.is_damage() && text.contains("docs/adopting.md") && text.contains(&expected),
            "{text}"
        );
        // What `pre_upgrade` leaves does not show the sessions.
        assert!(expected.contains("save") || text.contains("(sessions 3)"), "{text}");
    }
    let foreign =
        expect_finding(LAYOUT_1, FindingKind::DamagedStructure, numbers::CONDEMNED_CAPSULES, |canister| {
            let memory = canister.memory(numbers::CONDEMNED_CAPSULES);
            memory.write(0, &[0; 3]);
            let mut foreign_map = StableBTreeMap::<u64, u64, _>::init(memory);
            foreign_map.insert(1, 1);
        });
    assert!(foreign.what.contains("keys and values with bounds"), "{foreign}");
}

#[test]
fn sessions_that_contradict_themselves_are_found() {
    expect_finding(LAYOUT_2, FindingKind::HalfSession, numbers::SESSIONS, |canister| {
        canister.remove_first::<u64>(ids::UPLOAD_META);
    });
    expect_finding(LAYOUT_2, FindingKind::HalfSession, numbers::UPLOAD_META, |canister| {
        canister.remove_first::<u64>(ids::SESSIONS);
    });
    expect_finding(LAYOUT_2, FindingKind::SessionInBothLayouts, numbers::SESSIONS, |canister| {
        let (id, _) = canister.first::<u64, SessionRecord>(ids::SESSIONS, |_, _| true);
        canister.table(ids::LEGACY_SESSIONS).insert(id, &RawRecord(vec![1]));
    });
    expect_finding(LAYOUT_2, FindingKind::IdAboveCounter, numbers::SESSIONS, |canister| {
        canister.register::<u64>(ids::SESSION_COUNTER).set(&1);
    });
    // The sound canister has such sessions already.
    expect_finding(LAYOUT_1, FindingKind::Unconvertible, numbers::LEGACY_SESSIONS, |_| {});
    expect_finding(LAYOUT_2, FindingKind::Quarantined, numbers::MIGRATION_QUARANTINE, |_| {});
    expect_finding(LAYOUT_1, FindingKind::CountDisagrees, numbers::LEGACY_LEFT_BEHIND, |canister| {
        let mark = upload_canister::upload::Leftovers { through: 1, records: 77, notes: 0 };
        canister.register(ids::LEGACY_LEFT_BEHIND).set(&mark);
    });
}

#[test]
fn dangling_index_entries_are_found() {
    /// The id of no session, blob or receipt.
    const NOBODY: u64 = 1 << 40;
    let expect = |kind, memory, layout, damage: &dyn Fn(&DamagedCanister)| {
        expect_finding(layout, kind, memory, damage);
    };
    let nowhere = FindingKind::IndexToNowhere;
    expect(nowhere, numbers::SESSION_BY_IDEM, LAYOUT_1, &|canister| {
        canister.table(ids::SESSION_BY_IDEM).insert([7_u8; 32], &NOBODY);
    });
    expect(nowhere, numbers::SESSION_BY_ACTIVITY, LAYOUT_2, &|canister| {
        canister.table(ids::SESSION_BY_ACTIVITY).insert((5_u64, NOBODY), &());
    });
    expect(nowhere, numbers::SESSION_BY_OWNER, LAYOUT_2, &|canister| {
        canister.table(ids::SESSION_BY_OWNER).insert((person(1), NOBODY), &());
    });
    expect(nowhere, numbers::RECEIPT_BY_EXPIRY, LAYOUT_1, &|canister| {
        canister.table(ids::RECEIPT_BY_EXPIRY).insert((5_u64, NOBODY), &());
    });
    expect(nowhere, numbers::PAYLOAD_STATES, LAYOUT_2, &|canister| {
        canister.table(ids::PAYLOAD_STATES).insert(NOBODY, &PayloadState::default());
    });
    expect(nowhere, numbers::LEGACY_ACTIVITY, LAYOUT_1, &|canister| {
        canister.table(ids::LEGACY_ACTIVITY).insert(NOBODY, &5_u64);
    });
    expect(nowhere, numbers::BLOB_REFS, LAYOUT_3, &|canister| {
        canister.table(ids::BLOB_REFS).insert(NumberAndText(NOBODY, "mem".into()), &"capsule".to_owned());
    });
    expect(nowhere, numbers::BLOB_BY_CONTENT, LAYOUT_2, &|canister| {
        canister.table(ids::BLOB_BY_CONTENT).insert(TwoTexts("capsule_1".into(), "00".into()), &NOBODY);
    });
    expect(nowhere, numbers::MEMORY_BY_CAPSULE, LAYOUT_1, &|canister| {
        canister.table(ids::MEMORY_BY_CAPSULE).insert(TwoTexts("capsule_1".into(), "mem".into()), &());
    });
    expect(nowhere, numbers::CAPSULE_BY_MEMBER, LAYOUT_1, &|canister| {
        let capsule: Blob<32> = Blob::try_from(b"capsule_9999".as_slice()).unwrap();
        canister.table(ids::CAPSULE_BY_MEMBER).insert((person(1), capsule), &());
    });
    expect(nowhere, numbers::MEMORY_BY_IDEM, LAYOUT_2, &|canister| {
        canister.table(ids::MEMORY_BY_IDEM).insert([7_u8; 32], &"mem".to_owned());
    });
}

#[test]
fn missing_index_entries_are_found() {
    let missing = FindingKind::MissingInIndex;
    expect_finding(LAYOUT_2, missing, numbers::SESSION_BY_ACTIVITY, |canister| {
        canister.remove_first::<(u64, u64)>(ids::SESSION_BY_ACTIVITY);
    });
    expect_finding(LAYOUT_2, missing, numbers::SESSION_BY_OWNER, |canister| {
        let live: Vec<u64> = canister.table::<u64, RawRecord>(ids::SESSIONS).keys(..).collect();
        let mut owners: Table<(Principal, u64), ()> = canister.table(ids::SESSION_BY_OWNER);
        let key = owners.keys(..).find(|(_, id)| live.contains(id)).unwrap();
        owners.remove(&key);
    });
    expect_finding(LAYOUT_1, FindingKind::MissingIdempotencyKey, numbers::SESSION_BY_IDEM, |canister| {
        let live: Vec<u64> = canister.table::<u64, RawRecord>(ids::LEGACY_SESSIONS).keys(..).collect();
        let (key, _) = canister.first::<[u8; 32], u64>(ids::SESSION_BY_IDEM, |_, id| live.contains(id));
        canister.table::<[u8; 32], u64>(ids::SESSION_BY_IDEM).remove(&key);
    });
    expect_finding(LAYOUT_1, missing, numbers::RECEIPT_BY_EXPIRY, |canister| {
        canister.remove_first::<(u64, u64)>(ids::RECEIPT_BY_EXPIRY);
    });
    expect_finding(LAYOUT_2, missing, numbers::BLOB_REFS, |canister| {
        canister.remove_first::<NumberAndText>(ids::BLOB_REFS);
    });
    expect_finding(LAYOUT_2, missing, numbers::BLOB_BY_CONTENT, |canister| {
        canister.remove_first::<TwoTexts>(ids::BLOB_BY_CONTENT);
    });
    expect_finding(LAYOUT_3, missing, numbers::MEMORY_BY_CAPSULE, |canister| {
        canister.remove_first::<TwoTexts>(ids::MEMORY_BY_CAPSULE);
    });
    expect_finding(LAYOUT_1, missing, numbers::CAPSULE_BY_MEMBER, |canister| {
        canister.remove_first::<(Principal, Blob<32>)>(ids::CAPSULE_BY_MEMBER);
    });
    expect_finding(LAYOUT_2, missing, numbers::MEMORY_BY_IDEM, |canister| {
        canister.remove_first::<[u8; 32]>(ids::MEMORY_BY_IDEM);
    });
}

/// Returns a chunk of the chunk map that belongs to a committed blob.
fn chunk_of_a_blob(canister: &DamagedCanister) -> ([u8; 32], u32) {
    let (_, blob) = canister.first::<u64, Sha256Blob>(ids::BLOB_META, |_, blob| blob.size > 0);
    (blob.prefix.0, 0)
}

/// Returns a chunk of the chunk map that belongs to a session of layout 2.
fn chunk_of_a_session(canister: &DamagedCanister) -> ([u8; 32], u32) {
    let chunks: Table<([u8; 32], u32), RawRecord> = canister.table(ids::CHUNKS);
    let metas: Table<u64, UploadMeta> = canister.table(ids::UPLOAD_META);
    let blobs: Vec<[u8; 32]> = {
        let table: Table<u64, Sha256Blob> = canister.table(ids::BLOB_META);
        table.range(..).map(|blob| blob.unwrap().1.prefix.0).collect()
    };
    let prefixes = metas.range(..).map(Result::unwrap).map(|(id, meta)| {
        let id = upload_canister::session::SessionId(id);
        upload_canister::blob::ChunkPrefix::of(&meta.provisional_memory_id, id).0
    });
    let stored = |prefix: &[u8; 32]| !blobs.contains(prefix) && chunks.contains(&(*prefix, 0));
    (prefixes.into_iter().find(stored).unwrap(), 0)
}

#[test]
fn lost_and_orphaned_payload_is_found() {
    expect_finding(LAYOUT_1, FindingKind::OrphanChunks, numbers::CHUNKS, |canister| {
        // If every record is readable, chunks without an owner are orphans.
        canister.table(ids::CHUNKS).insert(([7_u8; 32], 0_u32), &RawRecord(vec![1; 10]));
    });
    expect_finding(LAYOUT_1, FindingKind::UnattributedChunks, numbers::CHUNKS, |canister| {
        canister.table(ids::LEGACY_SESSIONS).insert(u64::from(u32::MAX), &RawRecord(vec![1]));
        canister.table(ids::CHUNKS).insert(([7_u8; 32], 0_u32), &RawRecord(vec![1; 10]));
    });
    expect_finding(LAYOUT_2, FindingKind::MissingChunk, numbers::CHUNKS, |canister| {
        canister.table::<_, RawRecord>(ids::CHUNKS).remove(&chunk_of_a_blob(canister));
    });
    expect_finding(LAYOUT_2, FindingKind::MissingChunk, numbers::CHUNKS, |canister| {
        canister.table::<_, RawRecord>(ids::CHUNKS).remove(&chunk_of_a_session(canister));
    });
    expect_finding(LAYOUT_2, FindingKind::StrayChunk, numbers::CHUNKS, |canister| {
        let (prefix, _) = chunk_of_a_session(canister);
        canister.table(ids::CHUNKS).insert((prefix, 99_u32), &RawRecord(vec![1]));
    });
    expect_finding(LAYOUT_2, FindingKind::ChunkLength, numbers::CHUNKS, |canister| {
        canister.table(ids::CHUNKS).insert(chunk_of_a_session(canister), &RawRecord(vec![1; 3]));
    });
    expect_finding(LAYOUT_2, FindingKind::IndexedBlobUnreferenced, numbers::BLOB_META, |canister| {
        let mut refs: Table<NumberAndText, String> = canister.table(ids::BLOB_REFS);
        let all: Vec<NumberAndText> = refs.keys(..).collect();
        let blobs: Table<u64, RawRecord> = canister.table(ids::BLOB_META);
        let alone = |key: &&NumberAndText| {
            blobs.contains(&key.0) && all.iter().filter(|other| other.0 == key.0).count() == 1
        };
        let key = all.iter().find(alone).unwrap();
        refs.remove(key);
    });
    expect_finding(LAYOUT_1, FindingKind::UnindexedBlobUnreferenced, numbers::BLOB_META, |canister| {
        let (id, blob) = canister.first::<u64, Sha256Blob>(ids::BLOB_META, |_, _| true);
        canister.table(ids::BLOB_META).insert(id ^ 1, &blob);
    });
    expect_finding(LAYOUT_3, FindingKind::MemoryWithoutBlob, numbers::MEMORIES, |canister| {
        canister.remove_first::<u64>(ids::BLOBS);
    });
    let digest = expect_finding(LAYOUT_1, FindingKind::BlobDigest, numbers::BLOB_META, |canister| {
        let key = chunk_of_a_blob(canister);
        let mut chunks: Table<([u8; 32], u32), RawRecord> = canister.table(ids::CHUNKS);
        let RawRecord(mut bytes) = chunks.get(&key).unwrap().unwrap();
        bytes[0] ^= 1;
        chunks.insert(key, &RawRecord(bytes));
    });
    assert!(digest.key.is_some());
    expect_finding(LAYOUT_3, FindingKind::BlobDigest, numbers::BLOBS, |canister| {
        let at = extent_of_a_blob(canister).1.offset + 4096;
        let region = canister.memory(numbers::EXTENT_REGION);
        let mut byte = [0];
        region.read(at, &mut byte);
        region.write(at, &[byte[0] ^ 1]);
    });
}

fn extent_of_a_blob(canister: &DamagedCanister) -> (u64, Extent, BlobRecord) {
    let (id, blob) = canister.first::<u64, BlobRecord>(ids::BLOBS, |_, blob| blob.size > 0);
    let Place::Extents(extents) = &blob.place else { panic!("{blob:?}") };
    let first = *extents.iter().next().unwrap();
    (id, first, blob)
}

#[test]
fn extents_with_no_owner_or_two_are_found() {
    let lost =
        expect_finding(LAYOUT_3, FindingKind::ExtentWithoutOwner, numbers::EXTENT_REGION, |canister| {
            let (id, ..) = extent_of_a_blob(canister);
            canister.table::<u64, RawRecord>(ids::BLOBS).remove(&id);
        });
    assert!(lost.offset.is_some(), "{lost}");
    let two = expect_finding(LAYOUT_3, FindingKind::ExtentsOverlap, numbers::EXTENT_REGION, |canister| {
        let (id, _, blob) = extent_of_a_blob(canister);
        canister.table(ids::BLOBS).insert(id ^ 1, &blob);
    });
    assert!(two.what.matches("blob_").count() == 2, "{two}");
    expect_finding(LAYOUT_3, FindingKind::ExtentsOverlap, numbers::EXTENT_REGION, |canister| {
        let (_, extent, _) = extent_of_a_blob(canister);
        canister.table(ids::FREE_EXTENTS).insert(extent.offset, &extent.len);
    });
    expect_finding(LAYOUT_3, FindingKind::ExtentOutOfBounds, numbers::EXTENT_REGION, |canister| {
        let (id, _, blob) = extent_of_a_blob(canister);
        let far: Extents = [Extent { offset: 1 << 39, len: blob.size }].into_iter().collect();
        let blob = BlobRecord { place: Place::Extents(far), ..blob };
        canister.table(ids::BLOBS).insert(id, &blob);
    });
    expect_finding(LAYOUT_3, FindingKind::ExtentOutOfBounds, numbers::BLOBS, |canister| {
        let (id, _, blob) = extent_of_a_blob(canister);
        let blob = BlobRecord { size: blob.size + (1 << 20), ..blob };
        canister.table(ids::BLOBS).insert(id, &blob);
    });
    expect_finding(LAYOUT_3, FindingKind::FreeExtentsDisagree, numbers::EXTENT_STATE, |canister| {
        let state = canister.register::<AllocatorState>(ids::EXTENT_STATE).get().unwrap().unwrap();
        let state = AllocatorState { taken: state.taken + 64, ..state };
        canister.register(ids::EXTENT_STATE).set(&state);
    });
    expect_finding(LAYOUT_3, FindingKind::FreeExtentsDisagree, numbers::FREE_EXTENTS_BY_LEN, |canister| {
        canister.table(ids::FREE_EXTENTS_BY_LEN).insert((640_u64, 3_u64), &());
    });
}

#[test]
fn accounts_and_counts_that_are_wrong_are_found() {
    for kind in ["caller", "capsule", "canister"] {
        expect_finding(LAYOUT_2, FindingKind::AccountDisagrees, numbers::USAGE, |canister| {
            let (key, bytes) = canister.first::<TwoTexts, u64>(ids::USAGE, |key, _| key.0 == kind);
            canister.table(ids::USAGE).insert(key, &(bytes - 1));
        });
    }
    expect_finding(LAYOUT_1, FindingKind::AccountUnattributed, numbers::USAGE, |canister| {
        canister.table(ids::LEGACY_SESSIONS).insert(u64::from(u32::MAX), &RawRecord(vec![1]));
        let (key, bytes) = canister.first::<TwoTexts, u64>(ids::USAGE, |_, _| true);
        canister.table(ids::USAGE).insert(key, &(bytes + 1));
    });
    expect_finding(LAYOUT_1, FindingKind::AccountDisagrees, numbers::UPLOAD_COUNTS, |canister| {
        // A byte of the sum of promises: it is number 4096 after a header of 64 bytes.
        canister.memory(numbers::UPLOAD_COUNTS).write(64 + 8 * 4096 + 4, &[1]);
    });
    expect_finding(LAYOUT_1, FindingKind::CountDisagrees, numbers::CAPSULES, |canister| {
        let (id, capsule) = canister.first::<String, CapsuleRecord>(ids::CAPSULES, |_, _| true);
        let capsule = CapsuleRecord { memory_count: capsule.memory_count + 1, ..capsule };
        canister.table(ids::CAPSULES).insert(id, &capsule);
    });
    expect_finding(LAYOUT_1, FindingKind::CountDisagrees, numbers::CAPSULES_BY_CREATOR, |canister| {
        canister.table(ids::CAPSULES_BY_CREATOR).insert(person(99), &3_u64);
    });
    expect_finding(LAYOUT_2, FindingKind::MemoryWithoutCapsule, numbers::MEMORIES, |canister| {
        let (_, memory) = canister.first::<String, MemoryRecord>(ids::MEMORIES, |_, _| true);
        canister.table::<String, RawRecord>(ids::CAPSULES).remove(&memory.capsule_id);
    });
    expect_finding(LAYOUT_2, FindingKind::JournalBroken, numbers::MIGRATION_JOURNAL, |canister| {
        canister.remove_first::<u64>(ids::MIGRATION_JOURNAL);
    });
    expect_finding(LAYOUT_2, FindingKind::CountDisagrees, numbers::MIGRATION_STATE, |canister| {
        let mut register =
            canister.register::<upload_canister::migrate::MigrationState>(ids::MIGRATION_STATE);
        let mut state = register.get().unwrap().unwrap();
        state.converted += 1;
        register.set(&state);
    });
    expect_finding(LAYOUT_2, FindingKind::NearlyFull, numbers::CONFIG, |canister| {
        let mut settings = canister.register::<upload_canister::config::Config>(ids::CONFIG);
        let config = settings.get().unwrap().unwrap_or_default().effective();
        let config = upload_canister::api::AdminConfig { max_bytes: 1, ..config };
        settings.set(&upload_canister::config::Config::checked(config).unwrap());
    });
}

#[test]
fn every_kind_of_finding_is_planted_here() {
    let here = include_str!("findings.rs");
    // `UnknownMemory` is planted without `expect_finding`.
    let without: Vec<&str> = FindingKind::ALL
        .iter()
        .filter(|kind| **kind != FindingKind::UnknownMemory && !here.contains(&format!("Kind::{kind:?},")))
        .map(|kind| kind.name())
        .collect();
    // These two kinds are used under a shorter name.
    let used = ["index_to_nowhere", "missing_in_index"];
    assert_eq!(without, used, "kinds of findings that no test plants");
}

/// No test plants quarantined sessions and receipts, so the sound canister must have some.
#[test]
fn the_sound_canister_has_quarantined_sessions_and_receipts() {
    let canister = DamagedCanister::new(LAYOUT_2);
    let quarantined: Table<u64, QuarantineRecord> = canister.table(ids::MIGRATION_QUARANTINE);
    assert!(quarantined.len() >= 4, "{}", quarantined.len());
    let receipts: Table<u64, Receipt> = canister.table(ids::RECEIPTS);
    assert!(!receipts.is_empty());
}

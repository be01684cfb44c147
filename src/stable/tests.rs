//! Tests of the preflight on foreign and damaged memory, of the layout header, of codecs, tables and counters, and of
//! structures that are created when they are needed.

use ic_stable_structures::Memory as _;
use ic_stable_structures::StableBTreeMap;
use ic_stable_structures::memory_manager::MemoryId;

use super::preflight::{PreflightError, open_existing};
use super::*;
use crate::migrate::open_storage;
use crate::stable::layout::Layout;
use crate::storage::{OpenError, Storage};

fn bytes_of(memory: &RawMemory) -> Vec<u8> {
    let mut bytes = vec![0; (memory.size() * 65_536) as usize];
    memory.read(0, &mut bytes);
    bytes
}

/// Returns the error with which the memory is refused; panics if it is accepted or changed.
fn refusal_of(memory: &RawMemory) -> OpenError {
    let before = bytes_of(memory);
    let error = open_storage(memory.clone()).err().expect("the memory is refused");
    assert!(bytes_of(memory) == before, "a refused memory is left unchanged");
    error
}

#[test]
fn memory_without_a_manager_is_refused() {
    let memory = RawMemory::default();
    assert!(matches!(open_existing(memory.clone()), Err(PreflightError::Empty)));
    memory.grow(1);
    memory.write(0, b"DIDL rest of a stable_save");
    let error = refusal_of(&memory).to_string();
    assert!(error.contains("stable_save"), "{error}");
    memory.write(0, b"\0\0\0\0");
    assert!(matches!(refusal_of(&memory), OpenError::Preflight(PreflightError::NotAMemoryManager { .. })));
    memory.write(0, b"MGR\x02");
    assert!(refusal_of(&memory).to_string().contains("version 1"));
}

#[test]
fn a_foreign_structure_under_a_known_id_is_refused_by_name() {
    let memory = RawMemory::default();
    let memories = Memories::init(memory.clone());
    memories.get(memory_ids::LEGACY_SESSIONS).grow(1);
    memories.get(memory_ids::LEGACY_SESSIONS).write(0, b"XYZ");
    let error = refusal_of(&memory).to_string();
    assert!(error.contains("memory id 3 (LEGACY_SESSIONS)") && error.contains("\"BTR\""), "{error}");
}

#[test]
fn a_header_that_contradicts_itself_is_refused_with_the_place() {
    let healthy = || {
        let memory = RawMemory::default();
        drop(Storage::create_in(memory.clone(), Layout::LEGACY).unwrap());
        memory
    };
    assert!(open_storage(healthy()).is_ok());
    // Number of buckets; pages of a bucket; size of memory 3; owner of the first bucket, which memory 0 then lacks.
    let cases: [(u64, &[u8], &str); 4] = [
        (4, &[0xff, 0x7f], "at offset 4"),
        (6, &[0, 0], "at offset 6"),
        (40 + 3 * 8, &[0xff, 0xff], "at offset 64"),
        (2_080, &[3], "at offset 40"),
    ];
    for (offset, bytes, place) in cases {
        let memory = healthy();
        memory.write(offset, bytes);
        let error = refusal_of(&memory).to_string();
        assert!(error.contains(place) && error.contains("restore a snapshot"), "{error}");
    }
}

/// The list of owners is compared in blocks of eight; a difference is found wherever it is in a block.
#[test]
fn buckets_have_owners_exactly_up_to_their_count() {
    let refused_with = |offset: u64, bytes: &[u8]| {
        let memory = RawMemory::default();
        drop(Storage::create(memory.clone()).unwrap());
        memory.write(offset, bytes);
        refusal_of(&memory).to_string()
    };
    // Without an owner although they are allocated: one bucket, a block of eight, all buckets.
    for (offset, len) in [(2_085, 1), (2_088, 8), (2_080, 4_096)] {
        let error = refused_with(offset, &vec![0xff; len]);
        assert!(error.contains(&format!("at offset {offset}")), "{len}: {error}");
    }
    // With an owner although they are not allocated: two buckets, at the same place of two blocks.
    for offset in [2_080 + 4_000, 2_080 + 20_000] {
        let error = refused_with(offset, &[3, 255, 255, 255, 255, 255, 255, 255, 3]);
        assert!(error.contains(&format!("at offset {offset}")), "{error}");
    }
}

#[test]
fn memory_of_a_second_manager_is_refused_by_its_id() {
    for id in [42, 200] {
        let memory = RawMemory::default();
        drop(Storage::create(memory.clone()).unwrap());
        Memories::init(memory.clone()).get(MemoryId::new(id)).grow(1);
        let error = refusal_of(&memory).to_string();
        assert!(
            error.contains(&format!("memory id {id}")) && error.contains("second memory manager"),
            "{error}"
        );
    }
}

#[test]
fn sessions_of_layout_1_without_a_header_are_layout_1() {
    let golden = include_bytes!("../../migrations/0001_split_sessions/golden/upload_session_meta.bin");
    let with_session = |record: &[u8]| {
        let memory = RawMemory::default();
        let memories = Memories::init(memory.clone());
        StableBTreeMap::<u64, Vec<u8>, _>::init(memories.get(memory_ids::LEGACY_SESSIONS))
            .insert(7, record.to_vec());
        memory
    };
    let storage = open_storage(with_session(golden)).unwrap();
    assert_eq!(storage.layout.get(), Ok(Some(Layout::LEGACY)));
    assert_eq!(storage.sessions.legacy.len(), 1, "the stored session is kept");
    let error = refusal_of(&with_session(b"another's")).to_string();
    assert!(error.contains("memory id 3 (LEGACY_SESSIONS)") && error.contains("under 7"), "{error}");
}

#[test]
fn a_layout_that_no_build_knows_is_refused() {
    let memory = RawMemory::default();
    Storage::create(memory.clone()).unwrap().layout.set(&Layout(9));
    let error = refusal_of(&memory).to_string();
    assert!(error.contains("layout 9") && error.contains("this layout cannot be rolled back"), "{error}");
}

/// Of layouts 2 and 3, only layout 2 can be rolled back.
#[test]
fn the_advice_for_a_refused_layout_works() {
    for (layout, accepted, advice) in [
        (Layout::SPLIT, [Layout::LEGACY], "roll the migration back on the staged build first"),
        (Layout::EXTENTS, [Layout::SPLIT], "this layout cannot be rolled back"),
    ] {
        let memory = RawMemory::default();
        Storage::create(memory.clone()).unwrap().layout.set(&layout);
        let refused =
            Storage::open_accepting(memory, &accepted).err().expect("the layout is refused").to_string();
        assert!(refused.contains(advice), "{refused}");
    }
}

#[test]
fn a_layout_header_round_trips_and_a_foreign_one_is_named() {
    assert_eq!(Layout::decode(&Layout::SPLIT.encode()), Ok(Layout::SPLIT));
    assert!(Layout::decode(b"XYZ\x01\0\x01").unwrap_err().contains("UPL"));
    assert!(Layout::decode(b"UPL\x02\0\x01").unwrap_err().contains("version 2"));
}

#[test]
fn a_damaged_record_is_an_error_with_its_key_and_not_a_default() {
    let memories = Memories::init(RawMemory::default());
    let mut numbers = Table::<u64, String>::open(&memories, memory_ids::SESSIONS);
    numbers.insert(7, &"seven".to_owned());
    drop(numbers);
    let damaged = Table::<u64, u64>::open(&memories, memory_ids::SESSIONS);
    let error = damaged.get(&7).unwrap_err();
    assert_eq!((error.name, error.key.as_str()), ("number", "7"));
    assert!(damaged.range(..).next().unwrap().is_err());
    assert_eq!(damaged.get(&8), Ok(None));
}

/// Of [`Ids`] without a canister version.
#[test]
fn a_counter_counts_from_one_and_survives_reopening() {
    let memories = Memories::init(RawMemory::default());
    let open = || Ids::open(&memories, memory_ids::SESSION_COUNTER);
    assert_eq!((open().issue(), open().issue()), (Ok(1), Ok(2)));
    open().continue_after(u64::MAX);
    assert!(open().issue().unwrap_err().reason.contains("no number is left"));
}

#[test]
fn bytes_after_a_record_and_other_versions_are_refused() {
    let bytes = codec::encode(1, &7u64);
    assert_eq!(codec::decode::<u64>(1, &bytes), Ok(7));
    assert!(codec::decode::<u64>(2, &bytes).unwrap_err().contains("version 1"));
    assert!(codec::decode::<u64>(1, &[bytes, vec![0]].concat()).unwrap_err().contains("1 bytes after"));
    assert!(codec::decode::<u64>(1, &[]).is_err());
    let candid = codec::encode_candid(1, &7u64);
    assert_eq!(Ok(&candid), candid::encode_args((1_u16, 7_u64)).as_ref().map_err(drop));
    assert_eq!(candid, codec::encode_candid(1, &7u64), "with the cached header");
    assert_eq!(codec::decode_candid::<u64>(1, &candid), Ok(7));
    assert!(codec::decode_candid::<u64>(2, &candid).unwrap_err().contains("version 1"));
    assert!(codec::decode_candid::<u64>(1, b"nonsense").is_err());
}

#[test]
fn ascending_keys_are_found_near_and_far_and_missing() {
    let memories = Memories::init(RawMemory::default());
    let mut table = Table::<u64, u64>::open(&memories, memory_ids::SESSIONS);
    (0..300).filter(|n| n % 3 != 2).for_each(|n| table.insert(n, &(n * 10)));
    for keys in [vec![], vec![0, 1, 2, 3], vec![2, 150, 151, 152, 299, 1_000], (0..310).collect()] {
        let found: Vec<_> = table.get_ascending(&keys);
        let each: Vec<_> = keys.iter().map(|key| table.get(key)).collect();
        assert_eq!(found, each);
    }
    table.insert_raw(4, vec![1, 2, 3]);
    let found = table.get_ascending(&[3, 4, 6]);
    assert_eq!((&found[0], &found[2]), (&Ok(Some(30)), &Ok(Some(60))));
    assert_eq!(found[1].as_ref().unwrap_err().key, "4");
    table.clear();
    assert_eq!((table.len(), table.get(&3)), (0, Ok(None)));
    table.insert(3, &1);
    assert_eq!(table.get(&3), Ok(Some(1)));
}

#[test]
fn a_truncated_memory_is_refused_and_a_longer_one_accepted() {
    let memory = RawMemory::default();
    drop(Storage::create(memory.clone()).unwrap());
    let pages = memory.size() as usize;
    for missing_pages in [1, 2, 127, 128, 129] {
        let truncated = RawMemory::default();
        truncated.borrow_mut().extend_from_slice(&memory.borrow()[..(pages - missing_pages) * 65_536]);
        let error = refusal_of(&truncated).to_string();
        assert!(
            error.contains("at offset 4") && error.contains("restore a snapshot"),
            "{missing_pages}: {error}"
        );
    }
    for added_pages in [0, 1, 500] {
        memory.grow(added_pages);
        assert!(open_storage(memory.clone()).is_ok(), "{added_pages} unused pages after the memory");
    }
}

#[test]
fn a_memory_with_a_bucket_too_many_or_too_few_is_refused() {
    let memory = RawMemory::default();
    drop(Storage::create(memory.clone()).unwrap());
    let mut count = [0; 2];
    memory.read(4, &mut count);
    let buckets = u16::from_le_bytes(count);
    for wrong in [buckets - 1, buckets + 1] {
        let other = RawMemory::default();
        other.borrow_mut().extend_from_slice(&memory.borrow());
        other.grow(200);
        other.write(4, &wrong.to_le_bytes());
        let error = refusal_of(&other).to_string();
        let place = format!("at offset {}", 2_080 + wrong.min(buckets));
        assert!(error.contains(&place) && error.contains("the memory id of a bucket"), "{error}");
    }
}

#[cfg(feature = "direct")]
#[test]
fn a_begun_migration_that_this_build_lacks_is_refused() {
    use crate::migrate::{MigrationState, Phase};
    let memory = RawMemory::default();
    let mut storage = Storage::create(memory.clone()).unwrap();
    storage.migration.set_state(9, &MigrationState { phase: Phase::Converting, ..MigrationState::default() });
    drop(storage);
    let error = refusal_of(&memory).to_string();
    assert!(error.contains("migration 9"), "{error}");
}

/// The memory manager gives every memory whole buckets of 8 MiB: here 9 when the canister is installed, 5 more with the
/// first capsule, and 18 more with the first upload.
#[test]
fn a_canister_of_layout_3_takes_memory_as_it_is_needed() {
    let memory = RawMemory::default();
    let mib = |memory: &RawMemory| memory.size() / 16;
    let mut storage = Storage::create_in(memory.clone(), Layout::EXTENTS).unwrap();
    assert_eq!(mib(&memory), 72);
    let again = Storage::open_accepting(memory.clone(), &[Layout::EXTENTS]).unwrap();
    assert!(again.capsules.is_empty());
    assert_eq!(mib(&memory), 72, "an upgrade takes no more");
    let owner = candid::Principal::self_authenticating([1]);
    let capsule = storage.capsules.create(owner, None, crate::session::Time::from_nanos(1)).unwrap().id;
    assert_eq!(mib(&memory), 112);
    storage.created_with_first_upload.create(&storage.room).unwrap();
    assert_eq!(mib(&memory), 256);
    drop(storage);
    let storage = Storage::open_accepting(memory, &[Layout::EXTENTS]).unwrap();
    assert_eq!(storage.capsules.list_capsules(owner, None, 10).unwrap()[0].id, capsule);
}

#[test]
fn structures_created_before_memory_is_full_stay_and_are_marked() {
    use super::buckets::whole_memory;
    let memory = whole_memory(1);
    let left = Storage::create_in(memory.clone(), Layout::EXTENTS).unwrap().room.bytes_left();
    let region = Memories::init(memory.clone()).get(memory_ids::EXTENT_REGION);
    // Leaves three buckets, of one page each.
    region.grow(left / 65_536 - 3);
    region.write(0, b"EXT\x01");
    let mut storage = Storage::open_accepting(memory.clone(), &[Layout::EXTENTS]).unwrap();
    let structures = &mut storage.created_with_first_upload;
    let refused = structures.create(&storage.room);
    assert_eq!(refused, Err(super::NoRoom { needed: 65_536, left: 0 }));
    assert_eq!(structures.create(&storage.room), refused, "a repeated call is refused, too");
    let existing_ids = || {
        let memories = Memories::init(memory.clone());
        let ids = memory_ids::CREATED_WITH_FIRST_UPLOAD.into_iter();
        ids.filter(|id| memories.get(MemoryId::new(*id)).size() > 0).collect::<Vec<_>>()
    };
    assert_eq!(existing_ids(), memory_ids::CREATED_WITH_FIRST_UPLOAD[..3]);
    drop(storage);
    let storage = Storage::open_accepting(memory.clone(), &[Layout::EXTENTS]).unwrap();
    assert!(storage.index.is_empty(), "an upgrade needs none of the structures that do not exist");
    let marks = super::Marks::read(&Memories::init(memory.clone()).get(memory_ids::UPLOAD_COUNTS));
    assert!(existing_ids().iter().all(|id| marks.ids().any(|marked| marked == *id)));
}

/// A register, too; neither is created by reading.
#[test]
fn a_table_that_was_never_made_answers_as_an_empty_one() {
    let memories = Memories::init(RawMemory::default());
    let mut table: Table<u64, String> = Table::open(&memories, memory_ids::UPLOAD_META);
    assert_eq!((table.get(&1), table.get_with_len(&1), table.take(&1)), (Ok(None), Ok(None), Ok(None)));
    assert_eq!((table.get_raw(&1), table.take_raw(&1)), (None, None));
    assert_eq!((table.next_key(None), table.next_key(Some(&1)), table.last_key()), (None, None, None));
    assert_eq!((table.keys(..).count(), table.raw_after(None).count(), table.range(..).count()), (0, 0, 0));
    assert_eq!(table.get_ascending(&[1, 2]), [Ok(None), Ok(None)]);
    assert!(!table.contains(&1) && !table.remove(&1) && table.is_empty());
    table.clear();
    let mut register: Register<u64> = Register::open(&memories, memory_ids::CAPSULE_COUNTER);
    assert_eq!((register.get(), register.raw()), (Ok(None), &[][..]));
    assert_eq!(memories.get(memory_ids::UPLOAD_META).size(), 0);
    assert_eq!(memories.get(memory_ids::CAPSULE_COUNTER).size(), 0);
    register.set(&7);
    let again: Register<u64> = Register::open(&memories, memory_ids::CAPSULE_COUNTER);
    assert_eq!((register.get(), again.get()), (Ok(Some(7)), Ok(Some(7))));
}

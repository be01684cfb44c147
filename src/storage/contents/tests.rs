//! Tests that foreign and damaged memories are refused, with an error that names what was found and where.

use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::{Memory as _, StableBTreeMap};

use upload_model::public_release::PublicRelease;

use super::*;
use crate::migrate::open_storage;
use crate::stable::memory_ids::{self, ALL, Structure};
use crate::stable::preflight::PreflightError;
use crate::stable::{Marks, RawMemory};
use crate::storage::{OpenError, Storage};

const EVERY_LAYOUT: [Layout; 3] = [Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];

/// Returns the memory of a fresh canister of layout 1, in buckets of 64 KiB, since it is copied hundreds of times.
fn intact_layout_1() -> RawMemory {
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
    drop(Storage::create_in(raw.clone(), Layout::LEGACY).unwrap());
    raw
}

fn copy(raw: &RawMemory) -> RawMemory {
    RawMemory::new(std::cell::RefCell::new(raw.borrow().clone()))
}

fn memory(raw: &RawMemory, id: u8) -> crate::stable::Memory {
    Memories::init(raw.clone()).get(MemoryId::new(id))
}

/// Returns the error with which the memory is refused; panics if it is accepted or changed.
#[track_caller]
fn refusal(raw: &RawMemory) -> OpenError {
    let before = raw.borrow().clone();
    let refused = Storage::open_accepting(raw.clone(), &EVERY_LAYOUT).err().expect("the memory is refused");
    assert!(*raw.borrow() == before, "a refused memory is left unchanged: {refused}");
    let text = refused.to_string();
    assert!(text.ends_with("nothing was changed"), "{text}");
    refused
}

#[track_caller]
fn assert_refused(raw: &RawMemory, parts: &[&str]) {
    let text = refusal(raw).to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}, expected {parts:?}");
}

/// Adds entries to the map under an id, whatever its types are.
fn insert_entries(raw: &RawMemory, id: u8, entries: &[(Vec<u8>, Vec<u8>)], key_len: Option<u32>) {
    fn insert_fixed<const N: usize>(memory: crate::stable::Memory, entries: &[(Vec<u8>, Vec<u8>)]) {
        let mut map = StableBTreeMap::<[u8; N], Vec<u8>, _>::init(memory);
        for (key, value) in entries {
            map.insert(key.clone().try_into().unwrap(), value.clone());
        }
    }
    let memory = memory(raw, id);
    match key_len {
        Some(2) => insert_fixed::<2>(memory, entries),
        Some(8) => insert_fixed::<8>(memory, entries),
        Some(10) => insert_fixed::<10>(memory, entries),
        Some(16) => insert_fixed::<16>(memory, entries),
        Some(32) => insert_fixed::<32>(memory, entries),
        Some(36) => insert_fixed::<36>(memory, entries),
        Some(len) => panic!("keys of {len} bytes"),
        None => {
            let mut map = StableBTreeMap::<Vec<u8>, Vec<u8>, _>::init(memory);
            for (key, value) in entries {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

fn maps() -> impl Iterator<Item = (u8, MapContents)> {
    CONTENTS.iter().filter_map(|(id, contents)| match contents {
        Contents::Map(map) => Some((*id, *map)),
        Contents::Cell(_) => None,
    })
}

/// Returns a key of a map; the keys ascend with `n`.
fn key(map: &MapContents, n: u8) -> Vec<u8> {
    let principal = |len: usize| [vec![n; 29], vec![n; len]].concat();
    let candidates = [
        // A key of fixed length, a text, a principal, or a number and a text.
        vec![n; map.key_len.unwrap_or(29) as usize],
        // Two texts, the first of one byte.
        [vec![0, 0, 0, 1], vec![b'a' + n; 3]].concat(),
        // A principal and a number.
        [principal(8), vec![29]].concat(),
        // A principal and a capsule id.
        [principal(32), vec![29, 32]].concat(),
    ];
    candidates.into_iter().find(|key| (map.is_key)(key)).expect("a candidate is a key of the map")
}

/// Returns bytes that are not a record of the map: Candid as the first public release writes it, or, if the map accepts
/// that, seven bytes 0xff. `None` for a map of any bytes.
fn undecodable(map: &MapContents) -> Option<Vec<u8>> {
    let Values::Records(check_record) = map.values else { return None };
    let candid = candid::encode_args((("capsule", 1_u64),)).unwrap();
    [candid, vec![0xff; 7]].into_iter().find(|bytes| check_record(bytes).is_err())
}

fn name_of(id: u8) -> &'static str {
    ALL.iter().find(|(known, ..)| *known == id).unwrap().1
}

#[test]
fn contents_name_every_map_and_cell() {
    let named: Vec<u8> = CONTENTS.iter().map(|(id, _)| *id).collect();
    let all: Vec<u8> = ALL
        .iter()
        .filter(|(_, _, structure)| matches!(structure, Structure::Map | Structure::Cell))
        .map(|(id, ..)| *id)
        .collect();
    assert_eq!(named, all);
}

/// All records of the map are undecodable, so also a map that tolerates damage is refused.
#[test]
fn records_of_another_format_are_refused_or_quarantined() {
    for (id, map) in maps() {
        let Some(undecodable) = undecodable(&map) else { continue };
        let raw = intact_layout_1();
        let entries: Vec<_> = (1..=30).map(|n| (key(&map, n), undecodable.clone())).collect();
        insert_entries(&raw, id, &entries, map.key_len);
        if map.on_damage == OnDamage::Quarantine {
            let checked = check(&Memories::init(raw.clone()), Some(crate::build_profile::FRESH_LAYOUT));
            assert!(checked.is_ok(), "{id}: such records are quarantined: {checked:?}");
            continue;
        }
        let shown = (map.show_key)(&key(&map, 1));
        assert_refused(
            &raw,
            &[
                &format!("memory id {id} ({})", name_of(id)),
                "the first record",
                &shown,
                "inspect",
                "snapshot",
            ],
        );
    }
}

#[test]
fn a_record_of_a_newer_engine_is_refused_by_its_format() {
    let key = 3_u16.to_be_bytes().to_vec();
    for (id, key) in [(ids::MIGRATION_JOURNAL, vec![0; 8]), (ids::MIGRATION_STATES, key)] {
        let raw = intact_layout_1();
        let len = u32::try_from(key.len()).ok();
        insert_entries(&raw, id, &[(key, vec![2, 0x80])], len);
        let OpenError::Preflight(refused) = refusal(&raw) else {
            panic!("memory {id}: refused, but not by the preflight")
        };
        assert!(matches!(refused, PreflightError::NewerRecord { found: 2, known: 1, .. }), "{refused}");
    }
}

#[test]
fn a_newer_record_is_refused_where_damage_is_tolerated() {
    // Format 3, newer than every format that this build knows, and an empty CBOR array.
    let newer = vec![3, 0x80];
    for (id, map) in maps().filter(|(_, map)| map.on_damage == OnDamage::TolerateUnlessCandid) {
        let damaged = b"rubbish".to_vec();
        let entries = [(1, &newer), (2, &damaged)].map(|(n, bytes)| (key(&map, n), bytes.clone()));
        let swapped = [(1, &damaged), (2, &newer)].map(|(n, bytes)| (key(&map, n), bytes.clone()));
        for planted in [&entries[..1], &entries[..], &swapped[..]] {
            let raw = intact_layout_1();
            insert_entries(&raw, id, planted, map.key_len);
            let OpenError::Preflight(refused) = refusal(&raw) else {
                panic!("memory {id}: refused, but not by the preflight")
            };
            let is_by_format = matches!(
                refused,
                PreflightError::NewerRecord { id: found_in, found: 3, .. } if found_in == id
            );
            assert!(is_by_format, "{refused}");
        }
    }
}

/// The library would panic on such a key.
#[test]
fn a_foreign_key_is_refused_even_where_damage_is_tolerated() {
    for id in [ids::CAPSULES, ids::MEMORIES] {
        let raw = intact_layout_1();
        insert_entries(&raw, id, &[(vec![0xff; 3], b"rubbish".to_vec())], None);
        assert_refused(
            &raw,
            &[&format!("memory id {id} ({})", name_of(id)), "3 bytes that are not a key of this map"],
        );
    }
}

#[test]
fn one_wrong_record_is_refused_where_it_is_not_tolerated() {
    let layout = crate::build_profile::FRESH_LAYOUT;
    for (id, map) in maps().filter(|(_, map)| matches!(map.values, Values::Records(_))) {
        let raw = intact_layout_1();
        insert_entries(&raw, id, &[(key(&map, 20), undecodable(&map).unwrap())], map.key_len);
        let memories = Memories::init(raw.clone());
        let checked = preflight::check_map(&memories, id, MapContents { on_damage: OnDamage::Refuse, ..map });
        let is_named = matches!(
            &checked,
            Err(PreflightError::ForeignRecord { id: found, .. } | PreflightError::NewerRecord { id: found, .. })
                if *found == id
        );
        assert!(is_named, "memory {id}: {checked:?}");
        let is_accepted = matches!(map.on_damage, OnDamage::Tolerate | OnDamage::Quarantine);
        assert_eq!(check(&memories, Some(layout)).is_ok(), is_accepted, "memory {id}");
        assert!(check(&memories, None).is_err(), "memory {id} without a layout header");
    }
}

#[test]
fn both_ends_of_a_deep_table_are_read() {
    type Entries = Vec<(Vec<u8>, Vec<u8>)>;
    let with_numbers = |id: u8, change: fn(&mut Entries)| {
        let raw = intact_layout_1();
        let mut entries: Entries =
            (0..500_u64).map(|n| (n.to_be_bytes().to_vec(), n.to_be_bytes().to_vec())).collect();
        change(&mut entries);
        insert_entries(&raw, id, &entries, Some(8));
        raw
    };
    let id = ids::LEGACY_ACTIVITY;
    open_storage(with_numbers(id, |_| ())).unwrap();
    assert_refused(
        &with_numbers(id, |entries| entries[0].1 = vec![1]),
        &["memory id 23", "the first record, under 0", "1 bytes"],
    );
    assert_refused(
        &with_numbers(id, |entries| entries[499].1 = vec![1]),
        &["memory id 23", "the last record, under 499"],
    );
    // Damage in the middle is left to `inspect`.
    open_storage(with_numbers(id, |entries| entries[250].1 = vec![1])).unwrap();
}

/// Damage between the ends is not found here.
#[test]
fn tolerated_damage_is_accepted_at_one_end_but_not_at_both() {
    let raw = intact_layout_1();
    let with_damaged = |damaged: &[u64]| {
        let raw = copy(&raw);
        let session = crate::upload::SessionRecord::encode(&session());
        let record = |n: u64| if damaged.contains(&n) { b"rubbish".to_vec() } else { session.clone() };
        let entries: Vec<_> = (1..=40).map(|n: u64| (n.to_be_bytes().to_vec(), record(n))).collect();
        insert_entries(&raw, ids::SESSIONS, &entries, Some(8));
        raw
    };
    for accepted in [&[][..], &[1], &[40], &[2, 3, 40]] {
        assert!(open_storage(with_damaged(accepted)).is_ok(), "{accepted:?}");
    }
    assert_refused(&with_damaged(&[1, 40]), &["memory id 11 (SESSIONS)", "the first record, under 1"]);
}

fn session() -> SessionRecord {
    use crate::session::{ChunkSet, Session, SessionMeta, SessionStatus, Time};
    SessionRecord::from(&Session {
        owner: vec![4],
        chunk_size: CHUNK_SIZE,
        bytes_expected: 1,
        bytes_received: 0,
        received_idxs: ChunkSet::default(),
        session_meta: SessionMeta {
            idem: "key".into(),
            last_seen: Time::from_nanos(1),
            status: SessionStatus::Pending,
        },
    })
}

#[test]
fn a_memory_manager_that_holds_nothing_is_refused() {
    let raw = RawMemory::default();
    drop(Memories::init(raw.clone()));
    assert_refused(&raw, &["memory id 10 (LAYOUT) is empty", "it uses no memory ids", "snapshot"]);
    // The magic of a memory manager, with zeros in place of the rest of its header.
    let raw = RawMemory::default();
    raw.grow(1);
    raw.write(0, b"MGR\x01");
    assert_refused(&raw, &["at offset 6", "the size of a bucket"]);
}

/// The memory of the first public release is refused both if the `pre_upgrade` of that release was skipped, and if it
/// ran and overwrote the memory.
#[test]
fn memory_of_the_public_release_is_refused_by_name() {
    let mut release = PublicRelease::new(1);
    let memory_of = |bytes: Vec<u8>| RawMemory::new(std::cell::RefCell::new(bytes));
    let public_release =
        |in_use: &str| OpenError::Preflight(PreflightError::PublicRelease { in_use: in_use.into() });
    assert_eq!(refusal(&memory_of(release.stable_memory())), public_release("memory ids 0, 1, 2, 6, 7, 8"));
    let capsule =
        release.create_capsule(candid::Principal::self_authenticating([1]), 1_759_000_000_000_000_000);
    release.upload(&capsule, 1, &[7; 5_000], 1_759_000_000_000_000_001);
    let raw = memory_of(release.stable_memory());
    assert_eq!(refusal(&raw), public_release("memory ids 0, 1, 2, 6, 7, 8"));
    assert_refused(&raw, &["skip_pre_upgrade", "docs/adopting.md"]);
    assert_refused(
        &memory_of(release.after_pre_upgrade()),
        &["44, 49, 44, 4c", "stable_save", "docs/adopting.md"],
    );
    // An earlier build of this canister may have accepted the memory and written a layout header into it.
    drop(Storage::open(&Memories::init(raw.clone()), raw.clone(), Layout::LEGACY).err());
    let memories = Memories::init(raw.clone());
    crate::stable::Register::open(&memories, memory_ids::LAYOUT).set(&Layout::LEGACY);
    assert_refused(&raw, &["memory id 7 (BLOB_META)", "offset 4", "keys and values with bounds"]);
}

#[test]
fn a_foreign_tree_under_any_id_is_refused_by_its_bounds() {
    for (id, _) in maps() {
        let raw = RawMemory::default();
        let foreign = StableBTreeMap::<u64, u64, _>::init(memory(&raw, id));
        drop(foreign);
        assert_refused(
            &raw,
            &[&format!("memory id {id} ({})", name_of(id)), "offset 4", "pages of 275 bytes"],
        );
    }
}

#[test]
fn a_foreign_tree_without_bounds_is_refused_by_its_keys() {
    for (id, _) in maps() {
        let raw = intact_layout_1();
        let memory = memory(&raw, id);
        // As if this canister had never opened the memory.
        if memory.size() > 0 {
            memory.write(0, &[0; 200]);
        }
        let entries: Vec<_> = (1..=40_u8).map(|n| (vec![0xff; usize::from(n)], vec![n; 100])).collect();
        insert_entries(&raw, id, &entries, None);
        let text = refusal(&raw).to_string();
        assert!(text.contains(&format!("memory id {id} ({})", name_of(id))), "{text}");
    }
}

#[test]
fn memory_written_in_part_is_refused_by_what_is_missing() {
    let memory_with_only = |id: MemoryId| {
        let raw = RawMemory::default();
        drop(StableBTreeMap::<u64, Vec<u8>, _>::init(Memories::init(raw.clone()).get(id)));
        raw
    };
    assert_refused(
        &memory_with_only(memory_ids::LEGACY_SESSIONS),
        &["memory id 10 (LAYOUT) is empty", "memory ids 3;"],
    );
    assert_refused(
        &memory_with_only(memory_ids::SESSIONS),
        &["memory id 10 (LAYOUT) is empty", "memory ids 11;"],
    );
    // With the layout header and one table, but without the others.
    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    crate::stable::Register::open(&memories, memory_ids::LAYOUT).set(&Layout::LEGACY);
    drop(StableBTreeMap::<String, Vec<u8>, _>::init(memories.get(memory_ids::CAPSULES)));
    assert_refused(
        &raw,
        &["memory id 3 (LEGACY_SESSIONS) is empty", "stable memory is incomplete", "snapshot"],
    );
}

/// Returns three memories of a canister that was installed in layout 3: empty, with a capsule, and with the structures
/// that the first upload creates (but no upload).
fn installed_in_layout_3() -> [RawMemory; 3] {
    let raw = RawMemory::default();
    drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
    let mut storage = Storage::create_in(raw.clone(), Layout::EXTENTS).unwrap();
    let empty = copy(&raw);
    let owner = candid::Principal::self_authenticating([1]);
    storage.capsules.create(owner, None, crate::session::Time::from_nanos(1)).unwrap();
    let with_capsule = copy(&raw);
    storage.created_with_first_upload.create(&storage.room).unwrap();
    [empty, with_capsule, raw]
}

fn existing_ids(raw: &RawMemory) -> Vec<u8> {
    ALL.iter().map(|(id, ..)| *id).filter(|id| memory(raw, *id).size() > 0).collect()
}

/// Makes a memory empty, as if it had never been created. Its buckets are assigned to a memory that nobody opens.
fn lose(raw: &RawMemory, id: u8) {
    const NOBODY: u8 = ids::RESERVED_SESSION_CHUNKS;
    let size_offsets = [id, NOBODY].map(|id| 40 + 8 * u64::from(id));
    let [lost_pages, nobodys_pages] = [id, NOBODY].map(|id| memory(raw, id).size());
    raw.write(size_offsets[0], &[0; 8]);
    raw.write(size_offsets[1], &(lost_pages + nobodys_pages).to_le_bytes());
    for owner in raw.borrow_mut()[2_080..2_080 + 32_768].iter_mut().filter(|owner| **owner == id) {
        *owner = NOBODY;
    }
}

/// Only the marks distinguish a structure that was lost from one that was never created.
#[test]
fn a_lost_structure_of_layout_3_is_refused_by_its_mark() {
    for intact in installed_in_layout_3() {
        let existing_ids = existing_ids(&intact);
        for id in &existing_ids {
            let raw = copy(&intact);
            lose(&raw, *id);
            let expected = match *id {
                ids::LAYOUT => "memory id 10 (LAYOUT) is empty".into(),
                // The marks are lost, too.
                ids::UPLOAD_COUNTS => "stable memory is incomplete".into(),
                id => {
                    format!("memory id {id} ({}) is empty, and the marks in memory id 45 show", name_of(id))
                }
            };
            assert_refused(&raw, &[&expected]);
        }
        let raw = copy(&intact);
        existing_ids
            .iter()
            .filter(|id| ![ids::LAYOUT, ids::UPLOAD_COUNTS].contains(id))
            .for_each(|id| lose(&raw, *id));
        assert_refused(&raw, &["show that it existed: stable memory is incomplete"]);
    }
}

/// In a memory without marks, every structure up to id 35 must exist.
#[test]
fn without_marks_an_early_structure_must_exist() {
    for (intact, missing) in
        installed_in_layout_3().into_iter().zip([ids::CAPSULES, ids::LEGACY_SESSIONS, ids::LEGACY_SESSIONS])
    {
        // Removes the marks.
        memory(&intact, ids::UPLOAD_COUNTS).write(32_896, &[0; 32]);
        assert_refused(
            &intact,
            &[&format!("memory id {missing} ({}) is empty, and every build creates it", name_of(missing))],
        );
    }
}

#[test]
fn a_manager_from_before_the_first_upload_is_refused() {
    let [empty, with_capsule, intact] = installed_in_layout_3();
    for (earlier, lost) in [(empty, ids::CAPSULES), (with_capsule, ids::SESSIONS)] {
        let raw = copy(&intact);
        // The first page has the memory manager's header: here an earlier one than the rest of the memory.
        raw.write(0, &earlier.borrow()[..65_536]);
        assert_refused(&raw, &[&format!("memory id {lost} ({}) is empty, and the marks", name_of(lost))]);
    }
}

/// Earlier builds of layout 3 created every structure at once, and no marks.
#[test]
fn a_layout_3_of_an_earlier_build_opens_and_is_marked() {
    let earlier = || {
        let raw = RawMemory::default();
        drop(MemoryManager::init_with_bucket_size(raw.clone(), 1));
        Storage::create_in(raw.clone(), Layout::SPLIT).unwrap().layout.set(&Layout::EXTENTS);
        raw
    };
    let raw = earlier();
    assert!(Marks::read(&memory(&raw, ids::UPLOAD_COUNTS)).are_none());
    for id in existing_ids(&raw)
        .into_iter()
        .filter(|id| *id <= memory_ids::LAST_OF_FIRST_BUILD && *id != ids::LAYOUT)
    {
        let raw = earlier();
        lose(&raw, id);
        assert_refused(
            &raw,
            &[&format!("memory id {id} ({}) is empty, and every build creates it", name_of(id))],
        );
    }
    let before = raw.size();
    drop(Storage::open_accepting(raw.clone(), &EVERY_LAYOUT).unwrap());
    assert_eq!(raw.size(), before, "the upgrade creates nothing");
    let marked: Vec<u8> = Marks::read(&memory(&raw, ids::UPLOAD_COUNTS)).ids().collect();
    assert_eq!(marked, existing_ids(&raw));
    for id in marked.into_iter().filter(|id| ![ids::LAYOUT, ids::UPLOAD_COUNTS].contains(id)) {
        let raw = copy(&raw);
        lose(&raw, id);
        assert_refused(&raw, &[&format!("memory id {id} ({}) is empty, and the marks", name_of(id))]);
    }
}

#[test]
fn layouts_1_and_2_have_no_marks() {
    for layout in [Layout::LEGACY, Layout::SPLIT] {
        let raw = RawMemory::default();
        drop(Storage::create_in(raw.clone(), layout).unwrap());
        drop(Storage::open_accepting(raw.clone(), &EVERY_LAYOUT).unwrap());
        assert!(Marks::read(&memory(&raw, ids::UPLOAD_COUNTS)).are_none());
    }
}

/// The memory is truncated at every bucket, and every table is zeroed in turn.
#[test]
fn truncation_and_zeros_at_every_table_are_refused() {
    let [empty, _, in_use] = installed_in_layout_3();
    for intact in [intact_layout_1(), empty, in_use] {
        let pages = intact.size();
        // Pages that are kept; a bucket is one page here.
        for cut in 1..pages {
            let raw = RawMemory::default();
            raw.borrow_mut().extend_from_slice(&intact.borrow()[..(cut * 65_536) as usize]);
            assert_refused(&raw, &["at offset 4", "the number of buckets"]);
        }
        for (id, name, structure) in ALL.iter().filter(|(_, _, structure)| *structure != Structure::Reserved)
        {
            let raw = copy(&intact);
            let memory = memory(&raw, *id);
            if memory.size() == 0 {
                continue;
            }
            memory.write(0, &[0; 512]);
            assert_refused(&raw, &[&format!("memory id {id} ({name})"), "begins with [00, 00, 00]"]);
            // Only the magic is stored.
            memory.write(0, structure.magic().unwrap());
            assert_refused(&raw, &[&format!("memory id {id} ({name})"), "offset "]);
        }
    }
}

#[test]
fn every_damaged_byte_of_a_header_is_refused_or_harmless() {
    let intact = intact_layout_1();
    insert_entries(&intact, ids::LEGACY_ACTIVITY, &[(vec![1; 8], vec![2; 8])], Some(8));
    for at in 0..100_u64 {
        for byte in [0x00, 0x01, 0x7f, 0xff] {
            let raw = copy(&intact);
            memory(&raw, ids::LEGACY_ACTIVITY).write(at, &[byte]);
            // The memory may be refused or opened, as long as nothing traps, and no error comes after it is opened.
            if let Ok(storage) = open_storage(raw.clone()) {
                assert!(storage.sessions.legacy.activity(&1).is_ok(), "byte {at}");
            }
        }
    }
}

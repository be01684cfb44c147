//! Foreign or damaged stable memory: every build refuses the upgrade and names what is wrong, the old code continues,
//! and the memory is unchanged.

use crate::support::InstalledCanister;
use crate::support::legacy_state::{client, memory_of, small_image};
use candid::Principal;
use ic_stable_structures::memory_manager::MemoryId;
use ic_stable_structures::storable::Blob;
use ic_stable_structures::{Memory as _, StableBTreeMap, StableCell, Storable};
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use session_migrate::costs;
use upload_canister::migrate::open_storage;
use upload_canister::stable::layout::Layout;
use upload_canister::stable::memory_ids::{ALL, Structure, numbers};
use upload_canister::stable::{Memories, RawMemory, Register, memory_ids};
use upload_model::public_release::{CHUNK_SIZE, PublicRelease};

/// A change to sound stable memory that makes it foreign or damaged.
type Damage = fn(&RawMemory);

/// Returns a canister of the first public release, with a capsule, two files and half of a third.
fn public_release() -> PublicRelease {
    let now = 1_759_000_000_000_000_000;
    let mut release = PublicRelease::new(128);
    let capsule = release.create_capsule(client(1), now);
    release.upload(&capsule, 1, &[7; CHUNK_SIZE + 5], now + 1);
    release.upload(&capsule, 2, b"a small file", now + 2);
    release.put(3, &[8; 1_000]);
    release
}

/// Offset, in the memory manager's header, of the owners of the buckets: one byte for each bucket, the id of its
/// memory.
const OWNERS: usize = 2_080;

/// Bytes of a bucket of `small_image`. The memory manager's header takes the same number of bytes.
const BUCKET: usize = 65_536;

/// Returns stable memory that ends where the first bucket of a table begins, like an interrupted copy.
fn cut_before(bytes: &[u8], id: u8) -> Vec<u8> {
    let bucket = bytes[OWNERS..BUCKET].iter().position(|owner| *owner == id).unwrap();
    bytes[..BUCKET * (1 + bucket)].to_vec()
}

/// Stores a record of another format in a table, under a key after all others.
fn plant_last(raw: &RawMemory, id: u8) {
    use upload_canister::stable::keys::{NumberAndText, TwoTexts};
    let text = || "\u{10ffff}".repeat(5);
    let principal = Principal::from_slice(&[0xff; 29]);
    let memory = MemoryId::new(id);
    match id {
        numbers::CAPSULES | numbers::MEMORIES | numbers::CONDEMNED_CAPSULES => plant(raw, memory, text()),
        numbers::SESSION_BY_ACTIVITY | numbers::RECEIPT_BY_EXPIRY | numbers::FREE_EXTENTS_BY_LEN => {
            plant(raw, memory, (u64::MAX, u64::MAX));
        }
        numbers::SESSION_BY_OWNER => plant(raw, memory, (principal, u64::MAX)),
        numbers::SESSION_BY_IDEM | numbers::RELEASED_CHUNKS | numbers::MEMORY_BY_IDEM => {
            plant(raw, memory, [0xff_u8; 32])
        }
        numbers::MEMORY_BY_CAPSULE | numbers::USAGE | numbers::BLOB_BY_CONTENT => {
            plant(raw, memory, TwoTexts(text(), text()))
        }
        numbers::BLOB_REFS => plant(raw, memory, NumberAndText(u64::MAX, text())),
        numbers::CAPSULE_BY_MEMBER => {
            plant(raw, memory, (principal, Blob::<32>::try_from(&[0xff; 32][..]).unwrap()))
        }
        numbers::MIGRATION_STATES => plant(raw, memory, u16::MAX),
        numbers::CAPSULES_BY_CREATOR => plant(raw, memory, principal),
        _ => plant(raw, memory, u64::MAX),
    }
}

/// A record that no table can decode: unlike [`NEWER`], it is of no release, and its first byte is read as a version.
const FOREIGN: &[u8] = b"DIDL\x00\x01\x71\x01\xff";

/// A record in the next format of the migration engine.
const NEWER: &[u8] = &[2, 0x80];

/// Stores a record of another format in a map. The preflight reads the first and the last record, so `key` must be
/// before or after all others.
fn plant<K: Storable + Ord + Clone>(raw: &RawMemory, id: MemoryId, key: K) {
    plant_bytes(raw, id, key, FOREIGN);
}

fn plant_bytes<K: Storable + Ord + Clone>(raw: &RawMemory, id: MemoryId, key: K, value: &[u8]) {
    let memory = Memories::init(raw.clone()).get(id);
    StableBTreeMap::<K, Vec<u8>, _>::init(memory).insert(key, value.to_vec());
}

/// Kinds of damage: the name, the change to stable memory, and the texts that the refusal must contain.
const CASES: &[(&str, Damage, &[&str])] = &[
    (
        "a raw stable_save",
        |raw| raw.write(0, b"DIDL\x00\x01"),
        &["begins with [44, 49, 44, 4c]", "stable_save"],
    ),
    (
        "a memory manager of another version",
        |raw| raw.write(0, b"MGR\x09"),
        &["begins with [4d, 47, 52, 09]", "version 1"],
    ),
    (
        "zeros",
        |raw| raw.write(0, &[0; 4]),
        &["begins with [00, 00, 00, 00]", "expected the memory manager's"],
    ),
    (
        "a damaged header",
        |raw| raw.write(4, &[0xff, 0x7f]),
        &["at offset 4", "number of buckets", "restore a snapshot"],
    ),
    (
        "a wrong magic",
        |raw| Memories::init(raw.clone()).get(memory_ids::SESSIONS).write(0, b"XYZ"),
        &["memory id 11 (SESSIONS)", "58, 59, 5a", "\"BTR\""],
    ),
    (
        "a newer layout",
        |raw| open_storage(raw.clone()).unwrap().layout.set(&Layout(99)),
        &["stable memory is in layout 99", "accepts"],
    ),
    (
        "a second memory manager",
        |raw| assert!(Memories::init(raw.clone()).get(MemoryId::new(42)).grow(1) >= 0),
        &["memory id 42 has 1 pages", "second memory manager"],
    ),
    (
        "the public release, if its pre_upgrade is skipped",
        |raw| drop(raw.replace(public_release().stable_memory())),
        &["first public release", "memory ids 0, 1, 2, 6, 7, 8", "skip_pre_upgrade", "docs/adopting.md"],
    ),
    (
        "the public release after its pre_upgrade",
        |raw| drop(raw.replace(public_release().after_pre_upgrade())),
        &["begins with [44, 49, 44, 4c]", "stable_save", "docs/adopting.md"],
    ),
    (
        "a memory manager that holds nothing",
        |raw| {
            raw.replace(Vec::new());
            drop(Memories::init(raw.clone()));
        },
        &["memory id 10 (LAYOUT) is empty", "no memory ids"],
    ),
    (
        "a foreign tree under id 0",
        |raw| {
            raw.replace(Vec::new());
            let mut foreign = StableBTreeMap::init(Memories::init(raw.clone()).get(memory_ids::CAPSULES));
            foreign.insert(1_u64, 1_u64);
        },
        &["memory id 0 (CAPSULES)", "offset 4", "keys and values with bounds"],
    ),
    (
        "a layout header without the tables",
        |raw| {
            raw.replace(Vec::new());
            let memories = Memories::init(raw.clone());
            Register::open(&memories, memory_ids::LAYOUT).set(&Layout::LEGACY);
            drop(StableBTreeMap::<String, Vec<u8>, _>::init(memories.get(memory_ids::CAPSULES)));
        },
        &["memory id 3 (LEGACY_SESSIONS) is empty", "stable memory is incomplete"],
    ),
    (
        "a first capsule of another format",
        |raw| plant(raw, memory_ids::CAPSULES, String::new()),
        &["memory id 0 (CAPSULES)", "the first record", "record version 68"],
    ),
    (
        "a last capsule of another format",
        |raw| plant(raw, memory_ids::CAPSULES, "zzz".to_owned()),
        &["memory id 0 (CAPSULES)", "the last record, under zzz", "record version 68"],
    ),
    (
        "blobs of another format",
        |raw| {
            plant(raw, memory_ids::BLOB_META, 5_u64);
            plant(raw, memory_ids::BLOB_META, u64::MAX);
        },
        &["memory id 7 (BLOB_META)", "the first record, under 5"],
    ),
    (
        "a receipt of another format",
        |raw| plant(raw, memory_ids::RECEIPTS, 1_u64),
        &["memory id 17 (RECEIPTS)", "the first record, under 1"],
    ),
    (
        "the state of migration 1 by a newer engine",
        |raw| {
            let memory = Memories::init(raw.clone()).get(memory_ids::MIGRATION_STATE);
            StableCell::init(memory, Vec::new()).set(NEWER.to_vec());
        },
        &["memory id 25 (MIGRATION_STATE)", "has format 2", "up to 1: install the newer build"],
    ),
    (
        "a journal that a newer engine continued",
        |raw| plant_bytes(raw, memory_ids::MIGRATION_JOURNAL, u64::MAX, NEWER),
        &["memory id 26 (MIGRATION_JOURNAL)", "has format 2", "up to 1: install the newer build"],
    ),
    (
        "the state of a migration by a newer engine",
        |raw| plant_bytes(raw, memory_ids::MIGRATION_STATES, 3_u16, NEWER),
        &["memory id 34 (MIGRATION_STATES)", "under 3, has format 2", "up to 1: install the newer build"],
    ),
];

/// Checks that every build refuses the memory with these texts, and leaves it unchanged.
fn assert_refused_by_every_build(
    canister: &InstalledCanister,
    what: &str,
    damaged: &[u8],
    expected: &[&str],
) {
    canister.pic.set_stable_memory(canister.id, damaged.to_vec(), BlobCompression::NoCompression);
    for build in [Build::Legacy, Build::Staged, Build::Direct] {
        let Err(refused) = canister.try_upgrade(build) else { panic!("{what}: {build} accepts the memory") };
        let refused = refused.reject_message;
        for words in expected.iter().chain(&["upgrade refused", "nothing was changed"]) {
            assert!(refused.contains(words), "{what}, {build}: {refused}");
        }
        assert!(
            canister.pic.get_stable_memory(canister.id) == damaged,
            "{what}, {build}: stable memory is unchanged"
        );
        let info: upload_canister::api::BuildInfo = canister.query_plain("build_info", ());
        assert_eq!(info.build, "legacy", "the old code continues");
    }
}

/// Returns a canister of the legacy build, and a stable memory without damage.
fn install_sound() -> (InstalledCanister, Vec<u8>) {
    let canister = InstalledCanister::new(Build::Legacy);
    let (sound, _) = small_image(3, canister.pic.get_time().as_nanos_since_unix_epoch());
    (canister, sound)
}

/// Returns the tables that a stable memory contains: id, name and structure.
fn tables(bytes: &[u8]) -> impl Iterator<Item = (u8, &'static str, Structure)> {
    let is_there = |id: u8| bytes[OWNERS..BUCKET].contains(&id);
    ALL.iter().copied().filter(move |(id, _, structure)| *structure != Structure::Reserved && is_there(*id))
}

#[test]
fn each_refusal_says_what_is_wrong_where_and_what_to_do() {
    let (canister, sound) = install_sound();
    for (what, damage, expected) in CASES {
        let raw = memory_of(&sound);
        damage(&raw);
        let damaged = raw.borrow().clone();
        assert_refused_by_every_build(&canister, what, &damaged, expected);
    }
}

#[test]
fn memory_that_ends_before_any_table_is_refused() {
    let (canister, sound) = install_sound();
    for (id, name, _) in tables(&sound) {
        let cut = cut_before(&sound, id);
        assert_refused_by_every_build(&canister, name, &cut, &["at offset 4", "the number of buckets"]);
    }
}

#[test]
fn memory_with_any_table_half_written_is_refused() {
    let (canister, sound) = install_sound();
    for (id, name, _) in tables(&sound) {
        let at = format!("memory id {id} ({name})");
        // Zeros replace either the first three bytes of the table's header, or the bytes that follow them.
        for (from, until) in [(0, 3), (3, 64)] {
            let raw = memory_of(&sound);
            Memories::init(raw.clone()).get(MemoryId::new(id)).write(from as u64, &vec![0; until - from]);
            let damaged = raw.borrow().clone();
            assert_refused_by_every_build(&canister, &format!("{name} from {from}"), &damaged, &[&at]);
        }
    }
}

/// Tables in which a single record of another format is accepted: chunks have no format, records of the migrations are
/// quarantined, blobs may be Candid from an earlier release, and an access key that does not decode is replaced.
const UNCHECKED_RECORDS: [u8; 6] = [
    numbers::CHUNKS,
    numbers::LEGACY_SESSIONS,
    numbers::BLOB_META,
    numbers::MIGRATION_QUARANTINE,
    numbers::MIGRATION_QUARANTINES,
    numbers::ACCESS_KEYS,
];

#[test]
fn record_of_another_format_in_any_table_is_refused() {
    let (canister, sound) = install_sound();
    let mut tried = 0;
    for (id, name, structure) in tables(&sound).filter(|(id, ..)| !UNCHECKED_RECORDS.contains(id)) {
        let raw = memory_of(&sound);
        match structure {
            Structure::Map => plant_last(&raw, id),
            Structure::Cell => {
                let memory = Memories::init(raw.clone()).get(MemoryId::new(id));
                StableCell::init(memory, Vec::new()).set(FOREIGN.to_vec());
            }
            Structure::Region | Structure::Counters | Structure::Reserved => continue,
        }
        let damaged = raw.borrow().clone();
        let expected = [&*format!("memory id {id} ({name})"), "record"];
        assert_refused_by_every_build(&canister, name, &damaged, &expected);
        tried += 1;
    }
    assert!(tried >= 30, "only {tried} tables were tried");
}

/// Returns the instructions of `post_upgrade` in an upgrade that is refused.
fn cost_of_refusal(canister: &InstalledCanister, build: Build, damaged: Vec<u8>) -> u64 {
    canister.pic.set_stable_memory(canister.id, damaged, BlobCompression::NoCompression);
    canister.try_upgrade(build).unwrap_err();
    let messages = costs::messages(&canister.pic, canister.id, 0).unwrap();
    let last = messages.iter().rfind(|message| message.entry == "post_upgrade").unwrap();
    assert!(!last.ok, "{build}: {last:?}");
    last.instructions
}

/// The cost of the preflight is the difference between two refusals: one at the last record of the last table, after
/// all other checks, and one at the header of the first table, before all other checks. In both, the library has
/// already opened the memory manager, which takes almost a million instructions.
#[test]
fn the_preflight_costs_at_most_2_million_instructions() {
    let (canister, sound) = install_sound();
    let is_checked_map = |(id, _, structure): &(u8, &str, Structure)| {
        *structure == Structure::Map && !UNCHECKED_RECORDS.contains(id)
    };
    let (last, name, _) = tables(&sound).filter(is_checked_map).last().unwrap();
    let (first, ..) = tables(&sound).next().unwrap();
    for build in [Build::Legacy, Build::Staged, Build::Direct] {
        let damaged = |damage: &dyn Fn(&RawMemory)| {
            let raw = memory_of(&sound);
            damage(&raw);
            raw.take()
        };
        let at_first = cost_of_refusal(
            &canister,
            build,
            damaged(&|raw| Memories::init(raw.clone()).get(MemoryId::new(first)).write(0, b"XYZ")),
        );
        let at_last = cost_of_refusal(&canister, build, damaged(&|raw| plant_last(raw, last)));
        let preflight = at_last - at_first;
        assert!((100_000..=2_000_000).contains(&preflight), "{build}, {name}: {at_last} - {at_first}");
    }
}

//! Tests of snapshots: walks of sound and of damaged maps, compared with the library's iteration; files and folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candid::Principal;
use ic_stable_structures::{BTreeMap as LibraryMap, Memory, Storable, VectorMemory};
use proptest::prelude::*;
use sha2::Digest as _;
use upload_canister::stable::keys::TwoTexts;

use super::*;

type Entries<K> = Vec<(K, Vec<u8>)>;

fn walk<K: Key>(memory: &VectorMemory) -> (Entries<K>, Result<Walked, Damage>) {
    let mut entries = Vec::new();
    let walked = Tree::open(memory).map(|tree| {
        let each = &mut |key: K, entry: &Entry<'_, VectorMemory>| entries.push((key, entry.value()));
        tree.map(|tree| tree.walk(each)).unwrap_or_default()
    });
    (entries, walked)
}

/// Creates a map with the library. After every third insertion, an earlier entry is removed.
fn map_of<K: Key>(entries: &[(K, Vec<u8>)]) -> (VectorMemory, BTreeMap<K, Vec<u8>>) {
    let memory = VectorMemory::default();
    let mut map: LibraryMap<K, Vec<u8>, _> = LibraryMap::init(memory.clone());
    let mut model = BTreeMap::new();
    for (place, (key, value)) in entries.iter().enumerate() {
        map.insert(key.clone(), value.clone());
        model.insert(key.clone(), value.clone());
        if place % 3 == 2 {
            let gone = &entries[place / 2].0;
            map.remove(gone);
            model.remove(gone);
        }
    }
    (memory, model)
}

/// Checks that a walk finds the entries of a map that the library has written, and no damage.
fn check_walk<K: Key>(entries: &[(K, Vec<u8>)]) {
    let (memory, model) = map_of(entries);
    let (found, walked) = walk::<K>(&memory);
    let walked = walked.unwrap();
    assert_eq!(walked.damage, [], "a map of the library is sound");
    assert_eq!(found, model.into_iter().collect::<Vec<_>>());
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![5 => 0..40_usize, 1 => 900..1_200_usize, 1 => 5_000..9_000_usize];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_walk_finds_what_the_library_has(
        numbers in prop::collection::vec((0..200_u64, value()), 0..120),
        chunks in prop::collection::vec((any::<[u8; 1]>(), 0..9_u32, value()), 0..60),
        owners in prop::collection::vec((0..5_u8, 0..90_u64), 0..120),
        texts in prop::collection::vec(("[a-c]{0,3}", "[a-c]{0,40}", value()), 0..60),
    ) {
        check_walk(&numbers);
        let chunks = chunks.into_iter().map(|([a], idx, value)| (([a; 32], idx), value));
        check_walk(&chunks.collect::<Vec<_>>());
        let owners = owners.into_iter().map(|(n, id)| {
            let owner = if n == 0 { Principal::anonymous() } else { Principal::self_authenticating([n]) };
            ((owner, id), Vec::new())
        });
        check_walk(&owners.collect::<Vec<_>>());
        let texts = texts.into_iter().map(|(a, b, value)| (TwoTexts(a, b), value));
        check_walk(&texts.collect::<Vec<_>>());
    }

    #[test]
    fn flipped_bytes_never_make_a_walk_panic_or_loop(
        entries in prop::collection::vec((0..500_u64, value()), 1..150),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8, 0..4_u8), 1..12),
    ) {
        let (memory, model) = map_of(&entries);
        let used = memory.borrow().iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for (place, change, near) in flips {
            // Three of four changes are near the beginning, where the headers are.
            let place = place.index(if near == 0 { used } else { used.min(3_000) });
            memory.borrow_mut()[place] ^= change;
        }
        let (found, walked) = walk::<u64>(&memory);
        // Even if the damage goes unnoticed, the walk finds at most one node's entries (11) more than the map had.
        if let Ok(walked) = walked && walked.damage.is_empty() && walked.entries != 0 {
            prop_assert!(found.len() <= model.len() + 11);
        }
    }

    #[test]
    fn a_key_parsed_from_any_bytes_survives_a_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        fn parsed<K: Key>(bytes: &[u8]) {
            if let Some(key) = K::parse(bytes) {
                let _ = key.shown();
                assert_eq!(K::parse(&key.to_bytes()), Some(key));
            }
        }
        parsed::<u16>(&bytes);
        parsed::<u64>(&bytes);
        parsed::<[u8; 32]>(&bytes);
        parsed::<String>(&bytes);
        parsed::<Principal>(&bytes);
        parsed::<(u64, u64)>(&bytes);
        parsed::<(u16, u64)>(&bytes);
        parsed::<([u8; 32], u32)>(&bytes);
        parsed::<(Principal, u64)>(&bytes);
        parsed::<(Principal, ic_stable_structures::storable::Blob<32>)>(&bytes);
        parsed::<TwoTexts>(&bytes);
        parsed::<upload_canister::stable::keys::NumberAndText>(&bytes);
    }
}

fn find(memory: &VectorMemory, bytes: &[u8]) -> usize {
    memory.borrow().windows(bytes.len()).position(|window| window == bytes).unwrap()
}

#[test]
fn each_damage_to_a_map_is_reported_with_its_location() {
    let entries: Vec<(u64, Vec<u8>)> = (0..40).map(|n| (n, vec![7; 300])).collect();
    let damaged = |change: &dyn Fn(&VectorMemory)| {
        let (memory, _) = map_of(&entries);
        change(&memory);
        match walk::<u64>(&memory).1 {
            Ok(walked) => walked.damage.into_iter().next().expect("no damage is reported"),
            Err(damage) => damage,
        }
    };
    let at_node = damaged(&|memory| {
        let at = find(memory, b"BTN");
        memory.borrow_mut()[at] = b'X';
    });
    assert!(at_node.what.contains("expected \"BTN\"") && at_node.offset > 100, "{at_node:?}");
    let at_overflow = damaged(&|memory| {
        let at = find(memory, b"NOF");
        memory.borrow_mut()[at] = 0;
    });
    assert!(at_overflow.what.contains("expected \"NOF\""), "{at_overflow:?}");
    // In the header of the map: pages taken (byte 68), root (12) and number of entries (20).
    let at_pages = damaged(&|memory| memory.borrow_mut()[68] ^= 1);
    assert!(at_pages.what.contains("pages allocated by the allocator"), "{at_pages:?}");
    let at_root = damaged(&|memory| memory.borrow_mut()[12] ^= 1);
    assert!(at_root.what.contains("where there is no page"), "{at_root:?}");
    let at_len = damaged(&|memory| memory.borrow_mut()[20] ^= 1);
    assert!(at_len.what.contains("entries by the header"), "{at_len:?}");
    let at_magic = damaged(&|memory| memory.borrow_mut()[0] = 0);
    assert_eq!(at_magic.offset, 0);
    let at_chunk = damaged(&|memory| {
        let at = find(memory, b"BTN");
        // The header of the node's page begins 16 bytes before it, and says at its fifth byte that the page is taken.
        memory.borrow_mut()[at - 12] = 0;
    });
    assert!(at_chunk.what.contains("\"CHK\""), "{at_chunk:?}");
}

#[test]
fn a_map_of_the_old_format_is_read_like_the_library_does() {
    // The library no longer writes maps of version 1, so this test writes one node, with keys and values of 8 bytes.
    let memory = VectorMemory::default();
    memory.grow(1);
    let page_bytes: u64 = 7 + 11 * (8 + 8 + 8) + 12 * 8;
    let mut header = b"BTR\x01".to_vec();
    header.extend([8_u32, 8].map(u32::to_le_bytes).concat());
    header.extend([116_u64, 2].map(u64::to_le_bytes).concat());
    memory.write(0, &header);
    let mut allocator = b"BTA\x01\0\0\0\0".to_vec();
    allocator.extend([page_bytes, 1, 100 + 16 + page_bytes].map(u64::to_le_bytes).concat());
    memory.write(52, &allocator);
    memory.write(100, b"CHK\x01\x01\0\0\0\0\0\0\0\0\0\0\0");
    memory.write(116 + page_bytes, b"CHK\x01\0\0\0\0\0\0\0\0\0\0\0\0");
    let mut node = b"BTN\x01\0\x02\0".to_vec();
    for (key, value) in [(3_u64, 30_u64), (5, 50)] {
        node.extend(8_u32.to_le_bytes());
        node.extend(key.to_be_bytes());
        node.extend(8_u32.to_le_bytes());
        node.extend(value.to_be_bytes());
    }
    memory.write(116, &node);
    let (found, walked) = walk::<u64>(&memory);
    assert_eq!(walked, Ok(Walked { entries: 2, pages: 1, damage: Vec::new() }));
    let library: LibraryMap<u64, u64, _> = LibraryMap::init(memory);
    let by_library: Vec<_> =
        library.iter().map(|entry| (*entry.key(), entry.value().to_bytes().into_owned())).collect();
    assert_eq!(found, by_library);
}

#[test]
fn a_cell_is_read_and_a_damaged_one_is_reported() {
    let memory = VectorMemory::default();
    assert_eq!(read_cell(&memory), Ok(None));
    drop(ic_stable_structures::Cell::init(memory.clone(), vec![1_u8, 2, 3]));
    assert_eq!(read_cell(&memory), Ok(Some(vec![1, 2, 3])));
    memory.write(4, &u32::MAX.to_le_bytes());
    assert_eq!(read_cell(&memory).unwrap_err().offset, 4);
    memory.write(3, &[9]);
    assert_eq!(read_cell(&memory).unwrap_err().offset, 0);
}

/// Returns pages of different bytes; the second page is all zeros.
fn pages(count: usize) -> Vec<u8> {
    let page = |n: usize| {
        if n == 1 { vec![0; 65_536] } else { (0..65_536).map(|i| (i * n + n) as u8 | 1).collect() }
    };
    (0..count).flat_map(page).collect()
}

/// Creates a snapshot folder with this stable memory, and a module of four bytes.
fn folder(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let metadata = serde_json::json!({
        "source": { "taken_from_canister": null },
        "taken_at_timestamp": 17, "wasm_module_size": 4, "globals": [], "wasm_memory_size": 0,
        "stable_memory_size": bytes.len(), "wasm_chunk_store": [], "canister_version": 3,
        "certified_data": [], "global_timer": null, "on_low_wasm_memory_hook_status": null,
    });
    fs::write(folder.path().join(METADATA), metadata.to_string()).unwrap();
    fs::write(folder.path().join(WASM_MODULE), "\0asm").unwrap();
    fs::write(folder.path().join(STABLE_MEMORY), bytes).unwrap();
    folder
}

#[test]
fn a_stable_memory_is_read_from_every_form() {
    let bytes = pages(4);
    let folder = folder(&bytes);
    let raw = folder.path().join(STABLE_MEMORY);
    let gz = folder.path().join("stable.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&gz).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    encoder.finish().unwrap();
    for (path, form) in [(folder.path(), Form::Folder), (&raw, Form::Raw), (&gz, Form::Gzip)] {
        let Snapshot { stable, form: found, metadata, .. } = Snapshot::open(path).unwrap();
        assert_eq!((found, stable.size()), (form, 4));
        assert_eq!(
            metadata.map(|metadata| metadata.taken_at_timestamp),
            (form == Form::Folder).then_some(17)
        );
        for (at, len) in [(0, 10), (65_530, 20), (65_000, 140_000), (4 * 65_536 - 3, 3)] {
            let mut got = vec![9; len];
            stable.read(at as u64, &mut got);
            assert_eq!(got, bytes[at..at + len], "{len} bytes at {at}");
        }
        stable.failure().unwrap();
        let mut seen = 0;
        assert_eq!(stable.pages_in_use(&mut |bytes| seen += bytes).unwrap(), 3);
        assert_eq!(seen, 4 * 65_536);
    }
}

#[test]
fn a_snapshot_that_differs_from_its_manifest_is_not_verified() {
    let folder = folder(&pages(2));
    let path = STABLE_MEMORY.to_owned();
    let digest = sha256_of(&folder.path().join(&path), u64::MAX, &mut |_| ()).unwrap().finalize();
    for (sha256, expected) in
        [("00".to_owned(), Verified::Lengths), (hex::encode(digest), Verified::EveryByte)]
    {
        let mut manifest = Manifest::new(String::new(), String::new(), String::new(), String::new());
        manifest.files = vec![FileEntry { path: path.clone(), bytes: 2 * 65_536, sha256 }];
        let mut snapshot = Snapshot::open(folder.path()).unwrap();
        (snapshot.manifest, snapshot.verified) = (Some(manifest), Verified::Lengths);
        let worked = snapshot.while_verifying(&Progress::hidden(), |_| Ok::<(), SnapshotError>(()));
        assert_eq!((worked.is_ok(), snapshot.verified), (expected == Verified::EveryByte, expected));
    }
}

#[test]
fn failed_reads_and_attempted_writes_are_reported() {
    let folder = folder(&pages(2));
    let stable = StableFile::open(&folder.path().join(STABLE_MEMORY)).unwrap();
    let mut got = [7; 8];
    stable.read(2 * 65_536 - 4, &mut got);
    assert_eq!(got, [0; 8]);
    assert!(stable.failure().unwrap_err().to_string().contains(STABLE_MEMORY));
    stable.failure().unwrap();
    assert_eq!(stable.grow(1), -1);
    stable.write(0, &[1]);
    assert!(stable.failure().unwrap_err().to_string().contains("never written"));
}

#[test]
fn an_incomplete_snapshot_is_refused_with_advice() {
    let refusal = |change: &dyn Fn(&Path)| {
        let folder = folder(&pages(2));
        change(folder.path());
        let error = Snapshot::open(folder.path()).unwrap_err();
        assert!(error.is_usage(), "{error}");
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    let write = |name: &'static str, bytes: &'static [u8]| {
        move |folder: &Path| {
            fs::write(folder.join(name), bytes).unwrap();
        }
    };
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    assert!(refusal(&write(".download_progress.json", b"{}")).contains("download --resume"));
    assert!(refusal(&write(".download_progress.json.tmp", b"")).contains("not finished"));
    let short = refusal(&write(STABLE_MEMORY, &[1; 100]));
    assert!(short.contains("has 100 bytes, expected 131072"), "{short}");
    assert!(refusal(&write(WASM_MODULE, b"\0asm\x01")).contains("has 5 bytes, expected 4"));
    assert!(refusal(&write(WASM_MEMORY, b"x")).contains("has 1 bytes, expected 0"));
    assert!(refusal(&remove(STABLE_MEMORY)).contains("is missing, metadata.json says 131072 bytes"));
    assert!(refusal(&remove(METADATA)).contains("is not a snapshot folder"));
    assert!(refusal(&write(METADATA, b"[]")).contains(METADATA));
    let other = folder(&pages(1));
    for (name, bytes, words) in [("a", vec![], "empty"), ("b", vec![1; 70_000], "has 70000 bytes")] {
        let path = other.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert!(Snapshot::open(&path).unwrap_err().to_string().contains(words));
    }
    let cut = other.path().join("cut.gz");
    fs::write(&cut, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    assert!(Snapshot::open(&cut).unwrap_err().to_string().contains("cannot decompress"));
    let nowhere = Snapshot::open(&other.path().join("nowhere")).unwrap_err();
    assert!(nowhere.is_usage() && nowhere.to_string().contains("nowhere"), "{nowhere}");
}

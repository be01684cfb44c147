//! Damaged stable memories: each kind of damage has its treatment, nothing sound is lost, and records that are not
//! taken are in `adopted.left.jsonl`. `Adopted::of` checks that every record has an outcome, and `adopt` itself that
//! the result inspects clean.

use candid::Principal;
use serde_bytes::ByteBuf;
use session_migrate::adopt::{Header, RecordKind, RecordOutcome};
use session_migrate::inspect::{self, InspectError};
use session_migrate::progress::Progress;
use session_migrate::{Verdict, server};
use upload_canister::migrations::public_release::{
    PublicAccess, PublicAssetMetadata, PublicBlobAsset, PublicInlineAsset, PublicMemory, PublicPerson,
};
use upload_model::public_release::{CHUNK_SIZE, PublicRelease, blob_of};

use super::on_the_server::{expect_blob, loaded};
use super::release::{Adopted, NOW, ReleaseStableMemory, Short, file, outcome_of, person};

/// Size of a file of two chunks, the second one short.
const SIZE: usize = CHUNK_SIZE + 500;

/// The bytes with which a node of a map begins: the magic, and version 2.
const NODE_START: &[u8] = b"BTN\x02";

/// A capsule to damage. It has two memories, each with one blob.
struct Victim {
    stable: ReleaseStableMemory,
    capsule: String,
    /// Ids of the two memories.
    ids: [String; 2],
}

fn victim() -> Victim {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let first = release.upload(&capsule, 1, &file(SIZE, 1), NOW + 1).0;
    let second = release.upload(&capsule, 2, &file(700, 2), NOW + 2).0;
    Victim { stable: ReleaseStableMemory::of(&release), capsule, ids: [first, second] }
}

impl Victim {
    fn adopted(&self) -> Adopted {
        Adopted::of(&self.stable.bytes())
    }

    fn change(&self, memory: usize, change: impl FnOnce(&mut PublicMemory)) {
        self.stable.change_memory(&self.capsule, &self.ids[memory], change);
    }
}

type Damage = fn(&Victim);

fn other_bytes(len: usize) -> Vec<u8> {
    file(len, 99)
}

/// Damage after which the first blob, its memory and its asset are not taken, and the reason reported for the blob.
const LOST_BLOBS: &[(&str, Damage, &str)] = &[
    ("a hole", |it| it.stable.remove_chunk(1, 0), "chunk 0 is missing"),
    ("a missing end", |it| it.stable.remove_chunk(1, 1), "bytes are stored, its record says"),
    ("other bytes", |it| it.stable.put(1, 1, &other_bytes(500)), "its bytes have the SHA-256"),
    (
        "a chunk of a reused session number",
        |it| it.stable.put(1, 0, &other_bytes(13)),
        "bytes are stored, its record says",
    ),
    (
        "a digest that is not that of the bytes",
        |it| it.stable.change_blob(blob_of(1), |blob| blob.checksum = ByteBuf::from([7; 32])),
        "but 0707",
    ),
    (
        "a digest of another length",
        |it| it.stable.change_blob(blob_of(1), |blob| blob.checksum = ByteBuf::from([7; 31])),
        "expected 32",
    ),
    (
        "a record that does not decode",
        |it| drop(it.stable.blobs().insert(blob_of(1), Short(b"DIDL\0\0".to_vec()))),
        "does not decode",
    ),
    (
        "a record of another version",
        |it| {
            let bytes = candid::encode_one((2_u16, 5_u8)).unwrap();
            drop(it.stable.blobs().insert(blob_of(1), Short(bytes)));
        },
        "does not decode",
    ),
    (
        "a key under which no chunk is stored",
        |it| it.stable.change_blob(blob_of(1), |blob| blob.pmid_hash = ByteBuf::from([9; 32])),
        "bytes are stored, its record says",
    ),
];

#[test]
fn a_damaged_blob_is_not_taken() {
    for (damage, apply, message) in LOST_BLOBS {
        let victim = victim();
        apply(&victim);
        let adopted = victim.adopted();
        assert_eq!(adopted.report.verdict, Verdict::Fail, "{damage}");
        let blobs = adopted.items(RecordKind::Blob, RecordOutcome::NotTaken);
        assert_eq!(blobs.len(), 1, "{damage}");
        assert!(blobs[0].notes[0].contains(message), "{damage}: {:?}", blobs[0]);
        assert_eq!(adopted.count(RecordKind::Blob).taken, 1, "{damage}");
        for kind in [RecordKind::Memory, RecordKind::Asset] {
            let count = adopted.count(kind);
            assert_eq!((count.taken, count.not_taken), (1, 1), "{damage}: {count:?}");
        }
        // Every chunk that is not taken is in `adopted.left.jsonl`.
        let chunks = adopted.count(RecordKind::Chunk);
        let lines = adopted.left().iter().filter(|line| line["kind"] == "chunk").count() as u64;
        assert_eq!(lines, chunks.no_counterpart + chunks.not_taken, "{damage}");
        assert!(adopted.left().iter().any(|line| line["kind"] == "blob"), "{damage}");
    }
}

#[test]
fn sessions_of_chunks_are_the_same_in_adopt_and_inspect() {
    let victim = victim();
    // The key of a chunk has only a hash of the session's number, so the number is found by trying all up to a million.
    let [tried, last_tried] = [100_001, 1_000_000];
    [tried, last_tried, 1_000_001].iter().for_each(|session| victim.stable.put(*session, 0, &other_bytes(9)));
    let adopted = victim.adopted();
    let snapshot = adopted.folder.path().join("old.bin");
    let inspected = inspect::run(&inspect::Options { snapshot, deep: false }, &Progress::hidden());
    let Err(InspectError::PublicRelease { contents, .. }) = inspected else {
        panic!("it is not a snapshot of the first public release")
    };
    let found: Vec<Option<u64>> = contents.in_flight.into_keys().collect();
    assert_eq!(found, [None, Some(tried), Some(last_tried)]);
    for session in [tried, last_tried] {
        let (outcome, _) = outcome_of(&adopted.report, RecordKind::Chunk, &format!("session {session}"));
        assert_eq!(outcome, RecordOutcome::NoCounterpart);
    }
    assert_eq!(adopted.items(RecordKind::Chunk, RecordOutcome::NoCounterpart).len(), 3);
}

#[test]
fn a_blob_with_bytes_after_its_end_is_taken_without_them() {
    let victim = victim();
    victim.stable.put(2, 1, &other_bytes(1_000));
    let adopted = victim.adopted();
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    let blobs = adopted.items(RecordKind::Blob, RecordOutcome::Repaired);
    assert!(blobs[0].notes[0].contains("1000 bytes of an earlier upload"), "{blobs:?}");
    let chunks = adopted.items(RecordKind::Chunk, RecordOutcome::NoCounterpart);
    assert_eq!((chunks.len(), chunks[0].count), (1, 1));
}

#[test]
fn a_blob_of_uneven_chunks_is_divided_evenly() {
    let victim = victim();
    let bytes = file(SIZE, 1);
    victim.stable.put(1, 0, &bytes[..10]);
    victim.stable.put(1, 1, &bytes[10..1_000]);
    victim.stable.put(1, 2, &bytes[1_000..]);
    let adopted = victim.adopted();
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    let blobs = adopted.items(RecordKind::Blob, RecordOutcome::Repaired);
    assert!(blobs[0].notes[0].contains("uneven"), "{blobs:?}");
    assert_eq!(adopted.count(RecordKind::Chunk).taken, 4);
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &adopted.out());
    expect_blob(&canister, person(1), &format!("blob_{}", blob_of(1)), &bytes);
}

/// Damage after which the first memory is not taken, and the reason.
const WRONG_LOCATORS: &[(&str, Damage, &str)] = &[
    (
        "a locator of a missing blob",
        |it| it.change(0, |memory| memory.blob_internal_assets[0].blob_ref.locator = "blob_7".into()),
        "blob_7 is not stored",
    ),
    (
        "a locator of another form",
        |it| {
            let locator = format!("x:{}", blob_of(1));
            it.change(0, |memory| memory.blob_internal_assets[0].blob_ref.locator = locator);
        },
        "is not the locator of a blob",
    ),
];

#[test]
fn a_memory_with_a_wrong_locator_is_not_taken() {
    for (damage, apply, message) in WRONG_LOCATORS {
        let victim = victim();
        apply(&victim);
        let adopted = victim.adopted();
        assert_eq!(adopted.report.verdict, Verdict::Fail, "{damage}");
        let memories = adopted.items(RecordKind::Memory, RecordOutcome::NotTaken);
        assert!(memories[0].notes[0].contains(message), "{damage}: {memories:?}");
        let blobs = adopted.items(RecordKind::Blob, RecordOutcome::NotTaken);
        assert_eq!(blobs[0].notes, ["no memory refers to it"], "{damage}");
    }
}

/// Changes to the first memory that are repaired, with the kind of the repaired record and a part of its note.
const REPAIRED: &[(&str, Damage, RecordKind, &str)] = &[
    (
        "a wrong size in the metadata",
        |it| it.change(0, |memory| first_image_base(memory).bytes = 5),
        RecordKind::Asset,
        "the metadata said 5 bytes",
    ),
    (
        "a wrong digest in the metadata",
        |it| it.change(0, |memory| first_image_base(memory).sha256 = Some(ByteBuf::from([1; 32]))),
        RecordKind::Asset,
        "another SHA-256",
    ),
    (
        "texts beyond the limits",
        |it| {
            it.change(0, |memory| {
                let base = first_image_base(memory);
                base.name = "n".repeat(5_000);
                base.description = Some("ä".repeat(20_000));
                base.tags = vec!["t".repeat(300); 200];
                base.url = Some("u".repeat(3_000));
            });
        },
        RecordKind::Asset,
        "were shortened",
    ),
    (
        "an unknown processing status",
        |it| it.change(0, |memory| first_image_base(memory).processing_status = Some("dreaming".into())),
        RecordKind::Asset,
        "\"dreaming\" is unknown",
    ),
    (
        "a record that names another id",
        |it| it.change(0, |memory| memory.id = "mem_0".into()),
        RecordKind::Memory,
        "named mem_0",
    ),
];

fn first_image_base(
    memory: &mut PublicMemory,
) -> &mut upload_canister::migrations::public_release::PublicBase {
    match &mut memory.blob_internal_assets[0].metadata {
        PublicAssetMetadata::Image(image) => &mut image.base,
        _ => panic!("the first asset is not an image"),
    }
}

#[test]
fn a_memory_that_contradicts_itself_is_repaired() {
    for (damage, apply, kind, message) in REPAIRED {
        let victim = victim();
        apply(&victim);
        let adopted = victim.adopted();
        assert_eq!(adopted.report.verdict, Verdict::Pass, "{damage}");
        let repaired = adopted.items(*kind, RecordOutcome::Repaired);
        assert_eq!(repaired.len(), 1, "{damage}: {:?}", adopted.report.items);
        assert!(repaired[0].notes.iter().any(|note| note.contains(message)), "{damage}: {repaired:?}");
        assert_eq!(adopted.count(RecordKind::Memory).not_taken, 0, "{damage}");
    }
}

#[test]
fn further_assets_of_a_memory_become_memories() {
    let victim = victim();
    victim.change(0, |memory| {
        let metadata = memory.blob_internal_assets[0].metadata.clone();
        // This canister keeps the smaller asset within the memory's record; the larger one becomes a blob.
        for len in [100, 40_000] {
            let bytes = ByteBuf::from(file(len, 5));
            memory.inline_assets.push(PublicInlineAsset { bytes, metadata: metadata.clone() });
        }
    });
    let adopted = victim.adopted();
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    assert_eq!(
        adopted.count(RecordKind::Asset).repaired,
        3,
        "three assets are repaired: their sizes, and the ids of two"
    );
    let item = adopted.report.items.iter().find(|item| item.id == victim.ids[0]).unwrap();
    assert!(item.rest.iter().any(|rest| rest.contains("order of its 3 assets")), "{item:?}");
    let repaired = format!("{:?}", adopted.items(RecordKind::Asset, RecordOutcome::Repaired));
    for message in ["asset1", "were within the record, and are blob_"] {
        assert!(repaired.contains(message), "{repaired}");
    }
}

#[test]
fn access_rules_and_titles_are_reported_and_in_left_jsonl() {
    let victim = victim();
    victim.change(0, |memory| {
        memory.access = PublicAccess::Public { owner_secure_code: "secret".into() };
        memory.metadata.title = Some("Harbour".into());
    });
    let adopted = victim.adopted();
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    let item = adopted.report.items.iter().find(|item| item.id == victim.ids[0]).unwrap();
    assert_eq!(item.rest, ["its access rule, public", "its title"]);
    let line = adopted.left().into_iter().find(|line| line["id"] == *victim.ids[0]).unwrap();
    assert!(line["record"].as_str().unwrap().contains("Harbour"), "{line}");
}

#[test]
fn a_blob_of_two_capsules_stays_in_the_capsule_of_its_upload() {
    let mut release = PublicRelease::new(1);
    let [own, foreign] = [1, 2].map(|n| release.create_capsule(person(n), NOW + n));
    release.upload(&own, 1, &file(900, 1), NOW + 10);
    release.upload(&foreign, 2, &file(800, 2), NOW + 11);
    let stable = ReleaseStableMemory::of(&release);
    // The locator of another capsule's blob, as any client could send it.
    stable.change_capsule(&foreign, |capsule| {
        let (_, memory) = &capsule.memories[0];
        let mut stolen = memory.clone();
        stolen.id = "mem_5".into();
        stolen.blob_internal_assets[0].blob_ref.locator = format!("blob_{}", blob_of(1));
        capsule.memories.push(("mem_5".into(), stolen));
    });
    let adopted = Adopted::of(&stable.bytes());
    let refused = adopted.items(RecordKind::Memory, RecordOutcome::NotTaken);
    assert_eq!((refused.len(), refused[0].id.as_str()), (1, "mem_5"));
    assert!(refused[0].notes[0].contains(&format!("belongs to {own}")), "{refused:?}");
    assert_eq!(adopted.count(RecordKind::Blob).taken, 2);
}

#[test]
fn a_second_memory_of_a_blob_shares_it() {
    let victim = victim();
    victim.stable.change_capsule(&victim.capsule, |capsule| {
        // A memory as the first release's own client creates it: without size and digest.
        let mut second = capsule.memories[0].1.clone();
        second.id = "mem_9".into();
        (second.blob_internal_assets[0].blob_ref.len, second.blob_internal_assets[0].blob_ref.hash) =
            (0, None);
        capsule.memories.push(("mem_9".into(), second));
    });
    let adopted = victim.adopted();
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    assert_eq!(
        (adopted.count(RecordKind::Memory).found, adopted.count(RecordKind::Memory).not_taken),
        (3, 0)
    );
}

#[test]
fn uploads_of_the_same_content_keep_one_blob_each() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    for session in 1..=3 {
        release.upload(&capsule, session, &file(5_000, 1), NOW + session);
    }
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!((adopted.report.verdict, adopted.count(RecordKind::Blob).taken), (Verdict::Pass, 3));
}

#[test]
fn an_id_in_two_capsules_stays_with_one_of_them() {
    let mut release = PublicRelease::new(1);
    let capsules = [1, 2].map(|n| release.create_capsule(person(n), NOW + n));
    // Two uploads that were finished in the same round, so that their memories have the same id.
    for (session, capsule) in (1..).zip(&capsules) {
        release.upload(capsule, session, &file(300, session), NOW + 10);
    }
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!((adopted.report.verdict, adopted.count(RecordKind::Memory).taken), (Verdict::Pass, 1));
    // The other memory is adopted under a new id.
    let renamed = adopted.items(RecordKind::Memory, RecordOutcome::Repaired);
    assert!(renamed[0].notes[0].contains(&format!("mem_{}.2", NOW + 10)), "{renamed:?}");
}

/// Damage after which the capsule and its contents are not taken, and the reason.
const LOST_CAPSULES: &[(&str, Damage, &str)] = &[
    (
        "an anonymous owner",
        |it| {
            it.stable.change_capsule(&it.capsule, |capsule| {
                capsule.owners[0].0 = PublicPerson::Principal(Principal::anonymous());
            });
        },
        "no owner has a principal",
    ),
    (
        "an owner without a principal",
        |it| {
            it.stable.change_capsule(&it.capsule, |capsule| {
                capsule.owners[0].0 = PublicPerson::Opaque("someone".into());
            });
        },
        "no owner has a principal",
    ),
    (
        "a record that does not decode",
        |it| drop(it.stable.capsules().insert(it.capsule.clone(), b"DIDL\0\0".to_vec())),
        "does not decode",
    ),
    (
        "a record of another version",
        |it| {
            drop(it.stable.capsules().insert(it.capsule.clone(), candid::encode_one((2_u16, 1_u8)).unwrap()))
        },
        "does not decode",
    ),
];

#[test]
fn the_contents_of_a_capsule_not_taken_are_not_taken() {
    for (damage, apply, message) in LOST_CAPSULES {
        let victim = victim();
        apply(&victim);
        let adopted = victim.adopted();
        assert_eq!(adopted.report.verdict, Verdict::Fail, "{damage}");
        let capsules = adopted.items(RecordKind::Capsule, RecordOutcome::NotTaken);
        assert!(capsules[0].notes[0].contains(message), "{damage}: {capsules:?}");
        assert_eq!(adopted.count(RecordKind::Blob).not_taken, 2, "{damage}");
        assert_eq!(adopted.count(RecordKind::Chunk).not_taken, 3, "{damage}");
        assert_eq!(adopted.report.blob_bytes, 0, "{damage}");
    }
}

#[test]
fn a_capsule_with_a_too_long_id_is_not_taken() {
    let victim = victim();
    let mut capsules = victim.stable.capsules();
    let record = capsules.get(&victim.capsule).unwrap();
    capsules.insert("capsule_".repeat(5), record);
    let adopted = victim.adopted();
    let refused = adopted.items(RecordKind::Capsule, RecordOutcome::NotTaken);
    assert!(refused[0].notes[0].contains("its id has 40 bytes"), "{refused:?}");
}

#[test]
fn administrators_are_listed() {
    let victim = victim();
    victim.stable.admins().insert(person(7), ());
    let adopted = victim.adopted();
    let admins = adopted.items(RecordKind::Administrator, RecordOutcome::NoCounterpart);
    assert_eq!((adopted.report.verdict, admins[0].id.as_str()), (Verdict::Pass, &*person(7).to_text()));
}

#[test]
fn a_capsule_that_was_replaced_by_another_of_its_id_is_reported() {
    let victim = victim();
    // Now the index entry of the first owner refers to a capsule of another owner.
    victim.stable.change_capsule(&victim.capsule, |capsule| {
        capsule.owners[0].0 = PublicPerson::Principal(person(2));
    });
    let adopted = victim.adopted();
    let stale = adopted.items(RecordKind::IndexEntry, RecordOutcome::NoCounterpart);
    assert!(stale[0].notes[0].contains("issued its id twice"), "{stale:?}");
    assert_eq!(stale[0].id, person(1).to_text());
}

#[test]
fn an_index_entry_whose_key_does_not_decode_is_in_left_jsonl() {
    let mut bytes = victim().stable.bytes();
    let owner = person(1);
    // The key of an entry: the length of the principal, the principal, the id of the capsule.
    let key = [&(owner.as_slice().len() as u32).to_be_bytes()[..], owner.as_slice()].concat();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    // The length of the principal is now 0x0100001d.
    bytes[at] = 1;
    let adopted = Adopted::of(&bytes);
    assert_eq!(adopted.report.verdict, Verdict::Fail);
    assert_eq!(adopted.count(RecordKind::IndexEntry).found, 1);
    let refused = adopted.items(RecordKind::IndexEntry, RecordOutcome::NotTaken);
    assert!(refused[0].id.starts_with("0100001d"), "{refused:?}");
    assert!(refused[0].notes[0].contains("its key is not a principal"), "{refused:?}");
    let line = adopted.left().into_iter().find(|line| line["kind"] == "index_entry").unwrap();
    assert_eq!(line["id"], refused[0].id);
}

#[test]
fn the_header_that_pre_upgrade_destroys_is_reconstructed() {
    // The Candid of one gallery overwrites the header; that of 2,000 galleries extends into the first bucket.
    for galleries in [1, 2_000] {
        let mut release = PublicRelease::new(128);
        let capsule = release.create_capsule(person(1), NOW);
        release.pad_galleries(&capsule, galleries);
        release.upload(&capsule, 1, &file(6 * CHUNK_SIZE + 5, 1), NOW + 1);
        release.upload(&capsule, 2, &file(500, 2), NOW + 2);
        let whole = Adopted::of(&release.stable_memory());
        let adopted = Adopted::of(&release.after_pre_upgrade());
        assert_eq!(adopted.report.header, Header::Reconstructed);
        let [counts, expected] = [&adopted, &whole].map(|adopted| {
            let kinds = [
                RecordKind::Capsule,
                RecordKind::Memory,
                RecordKind::Asset,
                RecordKind::Gallery,
                RecordKind::Blob,
                RecordKind::Chunk,
            ];
            kinds.map(|kind| adopted.count(kind))
        });
        assert_eq!(counts, expected, "{galleries}");
        assert_eq!(adopted.report.verdict, Verdict::Pass, "{:?}", adopted.report.damage);
    }
}

#[test]
fn a_chunk_map_that_cannot_be_reconstructed_is_named_as_reason() {
    let mut release = PublicRelease::new(128);
    let capsule = release.create_capsule(person(1), NOW);
    let chunk = file(500, 1);
    release.upload(&capsule, 1, &chunk, NOW + 1);
    let mut bytes = release.after_pre_upgrade();
    let chunk_at = bytes.windows(chunk.len()).position(|window| window == chunk).unwrap();
    let node_at = bytes[..chunk_at].windows(4).rposition(|window| window == NODE_START).unwrap();
    bytes[node_at] = b'X';
    let adopted = Adopted::of(&bytes);
    assert_eq!((adopted.report.verdict, adopted.report.header), (Verdict::Fail, Header::Reconstructed));
    let blobs = adopted.items(RecordKind::Blob, RecordOutcome::NotTaken);
    assert!(blobs[0].notes[0].contains("could not be reconstructed"), "{blobs:?}");
}

#[test]
fn a_damaged_node_is_reported_with_its_offset() {
    let victim = victim();
    let mut bytes = victim.stable.bytes();
    let at = bytes.windows(4).position(|window| window == NODE_START).unwrap();
    bytes[at] = b'X';
    let adopted = Adopted::of(&bytes);
    assert_eq!(adopted.report.verdict, Verdict::Fail);
    assert!(adopted.report.damage[0].contains("offset"), "{:?}", adopted.report.damage);
}

#[test]
fn two_assets_of_a_memory_may_share_a_blob() {
    let victim = victim();
    victim.change(1, |memory| {
        let PublicBlobAsset { blob_ref, metadata } = memory.blob_internal_assets[0].clone();
        memory.blob_internal_assets.push(PublicBlobAsset { blob_ref, metadata });
    });
    let adopted = victim.adopted();
    assert_eq!((adopted.report.verdict, adopted.count(RecordKind::Asset).found), (Verdict::Pass, 3));
}

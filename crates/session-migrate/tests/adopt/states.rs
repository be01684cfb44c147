//! The stable memory that each defect of the first public release leaves, created by the steps of the release, and how
//! `adopt` treats it. `docs/adopted-defects.md` has a table of the defects, D1 and so on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use session_migrate::Verdict;
use session_migrate::adopt::{Header, RecordKind, RecordOutcome};
use session_migrate::inspect::{self, InspectError};
use session_migrate::progress::Progress;
use upload_canister::migrations::public_release::{
    PublicExternalAsset, PublicOwner, PublicPerson, PublicStore,
};
use upload_model::public_release::{CHUNK_SIZE, PublicRelease, blob_of};

use super::release::{Adopted, NOW, ReleaseStableMemory, file, outcome_of, person};

/// Returns the error of `inspect` on a stable memory that no build can read.
fn inspect_error(stable: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("old.bin");
    std::fs::write(&snapshot, stable).unwrap();
    let error: InspectError =
        inspect::run(&inspect::Options { snapshot, deep: false }, &Progress::hidden()).unwrap_err();
    error.to_string()
}

/// Returns the bytes of the chunks in `adopted.left.jsonl`, in the order of that file.
fn left_bytes(adopted: &Adopted) -> Vec<Vec<u8>> {
    let left = adopted.left();
    let chunks = left.iter().filter(|line| line["kind"] == "chunk");
    chunks.map(|line| STANDARD.decode(line["bytes"].as_str().unwrap()).unwrap()).collect()
}

/// D3: after a loss of the heap, sessions are numbered from 1 again, and an upload of 13 bytes overwrites the record
/// and the first chunk of an earlier blob.
#[test]
fn a_memory_whose_blob_was_replaced_is_not_taken() {
    // Whether the later upload is in another capsule, and whether the later upload's capsule still exists.
    for (is_elsewhere, still_exists) in [(false, true), (true, true), (true, false)] {
        let case = format!("in another capsule: {is_elsewhere}, which still exists: {still_exists}");
        let mut release = PublicRelease::new(1);
        let own = release.create_capsule(person(1), NOW);
        let foreign = release.create_capsule(person(2), NOW + 1);
        let (first, blob) = release.upload(&own, 1, &file(CHUNK_SIZE + 1_000, 1), NOW + 2);
        let target = if is_elsewhere { &foreign } else { &own };
        let (second, same) = release.upload(target, 1, &file(13, 2), NOW + 3);
        assert_eq!(blob, same);
        let stable = ReleaseStableMemory::of(&release);
        if !still_exists {
            stable.capsules().remove(target).unwrap();
        }
        let reason = inspect_error(&stable.bytes());
        assert!(
            reason.contains(&format!("{first} refers to blob_{blob} with another SHA-256")),
            "{case}: {reason}"
        );

        let adopted = Adopted::of(&stable.bytes());
        assert_eq!(adopted.report.verdict, Verdict::Fail, "{case}");
        let (outcome, why) = outcome_of(&adopted.report, RecordKind::Memory, &first);
        assert_eq!(outcome, RecordOutcome::NotTaken, "{case}: {why}");
        let reason =
            if is_elsewhere && still_exists { "belongs to" } else { "a later upload has replaced it" };
        assert!(why.contains(reason), "{case}: {why}");
        let (outcome, why) = outcome_of(&adopted.report, RecordKind::Blob, &format!("blob_{blob}"));
        if still_exists {
            assert_eq!(
                outcome_of(&adopted.report, RecordKind::Memory, &second).0,
                RecordOutcome::Taken,
                "{case}"
            );
            assert_eq!(outcome, RecordOutcome::Repaired, "{case}");
            assert!(why.contains("1000 bytes of an earlier upload"), "{case}: {why}");
        } else {
            assert_eq!((outcome, &*why), (RecordOutcome::NotTaken, "no memory refers to it"), "{case}");
        }
        // The end of the first file is still stored, and is kept in `adopted.left.jsonl`.
        assert!(left_bytes(&adopted).contains(&file(CHUNK_SIZE + 1_000, 1)[CHUNK_SIZE..].to_vec()), "{case}");
    }
}

/// D4: an upgrade of the release to itself loses every blob, and the next upload gets the blob id of the first.
#[test]
fn an_upgrade_of_that_release_to_itself_mixes_no_files() {
    let mut release = PublicRelease::new(128);
    let capsule = release.create_capsule(person(1), NOW);
    let (first, blob) = release.upload(&capsule, 1, &file(6 * CHUNK_SIZE + 5, 1), NOW + 1);
    let mut after = release.upgraded_to_itself();
    let lost = Adopted::of(&after.stable_memory());
    assert_eq!((lost.report.verdict, lost.report.header), (Verdict::Fail, Header::Intact));
    assert!(lost.report.damage[0].contains("upgraded to itself"), "{:?}", lost.report.damage);
    assert_eq!(
        outcome_of(&lost.report, RecordKind::Memory, &first),
        (RecordOutcome::NotTaken, format!("blob_{blob} is not stored"))
    );

    let (second, same) = after.upload(&capsule, 1, &file(70, 2), NOW + 2);
    assert_eq!(blob, same);
    let mixed = Adopted::of(&after.stable_memory());
    assert!(mixed.report.damage[0].contains("upgraded to itself"), "{:?}", mixed.report.damage);
    let (outcome, why) = outcome_of(&mixed.report, RecordKind::Memory, &first);
    assert_eq!(outcome, RecordOutcome::NotTaken);
    assert!(why.contains("a later upload has replaced it"), "{why}");
    assert_eq!(outcome_of(&mixed.report, RecordKind::Memory, &second).0, RecordOutcome::Taken);
    assert_eq!(mixed.report.blob_bytes, 70);
}

/// D7, D19: a failed finish, or deleting somebody else's memory, deletes the record and the first chunks of a blob.
#[test]
fn a_memory_whose_blob_was_deleted_is_not_taken() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let (memory, blob) = release.upload(&capsule, 1, &file(2 * CHUNK_SIZE + 30, 1), NOW + 1);
    let (whole, _) = release.upload(&capsule, 2, &file(30, 2), NOW + 2);
    let stable = ReleaseStableMemory::of(&release);
    stable.blobs().remove(&blob).unwrap();
    stable.remove_chunk(1, 0);
    let reason = inspect_error(&stable.bytes());
    assert!(reason.contains(&format!("{memory} refers to blob_{blob}, which is not stored")), "{reason}");
    let adopted = Adopted::of(&stable.bytes());
    let refused = (RecordOutcome::NotTaken, format!("blob_{blob} is not stored"));
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &memory), refused);
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &whole).0, RecordOutcome::Taken);
    let bytes = file(2 * CHUNK_SIZE + 30, 1);
    assert_eq!(left_bytes(&adopted), bytes.chunks(CHUNK_SIZE).skip(1).collect::<Vec<_>>());
}

/// D17: a debugging function of the release writes bytes of 0xAA under any key.
#[test]
fn bytes_of_a_debugging_function_are_distinguished_from_files() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    for session in 1..=2 {
        release.upload(&capsule, session, &file(CHUNK_SIZE, session), NOW + session);
    }
    let stable = ReleaseStableMemory::of(&release);
    let written = vec![0xAA; 50];
    // Over a chunk of a file, after the end of a file, and under a key that belongs to no session.
    stable.put(1, 0, &written);
    stable.put(2, 1, &written);
    stable.chunks().insert(([9; 32], 7), written.clone());
    let adopted = Adopted::of(&stable.bytes());
    let blob =
        |session: u64| outcome_of(&adopted.report, RecordKind::Blob, &format!("blob_{}", blob_of(session)));
    assert_eq!((blob(1).0, blob(2).0), (RecordOutcome::NotTaken, RecordOutcome::Repaired));
    assert!(blob(1).1.contains("50 bytes are stored, its record says"), "{:?}", blob(1));
    let (outcome, why) = outcome_of(&adopted.report, RecordKind::Chunk, &hex::encode([9; 32]));
    assert_eq!((outcome, &*why), (RecordOutcome::NoCounterpart, "of no known session"));
    assert_eq!(left_bytes(&adopted), vec![written; 3]);
}

/// D29: ids of memories and capsules are times, so that two memories or capsules of one round have the same id.
#[test]
fn what_was_replaced_in_the_same_round_is_in_left_jsonl() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let [first, second] = [1, 2].map(|seed| file(400, seed));
    release.upload(&capsule, 1, &first, NOW + 5);
    let (second_memory, _) = release.upload(&capsule, 2, &second, NOW + 5);
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &second_memory).0, RecordOutcome::Taken);
    let orphan = outcome_of(&adopted.report, RecordKind::Blob, &format!("blob_{}", blob_of(1)));
    assert_eq!(orphan, (RecordOutcome::NotTaken, "no memory refers to it".into()));
    assert_eq!(left_bytes(&adopted), std::slice::from_ref(&first));

    // Somebody else's capsule gets the same id.
    assert_eq!(release.create_capsule(person(2), NOW), capsule);
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(outcome_of(&adopted.report, RecordKind::Capsule, &capsule).0, RecordOutcome::Taken);
    let (outcome, why) = outcome_of(&adopted.report, RecordKind::IndexEntry, &person(1).to_text());
    assert_eq!(outcome, RecordOutcome::NoCounterpart);
    assert!(why.contains("issued its id twice"), "{why}");
    assert_eq!((adopted.report.blob_bytes, adopted.count(RecordKind::Blob).not_taken), (0, 2));
    let mut left = left_bytes(&adopted);
    left.sort();
    let mut files = [first, second];
    files.sort();
    assert_eq!(left, files, "both files are in adopted.left.jsonl");
}

/// D12: texts and lists of the release have no limits.
#[test]
fn texts_beyond_a_limit_are_truncated_and_kept_in_left_jsonl() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let (memory, _) = release.upload(&capsule, 1, &file(10, 1), NOW + 1);
    let stable = ReleaseStableMemory::of(&release);
    stable.change_capsule(&capsule, |capsule| {
        capsule.subject = PublicPerson::Opaque("ä".repeat(900_000));
        let owner = PublicOwner { since: NOW, last_activity_at: NOW };
        // 1,200 owners with the first one, 200 more than the limit.
        let more = (100..1_299).map(|n| (PublicPerson::Principal(person(n)), owner.clone()));
        capsule.owners.extend(more);
        // 1,010 controllers. Most of them are owners, too, and are therefore not listed as controllers after the
        // adoption.
        let granted = capsule.controllers[0].1.clone();
        let numbers = (100..1_050).chain(2_000..2_060);
        capsule.controllers =
            numbers.map(|n| (PublicPerson::Principal(person(n)), granted.clone())).collect();
        let (_, memory) = &mut capsule.memories[0];
        let metadata = memory.blob_internal_assets[0].metadata.clone();
        let external = |storage_key: String, url: Option<String>| PublicExternalAsset {
            location: PublicStore::S3,
            storage_key,
            url,
            metadata: metadata.clone(),
        };
        memory.blob_external_assets.extend([
            external("key".into(), Some("u".repeat(3_000))),
            external("k".repeat(3_000), None),
            external("key".into(), Some("https://example.com".into())),
        ]);
    });
    let adopted = Adopted::of(&stable.bytes());
    let (outcome, why) = outcome_of(&adopted.report, RecordKind::Capsule, &capsule);
    assert_eq!(outcome, RecordOutcome::Repaired);
    assert!(why.contains("the text of its subject exceeded the limit"), "{why}");
    let item = adopted.report.items.iter().find(|item| item.kind == RecordKind::Capsule).unwrap();
    assert!(item.rest.contains(&"200 owners beyond the limit of a list".into()), "{item:?}");
    assert!(!item.rest.iter().any(|rest| rest.contains("controllers beyond")), "{item:?}");
    for (asset, reason) in [(1, "its URL has 3000 bytes"), (2, "its storage key has 3000 bytes")] {
        let (outcome, why) =
            outcome_of(&adopted.report, RecordKind::Asset, &format!("{memory} asset {asset}"));
        assert_eq!(outcome, RecordOutcome::NotTaken);
        assert!(why.contains(reason), "{why}");
    }
    assert_eq!(adopted.count(RecordKind::Asset).not_taken, 2);
    let line = adopted.left().into_iter().find(|line| line["kind"] == "capsule").unwrap();
    assert!(line["record"].as_str().unwrap().len() > 1_800_000, "the whole record is in the file");
}

/// D36: in the release, all memories of a capsule are in the capsule's record.
#[test]
fn a_capsule_of_thousands_of_memories_is_split_into_records() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    release.upload(&capsule, 1, &file(10, 1), NOW + 1);
    let stable = ReleaseStableMemory::of(&release);
    stable.change_capsule(&capsule, |capsule| {
        let (_, first) = capsule.memories[0].clone();
        capsule.memories.extend((0..4_000).map(|n| {
            let mut memory = first.clone();
            memory.id = format!("mem_{n}");
            (memory.id.clone(), memory)
        }));
    });
    let adopted = Adopted::of(&stable.bytes());
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    assert_eq!(adopted.count(RecordKind::Memory).taken, 4_001);
}

/// D38: two memory managers give the same bucket to an HTTP secret and to chunks.
#[test]
fn damage_by_a_second_memory_manager_is_detected() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let (sound, _) = release.upload(&capsule, 1, &file(3_000, 1), NOW + 1);
    let second = release.second_manager();
    second.write_secret([1; 32]);
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(adopted.report.verdict, Verdict::Fail);
    assert!(adopted.report.damage[0].contains("memory id 42"), "{:?}", adopted.report.damage);
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &sound).0, RecordOutcome::Taken);

    // The first manager takes the bucket for chunks; only the secret is lost.
    let bytes = file(CHUNK_SIZE, 2);
    let (overwritten, blob) = release.upload(&capsule, 2, &bytes, NOW + 2);
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(
        (adopted.report.verdict, adopted.report.blob_bytes),
        (Verdict::Pass, CHUNK_SIZE as u64 + 3_000)
    );

    // The second manager writes another secret into bytes that now belong to chunks.
    second.write_secret([2; 32]);
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(adopted.report.verdict, Verdict::Fail);
    let (outcome, why) = outcome_of(&adopted.report, RecordKind::Blob, &format!("blob_{blob}"));
    assert_eq!(outcome, RecordOutcome::NotTaken, "{why}");
    assert!(why.contains("its bytes have the SHA-256"), "{why}");
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &overwritten).0, RecordOutcome::NotTaken);
    assert_eq!(outcome_of(&adopted.report, RecordKind::Memory, &sound).0, RecordOutcome::Taken);
}

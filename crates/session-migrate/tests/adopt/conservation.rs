//! Undamaged stable memories: every record is taken or reported, and no byte of a blob is missing.

use session_migrate::Verdict;
use session_migrate::adopt::{RecordKind, RecordOutcome};
use session_migrate::progress::Progress;
use session_migrate::{inspect, snapshot};
use upload_model::public_release::{CHUNK_SIZE, PublicRelease};

use super::release::{Adopted, NOW, file, person};

#[test]
fn a_whole_memory_is_adopted_and_inspects_clean() {
    let mut release = PublicRelease::new(1);
    let sizes = [1, 2, 1_000, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 5];
    let mut session = 0;
    for owner in 1..=3 {
        let capsule = release.create_capsule(person(owner), NOW + owner);
        for size in sizes {
            session += 1;
            release.upload(&capsule, session, &file(size, session), NOW + 100 + session);
        }
    }
    let abandoned = session + 5;
    release.put(abandoned, &file(900, 77));
    let adopted = Adopted::of(&release.stable_memory());
    let report = &adopted.report;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    for (kind, found) in
        [(RecordKind::Capsule, 3), (RecordKind::Memory, 21), (RecordKind::Asset, 21), (RecordKind::Blob, 21)]
    {
        let count = adopted.count(kind);
        assert_eq!((count.found, count.taken), (found, found), "{count:?}");
    }
    assert_eq!(report.blob_bytes, 3 * sizes.iter().sum::<usize>() as u64);
    assert_eq!(adopted.items(RecordKind::Gallery, RecordOutcome::NoCounterpart).len(), 3);
    let chunks = adopted.items(RecordKind::Chunk, RecordOutcome::NoCounterpart);
    assert_eq!((chunks.len(), &chunks[0].id), (1, &format!("session {abandoned}")));
    assert!(report.sessions_after > abandoned);

    let options = inspect::Options { snapshot: adopted.out(), deep: true };
    let inspected = inspect::run(&options, &Progress::hidden()).unwrap();
    assert_eq!((inspected.verdict, inspected.layout), (Verdict::Pass, 1), "{:?}", inspected.findings);
    assert_eq!((inspected.counts.blobs, inspected.deep.unwrap().sound), (21, 21));
    assert_eq!(inspected.snapshot.verified, snapshot::Verified::EveryByte);
    assert_eq!(inspected.snapshot.module.unwrap().build, "legacy");
}

#[test]
fn records_without_a_counterpart_are_in_left_jsonl() {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(person(1), NOW);
    let (memory, _) = release.upload(&capsule, 1, b"a small file", NOW + 1);
    release.put(9, b"abandoned");
    let adopted = Adopted::of(&release.stable_memory());
    let left = adopted.left();
    assert_eq!(left.len() as u64, adopted.report.left_lines);
    let line = |kind: &str| {
        let found = left.iter().find(|line| line["kind"] == kind);
        found.unwrap_or_else(|| panic!("{kind}: {left:?}")).clone()
    };
    let gallery = line("gallery");
    assert_eq!((gallery["id"].as_str(), gallery["capsule"].as_str()), (Some("gallery_1"), Some(&*capsule)));
    assert!(gallery["record"].as_str().unwrap().contains("title = \"Summer\""), "{gallery}");
    let capsule = line("capsule");
    let record = capsule["record"].as_str().unwrap();
    assert!(record.contains("grandmother") && record.contains("\"Family\""), "{record}");
    let line_of_memory = line("memory");
    assert_eq!(line_of_memory["id"], memory);
    assert!(line_of_memory["record"].as_str().unwrap().contains("owner_secure_code"), "{line_of_memory}");
    let chunk = line("chunk");
    assert_eq!((chunk["session"].as_u64(), chunk["index"].as_u64()), (Some(9), Some(0)));
    assert_eq!(chunk["bytes"], "YWJhbmRvbmVk", "`abandoned` in base64");
}

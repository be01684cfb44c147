//! Snapshots with a heap: `adopt` asks the release's own module for its sessions, and their clients continue. In the
//! tests, a stand-in replaces this module; it keeps its sessions as the first public release does.

use std::process::Command;

use candid::Principal;
use serde_bytes::ByteBuf;
use session_migrate::adopt::{RecordKind, RecordOutcome};
use session_migrate::build::Build;
use session_migrate::{Verdict, server};
use sha2::{Digest, Sha256};
use upload_canister::api::Error;
use upload_model::public_release::{CHUNK_SIZE, blob_of};

use super::on_the_server::{expect_blob, loaded, upgrade_to};
use super::release::{file, person};
use super::stand_in::{OldRelease, complete, new_metadata};

#[test]
fn other_commands_say_what_a_snapshot_with_its_module_contains() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let bytes = file(900, 1);
    let session = old.begin_and_put(owner, &capsule, "done", &bytes, &[0]);
    old.finish(owner, session, &bytes);
    let folder = tempfile::tempdir().unwrap();
    let snapshot = old.snapshot(&folder);
    for command in ["inspect", "plan"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_session-migrate")).arg(command).arg(&snapshot).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        let contents = "snapshot of the first public release, which no build of this canister can read; it holds 1 \
                        capsules with 1 memories";
        assert!(text.contains(contents), "{command}: {text}");
    }
}

#[test]
fn sessions_in_every_state_continue_under_their_numbers() {
    let old = OldRelease::install();
    let [own, others] = [person(1), person(2)];
    let [capsule, foreign] = [own, others].map(|owner| old.create_capsule(owner));
    let bytes = file(2 * CHUNK_SIZE + 900, 1);
    let done = old.begin_and_put(own, &capsule, "done", &bytes, &[0, 1, 2]);
    let (blob, memory) = old.finish(own, done, &bytes);
    let in_flight = [&[][..], &[0], &[1, 0], &[2, 0], &[0, 1, 2]].map(|sent| {
        let name = format!("{sent:?}");
        (own, old.begin_and_put(own, &capsule, &name, &bytes, sent))
    });
    let others_upload = (others, old.begin_and_put(others, &foreign, "theirs", &bytes, &[1]));
    let aborted = old.begin_and_put(own, &capsule, "aborted", &bytes, &[0]);
    let () = old.call(own, "uploads_abort", (aborted,)).unwrap();

    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    assert_eq!(report.heap, None);
    let sessions = report.counts.iter().find(|count| count.kind == RecordKind::Session).unwrap();
    assert_eq!((sessions.found, sessions.taken), (6, 6), "{:?}", report.items);
    let abandoned = report
        .items
        .iter()
        .find(|item| item.outcome == RecordOutcome::NoCounterpart && item.kind == RecordKind::Chunk);
    assert_eq!(abandoned.unwrap().id, format!("session {aborted}"));

    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    let mut uploads: Vec<(Principal, u64)> = in_flight.to_vec();
    uploads.push(others_upload);
    for (position, (owner, session)) in uploads.iter().enumerate() {
        let status = canister.uploads_status(*owner, *session).unwrap();
        let arrived: u32 = status.received.iter().map(|range| range.last - range.first + 1).sum();
        assert_eq!(arrived, [0, 1, 2, 2, 3, 1][position], "{status:?}");
        canister.uploads_status(person(9), *session).unwrap_err();
    }
    expect_blob(&canister, own, &blob, &bytes);
    assert_eq!(canister.memories_read(own, &memory).unwrap().asset_metadata.base().name, "done");
    // Two uploads are finished on each build.
    let mut expected = vec![(own, blob)];
    for (build, part) in [Build::Legacy, Build::Staged, Build::Direct].into_iter().zip(uploads.chunks(2)) {
        if build != Build::Legacy {
            upgrade_to(&canister, build);
        }
        for (owner, session) in part {
            let blob = complete(&canister, *owner, *session, &bytes);
            // Uploads of the same bytes share a blob, but only within a capsule.
            assert!(!expected.iter().any(|(_, known)| *known == blob) || *owner == own, "{blob}");
            expected.push((*owner, blob));
        }
        for (owner, blob) in &expected {
            expect_blob(&canister, *owner, blob, &bytes);
        }
    }
    let new = canister.uploads_begin(own, &capsule, &new_metadata(), 1, "new").unwrap();
    assert!(new > report.sessions_after, "{new}");
}

#[test]
fn a_committed_upload_without_its_memory_gets_one() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let bytes = file(CHUNK_SIZE + 5, 2);
    let session = old.begin_and_put(owner, &capsule, "half", &bytes, &[0, 1]);
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let args = (session, ByteBuf::from(digest), bytes.len() as u64);
    let () = old.call(owner, "commit_without_memory", args).unwrap();
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    let repaired: Vec<_> =
        report.items.iter().filter(|item| item.outcome == RecordOutcome::Repaired).collect();
    assert!(repaired[0].notes[0].contains("never became a memory"), "{repaired:?}");
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    // A client that repeats finish gets the answer that it missed.
    let finished = canister.uploads_finish(owner, session, digest, bytes.len() as u64).unwrap();
    assert_eq!(finished.blob_id, format!("blob_{}", blob_of(session)));
    let memory = canister.memories_read(owner, &finished.memory_id).unwrap();
    assert_eq!(memory.asset_metadata.base().name, "half");
    expect_blob(&canister, owner, &finished.blob_id, &bytes);
}

#[test]
fn a_contradictory_session_is_repaired_or_not_taken() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    // Both uploads declare two bytes for three chunks. The last chunk of the first upload has arrived; the last chunk
    // of the second has not.
    let bytes = file(2 * CHUNK_SIZE + 40, 3);
    let known = old.begin(owner, &capsule, "the end is known", 2, 3);
    old.put(owner, known, 2, &bytes);
    let unknown = old.begin(owner, &capsule, "the end is unknown", 2, 3);
    old.put(owner, unknown, 0, &bytes);
    // An upload with a short chunk in the middle.
    let uneven = old.begin(owner, &capsule, "a short chunk", bytes.len() as u64, 3);
    let () = old.call(owner, "uploads_put_chunk", (uneven, 1_u32, ByteBuf::from(vec![1; 7]))).unwrap();
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Fail);
    let session_item = |session: u64| {
        let found = report
            .items
            .iter()
            .find(|item| item.kind == RecordKind::Session && item.id == session.to_string());
        found.unwrap().clone()
    };
    assert!(session_item(known).notes[0].contains("the metadata said 2 bytes"), "{:?}", session_item(known));
    assert!(session_item(unknown).notes[0].contains("its size is unknown"), "{:?}", session_item(unknown));
    assert!(session_item(uneven).notes[0].contains("must send them again"), "{:?}", session_item(uneven));
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    for session in [known, uneven] {
        let blob = complete(&canister, owner, session, &bytes);
        expect_blob(&canister, owner, &blob, &bytes);
    }
    let gone = canister.uploads_status(owner, unknown).unwrap_err();
    assert!(matches!(gone.refusal(), Some(Error::NotFound { .. })), "{gone}");
}

#[test]
fn chunks_of_a_lost_session_with_the_same_number_do_not_count() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let [first, second] = [4, 5].map(|seed| file(2 * CHUNK_SIZE, seed));
    let lost = old.begin_and_put(owner, &capsule, "lost", &first, &[0, 1]);
    // After any loss of the heap, the release numbers its sessions from 1 again.
    let () = old.call(owner, "forget_heap", ()).unwrap();
    let session = old.begin_and_put(owner, &capsule, "second", &second, &[1]);
    assert_eq!(session, lost);
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    let status = canister.uploads_status(owner, session).unwrap();
    assert_eq!((status.received.len(), status.next_expected), (1, Some(0)), "{status:?}");
    let blob = complete(&canister, owner, session, &second);
    expect_blob(&canister, owner, &blob, &second);
}

#[test]
fn the_commands_in_adopting_md_do_what_it_says() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let bytes = file(CHUNK_SIZE + 9, 6);
    let session = old.begin_and_put(owner, &capsule, "done", &bytes, &[0, 1]);
    old.finish(owner, session, &bytes);
    old.begin_and_put(owner, &capsule, "in flight", &bytes, &[0]);
    let folder = tempfile::tempdir().unwrap();
    old.snapshot(&folder);
    let page = include_str!("../../../../docs/adopting.md");
    let commands: Vec<&str> =
        page.lines().filter_map(|line| line.trim().strip_prefix("cargo migrate ")).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
            .args(command.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        // `inspect` refuses a snapshot of that release, and says what it contains.
        let expected = if command == "inspect old-release" { 2 } else { 0 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for name in ["adopted", "adopted.json", "adopted.left.jsonl", "adopted.manifest.json"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

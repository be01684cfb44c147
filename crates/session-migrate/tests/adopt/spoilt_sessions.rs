//! Sessions that defects of the first public release have spoilt, created by the calls that spoil them.
//! `docs/adopted-defects.md` has a table of the defects, D1 and so on.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candid::Principal;
use serde_bytes::ByteBuf;
use session_migrate::adopt::{RecordKind, RecordOutcome, Report};
use session_migrate::{Verdict, server};
use sha2::{Digest, Sha256};
use upload_canister::api::Error;
use upload_canister::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use upload_model::public_release::{CHUNK_SIZE, blob_of};

use super::on_the_server::{expect_blob, loaded};
use super::release::{file, outcome_of, person};
use super::stand_in::{OldRelease, complete, new_metadata};

fn session_outcome(report: &Report, id: u64) -> (RecordOutcome, String) {
    outcome_of(report, RecordKind::Session, &id.to_string())
}

/// What uploads of the same file have in common. The file has two chunks, the second one short.
struct SpoiltUploads<'a> {
    old: &'a OldRelease,
    capsule: &'a str,
    bytes: &'a [u8],
}

impl SpoiltUploads<'_> {
    fn begin(&self, name: &str) -> u64 {
        self.old.begin_and_put(person(1), self.capsule, name, self.bytes, &[])
    }

    /// Returns whether the release accepts the chunk.
    fn put(&self, caller: Principal, id: u64, idx: u32) -> bool {
        self.old.try_put(caller, id, idx, self.bytes).is_ok()
    }

    /// Returns whether the release finishes the upload.
    fn finish(&self, caller: Principal, id: u64, digest: Vec<u8>) -> bool {
        self.old.try_finish(caller, id, digest, self.bytes.len()).is_ok()
    }
}

/// Makes calls about the upload with this session id.
type Spoil = fn(&SpoiltUploads<'_>, u64);

/// Calls after which the release can never finish the upload, although all its chunks have arrived.
const SPOILING_CALLS: &[(&str, Spoil)] = &[
    ("D15, a stranger's chunk", |it, id| {
        assert!(it.put(person(1), id, 0) && !it.put(person(9), id, 1) && it.put(person(1), id, 1));
    }),
    ("D16, a stranger's finish", |it, id| {
        assert!(it.put(person(1), id, 0) && it.put(person(1), id, 1));
        assert!(!it.finish(person(9), id, vec![0; 32]));
    }),
    ("D18, a chunk that is not hashed", |it, id| {
        let text = STANDARD.encode(&it.bytes[CHUNK_SIZE..]);
        assert!(it.put(person(1), id, 0));
        let () = it.old.call(person(1), "debug_put_chunk_b64", (id, 1_u32, text)).unwrap();
    }),
    ("D23, a repeated chunk", |it, id| {
        assert!(it.put(person(1), id, 0) && !it.put(person(1), id, 0) && it.put(person(1), id, 1));
    }),
    ("D24, chunks out of order", |it, id| {
        assert!(it.put(person(1), id, 1) && it.put(person(1), id, 0));
    }),
    ("D25, a repeated begin", |it, id| {
        assert!(it.put(person(1), id, 0));
        assert_eq!(it.begin("D25, a repeated begin"), id);
        assert!(it.put(person(1), id, 1));
    }),
    ("D26, a finish with another digest", |it, id| {
        assert!(it.put(person(1), id, 0) && it.put(person(1), id, 1));
        assert!(!it.finish(person(1), id, vec![0; 32]));
    }),
];

#[test]
fn an_upload_with_a_spoilt_hash_is_finished_here() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let bytes = file(CHUNK_SIZE + 9, 1);
    let it = SpoiltUploads { old: &old, capsule: &capsule, bytes: &bytes };
    let digest = Sha256::digest(&bytes).to_vec();
    let sessions: Vec<u64> = SPOILING_CALLS
        .iter()
        .map(|(what, spoil)| {
            let id = it.begin(what);
            spoil(&it, id);
            assert!(!it.finish(owner, id, digest.clone()), "{what}");
            id
        })
        .collect();
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    for (id, (what, _)) in sessions.into_iter().zip(SPOILING_CALLS) {
        let status = canister.uploads_status(owner, id).unwrap();
        assert_eq!((status.missing.len(), status.bytes_received), (0, bytes.len() as u64), "{what}");
        let blob = complete(&canister, owner, id, &bytes);
        expect_blob(&canister, owner, &blob, &bytes);
    }
}

/// D8, D9: sessions of the release never expire, and a caller with a hundred of them cannot begin another.
#[test]
fn sessions_of_years_ago_expire_like_any_other() {
    let old = OldRelease::install();
    let owner = person(1);
    let capsule = old.create_capsule(owner);
    let bytes = file(90, 1);
    let sessions: Vec<u64> =
        (0..100).map(|n| old.begin_and_put(owner, &capsule, &format!("{n}"), &bytes, &[0])).collect();
    let years = Duration::from_secs(10 * 365 * 24 * 3_600);
    old.pic.advance_time(years);
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.items);
    let pic = server::pocket_ic().unwrap();
    pic.set_time(old.pic.get_time());
    let canister = loaded(&pic, &out);
    // The clients of these sessions have as much time as the clients of new sessions.
    let blob = complete(&canister, owner, sessions[0], &bytes);
    pic.advance_time(Duration::from_secs(DEFAULT_SESSION_TTL_SECONDS + 1));
    pic.tick();
    let expired = canister.uploads_status(owner, sessions[99]).unwrap_err();
    assert!(matches!(expired.refusal(), Some(Error::Conflict { .. })), "{expired}");
    canister.uploads_begin(owner, &capsule, &new_metadata(), 1, "new").unwrap();
    expect_blob(&canister, owner, &blob, &bytes);
}

/// D20, D22: the release checks access only at begin, and a capsule can be deleted before its uploads end.
#[test]
fn a_session_without_its_capsule_or_right_is_not_taken() {
    let old = OldRelease::install();
    let [owner, heir] = [person(1), person(2)];
    let [transferred, deleted] = [(); 2].map(|()| old.create_capsule(owner));
    let bytes = file(700, 1);
    let begin = |capsule: &str, name: &str| old.begin_and_put(owner, capsule, name, &bytes, &[0]);
    let without_right = begin(&transferred, "without a right");
    let [without_capsule, without_memory] = ["without a capsule", "half"].map(|name| begin(&deleted, name));
    let digest = ByteBuf::from(Sha256::digest(&bytes).to_vec());
    let () = old.call(owner, "commit_without_memory", (without_memory, digest, bytes.len() as u64)).unwrap();
    let () = old.call(owner, "capsules_delete", (&deleted,)).unwrap();
    let () = old.call(owner, "transfer_ownership", (&transferred, heir)).unwrap();
    let (_folder, out, report) = old.adopted();
    assert_eq!(report.verdict, Verdict::Fail);
    let blob = format!("blob_{}", blob_of(without_memory));
    for (id, message) in [
        (without_right, "may not upload to"),
        (without_capsule, "does not exist, or is not taken"),
        (without_memory, "debug_finish_hex answers NotFound"),
    ] {
        let (outcome, why) = session_outcome(&report, id);
        assert_eq!(outcome, RecordOutcome::NotTaken, "{why}");
        assert!(why.contains(message), "{why}");
    }
    assert_eq!(
        outcome_of(&report, RecordKind::Blob, &blob),
        (RecordOutcome::NotTaken, "no memory refers to it".into())
    );
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &out);
    for caller in [owner, heir] {
        for id in [without_right, without_capsule, without_memory] {
            let gone = canister.uploads_status(caller, id).unwrap_err();
            assert!(matches!(gone.refusal(), Some(Error::NotFound { .. })), "{gone}");
        }
        canister.blob_get_meta(caller, &blob).unwrap_err();
    }
}

/// D3: the release issues a session's number again, although the chunks of a committed blob are stored under that
/// number.
#[test]
fn a_session_with_the_number_of_a_blob_is_not_taken() {
    // The chunks that the second upload has sent before the snapshot.
    for sent in [&[][..], &[0]] {
        let old = OldRelease::install();
        let owner = person(1);
        let capsule = old.create_capsule(owner);
        let [first, second] = [1, 2].map(|seed| file(600, seed));
        let number = old.begin_and_put(owner, &capsule, "first", &first, &[0]);
        let (blob, memory) = old.finish(owner, number, &first);
        let () = old.call(owner, "forget_heap", ()).unwrap();
        assert_eq!(old.begin_and_put(owner, &capsule, "second", &second, sent), number);
        let (_folder, out, report) = old.adopted();
        assert_eq!(report.verdict, Verdict::Fail, "{sent:?}");
        let (outcome_of_session, why) = session_outcome(&report, number);
        assert_eq!(outcome_of_session, RecordOutcome::NotTaken, "{sent:?}");
        assert!(why.contains("issued its number again"), "{why}");
        let pic = server::pocket_ic().unwrap();
        let canister = loaded(&pic, &out);
        canister.uploads_status(owner, number).unwrap_err();
        let memory_outcome = outcome_of(&report, RecordKind::Memory, &memory).0;
        if sent.is_empty() {
            assert_eq!(memory_outcome, RecordOutcome::Taken);
            expect_blob(&canister, owner, &blob, &first);
        } else {
            // The second upload's chunk has replaced that of the blob.
            assert_eq!(memory_outcome, RecordOutcome::NotTaken);
            canister.blob_get_meta(owner, &blob).unwrap_err();
        }
    }
}

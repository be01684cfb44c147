//! Downloads: chunks across upgrades, expiry, the right to read, the limits, and damaged records.

use ic_stable_structures::Memory as _;

use super::*;
use crate::api::{CapsuleAccess, ChunkRange};
use crate::stable::RawMemory;
use crate::stable::{Memories, Table, memory_ids};
use crate::upload::RawRecord;
use crate::upload::tests::{OWNER, TestCanister, canisters, file, on_every_path, person};

const CHUNK: usize = CHUNK_SIZE as usize;

fn upload_file(canister: &mut TestCanister, len: usize) -> (String, Vec<u8>) {
    let file = file(len);
    let session = canister.begin(len, &format!("{len}"));
    for idx in 0..len.div_ceil(CHUNK) {
        canister.put(session, &file, idx).unwrap();
    }
    (canister.finish(session, &file).unwrap().blob_id, file)
}

fn begin_as(canister: &mut TestCanister, who: u8, locator: &str) -> Result<DownloadStatus> {
    begin(&mut canister.storage, person(who), locator, canister.now)
}

fn read_as_owner(canister: &mut TestCanister, session: u64, idx: u32) -> Result<Vec<u8>> {
    read_chunk(&mut canister.storage, person(OWNER), session, idx, canister.now)
}

fn status_now(canister: &TestCanister, session: u64) -> Result<DownloadStatus> {
    status(&canister.storage, person(OWNER), session, canister.now)
}

/// Returns the error of a call about a download that does not exist for the caller.
fn not_found<T>(session: u64) -> Result<T> {
    Err(Error::not_found("download", session))
}

#[test]
fn chunks_are_sent_in_any_order_across_upgrades() {
    on_every_path(|mut canister| {
        let (locator, file) = upload_file(&mut canister, 2 * CHUNK + 5);
        let begun = begin_as(&mut canister, OWNER, &locator).unwrap();
        assert_eq!((begun.expected_chunks, begun.bytes_expected), (3, file.len() as u64));
        assert_eq!(
            begin_as(&mut canister, OWNER, &locator),
            Ok(begun.clone()),
            "a repeated begin finds the same download"
        );
        let session = begun.session;
        let parts: Vec<&[u8]> = file.chunks(CHUNK).collect();
        for idx in [2, 0] {
            assert!(read_as_owner(&mut canister, session, idx).unwrap() == parts[idx as usize]);
            canister.upgrade();
        }
        let partly_sent = status_now(&canister, session).unwrap();
        assert_eq!(partly_sent.bytes_sent, (CHUNK + 5) as u64);
        assert_eq!(partly_sent.missing, [ChunkRange { first: 1, last: 1 }]);
        assert!(
            read_as_owner(&mut canister, session, 2).unwrap() == parts[2],
            "a chunk whose reply was lost is sent again"
        );
        assert_eq!(status_now(&canister, session), Ok(partly_sent));
        assert!(read_as_owner(&mut canister, session, 1).unwrap() == parts[1]);
        let complete = status_now(&canister, session).unwrap();
        assert_eq!((complete.bytes_sent, complete.missing), (file.len() as u64, vec![]));
        let beyond = read_as_owner(&mut canister, session, 3).unwrap_err();
        assert!(matches!(beyond, Error::InvalidArgument { .. }), "{beyond}");
        end(&mut canister.storage, person(OWNER), session, canister.now).unwrap();
        assert_eq!(status_now(&canister, session), not_found(session));
        assert_eq!(end(&mut canister.storage, person(OWNER), session, canister.now), not_found(session));
        assert_ne!(
            begin_as(&mut canister, OWNER, &locator).unwrap().session,
            session,
            "no id is issued twice"
        );
    });
}

#[test]
fn an_empty_blob_is_downloaded_without_a_chunk() {
    let mut canister = canisters().remove(0);
    let (locator, _) = upload_file(&mut canister, 0);
    let begun = begin_as(&mut canister, OWNER, &locator).unwrap();
    assert_eq!((begun.expected_chunks, begun.sent, begun.missing), (0, vec![], vec![]));
}

#[test]
fn a_download_expires_even_if_a_chunk_is_repeated() {
    let mut canister = canisters().remove(0);
    let (locator, _) = upload_file(&mut canister, CHUNK + 5);
    let session = begin_as(&mut canister, OWNER, &locator).unwrap().session;
    let begun = canister.now;
    canister.now = begun.plus_seconds(60);
    read_as_owner(&mut canister, session, 0).unwrap();
    canister.now = begun.plus_seconds(120);
    read_as_owner(&mut canister, session, 0).unwrap();
    let expires_at = begun.plus_seconds(60 + DOWNLOAD_TTL_SECONDS);
    assert_eq!(status_now(&canister, session).unwrap().expires_at, expires_at.as_nanos());
    canister.now = expires_at;
    assert_eq!(
        read_as_owner(&mut canister, session, 1),
        not_found(session),
        "the download has expired, although no sweep has run"
    );
    assert_ne!(begin_as(&mut canister, OWNER, &locator).unwrap().session, session);
    assert_eq!(canister.storage.downloads.len(), 2);
    sweep(&mut canister.storage, canister.now).unwrap();
    assert_eq!(canister.storage.downloads.len(), 1);
}

#[test]
fn a_download_serves_its_owner_while_the_blob_is_readable() {
    let mut canister = canisters().remove(0);
    let (locator, _) = upload_file(&mut canister, 5);
    let capsule = canister.capsule.clone();
    let access = |readers| CapsuleAccess { owners: vec![person(OWNER)], writers: vec![], readers };
    assert_eq!(begin_as(&mut canister, 3, &locator), Err(Error::not_found("blob", &locator)));
    canister.storage.capsules.set_access(person(OWNER), &capsule, access(vec![person(3)])).unwrap();
    let session = begin_as(&mut canister, 3, &locator).unwrap().session;
    assert_eq!(
        read_as_owner(&mut canister, session, 0),
        not_found(session),
        "the download belongs to another caller"
    );
    assert_eq!(status_now(&canister, session), not_found(session));
    assert_eq!(end(&mut canister.storage, person(OWNER), session, canister.now), not_found(session));
    canister.storage.capsules.set_access(person(OWNER), &capsule, access(vec![])).unwrap();
    let revoked = read_chunk(&mut canister.storage, person(3), session, 0, canister.now);
    assert_eq!(revoked, Err(Error::not_found("blob", &locator)));

    canister.storage.capsules.set_public(person(OWNER), &capsule, true).unwrap();
    assert!(read_chunk(&mut canister.storage, person(3), session, 0, canister.now).is_ok());
    let anonymous = begin(&mut canister.storage, Principal::anonymous(), &locator, canister.now).unwrap_err();
    assert!(matches!(anonymous, Error::Unauthorized { .. }), "{anonymous}");
}

#[test]
fn at_the_limit_the_longest_idle_download_is_ended() {
    let mut canister = canisters().remove(0);
    let capsule = canister.capsule.clone();
    canister.storage.capsules.set_public(person(OWNER), &capsule, true).unwrap();
    let locators: Vec<String> = (1..=21).map(|len| upload_file(&mut canister, len).0).collect();
    for locator in &locators[..20] {
        begin_as(&mut canister, OWNER, locator).unwrap();
    }
    let refused = begin_as(&mut canister, OWNER, &locators[20]).unwrap_err();
    assert_eq!(refused, Error::exhausted("downloads per caller", 20, 21));
    let first = begin_as(&mut canister, OWNER, &locators[0]).unwrap().session;
    for n in 20..MAX_DOWNLOADS {
        canister.now = canister.now.plus_seconds(1);
        let other = Principal::self_authenticating(n.to_be_bytes());
        begin(&mut canister.storage, other, &locators[0], canister.now).unwrap();
    }
    assert_eq!(canister.storage.downloads.len(), MAX_DOWNLOADS);
    assert!(status_now(&canister, first).is_ok());
    begin_as(&mut canister, 2, &locators[0]).unwrap();
    assert_eq!(canister.storage.downloads.len(), MAX_DOWNLOADS);
    assert_eq!(status_now(&canister, first), not_found(first));
}

#[test]
fn a_damaged_download_has_no_owner_and_is_swept() {
    let mut canister = canisters().remove(0);
    let (locator, _) = upload_file(&mut canister, 5);
    let session = begin_as(&mut canister, OWNER, &locator).unwrap().session;
    let memories = Memories::init(canister.raw.clone());
    Table::<u64, RawRecord>::open(&memories, memory_ids::DOWNLOADS).insert(session, &RawRecord(vec![9]));
    canister.upgrade();
    assert_eq!(read_as_owner(&mut canister, session, 0), not_found(session));
    let another = begin_as(&mut canister, OWNER, &locator).unwrap().session;
    let error = sweep(&mut canister.storage, canister.now).unwrap_err();
    assert!(error.to_string().contains(&session.to_string()), "{error}");
    assert_eq!(sweep(&mut canister.storage, canister.now), Ok(()));
    assert!(read_as_owner(&mut canister, another, 0).is_ok());
}

#[test]
fn no_memory_is_taken_before_the_first_download() {
    let raw = RawMemory::default();
    let memories = Memories::init(raw);
    let downloads = Downloads::open(&memories);
    assert!(downloads.is_empty() && downloads.ids().is_empty());
    assert_eq!(memories.get(memory_ids::DOWNLOADS).size(), 0);
}

//! Tests of downloads, on every path: the session layer's rules, with chunks going out.

use super::*;
use crate::api::{CapsuleAccess, ChunkRange};
use crate::stable::RawMemory;
use crate::upload::RawRecord;
use crate::upload::tests::{OWNER, TestCanister, file, on_every_path, person, worlds};

const CHUNK: usize = CHUNK_SIZE as usize;

fn store(world: &mut TestCanister, len: usize) -> (String, Vec<u8>) {
    let file = file(len);
    let session = world.begin(len, &format!("{len}"));
    for idx in 0..len.div_ceil(CHUNK) {
        world.put(session, &file, idx).unwrap();
    }
    (world.finish(session, &file).unwrap().blob_id, file)
}

fn begin_as(world: &mut TestCanister, who: u8, locator: &str) -> Result<DownloadStatus> {
    begin(&mut world.storage, person(who), locator, world.now)
}

fn chunk(world: &mut TestCanister, session: u64, idx: u32) -> Result<Vec<u8>> {
    read_chunk(&mut world.storage, person(OWNER), session, idx, world.now)
}

fn status_now(world: &TestCanister, session: u64) -> Result<DownloadStatus> {
    status(&world.storage, person(OWNER), session, world.now)
}

fn not_found<T>(session: u64) -> Result<T> {
    Err(Error::not_found("download", session))
}

#[test]
fn chunks_go_out_in_any_order_across_upgrades() {
    on_every_path(|mut world| {
        let (locator, file) = store(&mut world, 2 * CHUNK + 5);
        let begun = begin_as(&mut world, OWNER, &locator).unwrap();
        assert_eq!((begun.expected_chunks, begun.bytes_expected), (3, file.len() as u64));
        assert_eq!(begin_as(&mut world, OWNER, &locator), Ok(begun.clone()), "begin twice is begin once");
        let session = begun.session;
        let parts: Vec<&[u8]> = file.chunks(CHUNK).collect();
        for idx in [2, 0] {
            assert!(chunk(&mut world, session, idx).unwrap() == parts[idx as usize]);
            world.upgrade();
        }
        let halfway = status_now(&world, session).unwrap();
        assert_eq!(halfway.bytes_sent, (CHUNK + 5) as u64);
        assert_eq!(halfway.missing, [ChunkRange { first: 1, last: 1 }]);
        assert!(chunk(&mut world, session, 2).unwrap() == parts[2], "a lost reply is given again");
        assert_eq!(status_now(&world, session), Ok(halfway));
        assert!(chunk(&mut world, session, 1).unwrap() == parts[1]);
        let complete = status_now(&world, session).unwrap();
        assert_eq!((complete.bytes_sent, complete.missing), (file.len() as u64, vec![]));
        let beyond = chunk(&mut world, session, 3).unwrap_err();
        assert!(matches!(beyond, Error::InvalidArgument { .. }), "{beyond}");
        end(&mut world.storage, person(OWNER), session, world.now).unwrap();
        assert_eq!(status_now(&world, session), not_found(session));
        assert_eq!(end(&mut world.storage, person(OWNER), session, world.now), not_found(session));
        assert_ne!(begin_as(&mut world, OWNER, &locator).unwrap().session, session, "no id comes twice");
    });
}

#[test]
fn an_empty_blob_is_downloaded_without_a_chunk() {
    let mut world = worlds().remove(0);
    let (locator, _) = store(&mut world, 0);
    let begun = begin_as(&mut world, OWNER, &locator).unwrap();
    assert_eq!((begun.expected_chunks, begun.sent, begun.missing), (0, vec![], vec![]));
}

#[test]
fn a_download_expires_and_a_repeated_chunk_is_no_activity() {
    let mut world = worlds().remove(0);
    let (locator, _) = store(&mut world, CHUNK + 5);
    let session = begin_as(&mut world, OWNER, &locator).unwrap().session;
    let begun = world.now;
    world.now = begun.plus_seconds(60);
    chunk(&mut world, session, 0).unwrap();
    world.now = begun.plus_seconds(120);
    chunk(&mut world, session, 0).unwrap();
    let expires_at = begun.plus_seconds(60 + DOWNLOAD_TTL_SECONDS);
    assert_eq!(status_now(&world, session).unwrap().expires_at, expires_at.as_nanos());
    world.now = expires_at;
    assert_eq!(chunk(&mut world, session, 1), not_found(session), "whether the timer has come or not");
    assert_ne!(begin_as(&mut world, OWNER, &locator).unwrap().session, session);
    assert_eq!(world.storage.downloads.len(), 2);
    sweep(&mut world.storage, world.now).unwrap();
    assert_eq!(world.storage.downloads.len(), 1);
}

#[test]
fn a_download_is_its_owners_and_only_while_the_blob_may_be_read() {
    let mut world = worlds().remove(0);
    let (locator, _) = store(&mut world, 5);
    let capsule = world.capsule.clone();
    let access = |readers| CapsuleAccess { owners: vec![person(OWNER)], writers: vec![], readers };
    assert_eq!(begin_as(&mut world, 3, &locator), Err(Error::not_found("blob", &locator)));
    world.storage.capsules.set_access(person(OWNER), &capsule, access(vec![person(3)])).unwrap();
    let session = begin_as(&mut world, 3, &locator).unwrap().session;
    assert_eq!(chunk(&mut world, session, 0), not_found(session), "it is somebody else's");
    assert_eq!(status_now(&world, session), not_found(session));
    assert_eq!(end(&mut world.storage, person(OWNER), session, world.now), not_found(session));
    world.storage.capsules.set_access(person(OWNER), &capsule, access(vec![])).unwrap();
    let revoked = read_chunk(&mut world.storage, person(3), session, 0, world.now);
    assert_eq!(revoked, Err(Error::not_found("blob", &locator)));

    world.storage.capsules.set_public(person(OWNER), &capsule, true).unwrap();
    assert!(read_chunk(&mut world.storage, person(3), session, 0, world.now).is_ok());
    let anonymous = begin(&mut world.storage, Principal::anonymous(), &locator, world.now).unwrap_err();
    assert!(matches!(anonymous, Error::Unauthorized { .. }), "{anonymous}");
}

#[test]
fn at_the_limit_the_longest_idle_download_is_ended() {
    let mut world = worlds().remove(0);
    let capsule = world.capsule.clone();
    world.storage.capsules.set_public(person(OWNER), &capsule, true).unwrap();
    let locators: Vec<String> = (1..=21).map(|len| store(&mut world, len).0).collect();
    for locator in &locators[..20] {
        begin_as(&mut world, OWNER, locator).unwrap();
    }
    let refused = begin_as(&mut world, OWNER, &locators[20]).unwrap_err();
    assert_eq!(refused, Error::exhausted("downloads per caller", 20, 21));
    let first = begin_as(&mut world, OWNER, &locators[0]).unwrap().session;
    for n in 20..MAX_DOWNLOADS {
        world.now = world.now.plus_seconds(1);
        let other = Principal::self_authenticating(n.to_be_bytes());
        begin(&mut world.storage, other, &locators[0], world.now).unwrap();
    }
    assert_eq!(world.storage.downloads.len(), MAX_DOWNLOADS);
    assert!(status_now(&world, first).is_ok());
    begin_as(&mut world, 2, &locators[0]).unwrap();
    assert_eq!(world.storage.downloads.len(), MAX_DOWNLOADS);
    assert_eq!(status_now(&world, first), not_found(first));
}

#[test]
fn a_damaged_download_has_no_owner_and_is_swept() {
    let mut world = worlds().remove(0);
    let (locator, _) = store(&mut world, 5);
    let session = begin_as(&mut world, OWNER, &locator).unwrap().session;
    let memories = Memories::init(world.raw.clone());
    Table::<u64, RawRecord>::open(&memories, memory_ids::DOWNLOADS).insert(session, &RawRecord(vec![9]));
    world.upgrade();
    assert_eq!(chunk(&mut world, session, 0), not_found(session));
    let another = begin_as(&mut world, OWNER, &locator).unwrap().session;
    let told = sweep(&mut world.storage, world.now).unwrap_err();
    assert!(told.to_string().contains(&session.to_string()), "{told}");
    assert_eq!(sweep(&mut world.storage, world.now), Ok(()));
    assert!(chunk(&mut world, another, 0).is_ok());
}

#[test]
fn no_memory_is_taken_before_the_first_download() {
    let raw = RawMemory::default();
    let downloads = Downloads::open(&Memories::init(raw.clone()));
    assert!(downloads.is_empty() && downloads.ids().is_empty());
    assert_eq!(downloads.memory.size(), 0);
}

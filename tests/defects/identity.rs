//! Defects of ids, keys and durability.

use session_migrate::build::Build;
use sha2::{Digest, Sha256};
use upload_canister::api::Error;

use super::Course;
use crate::support::upload::{CHUNK, file, sha256, two_chunks};
use crate::support::{InstalledCanister, controller, owner, stranger, writer};

/// Every session had the empty text as its `provisional_memory_id`, so that all keys depended only on the
/// session number. Now the id is unique and never empty, and becomes the id of the memory that finish creates.
pub fn d01_the_provisional_memory_id_was_always_empty(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let other = canister.create_capsule_of(stranger());
    let content = file(9, 1);
    let sessions = [
        (owner(), canister.begin(owner(), &capsule, &content, "a").unwrap()),
        (owner(), canister.begin(owner(), &capsule, &content, "b").unwrap()),
        (stranger(), canister.begin(stranger(), &other, &content, "a").unwrap()),
    ];
    let mut ids = Vec::new();
    for (caller, session) in sessions {
        let provisional = canister.status(caller, session).unwrap().provisional_memory_id;
        assert!(!provisional.is_empty());
        canister.put_all(caller, session, &content);
        assert_eq!(canister.finish(caller, session, &content).unwrap().memory_id, provisional);
        ids.push(provisional);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), sessions.len(), "{ids:?}");
}

/// A blob's id was derived only from its session's number, so that the ids of every deployment were known. Now ids
/// cannot be computed this way, and someone without access cannot distinguish an existing blob from a missing one.
pub fn d02_blob_ids_could_be_guessed(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let guess = |session: u64| {
        let hash = Sha256::new().chain_update(b"#").chain_update(session.to_le_bytes()).finalize();
        format!("blob_{}", u64::from_be_bytes(hash[..8].try_into().unwrap()))
    };
    assert_eq!(guess(7), "blob_11410754707272541975", "as the first release derived blob ids");
    let guesses: Vec<String> = (0..100).map(guess).collect();
    for n in 1..=3 {
        let issued = canister.upload(owner(), &capsule, &file(5, n), &format!("key {n}")).blob_id;
        assert!(!guesses.contains(&issued), "{issued} can be guessed");
        let not_found = |locator: &str| Error::not_found("blob", locator);
        assert_eq!(canister.blob_meta(stranger(), &issued), Err(not_found(&issued)));
        assert_eq!(canister.blob_meta(stranger(), "blob_12345"), Err(not_found("blob_12345")));
    }
}

/// Session ids began at 1 again after an upgrade, and the second session 1 overwrote the first one's blob.
/// Ids are now issued from stable memory, and are never reused.
pub fn d03_session_ids_began_again_after_an_upgrade(course: Course) {
    let mut canister = InstalledCanister::new(course[0]);
    let capsule = canister.create_capsule();
    let theirs = canister.create_capsule_of(stranger());
    let old = file(1_013, 1);
    let session = canister.begin(owner(), &capsule, &old, "old").unwrap();
    canister.put_all(owner(), session, &old);
    let first = canister.finish(owner(), session, &old).unwrap();
    let mut last = session;
    for (n, build) in course[1..].iter().enumerate() {
        canister.upgrade(*build);
        let new = file(13, 2 + n as u64);
        let session = canister.begin(stranger(), &theirs, &new, &format!("new {n}")).unwrap();
        assert!(session > last, "session {session} after {last}");
        last = session;
        canister.put_all(stranger(), session, &new);
        let second = canister.finish(stranger(), session, &new).unwrap();
        assert_ne!(second.blob_id, first.blob_id);
        assert_ne!(second.memory_id, first.memory_id);
        assert_eq!(canister.read_back(stranger(), &second.blob_id), new);
        assert_eq!(canister.read_back(owner(), &first.blob_id), old);
    }
}

/// Saving the heap at an upgrade overwrote the header of the memory manager, which then started from scratch: every
/// blob was gone, silently. Now an upgrade writes no heap data, and every byte survives. If stable memory does not
/// begin with the memory manager's header, the upgrade is refused and changes nothing.
pub fn d04_an_upgrade_wrote_over_the_memory_manager(course: Course) {
    let mut canister = InstalledCanister::new(course[0]);
    let capsule = canister.create_capsule();
    let files = [two_chunks(1), file(10, 2), Vec::new()];
    let stored: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(n, content)| canister.upload(owner(), &capsule, content, &format!("{n}")))
        .collect();
    let before = canister.holdings();
    for build in &course[1..] {
        canister.upgrade(*build);
        assert_eq!(canister.pic.get_stable_memory(canister.id)[..4], *b"MGR\x01");
        assert_eq!(canister.holdings(), before);
        for (content, result) in files.iter().zip(&stored) {
            assert_eq!(canister.read_back(owner(), &result.blob_id), *content);
            assert_eq!(canister.memory(owner(), &result.memory_id).unwrap().blob.locator, result.blob_id);
        }
    }

    let mut damaged = canister.pic.get_stable_memory(canister.id);
    damaged[..4].copy_from_slice(b"DIDL");
    canister.pic.set_stable_memory(
        canister.id,
        damaged.clone(),
        pocket_ic::common::rest::BlobCompression::NoCompression,
    );
    let refused = canister.try_upgrade(canister.build).unwrap_err().reject_message;
    assert!(refused.contains("upgrade refused") && refused.contains("stable_save"), "{refused}");
    assert!(canister.pic.get_stable_memory(canister.id) == damaged, "a refused upgrade changes nothing");
    damaged[..4].copy_from_slice(b"MGR\x01");
    canister.pic.set_stable_memory(
        canister.id,
        damaged,
        pocket_ic::common::rest::BlobCompression::NoCompression,
    );
    canister.upgrade(canister.build);
    assert_eq!(canister.read_back(owner(), &stored[0].blob_id), files[0]);
}

/// Sessions lived on the heap: an upgrade lost them, and left their chunks in stable memory forever. Now sessions
/// survive an upgrade, with their hash state, and aborting a session afterwards frees its bytes.
pub fn d05_sessions_were_lost_at_an_upgrade(course: Course) {
    let mut canister = InstalledCanister::new(course[0]);
    let capsule = canister.create_capsule();
    let (content, half) = (file(2 * CHUNK + 7, 1), two_chunks(2));
    let session = canister.begin(owner(), &capsule, &content, "continues").unwrap();
    let aborted = canister.begin(owner(), &capsule, &half, "abandoned").unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    canister.put(owner(), aborted, 0, &half).unwrap();

    canister.upgrade(course[1]);
    assert_eq!(canister.status(owner(), session).unwrap().bytes_received, CHUNK as u64);
    assert_eq!(canister.begin(owner(), &capsule, &content, "continues"), Ok(session));
    canister.put(owner(), session, 2, &content).unwrap();

    canister.upgrade(course[2]);
    let status = canister.status(owner(), session).unwrap();
    let received: Vec<_> = status.received.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(received, [(0, 0), (2, 2)]);
    assert_eq!(status.next_expected, Some(1));
    canister.put(owner(), session, 1, &content).unwrap();
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(canister.read_back(owner(), &result.blob_id), content);

    canister.abort(owner(), aborted).unwrap();
    canister.run_timers_until(|stats| stats.sessions == 0);
    let stats = canister.stats();
    assert_eq!(stats.blobs, 1);
    let held = (stats.chunks, stats.payload_bytes);
    assert_eq!(held, canister.payload_of(&[content.len()]), "the bytes of the blob and no others");
    assert_eq!(stats.bytes_in_use, content.len() as u64);
}

/// Reading continued from page to page until one was missing, so that a shorter blob stored over a longer one ended
/// with the longer one's tail, and a missing page ended the blob silently. Now the blob's size decides: no chunk exists
/// beyond it, and a missing chunk is an error.
pub fn d06_reads_continued_until_a_page_was_missing(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let long = two_chunks(1);
    let short = file(13, 2);
    let long_one = canister.upload(owner(), &capsule, &long, "long");
    canister.update::<()>(owner(), "memories_delete", (&long_one.memory_id,)).unwrap();
    let short_one = canister.upload(owner(), &capsule, &short, "short");
    let meta = canister.blob_meta(owner(), &short_one.blob_id).unwrap();
    assert_eq!((meta.size, meta.chunk_count), (13, 1));
    assert_eq!(canister.read_back(owner(), &short_one.blob_id), short);
    for idx in [1, 2, u32::MAX] {
        let beyond = Error::invalid("idx", "less than 1", idx);
        assert_eq!(canister.read_chunk(owner(), &short_one.blob_id, idx), Err(beyond));
    }
    check_hole_is_an_error();
}

/// Checks the error of a missing chunk directly on the store, since no call can create a blob with a hole.
fn check_hole_is_an_error() {
    use upload_canister::blob::{BlobError, BlobRecord, BlobStore, ChunkPrefix, ContentDigest, Place};
    use upload_canister::session::{SessionId, Time};
    use upload_canister::stable::{Memories, RawMemory, StableRoom};

    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    let mut store = BlobStore::open(&memories, &StableRoom::of(&memories, raw));
    let content = two_chunks(3);
    let prefix = ChunkPrefix::of("memory", SessionId(1));
    let record = BlobRecord {
        size: content.len() as u64,
        digest: ContentDigest::sha256(sha256(&content)),
        created_at: Time::from_nanos(1),
        place: Place::Chunks(prefix),
    };
    store.write_chunk(prefix, 0, &content[..CHUNK]);
    let id = prefix.blob_id();
    let to = store.destination(id, record.digest, "capsule").unwrap();
    store.commit(to, &record, "memory", "capsule").unwrap();
    assert_eq!(store.read_chunk(id, 0).unwrap(), content[..CHUNK]);
    let hole = BlobError::MissingChunk { prefix: prefix.0, idx: 1 };
    assert_eq!(store.read_chunk(id, 1), Err(hole.clone()));
    assert_eq!(store.read_range(id, CHUNK as u64 - 1, 3), Err(hole));
}

/// A finish that failed deleted the blob with the id that the session's blob would have had, regardless of its owner,
/// and returned "not found". Now a failed finish says what is wrong, changes nothing, and can be repeated.
pub fn d07_a_failed_finish_deleted_somebody_elses_blob(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let (committed, late) = (file(100, 1), file(100, 2));
    let result = canister.upload(owner(), &capsule, &committed, "kept");
    let session = canister.begin(writer(), &capsule, &late, "late").unwrap();
    canister.put_all(writer(), session, &late);
    let before = canister.holdings();
    match canister.finish_with_digest(writer(), session, &sha256(&committed), 100) {
        Err(Error::ChecksumMismatch { expected, got }) => {
            assert_eq!(expected.as_slice(), sha256(&committed));
            assert_eq!(got.as_slice(), sha256(&late));
        }
        other => panic!("the digest of other bytes is not refused: {other:?}"),
    }
    let size = canister.finish_with_digest(writer(), session, &sha256(&late), 101);
    assert_eq!(size, Err(Error::invalid("total_len", "100", 101)));
    assert_eq!(canister.holdings(), before);
    assert_eq!(canister.read_back(owner(), &result.blob_id), committed);
    let second = canister.finish(writer(), session, &late).unwrap();
    assert_eq!(canister.read_back(owner(), &second.blob_id), late);
    assert_eq!(canister.read_back(owner(), &result.blob_id), committed);
    assert!(matches!(canister.finish(controller(), session, &late), Err(Error::NotFound { .. })));
}

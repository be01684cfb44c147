//! Defects of the generic session service, and of the design that was planned to replace the layer above it.

use std::collections::BTreeMap;

use session_migrate::build::Build;
use upload_canister::api::{ChunkRange, Error, Result};
use upload_canister::session::{
    ByteSink, HeapStore, PutOutcome, SessionError, SessionId, SessionService, SessionSpec, SinkError, Time,
};

use super::Course;
use crate::support::upload::{CHUNK, metadata, two_chunks};
use crate::support::{InstalledCanister, owner, stranger, writer};

const NOW: Time = Time::from_nanos(1_000_000_000_000);

/// A sink on the heap: the chunks, by their offset in the object.
#[derive(Default)]
struct HeapSink(BTreeMap<u64, Vec<u8>>);

impl ByteSink for HeapSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::result::Result<(), SinkError> {
        self.0.insert(offset, bytes.to_vec());
        Ok(())
    }

    fn holds_at(&self, offset: u64, bytes: &[u8]) -> std::result::Result<bool, SinkError> {
        Ok(self.0.get(&offset).is_some_and(|stored| stored == bytes))
    }
}

fn spec(chunk_size: u32, bytes_expected: u64) -> SessionSpec {
    SessionSpec { chunk_size, bytes_expected, owner: b"owner".to_vec(), idem: "key".into() }
}

/// The session service counted chunks instead of checking which they were, accepted chunks after finish, divided by a
/// chunk size of zero, overflowed near the largest size, expired live sessions when the clock lagged, and did not check
/// the owner. Now it does none of this, either inside a build or on its own.
pub fn d39_the_session_service_counted_instead_of_checking(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    let beyond = canister.put_bytes(owner(), session, u32::MAX, &content[..CHUNK]);
    assert_eq!(beyond, Err(Error::invalid("idx", "less than 2", u32::MAX)));
    let missing = vec![ChunkRange { first: 1, last: 1 }];
    let incomplete = Error::Incomplete { expected_chunks: 2, missing_chunks: 1, missing };
    assert_eq!(
        canister.finish(owner(), session, &content),
        Err(incomplete),
        "two chunks were sent, one is stored"
    );
    let unknown = Error::not_found("session", session);
    assert_eq!(canister.put(writer(), session, 1, &content), Err(unknown.clone()));
    assert_eq!(canister.finish(writer(), session, &content), Err(unknown));
    canister.put(owner(), session, 1, &content).unwrap();
    canister.finish(owner(), session, &content).unwrap();
    let after = canister.holdings();
    let finished = Error::conflict("session", session, "is finished");
    assert_eq!(canister.put(owner(), session, 1, &content), Err(finished));
    let largest = 16_384 * CHUNK as u64;
    for bytes in [u64::MAX, u64::MAX - 1] {
        for chunks in [0, 1, u32::MAX] {
            let begun: Result<u64> =
                canister.update(owner(), "uploads_begin", (&capsule, metadata(bytes), chunks, "huge"));
            assert_eq!(begun, Err(Error::exhausted("bytes per upload", largest, bytes)));
        }
    }
    assert_eq!(canister.holdings(), after);
    check_service_alone();
}

/// Checks the rules on a session service without a canister.
fn check_service_alone() {
    let mut service = SessionService::new(HeapStore::default());
    let mut sink = HeapSink::default();
    let id = service.begin(spec(4, 8), &NOW).unwrap();
    let mut put = |service: &mut SessionService<HeapStore>, caller: &[u8], idx: u32, bytes: &[u8]| {
        service.put_chunk(id, caller, idx, &mut { bytes }, &mut sink, &NOW)
    };
    let out_of_range = SessionError::IndexOutOfRange { id, idx: u32::MAX, chunks: 2 };
    assert_eq!(put(&mut service, b"owner", u32::MAX, b"last"), Err(out_of_range));
    assert_eq!(put(&mut service, b"owner", 0, b"1234"), Ok(PutOutcome::Stored));
    assert_eq!(put(&mut service, b"other", 1, b"5678"), Err(SessionError::NotOwner(id)));
    assert_eq!(service.finish(id, b"other", &NOW).unwrap_err(), SessionError::NotOwner(id));
    let missing = SessionError::Incomplete { id, chunks: 2, missing: 1, ranges: vec![(1, 1)] };
    assert_eq!(service.finish(id, b"owner", &NOW).unwrap_err(), missing);

    assert_eq!(
        service.tick_ttl(&[id], Time::from_nanos(0), 60),
        Ok(vec![]),
        "a slow clock expires no session"
    );
    assert_eq!(service.tick_ttl(&[id], NOW.plus_seconds(59), 60), Ok(vec![]));
    assert_eq!(service.session(id).unwrap().received_idxs.len(), 1);

    assert_eq!(put(&mut service, b"owner", 1, b"5678"), Ok(PutOutcome::Stored));
    assert_eq!(service.finish(id, b"owner", &NOW).unwrap().bytes_received, 8);
    assert_eq!(
        put(&mut service, b"owner", 1, b"5678"),
        Err(SessionError::NotFound(id)),
        "a finished session is gone"
    );

    assert_eq!(service.begin(spec(0, 8), &NOW), Err(SessionError::ZeroChunkSize));
    for bytes in [u64::MAX, u64::MAX - 1] {
        let too_many = SessionError::TooManyChunks { bytes_expected: bytes, chunk_size: 4 };
        assert_eq!(service.begin(spec(4, bytes), &NOW), Err(too_many));
    }
    assert_eq!(
        service.session(SessionId(u64::MAX)).unwrap_err(),
        SessionError::NotFound(SessionId(u64::MAX))
    );
    assert_eq!(service.begin_with_id(id, spec(4, 8), &NOW), Ok(()));
    assert_eq!(service.begin_with_id(id, spec(4, 8), &NOW), Err(SessionError::AlreadyExists(id)));
}

/// The design that was planned to replace the compatibility layer did not check the caller at put, lost the idempotency
/// keys and the metadata at an upgrade, compared counts at commit, and waited for the last session to end. Now the
/// service does all of this correctly at any point of an upgrade, with sessions in flight.
pub fn d40_the_target_design_had_holes_of_its_own(course: Course) {
    let mut canister = InstalledCanister::new(course[0]);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put(owner(), session, 1, &content).unwrap();
    let before = canister.status(owner(), session).unwrap();

    canister.upgrade(course[1]);
    let after = canister.status(owner(), session).unwrap();
    assert_eq!(after.provisional_memory_id, before.provisional_memory_id);
    assert_eq!(
        (&after.received, after.last_seen, after.expires_at),
        (&before.received, before.last_seen, before.expires_at)
    );
    assert_eq!(canister.begin(owner(), &capsule, &content, "key"), Ok(session), "the key is still known");
    let another = canister.update::<u64>(
        owner(),
        "uploads_begin",
        (&capsule, metadata(content.len() as u64 - 1), 2u32, "key"),
    );
    assert!(matches!(another, Err(Error::Conflict { .. })), "{another:?}");
    for caller in [stranger(), writer()] {
        let put = canister.put(caller, session, 0, &content);
        assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    }
    let early = canister.finish(owner(), session, &content);
    assert!(matches!(early, Err(Error::Incomplete { missing_chunks: 1, .. })), "{early:?}");
    canister.put(owner(), session, 0, &content).unwrap();
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(result.memory_id, before.provisional_memory_id);

    canister.upgrade(course[2]);
    assert_eq!(canister.finish(owner(), session, &content), Ok(result.clone()), "the same answer again");
    assert_eq!(canister.begin(owner(), &capsule, &content, "key"), Ok(session));
    assert_eq!(canister.memories(owner(), &capsule, None, None).unwrap().len(), 1);
    assert_eq!(canister.read_back(owner(), &result.blob_id), content);
}

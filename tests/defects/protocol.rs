//! Defects of the protocol, up to finish.

use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use upload_canister::api::{Capsule, ChunkRange, Error, PersonRef, Result, UploadFinishResult};

use crate::support::upload::{CHUNK, chunk_count, file, metadata, sha256, two_chunks};
use crate::support::{InstalledCanister, owner, stranger, writer};

fn is_invalid<T: std::fmt::Debug>(answer: Result<T>, argument: &str) -> bool {
    matches!(answer, Err(Error::InvalidArgument { field, .. }) if field == argument)
}

/// Returns whether the answer is a conflict with something of this kind, such as `chunk`.
fn is_conflict<T: std::fmt::Debug>(answer: Result<T>, with: &str) -> bool {
    matches!(answer, Err(Error::Conflict { kind, .. }) if kind == with)
}

/// If the capsule was deleted before finish, the blob was committed, the session was stuck and the memory was
/// never created. Now a commit is all or nothing, and the session's bytes can be released.
pub fn d22_a_capsule_that_vanished_left_half_a_commit(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let content = file(40, 1);
    let aborted = canister.begin(writer(), &capsule, &content, "abandoned").unwrap();
    let idle = canister.begin(writer(), &capsule, &content, "idle").unwrap();
    for session in [aborted, idle] {
        canister.put_all(writer(), session, &content);
    }
    canister.update::<()>(owner(), "capsules_delete", (&capsule,)).unwrap();
    for _ in 0..2 {
        let refused = canister.finish(writer(), aborted, &content);
        assert!(matches!(refused, Err(Error::Unauthorized { .. })), "{refused:?}");
    }
    let stats = canister.stats();
    assert_eq!((stats.blobs, stats.memories, stats.sessions), (0, 0, 2));
    canister.abort(writer(), aborted).unwrap();
    canister.pass(std::time::Duration::from_secs(25 * 3_600));
    canister.run_timers_until(|stats| stats.sessions == 0);
    let stats = canister.stats();
    assert_eq!((stats.blobs, stats.memories, stats.chunks, stats.bytes_in_use), (0, 0, 0, 0));
}

/// A chunk sent again after a lost reply was refused, although its bytes had already been hashed a second time; the
/// bytes of all other refused chunks were hashed, too. Now the same bytes are accepted, other bytes are a conflict, and
/// a refused call changes nothing.
pub fn d23_a_repeated_chunk_broke_the_upload(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "repeated").unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    let before = (canister.holdings(), canister.status(owner(), session).unwrap());
    let put = |idx: u32, bytes: &[u8]| canister.put_bytes(owner(), session, idx, bytes);
    assert!(is_conflict(put(0, &file(CHUNK, 2)), "chunk"));
    assert!(is_invalid(put(1, &content[..CHUNK]), "chunk"));
    assert!(is_invalid(put(2, b"beyond"), "idx"));
    let wrong_digest: Result<()> = canister.update(
        owner(),
        "uploads_put_chunk",
        (session, 1u32, Bytes::new(&content[CHUNK..]), Some(ByteBuf::from([0; 32]))),
    );
    assert!(matches!(wrong_digest, Err(Error::ChecksumMismatch { .. })), "{wrong_digest:?}");
    assert_eq!((canister.holdings(), canister.status(owner(), session).unwrap()), before);

    canister.put(owner(), session, 0, &content).unwrap();
    canister.put(owner(), session, 1, &content).unwrap();
    canister.put(owner(), session, 1, &content).unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(canister.read_back(owner(), &result.blob_id), content);
}

/// Chunks out of order were accepted, but finish then computed a wrong hash, and the upload and its key were lost. Now
/// any order gives the same file.
pub fn d24_chunks_out_of_order_broke_the_upload(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = file(2 * CHUNK + 3, 1);
    for (n, order) in [[2, 0, 1], [1, 2, 0]].into_iter().enumerate() {
        let session = canister.begin(owner(), &capsule, &content, &format!("order {n}")).unwrap();
        for idx in order {
            canister.put(owner(), session, idx, &content).unwrap();
        }
        let result = canister.finish(owner(), session, &content).unwrap();
        assert_eq!(canister.read_back(owner(), &result.blob_id), content);
    }
}

/// A repeated begin with the same key reset the session's hash in the middle of the upload, and returned the old
/// session even if the parameters differed. Now it returns the same session, with its progress, or a conflict if the
/// parameters differ.
pub fn d25_a_repeated_begin_reset_the_hash(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    assert_eq!(canister.begin(owner(), &capsule, &content, "key"), Ok(session));
    let before = (canister.holdings(), canister.status(owner(), session).unwrap());

    let other = content.len() as u64 + 1;
    let begin = |bytes: u64, name: &str| -> Result<u64> {
        let mut asset = metadata(bytes);
        if let upload_canister::api::AssetMetadata::Document(document) = &mut asset {
            document.base.name = name.into();
        }
        canister.update(owner(), "uploads_begin", (&capsule, asset, 2u32, "key"))
    };
    assert!(is_conflict(begin(other, "file.bin"), "idem"), "another size");
    assert!(is_conflict(begin(other - 1, "other.bin"), "idem"), "another name");
    assert!(is_invalid(canister.begin(owner(), &capsule, &content, ""), "idem"));
    assert_eq!((canister.holdings(), canister.status(owner(), session).unwrap()), before);
    let theirs = canister.begin(writer(), &capsule, &content, "key").unwrap();
    assert_ne!(theirs, session, "somebody else's key is another key");

    canister.put(owner(), session, 1, &content).unwrap();
    canister.finish(owner(), session, &content).unwrap();
}

/// Finish could be called only once: a wrong hash, a missing chunk or a lost reply ended the upload. Now a
/// refused finish leaves the session unchanged, and a successful one returns the same answer again.
pub fn d26_finish_could_be_called_once_only(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put(owner(), session, 1, &content).unwrap();
    let early = canister.finish(owner(), session, &content);
    let missing = vec![ChunkRange { first: 0, last: 0 }];
    assert_eq!(early, Err(Error::Incomplete { expected_chunks: 2, missing_chunks: 1, missing }));
    canister.put(owner(), session, 0, &content).unwrap();
    let wrong = canister.finish_with_digest(owner(), session, &[1; 32], content.len() as u64);
    assert!(matches!(wrong, Err(Error::ChecksumMismatch { .. })), "{wrong:?}");

    let result = canister.finish(owner(), session, &content).unwrap();
    let after = canister.holdings();
    assert_eq!(canister.finish(owner(), session, &content).as_ref(), Ok(&result));
    assert_eq!(
        canister.begin(owner(), &capsule, &content, "key"),
        Ok(session),
        "begun again after a lost reply"
    );
    assert_eq!(canister.finish(owner(), session, &content).as_ref(), Ok(&result));
    let contradiction = canister.finish_with_digest(owner(), session, &[1; 32], content.len() as u64);
    assert!(is_conflict(contradiction, "session"));
    assert!(is_conflict(canister.put(owner(), session, 0, &content), "session"));
    assert!(is_conflict(canister.abort(owner(), session), "session"));
    assert_eq!(canister.holdings(), after);
    assert_eq!((after.memories, after.blobs, after.sessions), (1, 1, 0));
}

/// A digest shorter than eight bytes made the call trap. Now every length except 32 is an error that names the length,
/// and the session stays.
pub fn d27_a_short_digest_trapped(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = file(20, 1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    for length in [0, 7, 31, 33, 1_000_000] {
        let digest = vec![0; length];
        let refused = |argument: &str| Error::invalid(argument, "32 bytes", format!("{length} bytes"));
        let put: Result<()> = canister.update(
            owner(),
            "uploads_put_chunk",
            (session, 0u32, Bytes::new(&content), Some(Bytes::new(&digest))),
        );
        assert_eq!(put, Err(refused("sha256")));
        assert_eq!(canister.finish_with_digest(owner(), session, &digest, 20), Err(refused("digest")));
    }
    canister.put_all(owner(), session, &content);
    canister.finish(owner(), session, &content).unwrap();
}

/// A short or empty chunk was accepted anywhere in a file, and an empty file could not be uploaded. Now every chunk
/// must have its exact length, and an empty file is a file like any other.
pub fn d28_chunks_had_no_length(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "lengths").unwrap();
    for (idx, bytes) in [(0, &b""[..]), (0, &content[1..CHUNK]), (1, b""), (1, b"four"), (1, b"sixsix")] {
        let refused = canister.put_bytes(owner(), session, idx, bytes);
        let length = if idx == 0 { CHUNK } else { 5 };
        let expected = format!("{length} bytes for chunk {idx}");
        assert_eq!(refused, Err(Error::invalid("chunk", expected, format!("{} bytes", bytes.len()))));
    }
    assert_eq!(canister.status(owner(), session).unwrap().bytes_received, 0);

    assert_eq!(chunk_count(0), 0);
    let empty = canister.upload(owner(), &capsule, b"", "empty");
    assert_eq!(empty.size, 0);
    assert_eq!(empty.checksum_sha256.unwrap().as_slice(), sha256(b""));
    let meta = canister.blob_meta(owner(), &empty.blob_id).unwrap();
    assert_eq!((meta.size, meta.chunk_count), (0, 0));
    assert_eq!(canister.read_range(owner(), &empty.blob_id, 0, 0).unwrap(), b"");
    assert!(is_invalid(canister.read_chunk(owner(), &empty.blob_id, 0), "idx"));
}

/// Ids of memories and capsules were derived from the time, so that two memories, or two capsules, of the same round
/// had the same id, and the second one replaced the first. Now every id is unique, regardless of the time.
pub fn d29_ids_were_made_from_the_time(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let calls: Vec<_> = (0..4u64)
        .map(|n| {
            let content = file(30, n);
            let session = canister.begin(owner(), &capsule, &content, &format!("{n}")).unwrap();
            canister.put_all(owner(), session, &content);
            candid::encode_args((session, Bytes::new(&sha256(&content)), 30u64)).unwrap()
        })
        .collect();
    let submitted: Vec<_> = calls
        .into_iter()
        .map(|arg| canister.pic.submit_call(canister.id, owner(), "uploads_finish", arg).unwrap())
        .collect();
    let results: Vec<UploadFinishResult> = submitted
        .into_iter()
        .map(|id| candid::decode_one::<Result<_>>(&canister.pic.await_call(id).unwrap()).unwrap().unwrap())
        .collect();
    assert!(
        results.iter().all(|result| result.uploaded_at == results[0].uploaded_at),
        "all finished in one round: {results:?}"
    );
    let memories = canister.memories(owner(), &capsule, None, None).unwrap();
    assert_eq!(memories.len(), 4);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(canister.read_back(owner(), &result.blob_id), file(30, n as u64));
    }

    let submitted: Vec<_> = [owner(), stranger()]
        .into_iter()
        .map(|caller| {
            let arg = candid::encode_args((None::<PersonRef>,)).unwrap();
            canister.pic.submit_call(canister.id, caller, "capsules_create", arg).unwrap()
        })
        .collect();
    let created: Vec<Capsule> = submitted
        .into_iter()
        .map(|id| candid::decode_one::<Result<_>>(&canister.pic.await_call(id).unwrap()).unwrap().unwrap())
        .collect();
    assert_eq!(created[0].created_at, created[1].created_at, "both capsules are created in one round");
    assert_ne!(created[0].id, created[1].id);
    for (caller, capsule) in [owner(), stranger()].into_iter().zip(&created) {
        assert_eq!(canister.query::<Capsule>(caller, "capsules_read", (&capsule.id,)).as_ref(), Ok(capsule));
    }
}

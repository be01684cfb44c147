//! Defects of expiry and limits, and leaks.

use std::time::Duration;

use session_migrate::build::Build;
use upload_canister::api::{AdminStats, AssetMetadata, Error};

use crate::support::upload::{CHUNK, NewMemory, chunk_count, file, metadata, sha256, two_chunks};
use crate::support::{InstalledCanister, controller, owner, stranger};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn exhausted(limit: &str, allowed: u64, requested: u64) -> Error {
    Error::exhausted(limit, allowed, requested)
}

/// Nanoseconds were compared with milliseconds, so that no session expired for two million years, and a caller with a
/// hundred idle sessions was locked out. Now idle sessions end on their own, and their bytes are released.
pub fn d08_nothing_ever_expired(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.configure(|config| config.max_sessions_per_caller = 3);
    let content = file(10, 1);
    for n in 0..3 {
        let session = canister.begin(owner(), &capsule, &content, &format!("idle {n}")).unwrap();
        canister.put_all(owner(), session, &content);
    }
    let full = exhausted("sessions per caller", 3, 4);
    assert_eq!(canister.begin(owner(), &capsule, &content, "one more"), Err(full));
    canister.pass(25 * HOUR);
    canister.run_timers_until(|stats| stats.sessions == 0);
    let stats = canister.stats();
    assert_eq!((stats.chunks, stats.payload_bytes, stats.bytes_in_use), (0, 0, 0));
    canister.begin(owner(), &capsule, &content, "one more").unwrap();
}

/// The time to live counted from begin, so that slow uploads would have ended too early; begin could return an expired
/// session; and there were two different times to live. Now there is one time to live, which counts from the last
/// activity, and begin never returns an expired session.
pub fn d09_expiry_counted_from_the_beginning(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.configure(|config| config.session_ttl_seconds = 3_600);
    let content = file(2 * CHUNK + 1, 1);
    let session = canister.begin(owner(), &capsule, &content, "slow").unwrap();
    for idx in [1, 0, 2] {
        canister.pass(40 * MINUTE);
        canister.put(owner(), session, idx, &content).unwrap();
        let status = canister.status(owner(), session).unwrap();
        assert_eq!(status.expires_at - status.last_seen, HOUR.as_nanos() as u64);
    }
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(canister.read_back(owner(), &result.blob_id), content);

    let small = file(3, 2);
    let idle = canister.begin(owner(), &capsule, &small, "idle").unwrap();
    canister.pic.advance_time(HOUR + MINUTE);
    let fresh = canister.begin(owner(), &capsule, &small, "idle").unwrap();
    assert_ne!(fresh, idle, "an expired session is not returned");
    assert!(
        matches!(canister.status(owner(), idle), Err(Error::Conflict { .. })),
        "an expired session is reported as a conflict"
    );
}

/// No bytes of a session were ever released, whether it was finished, aborted or expired. Now only committed blobs and
/// live sessions hold bytes.
pub fn d10_ended_sessions_released_nothing(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let empty = canister.holdings();
    let content = two_chunks(1);

    let blob = canister.upload(owner(), &capsule, &content, "kept");
    let (chunks, payload_bytes) = canister.payload_of(&[content.len()]);
    let with_blob = AdminStats {
        blobs: 1,
        chunks,
        payload_bytes,
        memories: 1,
        bytes_in_use: content.len() as u64,
        receipts: 1,
        ..empty
    };
    assert_eq!(canister.holdings(), with_blob);

    let mut sizes = Vec::new();
    for round in 0..4 {
        let session = canister.begin(owner(), &capsule, &content, &format!("abandoned {round}")).unwrap();
        canister.put(owner(), session, 0, &content).unwrap();
        assert_eq!(
            canister.stats().bytes_in_use,
            2 * content.len() as u64,
            "a session reserves the declared size"
        );
        canister.abort(owner(), session).unwrap();
        canister.run_timers_until(|stats| stats.sessions == 0);
        assert_eq!(canister.holdings(), AdminStats { receipts: 2 + round, ..with_blob });
        sizes.push(canister.stats().stable_memory_bytes);
    }
    assert_eq!(sizes[1], sizes[3], "what was freed is used again");

    let idle = canister.begin(owner(), &capsule, &content, "idle").unwrap();
    canister.put(owner(), idle, 1, &content).unwrap();
    canister.pass(49 * HOUR);
    canister.run_timers_until(|stats| stats.sessions == 0 && stats.receipts == 0);
    assert_eq!(canister.holdings(), AdminStats { receipts: 0, ..with_blob });
    assert_eq!(canister.read_back(owner(), &blob.blob_id), content);
}

/// A finished session counted as an active one. Now only sessions in flight count.
pub fn d11_finished_sessions_counted_as_active(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.configure(|config| config.max_sessions_per_caller = 1);
    for n in 0..3 {
        canister.upload(owner(), &capsule, &file(4, n), &format!("{n}"));
    }
    let aborted = canister.begin(owner(), &capsule, &file(4, 7), "aborted").unwrap();
    canister.abort(owner(), aborted).unwrap();
    canister.begin(owner(), &capsule, &file(4, 8), "in flight").unwrap();
    let second = canister.begin(owner(), &capsule, &file(4, 9), "second");
    assert_eq!(second, Err(exhausted("sessions per caller", 1, 2)));
    let theirs = canister.create_capsule_of(stranger());
    canister.begin(stranger(), &theirs, &file(4, 9), "somebody else's").unwrap();
}

/// The size that a client declared was not compared with the bytes that it sent, nothing was limited, and texts could
/// be of any length. Now the declared size is enforced at every step, and exceeding a limit is an error with the
/// limit's numbers.
pub fn d12_declared_sizes_and_texts_had_no_limits(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    check_declared_sizes(&canister, &capsule);
    check_limits_of_texts(&canister, &capsule);
    check_limits_of_inline_bytes(&canister, &capsule);
    check_errors_of_byte_limits(&canister, &capsule);
}

fn check_declared_sizes(canister: &InstalledCanister, capsule: &str) {
    let session = canister.begin(owner(), capsule, &file(2, 1), "two bytes").unwrap();
    let too_long = canister.put_bytes(owner(), session, 0, &file(CHUNK, 1));
    assert_eq!(too_long, Err(Error::invalid("chunk", "2 bytes for chunk 0", "1800000 bytes")));
    canister.put(owner(), session, 0, &file(2, 1)).unwrap();
    let other = canister.finish_with_digest(owner(), session, &sha256(&file(2, 1)), 999_999_999);
    assert_eq!(other, Err(Error::invalid("total_len", "2", 999_999_999)));
    canister.finish(owner(), session, &file(2, 1)).unwrap();

    let few: Result<u64, Error> =
        canister.update(owner(), "uploads_begin", (capsule, metadata(999_999_999), 1u32, "few chunks"));
    let expected = "556, for 999999999 bytes in chunks of 1800000";
    assert_eq!(few, Err(Error::invalid("expected_chunks", expected, 1)));
    let largest = 16_384 * CHUNK as u64;
    let huge: Result<u64, Error> =
        canister.update(owner(), "uploads_begin", (capsule, metadata(largest + 1), 16_385u32, "huge"));
    assert_eq!(huge, Err(exhausted("bytes per upload", largest, largest + 1)));
}

fn check_limits_of_texts(canister: &InstalledCanister, capsule: &str) {
    let before = canister.holdings();
    for length in [257, 1_900_000] {
        let long = canister.begin(owner(), capsule, b"", &"k".repeat(length));
        assert_eq!(long, Err(Error::invalid("idem", "1 to 256 bytes", format!("{length} bytes"))));
    }
    let mut described = metadata(0);
    if let AssetMetadata::Document(document) = &mut described {
        document.base.description = Some("d".repeat(1_900_000));
    }
    let long: Result<u64, Error> =
        canister.update(owner(), "uploads_begin", (capsule, described, 0u32, "described"));
    match long {
        Err(Error::InvalidArgument { field, expected, .. }) => {
            assert_eq!(
                (field.as_str(), expected.as_str()),
                ("asset_metadata.description", "at most 8192 bytes")
            );
        }
        other => panic!("the description is not refused: {other:?}"),
    }
    assert_eq!(canister.holdings(), before);
    canister.begin(owner(), capsule, b"", &"k".repeat(256)).unwrap();
}

fn check_limits_of_inline_bytes(canister: &InstalledCanister, capsule: &str) {
    let largest = 32 * 1_024;
    let create =
        |bytes: &[u8], idem: &str| canister.create_memory(owner(), NewMemory::inline(capsule, bytes, idem));
    for length in [largest + 1, 1_900_000] {
        let refused = create(&file(length, 1), "too long");
        let expected = format!("at most {largest} bytes");
        assert_eq!(refused, Err(Error::invalid("inline", expected, format!("{length} bytes"))));
    }
    let created = create(&file(largest, 1), "fits").unwrap();
    assert_eq!(create(&file(largest, 1), "fits").as_ref(), Ok(&created), "the same call again");
    let budget = largest as u64;
    assert_eq!(create(b"x", "over"), Err(exhausted("inline bytes per capsule", budget, budget + 1)));
    canister.update::<()>(owner(), "memories_delete", (&created,)).unwrap();
    create(b"x", "after").unwrap();
}

fn check_errors_of_byte_limits(canister: &InstalledCanister, capsule: &str) {
    let in_use = canister.stats().bytes_in_use;
    let content = file(100, 5);
    let begin = |idem: &str| canister.begin(owner(), capsule, &content, idem);
    canister.configure(|config| config.max_bytes_per_caller = 150);
    let session = begin("first").unwrap();
    assert_eq!(begin("second"), Err(exhausted("bytes in flight per caller", 150, 200)));
    canister.configure(|config| {
        config.max_bytes_per_caller = 1_000;
        config.max_bytes_per_capsule = in_use + 150;
    });
    assert_eq!(begin("second"), Err(exhausted("bytes per capsule", in_use + 150, in_use + 200)));
    canister.configure(|config| {
        config.max_bytes_per_capsule = 1_000;
        config.max_bytes = in_use + 150;
        config.max_promised_percent = Some(100);
    });
    assert_eq!(begin("second"), Err(exhausted("bytes in the canister", in_use + 150, in_use + 200)));
    canister.abort(owner(), session).unwrap();
    begin("second").unwrap();
    assert_eq!(chunk_count(content.len()), 1);
    // The aborted session's receipt is for its client only.
    assert!(matches!(canister.status(controller(), session), Err(Error::NotFound { .. })));
}

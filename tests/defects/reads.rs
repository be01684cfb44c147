//! Defects of reads, of costs, and of the growth of stable memory.

use session_migrate::build::Build;
use upload_canister::api::{Capsule, Error};
use upload_canister::stable::memory_ids::{self, Structure};

use super::Course;
use crate::support::upload::{CHUNK, file};
use crate::support::{InstalledCanister, controller, did, owner};

/// A read of more than 2 MiB returned everything in one reply, which traps, and a chunk beyond the end was
/// empty instead of an error. Now every read fits into one reply, and reading beyond the end is an error.
pub fn d34_a_large_blob_came_in_one_reply(build: Build) {
    let canister = InstalledCanister::new(build);
    let names = did::names(build);
    assert!(!names.iter().any(|name| name == "blob_read"), "the read without a limit is gone");
    let capsule = canister.create_capsule();
    let content = file(2 * CHUNK + 100, 1);
    let size = content.len() as u64;
    let blob = canister.upload(owner(), &capsule, &content, "large").blob_id;
    let meta = canister.blob_meta(owner(), &blob).unwrap();
    assert_eq!((meta.size, meta.chunk_count), (size, 3));
    assert_eq!(canister.read_back(owner(), &blob), content);

    let range = |offset: u64, len: u64| canister.read_range(owner(), &blob, offset, len);
    for (offset, len) in [(0, 1), (CHUNK - 1, 2), (CHUNK - 200_000, 1_900_000), (2 * CHUNK + 99, 1)] {
        assert!(
            range(offset as u64, len as u64).unwrap() == content[offset..offset + len],
            "{len} bytes at {offset}"
        );
    }
    assert_eq!(range(0, size), Err(Error::invalid("len", "at most 1900000 bytes", size)));
    assert_eq!(range(size, 0).unwrap(), b"");
    for (offset, len) in [(size, 1), (size - 1, 2), (u64::MAX, 1), (u64::MAX, 0)] {
        let expected = format!("within {size} bytes");
        let got = format!("{len} bytes at {offset}");
        assert_eq!(range(offset, len), Err(Error::invalid("range", expected, got)));
    }
    for idx in [3, u32::MAX] {
        let beyond = Error::invalid("idx", "less than 3", idx);
        assert_eq!(canister.read_chunk(owner(), &blob, idx), Err(beyond));
    }
}

/// Stable memory took 56 MiB for 44 MiB of payload, since every insert moved neighbouring entries. Now it grows by the
/// payload plus at most a quarter, rounded up to buckets of 8 MiB.
pub fn d35_stable_memory_grew_faster_than_the_payload(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let bucket = 8 << 20;
    canister.upload(owner(), &capsule, &file(CHUNK, 1), "first");
    let before = canister.stats().stable_memory_bytes;
    let content = file(12 * CHUNK, 2);
    canister.upload(owner(), &capsule, &content, "large");
    let grown = canister.stats().stable_memory_bytes - before;
    let payload = content.len() as u64;
    assert!(grown <= payload + payload / 4 + bucket, "{grown} bytes for {payload}");
    assert!(grown + bucket >= payload, "{grown} bytes cannot hold {payload}");
}

/// A capsule was one record with all its memories, which every upload rewrote, and lists had no pages. Now a memory is
/// a separate record, the record of the capsule does not grow, and lists have pages.
pub fn d36_a_commit_rewrote_the_whole_capsule(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let mut uploaded: Vec<String> =
        (0..23).map(|n| canister.upload(owner(), &capsule, b"", &format!("{n}")).memory_id).collect();
    uploaded.sort();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let after = listed.last().cloned();
        let page = canister.memories(owner(), &capsule, after.as_deref(), Some(7)).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|memory| memory.id));
    }
    assert_eq!(listed, uploaded);
    let read: Capsule = canister.query(owner(), "capsules_read", (&capsule,)).unwrap();
    assert_eq!(read.memory_count, 23);
    check_record_does_not_grow();
}

fn check_record_does_not_grow() {
    use upload_canister::api::PersonRef;
    use upload_canister::capsule::CapsuleRecord;
    use upload_canister::stable::Record;

    let mut record = CapsuleRecord::new(PersonRef::Principal(owner()), owner(), 1);
    let empty = record.encode().len();
    record.memory_count = 1_000_000;
    assert!(record.encode().len() - empty < 8, "only the encoded number grows");
}

/// The same content was stored as often as it was uploaded, and the beginnings of chunks were logged. Now the same
/// content is stored once per capsule, and no log contains any of its bytes.
pub fn d37_the_same_content_was_stored_again_and_payload_was_logged(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let secret = "a secret that is worth sixteen bytes and more ".repeat(20);
    let results: Vec<_> =
        (0..3).map(|n| canister.upload(owner(), &capsule, secret.as_bytes(), &format!("{n}"))).collect();
    assert!(results.iter().all(|result| result.blob_id == results[0].blob_id));
    canister.run_timers_until(|_| true);
    let stats = canister.stats();
    assert_eq!((stats.memories, stats.blobs), (3, 1));
    assert_eq!((stats.chunks, stats.payload_bytes), canister.payload_of(&[secret.len()]));
    assert_eq!(stats.bytes_in_use, secret.len() as u64);

    let logs = canister.pic.fetch_canister_logs(canister.id, controller()).unwrap();
    let lines: Vec<String> =
        logs.iter().map(|record| String::from_utf8_lossy(&record.content).into_owned()).collect();
    assert!(lines.iter().any(|line| line.contains(&results[0].memory_id)), "a finish is logged: {lines:?}");
    let hex: String = secret.bytes().take(8).map(|byte| format!("{byte:02x}")).collect();
    let decimal = format!("{:?}", &secret.as_bytes()[..4]);
    for line in &lines {
        assert!(
            !line.contains("secret")
                && !line.contains(&hex)
                && !line.contains(decimal.trim_matches(['[', ']'])),
            "a log line contains payload: {line}"
        );
    }
}

/// A later release opened a second memory manager over the same memory, and both allocated the same bucket. Now there
/// is only one memory manager: every bucket in stable memory belongs to exactly one of the memories in the table of
/// memory ids.
pub fn d38_two_memory_managers_shared_one_memory(course: Course) {
    let mut canister = InstalledCanister::new(course[0]);
    let capsule = canister.create_capsule();
    canister.upload(owner(), &capsule, &file(CHUNK + 1, 1), "before");
    for (n, build) in course[1..].iter().enumerate() {
        canister.upgrade(*build);
        canister.upload(owner(), &capsule, &file(CHUNK + 1, 2 + n as u64), &format!("after {n}"));
        check_buckets(&canister.pic.get_stable_memory(canister.id));
    }
}

/// Checks the header of the memory manager as the library lays it out: magic, version, number of buckets, pages per
/// bucket, 32 reserved bytes, then the size in pages of each of 255 memories, then for each bucket the id of the memory
/// that owns it.
fn check_buckets(stable: &[u8]) {
    assert_eq!(stable[..4], *b"MGR\x01");
    let buckets = u16::from_le_bytes([stable[4], stable[5]]);
    let bucket_pages = u64::from(u16::from_le_bytes([stable[6], stable[7]]));
    let sizes = stable[40..40 + 255 * 8].chunks(8).map(|size| u64::from_le_bytes(size.try_into().unwrap()));
    let memory_of_bucket = &stable[40 + 255 * 8..][..32_768];
    let mut used = 0;
    for (id, pages) in sizes.enumerate() {
        let owned = memory_of_bucket.iter().filter(|memory| **memory as usize == id).count() as u64;
        assert_eq!(owned, pages.div_ceil(bucket_pages), "memory {id} of {pages} pages has {owned} buckets");
        used += owned;
        if pages > 0 {
            let known = memory_ids::ALL.iter().find(|(known, _, _)| usize::from(*known) == id);
            assert!(
                known.is_some_and(|(_, _, structure)| *structure != Structure::Reserved),
                "memory {id} is in use, but not in the table of memory ids: {known:?}"
            );
        }
    }
    assert_eq!(used, u64::from(buckets));
    assert!(used > 0);
    let bytes = 65_536 + used * bucket_pages * 65_536;
    assert!(
        stable.len() as u64 <= bytes,
        "stable memory has {} bytes, the manager's buckets end at {bytes}",
        stable.len()
    );
}

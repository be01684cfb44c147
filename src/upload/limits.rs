//! Limits of the upload contract, and of the work of one message. Each number is the maximum, unless its doc says
//! otherwise. `DEFAULT_` marks those that a controller can change.

use crate::api::{Error, Result, UploadConfig};
use crate::blob::CHUNK_SIZE;

/// Chunks of one upload, 29.5 GB in all: the limit of the first public release.
pub const MAX_CHUNKS: u32 = 16_384;

/// Bytes of one upload.
pub const MAX_UPLOAD_BYTES: u64 = MAX_CHUNKS as u64 * CHUNK_SIZE as u64;

/// Sessions in flight of one caller. The first public release had the same limit, per capsule.
pub const DEFAULT_MAX_SESSIONS_PER_CALLER: u64 = 100;

/// Bytes reserved by one caller's sessions in flight: more than the largest upload, 16,384 chunks of 1.8 MB (29.5 GB).
pub const DEFAULT_MAX_BYTES_PER_CALLER: u64 = 32 << 30;

/// Bytes of one capsule: the limit that the first public release had for the whole canister.
pub const DEFAULT_MAX_BYTES_PER_CAPSULE: u64 = 100 << 30;

/// Bytes of the canister, less than the 256 GiB (32,768 buckets of 8 MiB) that the memory manager can allocate.
pub const DEFAULT_MAX_BYTES: u64 = 200 << 30;

/// Share of the canister's maximum bytes that sessions may have reserved but not filled yet, percent. With
/// [`DEFAULT_MAX_BYTES`], three of the largest uploads can be promised at the same time.
pub const DEFAULT_MAX_PROMISED_PERCENT: u8 = 50;

/// Files in one call of `uploads_put_many`: for this many, the answers take about 400 KB, and storing the files takes
/// about 2 billion instructions.
pub const MAX_FILES_PER_CALL: usize = 1_000;

/// Capsules of one caller: a person has a handful, an institution a few hundred.
pub const DEFAULT_MAX_CAPSULES_PER_CALLER: u64 = 1_000;

/// Memories of one capsule. The record of a memory has at most 21 KB including metadata, key and URL, so that the
/// records of one capsule stay below 21 GB.
pub const DEFAULT_MAX_MEMORIES_PER_CAPSULE: u64 = 1_000_000;

/// Bytes of one read of a range: with its Candid encoding, below the IC's 2 MB per replicated reply.
pub const MAX_RANGE_BYTES: u64 = 1_900_000;

/// Bytes of an idempotency key. A UUID has 36; a URL rarely has more than 256.
pub const MAX_IDEM_BYTES: usize = 256;

/// Bytes of an asset's stored metadata. EXIF data fits, a thumbnail in a text field does not.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// Bytes of the key and of the URL of an external asset, each. Browsers and proxies do not accept longer URLs, and
/// keys of S3 have at most 1,024 bytes.
pub const MAX_EXTERNAL_TEXT_BYTES: usize = 2_048;

/// Bytes of an asset's name. File systems allow 255; the name may be a title, which is longer.
pub const MAX_NAME_BYTES: usize = 1_024;

/// Bytes of a description, and of a processing error: a few pages of text.
pub const MAX_DESCRIPTION_BYTES: usize = 8 * 1024;

/// Bytes of a tag, a MIME type (two names of 127 at most, RFC 6838), a codec, a language and the like.
pub const MAX_WORD_BYTES: usize = 256;

/// Tags of one asset.
pub const MAX_TAGS: usize = 100;

/// Missing ranges listed in an error; `uploads_status` lists all of them.
pub const MAX_RANGES_IN_ERROR: usize = 64;

/// Entries in one page of a list; fewer if they would not fit into a reply.
pub const MAX_PAGE: u32 = 100;

/// Default time from a session's last activity to its expiry, seconds: a day.
pub const DEFAULT_SESSION_TTL_SECONDS: u64 = 24 * 60 * 60;

/// Default time from a session's begin to its expiry, seconds: a week, in which the largest upload can be sent at
/// 50 KB per second.
pub const DEFAULT_MAX_SESSION_AGE_SECONDS: u64 = 7 * DEFAULT_SESSION_TTL_SECONDS;

/// Sessions that a begin checks for eviction if it finds no room: with the Candid records of layout 1, about 50
/// million instructions.
pub const EVICTION_CHECKS: usize = 200;

/// Chunks that a message releases at once with the sessions that it evicts. Releasing one from the chunk map takes
/// about 70 million instructions, so all of them take less than half of the 40 billion of an update message.
pub const EVICTED_CHUNKS: u64 = 256;

/// Principals on the list of those who may create capsules.
pub const MAX_CAPSULE_MAKERS: usize = 1_000;

/// Instructions after which a query does not hash another chunk: 60 % of the 5 billion of a query.
pub const DIGEST_INSTRUCTIONS: u64 = 3_000_000_000;

/// Sessions that one timer run ends, and receipts that it drops: this many of each.
pub const SWEEP_BATCH: usize = 20;

/// Instructions after which a timer run begins no further session or memory: half of the 2 billion of one round. The
/// one that it has begun may release 32 chunks, which alone takes 2.2 billion (`docs/costs.md`).
pub const SWEEP_INSTRUCTIONS: u64 = 1_000_000_000;

/// Instructions after which `finish` answers "call again" and leaves the remaining hashing to the timer: half of
/// the 40 billion of an update message.
pub const FINISH_INSTRUCTIONS: u64 = 20_000_000_000;

/// Instructions after which a put stops catching up (hashing chunks that arrived out of order). Also those after which
/// a call that needs room stops checking sessions for eviction. Half of the 2 billion of one round.
pub const CATCH_UP_INSTRUCTIONS: u64 = 1_000_000_000;

/// Returns the sizes that a client needs to know before it splits a file, and the limits of inline bytes.
pub const fn upload_config() -> UploadConfig {
    UploadConfig { inline_max: 32 * 1024, chunk_size: CHUNK_SIZE, inline_budget_per_capsule: 32 * 1024 }
}

/// Returns `Ok(())` if a text may be an idempotency key.
pub fn check_idem(idem: &str) -> Result<()> {
    if (1..=MAX_IDEM_BYTES).contains(&idem.len()) {
        return Ok(());
    }
    Err(Error::invalid("idem", format!("1 to {MAX_IDEM_BYTES} bytes"), format!("{} bytes", idem.len())))
}

const _: () = assert!(
    MAX_FILES_PER_CALL <= crate::stable::PER_MESSAGE,
    "a message can issue an id for each of its files"
);

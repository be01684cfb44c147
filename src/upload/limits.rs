//! Limits of the upload contract. Every one is named in the error that enforces it.

use crate::api::UploadConfig;
use crate::blob::CHUNK_SIZE;

/// Chunks of one upload: 29.5 GB. The first public release's number.
pub const MAX_CHUNKS: u32 = 16_384;

/// Sessions of one caller at a time. The first public release's number, there per capsule.
pub const MAX_SESSIONS_PER_CALLER: u64 = 100;

/// Bytes of an idempotency key. A UUID has 36, a URL rarely more than this.
pub const MAX_IDEM_BYTES: usize = 256;

/// Bytes of the stored form of an asset's metadata. EXIF data fits, a thumbnail in a text field does not.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// Missing ranges that an error lists; the rest is in `uploads_status`.
pub const MAX_RANGES_IN_ERROR: usize = 64;

/// Memories in one page of a list: the largest records make 1.6 MB, under the IC's 2 MB per reply.
pub const MAX_PAGE: u32 = 100;

/// A session expires this long after its last activity unless a controller sets another time: a day.
pub const DEFAULT_SESSION_TTL_SECONDS: u64 = 24 * 60 * 60;

/// Sessions expired and receipts dropped in one turn of the timer.
pub const SWEEP_BATCH: usize = 20;

/// Instructions after which `finish` answers "call again" and `post_upgrade` leaves the rest to the timer:
/// half of the 40 billion of an update message.
pub const MESSAGE_INSTRUCTIONS: u64 = 20_000_000_000;

/// What a client must know before it cuts a file.
pub const fn upload_config() -> UploadConfig {
    UploadConfig { inline_max: 32 * 1024, chunk_size: CHUNK_SIZE, inline_budget_per_capsule: 32 * 1024 }
}

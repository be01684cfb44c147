//! A canister of the first public release, as large as an operator's may be.

use std::path::Path;

use candid::Principal;
use upload_model::public_release::PublicRelease;

use crate::error::BenchError;
use crate::metered_canister::BEGINNING_SECONDS;
use crate::payload::File as Payload;

/// Number of capsules, each with a small file.
pub(super) const CAPSULES: u64 = 10_000;

/// Chunks of the one large file: 100 MB.
const LARGE_CHUNKS: u32 = 56;

/// Bytes of a small file.
const SMALL_BYTES: usize = 1_000;

/// Writes the stable memory of such a canister.
pub(super) fn make(path: &Path) -> Result<(), BenchError> {
    let mut release = PublicRelease::new(128);
    let now = BEGINNING_SECONDS * 1_000_000_000;
    let mut large = Some(Payload::of_chunks(LARGE_CHUNKS, 1));
    for number in 0..CAPSULES {
        let capsule = release.capsule(Principal::self_authenticating(number.to_be_bytes()), now + number);
        let at = now + CAPSULES + number;
        if let Some(large) = large.take() {
            let bytes: Vec<u8> = (0..LARGE_CHUNKS).flat_map(|index| large.chunk(index)).collect();
            release.upload(&capsule, CAPSULES + 1, &bytes, at + CAPSULES);
        }
        let small: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(SMALL_BYTES).collect();
        release.upload(&capsule, number + 1, &small, at);
    }
    std::fs::write(path, release.stable_memory()).map_err(BenchError::file("write", path))
}

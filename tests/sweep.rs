//! Tests of the timers' sweep on real wasm: its messages end within the IC's limits, however much there is to
//! remove.

use std::time::Duration;

use crate::support::traps::is_embedded;
use crate::support::upload::{CHUNK, chunk_count, metadata};
use crate::support::{InstalledCanister, owner};
use session_migrate::build::Build;
use session_migrate::costs;

/// Number of chunks of each session: the most that a message removes one by one (`RELEASE_AT_ONCE`). Removing them
/// takes 2.2 billion instructions (`docs/costs.md`).
const CHUNKS: u32 = 32;

/// Instruction limit of a message in this test. A slice of the sweep may end twenty such sessions; in a single message
/// they would take 44 billion instructions, and the IC allows 40 billion. Three sessions with an eighth of the IC's
/// limit test the same in less time.
const ALLOWED_INSTRUCTIONS: u64 = 5_000_000_000;

#[test]
fn sessions_with_many_chunks_expire_in_separate_messages() {
    if !is_embedded() {
        return;
    }
    let canister = InstalledCanister::new(Build::Legacy);
    let capsule = canister.create_capsule();
    let bytes = u64::from(CHUNKS) * CHUNK as u64;
    for n in 0..3_u8 {
        let args = (&capsule, metadata(bytes), chunk_count(bytes as usize), n.to_string());
        let session: u64 = canister.update(owner(), "uploads_begin", args).unwrap();
        for idx in 0..CHUNKS {
            canister.put_bytes(owner(), session, idx, &vec![n; CHUNK]).unwrap();
        }
    }
    assert_eq!(canister.stats().chunks, u64::from(3 * CHUNKS));
    costs::limit_message(&canister.pic, canister.id, Some(ALLOWED_INSTRUCTIONS)).unwrap();
    canister.pass(Duration::from_secs(25 * 3_600));
    canister.run_timers_until(|stats| stats.sessions == 0 && stats.chunks == 0);
    assert_eq!(canister.stats().bytes_in_use, 0);
}

//! Migration 2 must always write records byte for byte as the first release of layout 3 did.

use ic_stable_structures::Memory as _;

use super::*;
use crate::blob::BlobRecord;
use crate::blob::extents::AllocatorState;
use crate::stable::{Register, Table, memory_ids, preflight};

/// The records of layout 3 as its first release wrote them, in hexadecimal. Never generate them again.
const LAYOUT_3: &str = include_str!("../golden/layout_3.txt");

/// Migration 2 writes the live types of layout 3. If this test fails, one of them has changed, and migration 2 needs a
/// frozen copy of the old type: any later release may run migration 2, or read what it has written.
#[test]
fn moved_records_have_the_bytes_of_layout_3() {
    let mut canister = finalized_canister();
    let [large, small] = [file(2 * CHUNK + 5), file(9)];
    let deleted = upload(&mut canister, &file(CHUNK), "deleted");
    upload(&mut canister, &large, "a blob");
    let mut canister = canister.with_blake3();
    upload(&mut canister, &small, "a blob, BLAKE3");
    let by_blake3 = canister.begin(large.len(), "in flight, BLAKE3");
    (0..2).for_each(|idx| canister.put(by_blake3, &large, idx).unwrap());
    let mut canister = canister.with_sha256();
    let by_sha256 = canister.begin(large.len(), "in flight, SHA-256");
    (0..2).for_each(|idx| canister.put(by_sha256, &large, idx).unwrap());
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    let deleted = BlobId::from_locator(&deleted).unwrap();
    crate::memories::delete_blob(&mut canister.storage, person(OWNER), deleted).unwrap();

    let mut written = String::new();
    let mut append = |name: &str, bytes: &[u8]| written.push_str(&format!("{name} {}\n", hex::encode(bytes)));
    for (_, payload) in canister.storage.payloads.raw_after(None) {
        append("payload", &payload);
    }
    let memories = preflight::open_existing(canister.raw.clone()).unwrap();
    let blobs = Table::<u64, BlobRecord>::open(&memories, memory_ids::BLOBS);
    for (_, blob) in blobs.raw_after(None) {
        append("blob", &blob);
    }
    let free = Table::<u64, u64>::open(&memories, memory_ids::FREE_EXTENTS);
    for (offset, len) in free.raw_after(None) {
        append("free extent", &[&offset.to_be_bytes(), len.as_slice()].concat());
    }
    let by_len = Table::<(u64, u64), ()>::open(&memories, memory_ids::FREE_EXTENTS_BY_LEN);
    for (len, offset) in by_len.keys(..) {
        append("free length", &[len.to_be_bytes(), offset.to_be_bytes()].concat());
    }
    let state = Register::<AllocatorState>::open(&memories, memory_ids::EXTENT_STATE);
    append("allocator", state.raw());
    let mut header = [0; 4];
    memories.get(memory_ids::EXTENT_REGION).read(0, &mut header);
    append("region", &header);
    assert!(written == LAYOUT_3, "migration 2 writes:\n{written}");
}

//! Uploads that are verified by BLAKE3, on real wasm: with chunks in any order, and across every upgrade.

use crate::support::upload::{CHUNK, digest, file};
use crate::support::{InstalledCanister, owner};
use session_migrate::build::Build;
use upload_canister::api::{Error, HashAlgorithm};

const HASH: HashAlgorithm = HashAlgorithm::Blake3;

/// Uploads a file and reads it back. The canister begins on the first of `builds`, the chunks arrive in `order`, and
/// after each chunk the canister is upgraded to the next build, if there is one left.
fn upload_across(builds: &[Build], order: &[u32]) {
    let mut canister = InstalledCanister::new(builds[0]);
    let capsule = canister.create_capsule();
    let file = file(order.len() * CHUNK - 7, 3);
    let session = canister.begin_hashed(owner(), &capsule, &file, "a", HASH).unwrap();
    let mut upgrades = builds[1..].iter();
    for idx in order {
        canister.put(owner(), session, *idx, &file).unwrap();
        if let Some(to) = upgrades.next() {
            canister.upgrade(*to);
        }
    }
    let (expected, len) = (digest(HASH, &file), file.len() as u64);
    let wrong = canister
        .finish_with_digest(owner(), session, &digest(HashAlgorithm::Sha256, &file), len)
        .unwrap_err();
    assert!(matches!(&wrong, Error::ChecksumMismatch { got, .. } if got.as_slice() == expected), "{wrong}");
    let finished = canister.finish_with_digest(owner(), session, &expected, len).unwrap();
    assert_eq!(finished.checksum_blake3.as_deref(), Some(&expected.to_vec()), "{builds:?}");
    assert_eq!(finished.checksum_sha256, None);
    assert!(canister.read_back(owner(), &finished.blob_id) == file, "{builds:?}");
}

#[test]
fn chunks_may_arrive_in_any_order_on_every_build() {
    for build in Build::ALL {
        upload_across(&[build], &[3, 1, 2, 0]);
    }
}

#[test]
fn a_session_survives_every_upgrade() {
    upload_across(&[Build::Legacy, Build::Staged, Build::Direct], &[3, 1, 2, 0]);
    upload_across(&[Build::Direct, Build::Direct], &[1, 2, 0]);
}

//! Stable memory of each released layout, read by those current builds that accept it, and refused by the others.
//!
//! `tests/golden/layout-N.bin.gz` is a complete stable memory, created once by a build that wrote layout N, and never
//! replaced. A release with a new layout adds a file.

use std::io::Read as _;
use std::path::PathBuf;

use crate::support::upload::{CHUNK, digest};
use crate::support::{InstalledCanister, controller, owner, tree};
use flate2::read::GzDecoder;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use upload_canister::api::{HashAlgorithm, MigrationPhase, MigrationStatus, Result};

/// Layouts, each with the build that wrote it.
const LAYOUTS: [(u16, Build); 3] = [(1, Build::Legacy), (2, Build::Staged), (3, Build::Direct)];

/// The key of the upload that is verified by BLAKE3.
const BY_BLAKE3: &str = "half, by BLAKE3";

fn golden_path(layout: u16) -> PathBuf {
    tree::root().join(format!("tests/golden/layout-{layout}.bin.gz"))
}

/// Returns a file of two chunks that compresses well.
fn two_chunks() -> Vec<u8> {
    vec![7; CHUNK + 5]
}

/// Uploads a finished file, and the second chunk of an unfinished file; in layout 3, also the second chunk of an
/// unfinished file that is verified by BLAKE3. The ids are the same in each run, since the canister issues them in
/// order.
fn fill(canister: &InstalledCanister, layout: u16) {
    let capsule = canister.create_capsule();
    canister.upload(owner(), &capsule, b"a finished file", "finished");
    let session = canister.begin(owner(), &capsule, &two_chunks(), "half").unwrap();
    canister.put(owner(), session, 1, &two_chunks()).unwrap();
    if layout >= 3 {
        let session = canister
            .begin_hashed(owner(), &capsule, &two_chunks(), BY_BLAKE3, HashAlgorithm::Blake3)
            .unwrap();
        canister.put(owner(), session, 1, &two_chunks()).unwrap();
    }
}

/// Finishes the half-finished upload with the key `idem`, and checks that the capsule has `memories` memories
/// afterwards.
fn finish_upload(
    canister: &InstalledCanister,
    capsule: &str,
    idem: &str,
    hash: HashAlgorithm,
    memories: usize,
) {
    let session = canister.begin_hashed(owner(), capsule, &two_chunks(), idem, hash).unwrap();
    let status = canister.status(owner(), session).unwrap();
    assert_eq!(status.received.len(), 1, "{idem} on {}", canister.build);
    canister.put(owner(), session, 0, &two_chunks()).unwrap();
    let digest = digest(hash, &two_chunks());
    let finished = canister.finish_with_digest(owner(), session, &digest, two_chunks().len() as u64).unwrap();
    assert_eq!(canister.read_back(owner(), &finished.blob_id), two_chunks());
    assert_eq!(
        canister.memories(owner(), capsule, None, None).unwrap().len(),
        memories,
        "{idem} on {}",
        canister.build
    );
}

#[test]
fn every_build_reads_every_layout_that_it_accepts() {
    for (layout, _) in LAYOUTS {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(golden_path(layout)).unwrap();
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        for build in [Build::Legacy, Build::Staged, Build::Direct] {
            let mut canister = InstalledCanister::new(build);
            canister.pic.set_stable_memory(canister.id, bytes.clone(), BlobCompression::NoCompression);
            if layout > newest_of(build) {
                let refused = canister.try_upgrade(build).unwrap_err().reject_message;
                let expected = [&format!("layout {layout}"), "nothing was changed"];
                assert!(expected.iter().all(|expected| refused.contains(*expected)), "{refused}");
                continue;
            }
            canister.upgrade(build);
            // The half-finished upload continues under its key. It has not expired, since the clock of a fresh instance
            // is not ahead of the clock of the instance that created the stable memory.
            let capsules: Result<Vec<upload_canister::api::Capsule>> =
                canister.query(owner(), "capsules_list", (None::<String>, None::<u32>));
            let capsule = &capsules.unwrap()[0].id;
            finish_upload(&canister, capsule, "half", HashAlgorithm::Sha256, 2);
            if layout >= 3 {
                finish_upload(&canister, capsule, BY_BLAKE3, HashAlgorithm::Blake3, 3);
            }
            let memories = canister.memories(owner(), capsule, None, None).unwrap();
            for memory in memories {
                canister.read_back(owner(), &memory.blob.locator);
            }
            if build != Build::Legacy {
                let status: Result<MigrationStatus> = canister.query(controller(), "migration_status", ());
                let phase = status.unwrap().phase;
                assert!(matches!(phase, MigrationPhase::Converted | MigrationPhase::Idle), "{phase:?}");
            }
        }
    }
}

/// Returns the newest layout that a build reads.
fn newest_of(build: Build) -> u16 {
    match build {
        Build::Legacy => 1,
        Build::Staged => 2,
        Build::Direct => 3,
    }
}

#[test]
#[ignore = "creates the missing fixtures; each is created once, by the release that introduces the layout"]
fn make_the_fixtures() {
    for (layout, build) in LAYOUTS.into_iter().filter(|(layout, _)| !golden_path(*layout).exists()) {
        let canister = InstalledCanister::new(build);
        fill(&canister, layout);
        let file = std::fs::File::create_new(golden_path(layout)).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        std::io::Write::write_all(&mut packed, &canister.pic.get_stable_memory(canister.id)).unwrap();
        packed.finish().unwrap();
    }
}

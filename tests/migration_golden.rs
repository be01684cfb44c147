//! Stable memory as each released layout left it, read by the builds of today.
//!
//! `tests/golden/layout-N.bin.gz` are whole stable memories, made once by the builds that wrote the layout and never
//! again; a release that brings a new layout adds one.

#[path = "support/mod.rs"]
mod support;

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use support::upload::CHUNK;
use support::{World, controller, owner};
use upload_canister::api::{MigrationPhase, MigrationStatus, Result};

/// Released layouts, each with the build that wrote it.
const LAYOUTS: [(u16, Build); 2] = [(1, Build::Legacy), (2, Build::Staged)];

fn path(layout: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/layout-{layout}.bin.gz"))
}

/// A file of two chunks that packs well.
fn half() -> Vec<u8> {
    vec![7; CHUNK + 5]
}

/// Fills a canister: a finished file, and one of which the first chunk has arrived. Both keep their ids, since the
/// canister gives them out in order.
fn fill(world: &World) {
    let capsule = world.capsule();
    world.upload(owner(), &capsule, b"a finished file", "finished");
    let session = world.begin(owner(), &capsule, &half(), "half").unwrap();
    world.put(owner(), session, 1, &half()).unwrap();
}

#[test]
fn every_build_reads_every_layout_that_it_accepts() {
    for (layout, _) in LAYOUTS {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path(layout)).unwrap();
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        for build in [Build::Legacy, Build::Staged, Build::Direct] {
            let mut world = World::new(build);
            world.pic.set_stable_memory(world.id, bytes.clone(), BlobCompression::NoCompression);
            if layout > 1 && build == Build::Legacy {
                let refused = world.try_upgrade(build).unwrap_err().reject_message;
                assert!(refused.contains("layout 2") && refused.contains("nothing was changed"), "{refused}");
                continue;
            }
            world.upgrade(build);
            // The half upload goes on, under the key it was begun with. Its time has not run out: the clock of a
            // fresh instance does not run ahead of the one that the memory was made with.
            let capsules: Result<Vec<upload_canister::api::Capsule>> =
                world.query(owner(), "capsules_list", (None::<String>, None::<u32>));
            let capsule = &capsules.unwrap()[0].id;
            let session = world.begin(owner(), capsule, &half(), "half").unwrap();
            let status = world.status(owner(), session).unwrap();
            assert_eq!(status.received.len(), 1, "layout {layout}, {build}");
            world.put(owner(), session, 0, &half()).unwrap();
            let finished = world.finish(owner(), session, &half()).unwrap();
            assert_eq!(world.read_back(owner(), &finished.blob_id), half());
            let memories = world.memories(owner(), capsule, None, None).unwrap();
            assert_eq!(memories.len(), 2, "layout {layout}, {build}");
            if build != Build::Legacy {
                let status: Result<MigrationStatus> = world.query(controller(), "migration_status", ());
                let phase = status.unwrap().phase;
                assert!(matches!(phase, MigrationPhase::Converted | MigrationPhase::Idle), "{phase:?}");
            }
        }
    }
}

#[test]
#[ignore = "makes the fixtures; they are made once, by the release that brings the layout"]
fn make_the_fixtures() {
    for (layout, build) in LAYOUTS {
        let world = World::new(build);
        fill(&world);
        let file = std::fs::File::create_new(path(layout)).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        std::io::Write::write_all(&mut packed, &world.pic.get_stable_memory(world.id)).unwrap();
        packed.finish().unwrap();
    }
}

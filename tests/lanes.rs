//! The five end-to-end scenarios of an upload, on the legacy build, on the direct build, and across the whole
//! staged upgrade. They are called lanes, as in the tests of the first public release.
//!
//! The five lanes of that release passed without reading a single byte back, and one of them made no call
//! at all. The lanes of this file upload a picture and smaller pictures that are derived from it, and each lane ends by
//! comparing the bytes that the canister returns with the files.

mod canister;
mod picture;

use canister::{Course, LaneCanister};
use session_migrate::client::{UploadStep, Uploader};

use crate::support::owner;

/// Runs each lane as three tests, one on each course.
macro_rules! on_every_course {
    ($($lane:ident)*) => {$(
        mod $lane {
            #[test]
            fn on_legacy() {
                super::$lane(super::Course::Legacy);
            }

            #[test]
            fn on_direct() {
                super::$lane(super::Course::Direct);
            }

            #[test]
            fn across_the_upgrade() {
                super::$lane(super::Course::Upgraded);
            }
        }
    )*};
}

on_every_course! {
    lane_1_a_large_original
    lane_2_derivatives_of_a_picture
    lane_3_both_in_parallel
    lane_4_the_complete_set_with_its_memories
    lane_5_every_byte_of_every_asset
}

/// One file of 21,827,484 bytes, chunk by chunk.
fn lane_1_a_large_original(course: Course) {
    let mut canister = LaneCanister::new(course);
    let mut original = canister.uploader(&picture::original(&canister.folder));
    assert_eq!(original.chunks(), 13);
    // Step 0 is begin, so both upgrades happen between two chunks.
    for (number, step) in original.remaining().into_iter().enumerate() {
        match number {
            5 => canister.upgrade(),
            9 => canister.upgrade(),
            _ => {}
        }
        original.step(&canister.typed_client(), step).unwrap();
    }
    canister.assert_stored(&[&original]);
}

/// A display version, a thumbnail and a placeholder, derived from the picture.
fn lane_2_derivatives_of_a_picture(course: Course) {
    let mut canister = LaneCanister::new(course);
    let derivatives = picture::derivatives(&canister.folder);
    let mut uploads: Vec<Uploader> = derivatives.iter().map(|asset| canister.uploader(asset)).collect();
    for upload in &mut uploads {
        let (last, earlier) =
            upload.remaining().split_last().map(|(last, earlier)| (*last, earlier.to_vec())).unwrap();
        earlier.into_iter().for_each(|step| upload.step(&canister.typed_client(), step).unwrap());
        canister.upgrade();
        upload.step(&canister.typed_client(), last).unwrap();
    }
    canister.assert_stored(&uploads.iter().collect::<Vec<_>>());
    for (upload, derivative) in uploads.iter().zip(&derivatives) {
        let decoded = image::load_from_memory(&canister.read_back(upload)).unwrap();
        let expected = image::open(&derivative.path).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (expected.width(), expected.height()));
    }
}

/// The original and its derivatives at the same time: in each round, every upload has a call in flight.
fn lane_3_both_in_parallel(course: Course) {
    let mut canister = LaneCanister::new(course);
    let mut uploads = canister.full_set();
    for round in 0.. {
        match round {
            2 => canister.upgrade(),
            8 => canister.upgrade(),
            _ => {}
        }
        if canister.one_call_of_each(&mut uploads) == 0 {
            assert!(round >= 15, "the original alone takes fifteen calls: begin, thirteen chunks, finish");
            break;
        }
    }
    canister.assert_stored(&uploads.iter().collect::<Vec<_>>());
}

/// Four assets become four memories of the capsule, each with the metadata given at begin.
fn lane_4_the_complete_set_with_its_memories(course: Course) {
    let mut canister = LaneCanister::new(course);
    let mut uploads = canister.full_set();
    for upload in &mut uploads {
        upload.step(&canister.typed_client(), UploadStep::Begin).unwrap();
    }
    canister.upgrade();
    let (original, derivatives) = uploads.split_first_mut().unwrap();
    for upload in derivatives {
        upload.run(&canister.typed_client()).unwrap();
    }
    canister.upgrade();
    original.run(&canister.typed_client()).unwrap();

    let memories = canister.typed_client().memories_all(owner(), &canister.capsule).unwrap();
    assert_eq!(memories.len(), 4, "one memory for each upload");
    for upload in &uploads {
        let result = upload.result().unwrap();
        let memory = memories.iter().find(|memory| memory.id == result.memory_id).unwrap();
        assert_eq!(memory.asset_metadata, upload.asset.metadata());
        assert_eq!(memory.blob.locator, result.blob_id);
        assert_eq!(memory.blob.len, upload.asset.bytes);
        assert_eq!(memory.blob.hash.as_ref().unwrap().as_slice(), upload.asset.sha256);
        assert_eq!(memory.created_by, owner());
    }
    assert_eq!(canister.typed_client().capsules_read(owner(), &canister.capsule).unwrap().memory_count, 4);
    canister.assert_stored(&uploads.iter().collect::<Vec<_>>());
}

/// Files that were uploaded before the upgrades can be read after them, by those with access and by no one else.
fn lane_5_every_byte_of_every_asset(course: Course) {
    let mut canister = LaneCanister::new(course);
    let mut uploads = canister.full_set();
    for upload in &mut uploads {
        upload.run(&canister.typed_client()).unwrap();
    }
    // Three times, for the three builds of the longest course; at the end of a course, `upgrade` does nothing.
    for _ in 0..3 {
        canister.assert_stored(&uploads.iter().collect::<Vec<_>>());
        canister.upgrade();
    }
    let stranger = crate::support::stranger();
    for upload in &uploads {
        let blob = &upload.result().unwrap().blob_id;
        canister.typed_client().blob_get_meta(stranger, blob).unwrap_err();
        canister.typed_client().blob_read_chunk(stranger, blob, 0).unwrap_err();
        let chunks = canister.typed_client().blob_get_meta(owner(), blob).unwrap().chunk_count;
        canister.typed_client().blob_read_chunk(owner(), blob, chunks).unwrap_err();
    }
}

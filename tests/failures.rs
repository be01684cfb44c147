//! A canister that is frozen or stopped, or runs out of memory during a call, on the legacy build and on the direct
//! build: a call that fails changes nothing, and the upload continues once the cause is removed.

use crate::support::calls::CALLS;
use crate::support::scene::{Scene, args};
use crate::support::upload::{CHUNK, file, two_chunks};
use crate::support::{InstalledCanister, controller, did, owner};
use pocket_ic::{CanisterSettings, ErrorCode, RejectResponse};
use session_migrate::build::Build;

/// Bytes of a wasm page.
const PAGE_BYTES: u64 = 65_536;

fn change_settings(canister: &InstalledCanister, settings: CanisterSettings) {
    canister.pic.update_canister_settings(canister.id, Some(controller()), settings).unwrap();
}

/// Sends a chunk; the error is that the IC rejects the call, not that the canister refuses the chunk.
fn try_put(canister: &InstalledCanister, scene: &Scene, idx: u32) -> Result<Vec<u8>, RejectResponse> {
    let chunk = scene.content.chunks(CHUNK).nth(idx as usize).unwrap();
    let arg = args!(scene.session, idx, serde_bytes::Bytes::new(chunk), None::<serde_bytes::ByteBuf>);
    canister.update_bytes(owner(), "uploads_put_chunk", arg)
}

/// A frozen canister refuses every update without executing it; once thawed, the canister is unchanged.
#[test]
fn a_frozen_canister_changes_nothing_and_serves_once_thawed() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let scene = Scene::new(&canister, two_chunks(2), 1);
        let before = scene.state(&canister);
        let with_freezing_threshold = |seconds: u64| CanisterSettings {
            freezing_threshold: Some(seconds.into()),
            ..CanisterSettings::default()
        };
        change_settings(&canister, with_freezing_threshold(u64::MAX));
        let (_, functions) = did::functions(build);
        for ((name, function), (_, arguments)) in functions.iter().zip(CALLS) {
            if !function.is_query() {
                let reject = canister.update_bytes(owner(), name, arguments(&scene)).unwrap_err();
                assert_eq!(reject.error_code, ErrorCode::CanisterOutOfCycles, "{name}: {reject}");
            }
        }
        change_settings(&canister, with_freezing_threshold(0));
        assert_eq!(scene.state(&canister), before, "{build}");
        scene.assert_alive(&canister);
    }
}

/// A stopped canister refuses a call without executing it; once started again, the canister is unchanged.
#[test]
fn a_stopped_canister_changes_nothing_and_serves_once_started() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let scene = Scene::new(&canister, two_chunks(2), 1);
        let before = scene.state(&canister);
        canister.pic.stop_canister(canister.id, Some(controller())).unwrap();
        let reject = try_put(&canister, &scene, 1).unwrap_err();
        assert_eq!(reject.error_code, ErrorCode::CanisterStopped, "{reject}");
        canister.pic.start_canister(canister.id, Some(controller())).unwrap();
        assert_eq!(scene.state(&canister), before, "{build}");
        scene.assert_alive(&canister);
    }
}

/// The heap is full in the middle of a put: everything that the call had written by then is rolled back.
#[test]
fn a_call_that_runs_out_of_memory_changes_nothing() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let scene = Scene::new(&canister, file(3 * CHUNK, 2), 0);
        let before = scene.state(&canister);
        let status = canister.pic.canister_status(canister.id, Some(controller())).unwrap();
        let used = u64::try_from(status.memory_metrics.wasm_memory_size.0).unwrap();
        let with_heap_limit = |bytes: u64| CanisterSettings {
            wasm_memory_limit: Some(bytes.into()),
            ..CanisterSettings::default()
        };
        // 0 is no limit.
        let mut refused = 0;
        // The limit is raised step by step, from no room at all to enough, so that the call fails at different points.
        for pages in (0..).step_by(4) {
            change_settings(&canister, with_heap_limit(used + pages * PAGE_BYTES));
            match try_put(&canister, &scene, 0) {
                Ok(_) => break,
                Err(reject) => {
                    assert_eq!(reject.error_code, ErrorCode::CanisterWasmMemoryLimitExceeded, "{reject}");
                    change_settings(&canister, with_heap_limit(0));
                    assert_eq!(scene.state(&canister), before, "{build}, {pages} pages");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{build}: there was room from the beginning");
        change_settings(&canister, with_heap_limit(0));
        scene.assert_alive(&canister);
    }
}

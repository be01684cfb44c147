//! Adopted canisters are upgraded through every build on the embedded server. After each step, the owner of a blob can
//! read it back, byte for byte, and nobody else can read it.

use std::collections::BTreeMap;
use std::path::Path;

use candid::Principal;
use pocket_ic::PocketIc;
use session_migrate::adopt::RecordKind;
use session_migrate::build::{self, Build, Module};
use session_migrate::client::Canister;
use session_migrate::progress::Progress;
use session_migrate::rehearse::{self, Wasms};
use session_migrate::{Verdict, server};
use upload_canister::api::{Error, MigrationPhase};
use upload_model::public_release::{CHUNK_SIZE, PublicRelease};

use super::release::{Adopted, NOW, file, person};

pub fn controller() -> Principal {
    Principal::self_authenticating("controller")
}

/// Loads an adopted folder into a new canister, as an operator does.
pub fn loaded<'p>(pic: &'p PocketIc, folder: &Path) -> Canister<'p> {
    let id = pic.create_canister_with_settings(Some(controller()), None);
    pic.add_cycles(id, 1_000_000_000_000_000);
    let snapshot = pic.canister_snapshot_upload(id, controller(), None, folder.to_path_buf());
    pic.load_canister_snapshot(id, Some(controller()), snapshot).unwrap();
    let canister = Canister::new(pic, id);
    assert_eq!(canister.build_info().unwrap().build, "legacy");
    canister
}

fn module(build: Build) -> Module {
    Module::read(&build::ensure_one(build).unwrap().wasm_gz).unwrap()
}

/// Upgrades to a build, and waits until its migration has converted everything. Before the upgrade to the direct build,
/// verifies and finalizes the first migration.
pub fn upgrade_to(canister: &Canister<'_>, build: Build) {
    if build == Build::Direct {
        canister.migration_verify(controller()).unwrap();
        expect_converted(canister);
        canister.migration_finalize(controller(), false).unwrap();
    }
    canister.upgrade(controller(), build.name(), &module(build)).unwrap();
    expect_converted(canister);
}

fn expect_converted(canister: &Canister<'_>) {
    let status = canister.migration_status().unwrap();
    let status =
        canister.wait_until_settled::<session_migrate::client::ClientError>(status, || Ok(())).unwrap();
    assert_eq!((status.phase, status.quarantined), (MigrationPhase::Converted, 0), "{status:?}");
}

/// Expects that the owner of a blob reads these bytes; unlike [`expect_blob`], does not ask as others.
fn expect_bytes(canister: &Canister<'_>, owner: Principal, blob: &str, bytes: &[u8]) {
    let meta = canister.blob_get_meta(owner, blob).unwrap();
    assert_eq!(meta.size, bytes.len() as u64, "{blob}");
    let read: Vec<u8> = (0..meta.chunk_count)
        .flat_map(|chunk| canister.blob_read_chunk(owner, blob, chunk).unwrap())
        .collect();
    assert!(read == bytes, "{blob}");
}

/// Expects that the owner of a blob reads these bytes, and that a stranger and an anonymous caller read none.
pub fn expect_blob(canister: &Canister<'_>, owner: Principal, blob: &str, bytes: &[u8]) {
    expect_bytes(canister, owner, blob, bytes);
    for stranger in [person(1 << 40), Principal::anonymous()] {
        let refused = canister.blob_read_chunk(stranger, blob, 0).unwrap_err();
        assert!(matches!(refused.refusal(), Some(Error::NotFound { .. })), "{blob}: {refused}");
    }
}

#[test]
fn every_blob_is_read_back_through_every_build() {
    let mut release = PublicRelease::new(128);
    let mut expected: BTreeMap<(String, String), (Principal, Vec<u8>)> = BTreeMap::new();
    let sizes = [1, 777, CHUNK_SIZE, 2 * CHUNK_SIZE + 1, 20_000_000];
    let mut session = 0;
    for n in 1..=2 {
        let capsule = release.create_capsule(person(n), NOW + n);
        for size in sizes {
            session += 1;
            let bytes = file(size, session);
            let (memory, blob) = release.upload(&capsule, session, &bytes, NOW + 100 + session);
            expected.insert((memory, format!("blob_{blob}")), (person(n), bytes));
        }
    }
    let adopted = Adopted::of(&release.stable_memory());
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &adopted.out());
    let check = |canister: &Canister<'_>| {
        for ((memory, blob), (owner, bytes)) in &expected {
            expect_blob(canister, *owner, blob, bytes);
            let memory = canister.memories_read(*owner, memory).unwrap();
            assert_eq!((&memory.blob.locator, memory.created_by), (blob, *owner));
            assert_eq!(memory.asset_metadata.base().name, "harbour.jpg");
            assert_eq!(
                memory.id,
                format!("mem_{}", memory.created_at),
                "the id is the time of creation, nanoseconds"
            );
            canister.memories_read(person(1_000), &memory.id).unwrap_err();
        }
    };
    check(&canister);
    for build in [Build::Staged, Build::Direct] {
        upgrade_to(&canister, build);
        check(&canister);
    }
    // New ids are larger than all ids that the release has issued.
    let number = |id: &str| id.strip_prefix("capsule_").unwrap().parse::<u64>().unwrap();
    let new = canister.capsules_create(person(1), None).unwrap();
    assert!(number(&new.id) > NOW + 2, "{}", new.id);
}

/// `cargo bench-costs sizes` does the same with 10,000 capsules, a file of 100 MB and uploads in flight.
#[test]
fn thousands_of_capsules_and_a_large_blob_reach_direct() {
    const CAPSULES: u64 = 3_000;
    let mut release = PublicRelease::new(128);
    let mut blobs = Vec::new();
    for n in 0..CAPSULES {
        let (owner, capsule) = (person(n), release.create_capsule(person(n), NOW + n));
        let bytes = file(100 + n as usize, n);
        let (_, blob) = release.upload(&capsule, n + 1, &bytes, NOW + CAPSULES + n);
        blobs.push((owner, format!("blob_{blob}"), bytes));
        if n == CAPSULES / 2 {
            let bytes = file(40_000_000, CAPSULES);
            let (_, blob) = release.upload(&capsule, CAPSULES + 1, &bytes, NOW + 3 * CAPSULES);
            blobs.push((owner, format!("blob_{blob}"), bytes));
        }
    }
    let adopted = Adopted::of(&release.stable_memory());
    drop(release);
    assert_eq!(adopted.report.verdict, Verdict::Pass);
    let counts =
        [RecordKind::Capsule, RecordKind::Memory, RecordKind::Blob].map(|kind| adopted.count(kind).taken);
    assert_eq!(counts, [CAPSULES, CAPSULES + 1, CAPSULES + 1]);
    let pic = server::pocket_ic().unwrap();
    let canister = loaded(&pic, &adopted.out());
    for build in [Build::Legacy, Build::Staged, Build::Direct] {
        if build != Build::Legacy {
            upgrade_to(&canister, build);
        }
        // Every blob is read by its owner, and every hundredth also by strangers, who are refused.
        for (owner, blob, bytes) in &blobs {
            expect_bytes(&canister, *owner, blob, bytes);
        }
        for (owner, blob, bytes) in blobs.iter().step_by(100) {
            expect_blob(&canister, *owner, blob, bytes);
        }
    }
}

#[test]
fn an_adopted_snapshot_is_rehearsed() {
    let mut release = PublicRelease::new(16);
    for n in 1..=5 {
        let capsule = release.create_capsule(person(n), NOW + n);
        release.upload(&capsule, n, &file(3_000, n), NOW + 100 + n);
    }
    let adopted = Adopted::of(&release.stable_memory());
    let small = adopted.folder.path().join("new.jpg");
    std::fs::write(&small, file(2_000_000, 8)).unwrap();
    let options = rehearse::Options {
        snapshot: Some(adopted.out()),
        files: vec![small],
        clients: 1,
        seed: 1,
        rollback: true,
        wasms: Wasms::default(),
        record: None,
    };
    let report = rehearse::run(&options, &Progress::hidden()).unwrap();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.problems);
    let snapshot = report.snapshot.unwrap();
    assert!(snapshot.reads >= 10);
    let steps = [
        "after the upgrade to staged",
        "after the rollback",
        "after the second upgrade to staged",
        "at the end",
    ];
    assert_eq!((snapshot.compared, snapshot.differences), (steps.map(String::from).to_vec(), 0));
}

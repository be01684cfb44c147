//! Which build accepts which stable memory, on real wasm: what is refused leaves the canister as it was.

use candid::Principal;
use pocket_ic::{ErrorCode, PocketIc};
use session_migrate::build::{self, Build};
use session_migrate::client::{Asset, Canister, Step, Uploader};
use tempfile::TempDir;
use upload_canister::api::{AdminConfig, AssetType, MigrationPhase, SessionPath};

const CHUNK: usize = 1_800_000;

struct World {
    pic: PocketIc,
    id: Principal,
    folder: TempDir,
    uploads: u32,
}

fn owner() -> Principal {
    Principal::self_authenticating("owner")
}

fn wasm(build: Build) -> Vec<u8> {
    let artifacts = build::ensure(&[build]).unwrap();
    std::fs::read(&artifacts[0].wasm_gz).unwrap()
}

fn no_arguments() -> Vec<u8> {
    candid::encode_args(()).unwrap()
}

impl World {
    fn on(build: Build) -> Self {
        let pic = session_migrate::server::pocket_ic().unwrap();
        let id = pic.create_canister();
        pic.install_canister(id, wasm(build), no_arguments(), None);
        Self { pic, id, folder: TempDir::new().unwrap(), uploads: 0 }
    }

    fn canister(&self) -> Canister<'_> {
        Canister::new(&self.pic, self.id)
    }

    fn upgrade(&self, build: Build) {
        self.pic.upgrade_canister(self.id, wasm(build), no_arguments(), None).unwrap();
        assert_eq!(self.canister().build_info().unwrap().build, build.name());
    }

    /// The message of an upgrade that must be refused.
    fn refused(&self, build: Build) -> String {
        let reject = self.pic.upgrade_canister(self.id, wasm(build), no_arguments(), None).unwrap_err();
        assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
        reject.reject_message
    }

    /// An upload of two chunks to a capsule of its own, of which the second has arrived.
    fn half_uploaded(&mut self) -> Uploader {
        self.uploads += 1;
        let path = self.folder.path().join(self.uploads.to_string());
        let bytes: Vec<u8> = (0..CHUNK + 100).map(|i| (i % 251) as u8 ^ self.uploads as u8).collect();
        std::fs::write(&path, bytes).unwrap();
        let asset = Asset::open(&path, "file.bin", AssetType::Original).unwrap();
        let capsule = self.canister().capsules_create(owner(), None).unwrap().id;
        let mut upload =
            Uploader::new(owner(), capsule, asset, format!("key {}", self.uploads), CHUNK as u32);
        upload.step(&self.canister(), Step::Begin).unwrap();
        upload.step(&self.canister(), Step::Put(1)).unwrap();
        upload
    }

    fn path_of(&self, upload: &Uploader) -> SessionPath {
        self.canister().uploads_status(owner(), upload.session().unwrap()).unwrap().path
    }

    fn set_share(&self, compat_share_percent: u8) {
        let canister = self.canister();
        let config = canister.admin_config_get(Principal::anonymous()).unwrap();
        let config = AdminConfig { compat_share_percent, ..config };
        canister.admin_config_set(Principal::anonymous(), config).unwrap();
    }
}

#[test]
fn the_legacy_build_refuses_what_is_converted_and_names_the_way_back() {
    let mut world = World::on(Build::Legacy);
    let mut upload = world.half_uploaded();
    world.upgrade(Build::Staged);
    let message = world.refused(Build::Legacy);
    assert!(message.contains("layout 2") && message.contains("staged build"), "{message}");
    assert_eq!(world.canister().build_info().unwrap().build, "staged", "the old code goes on");
    upload.run(&world.canister()).unwrap();
}

#[test]
fn a_build_can_be_upgraded_to_itself_and_back_between_staged_and_direct() {
    let mut world = World::on(Build::Legacy);
    let mut upload = world.half_uploaded();
    for build in [Build::Legacy, Build::Staged, Build::Staged, Build::Direct, Build::Staged, Build::Direct] {
        world.upgrade(build);
        assert_eq!(upload.ask(&world.canister()).unwrap().received.len(), 1);
    }
    upload.run(&world.canister()).unwrap();
}

#[test]
fn the_direct_build_converts_as_the_staged_one_does() {
    let mut world = World::on(Build::Legacy);
    let mut upload = world.half_uploaded();
    assert_eq!(world.path_of(&upload), SessionPath::Compat);
    world.upgrade(Build::Direct);
    assert_eq!(world.path_of(&upload), SessionPath::Direct);
    let status = world.canister().migration_status().unwrap();
    assert_eq!((status.phase, status.source, status.converted), (MigrationPhase::Converted, 1, 1));
    upload.run(&world.canister()).unwrap();
}

#[test]
fn a_controller_steers_new_sessions_and_the_old_path_drains_when_it_is_closed() {
    let mut world = World::on(Build::Staged);
    world.set_share(100);
    let mut uploads: Vec<Uploader> = (0..3).map(|_| world.half_uploaded()).collect();
    assert!(uploads.iter().all(|upload| world.path_of(upload) == SessionPath::Compat));
    uploads[0].run(&world.canister()).unwrap();
    world.upgrade(Build::Staged);
    assert_eq!(world.path_of(&uploads[1]), SessionPath::Compat, "the share is still above zero");

    world.set_share(0);
    assert!(uploads[1..].iter().all(|upload| world.path_of(upload) == SessionPath::Direct));
    let late = world.half_uploaded();
    assert_eq!(world.path_of(&late), SessionPath::Direct);
    let status = world.canister().migration_status().unwrap();
    assert_eq!((status.phase, status.source), (MigrationPhase::Converted, 2));
    assert_eq!(status.digest_before, status.digest_after);
    uploads[1].run(&world.canister()).unwrap();
}

#[test]
fn a_rollback_leads_back_to_the_legacy_build_with_everything_that_came_since() {
    let mut world = World::on(Build::Legacy);
    let mut before = [world.half_uploaded(), world.half_uploaded(), world.half_uploaded()];
    world.upgrade(Build::Staged);
    let since = [world.half_uploaded(), world.half_uploaded()];
    before[0].step(&world.canister(), Step::Put(0)).unwrap();
    let status = world.canister().migration_rollback(Principal::anonymous()).unwrap();
    assert_eq!((status.phase, status.layout), (MigrationPhase::RolledBack, 1));
    let meanwhile = world.half_uploaded();
    assert_eq!(world.path_of(&meanwhile), SessionPath::Compat);

    world.upgrade(Build::Legacy);
    assert_eq!(before[0].ask(&world.canister()).unwrap().missing, [], "the chunk that came since is there");
    let [first, second, mut left] = before;
    let finished_on_legacy = [first, second, meanwhile].into_iter().chain(since);
    for mut upload in finished_on_legacy {
        // The canister compares the digest of what it has stored.
        upload.run(&world.canister()).unwrap();
    }

    world.upgrade(Build::Staged);
    let status = world.canister().migration_status().unwrap();
    assert_eq!((status.phase, status.source, status.converted), (MigrationPhase::Converted, 1, 1));
    world.upgrade(Build::Direct);
    left.run(&world.canister()).unwrap();
}

#[test]
fn the_direct_build_names_the_staged_one_when_asked_to_roll_back() {
    let world = World::on(Build::Direct);
    let refused = world.canister().migration_rollback(Principal::anonymous()).unwrap_err().to_string();
    assert!(refused.contains("staged build"), "{refused}");
}

#[test]
fn only_a_controller_steers() {
    let world = World::on(Build::Staged);
    let config = world.canister().admin_config_get(Principal::anonymous()).unwrap();
    world.canister().admin_config_get(owner()).unwrap_err();
    world.canister().admin_config_set(owner(), config).unwrap_err();
    let too_much = AdminConfig { compat_share_percent: 101, ..config };
    world.canister().admin_config_set(Principal::anonymous(), too_much).unwrap_err();
}

#[test]
fn foreign_and_damaged_stable_memory_is_refused_as_it_is() {
    for (bytes, hint) in [
        (&b"DIDL\x00\x01\x71"[..], "stable_save"),
        (b"MGR\x09", "version 1"),
        (b"\0\0\0\0", "expected the memory manager's"),
    ] {
        let world = World::on(Build::Legacy);
        let mut memory = vec![0; 65_536];
        memory[..bytes.len()].copy_from_slice(bytes);
        world.pic.set_stable_memory(
            world.id,
            memory.clone(),
            pocket_ic::common::rest::BlobCompression::NoCompression,
        );
        for build in [Build::Legacy, Build::Staged, Build::Direct] {
            let message = world.refused(build);
            assert!(message.contains(hint) && message.contains("nothing was changed"), "{message}");
        }
        let after = world.pic.get_stable_memory(world.id);
        assert!(after.starts_with(&memory), "the memory is as it was");
    }
}

//! Upgrades between builds on real wasm, with unfinished uploads that continue afterwards.

use crate::support::conversion::{control, settle_migration, status};
use crate::support::upload::{CHUNK, file};
use crate::support::{InstalledCanister, controller, owner};
use session_migrate::build::Build;
use upload_canister::api::{AdminConfig, MigrationPhase, MigrationStatus, Result, SessionPath};

/// An upload of two chunks to a new capsule; the second chunk has arrived.
struct HalfUpload {
    session: u64,
    content: Vec<u8>,
}

impl HalfUpload {
    fn begin(canister: &InstalledCanister, seed: u64) -> Self {
        let capsule = canister.create_capsule();
        let content = file(CHUNK + 100, seed);
        let session = canister.begin(owner(), &capsule, &content, &format!("key {seed}")).unwrap();
        canister.put(owner(), session, 1, &content).unwrap();
        Self { session, content }
    }

    fn path(&self, canister: &InstalledCanister) -> SessionPath {
        canister.status(owner(), self.session).unwrap().path
    }

    /// Sends the missing chunk and finishes the upload; the canister checks the digest of the stored bytes.
    fn complete(&self, canister: &InstalledCanister) {
        canister.put(owner(), self.session, 0, &self.content).unwrap();
        canister.finish(owner(), self.session, &self.content).unwrap();
    }
}

#[test]
fn the_legacy_build_refuses_layout_2_and_names_the_rollback() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let upload = HalfUpload::begin(&canister, 1);
    canister.upgrade(Build::Staged);
    let message = canister.try_upgrade(Build::Legacy).unwrap_err().reject_message;
    assert!(message.contains("layout 2") && message.contains("staged build"), "{message}");
    let info: upload_canister::api::BuildInfo = canister.query_plain("build_info", ());
    assert_eq!(info.build, "staged", "the old code continues");
    upload.complete(&canister);
}

#[test]
fn every_build_upgrades_to_itself_and_direct_back_to_staged() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let upload = HalfUpload::begin(&canister, 1);
    for build in [Build::Legacy, Build::Staged, Build::Staged, Build::Direct, Build::Staged, Build::Direct] {
        canister.upgrade(build);
        assert_eq!(canister.status(owner(), upload.session).unwrap().received.len(), 1);
    }
    upload.complete(&canister);
}

/// The upgrade skips the staged build.
#[test]
fn the_direct_build_converts_as_the_staged_one_does() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let upload = HalfUpload::begin(&canister, 1);
    assert_eq!(upload.path(&canister), SessionPath::Compat);
    canister.upgrade(Build::Direct);
    assert_eq!(upload.path(&canister), SessionPath::Direct);
    let status = status(&canister);
    assert_eq!((status.phase, status.source, status.converted), (MigrationPhase::Converted, 1, 1));
    upload.complete(&canister);
}

#[test]
fn the_compat_share_routes_sessions_and_at_zero_they_convert() {
    let mut canister = InstalledCanister::new(Build::Staged);
    canister.configure(|config| config.compat_share_percent = 100);
    let uploads = [1, 2, 3].map(|seed| HalfUpload::begin(&canister, seed));
    assert!(uploads.iter().all(|upload| upload.path(&canister) == SessionPath::Compat));
    uploads[0].complete(&canister);
    canister.upgrade(Build::Staged);
    assert_eq!(uploads[1].path(&canister), SessionPath::Compat, "the share is still above zero");

    canister.configure(|config| config.compat_share_percent = 0);
    canister.run_timers_until(|stats| stats.legacy_sessions == 0);
    assert!(uploads[1..].iter().all(|upload| upload.path(&canister) == SessionPath::Direct));
    assert_eq!(HalfUpload::begin(&canister, 4).path(&canister), SessionPath::Direct);
    let status = status(&canister);
    assert_eq!((status.phase, status.source), (MigrationPhase::Converted, 2));
    assert_eq!(status.digest_before, status.digest_after);
    uploads[1].complete(&canister);
}

#[test]
fn a_rollback_to_legacy_keeps_everything_uploaded_since() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let before = [1, 2, 3].map(|seed| HalfUpload::begin(&canister, seed));
    canister.upgrade(Build::Staged);
    let since = [4, 5].map(|seed| HalfUpload::begin(&canister, seed));
    canister.put(owner(), before[0].session, 0, &before[0].content).unwrap();
    control(&canister, "migration_rollback");
    let rolled_back = settle_migration(&canister);
    assert_eq!((rolled_back.phase, rolled_back.layout), (MigrationPhase::RolledBack, 1));
    let meanwhile = HalfUpload::begin(&canister, 6);
    assert_eq!(meanwhile.path(&canister), SessionPath::Compat);

    canister.upgrade(Build::Legacy);
    let first = canister.status(owner(), before[0].session).unwrap();
    assert_eq!(first.missing, [], "the chunk put after the upgrade is stored");
    let [first, second, unfinished] = before;
    for upload in [first, second, meanwhile].into_iter().chain(since) {
        upload.complete(&canister);
    }

    canister.upgrade(Build::Staged);
    let status = status(&canister);
    assert_eq!((status.phase, status.source, status.converted), (MigrationPhase::Converted, 1, 1));
    canister.upgrade(Build::Direct);
    unfinished.complete(&canister);
}

#[test]
fn the_direct_build_refuses_rollback_and_names_the_staged_one() {
    let canister = InstalledCanister::new(Build::Direct);
    let refused: Result<MigrationStatus> = canister.update(controller(), "migration_rollback", ());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("staged build"), "{refused}");
}

#[test]
fn only_a_controller_changes_settings() {
    let canister = InstalledCanister::new(Build::Staged);
    let config = canister.config();
    canister.query::<AdminConfig>(owner(), "admin_config_get", ()).unwrap_err();
    canister.update::<()>(owner(), "admin_config_set", (config,)).unwrap_err();
    canister.try_configure(|config| config.compat_share_percent = 101).unwrap_err();
}

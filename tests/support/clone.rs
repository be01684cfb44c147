//! Snapshots of a canister, loaded into it again and into another one.

use pocket_ic::CanisterSettings;
use serde_json::Value;

use super::{InstalledCanister, controller};

impl InstalledCanister {
    /// Takes a snapshot in addition to earlier ones; returns its id.
    pub fn take_snapshot(&self) -> Vec<u8> {
        self.pic.take_canister_snapshot(self.id, Some(controller()), None).unwrap().id
    }

    pub fn load_snapshot(&self, id: &[u8]) {
        self.pic.load_canister_snapshot(self.id, Some(controller()), id.to_vec()).unwrap();
    }

    /// Returns a clone, on the same PocketIC instance, that is created from a snapshot of this canister. The snapshot
    /// is downloaded and uploaded as the tools do, without its `global_timer`, so that the IC has no timer for the
    /// clone.
    pub fn cloned(self, snapshot: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("snapshot");
        self.pic.canister_snapshot_download(self.id, controller(), snapshot.to_vec(), folder.clone());
        let metadata = folder.join("metadata.json");
        let mut fields: Value = serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap();
        assert!(fields.get("global_timer").is_some(), "the snapshot has no field for the timer: {fields}");
        fields["global_timer"] = Value::Null;
        std::fs::write(&metadata, serde_json::to_vec_pretty(&fields).unwrap()).unwrap();

        let settings = CanisterSettings { controllers: Some(vec![controller()]), ..Default::default() };
        let id = self.pic.create_canister_with_settings(Some(controller()), Some(settings));
        self.pic.add_cycles(id, 100_000_000_000_000);
        let uploaded = self.pic.canister_snapshot_upload(id, controller(), None, folder);
        self.pic.load_canister_snapshot(id, Some(controller()), uploaded).unwrap();
        Self { id, ..self }
    }
}

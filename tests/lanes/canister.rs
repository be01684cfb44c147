//! A canister that is upgraded along a course, and its owner's capsule and files.

use std::path::Path;

use session_migrate::build::Build;
use session_migrate::client::{Asset, Canister, Uploader};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::picture;
use crate::support::{InstalledCanister, owner};

/// The builds that the canister of a lane (an end-to-end scenario) runs, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The legacy build alone.
    Legacy,
    /// The direct build alone.
    Direct,
    /// Legacy, staged, direct.
    Upgraded,
}

impl Course {
    fn builds(self) -> &'static [Build] {
        match self {
            Self::Legacy => &[Build::Legacy],
            Self::Direct => &[Build::Direct],
            Self::Upgraded => &[Build::Legacy, Build::Staged, Build::Direct],
        }
    }
}

/// The canister of one lane. `next_builds` is the rest of the course, and `uploads` the number of uploads created so
/// far.
pub struct LaneCanister {
    installed: InstalledCanister,
    next_builds: &'static [Build],
    pub capsule: String,
    pub folder: TempDir,
    uploads: u32,
}

impl LaneCanister {
    /// Installs the first build of the course.
    pub fn new(course: Course) -> Self {
        let (first, next_builds) = course.builds().split_first().unwrap();
        let installed = InstalledCanister::new(*first);
        let capsule = installed.create_capsule();
        Self { installed, next_builds, capsule, folder: TempDir::new().unwrap(), uploads: 0 }
    }

    pub fn typed_client(&self) -> Canister<'_> {
        self.installed.typed_client()
    }

    /// Upgrades to the next build of the course, and checks the migration's digests, and that the layout is 2: without
    /// finalization, the direct build stays in it. Does nothing at the end of the course.
    pub fn upgrade(&mut self) {
        let Some((next, next_builds)) = self.next_builds.split_first() else { return };
        self.next_builds = next_builds;
        self.installed.upgrade(*next);
        let status = self.installed.migration_status();
        assert_eq!(status.digest_before, status.digest_after, "{status:?}");
        assert_eq!(status.layout, 2);
    }

    /// Creates an upload of a file, without beginning it.
    pub fn uploader(&mut self, asset: &Asset) -> Uploader {
        self.uploads += 1;
        let chunk_size = self.typed_client().upload_config().unwrap().chunk_size;
        let idem = format!("upload-{}", self.uploads);
        Uploader::new(owner(), &self.capsule, asset.clone(), idem, chunk_size)
    }

    /// Creates uploads of the original and its three derivatives, without beginning them.
    pub fn full_set(&mut self) -> Vec<Uploader> {
        let mut assets = vec![picture::original(&self.folder)];
        assets.extend(picture::derivatives(&self.folder));
        assets.iter().map(|asset| self.uploader(asset)).collect()
    }

    /// Sends the next call of every upload before waiting for any reply. Returns the number of calls; 0 if every upload
    /// is finished.
    pub fn one_call_of_each(&self, uploads: &mut [Uploader]) -> usize {
        let canister = self.typed_client();
        let next = |upload: &Uploader| upload.remaining().first().copied();
        let steps: Vec<_> = uploads.iter().map(next).collect();
        let calls = uploads.iter().zip(&steps).filter_map(|(upload, step)| Some((upload, (*step)?)));
        let replies = canister.call_together(calls.map(|(upload, step)| (owner(), upload.call(step))));
        let sent = uploads.iter_mut().zip(steps).filter_map(|(upload, step)| Some((upload, step?)));
        for ((upload, step), reply) in sent.zip(&replies) {
            upload.accept(step, reply.as_ref().unwrap()).unwrap();
        }
        replies.len()
    }

    pub fn read_back(&self, upload: &Uploader) -> Vec<u8> {
        let stored = self.installed.read_back(owner(), &upload.result().unwrap().blob_id);
        assert_eq!(stored.len() as u64, upload.asset.bytes);
        stored
    }

    /// Checks that the canister returns the bytes of the files on disk.
    pub fn assert_stored(&self, uploads: &[&Uploader]) {
        for upload in uploads {
            let stored = self.read_back(upload);
            let on_disk = std::fs::read(Path::new(&upload.asset.path)).unwrap();
            assert_eq!(Sha256::digest(&stored), Sha256::digest(&on_disk), "{}", upload.asset.name);
        }
    }
}

//! The stand-in for the first public release (the canister in `fixtures/public-release`) on the embedded server, and its
//! clients before and after the adoption.

use std::path::PathBuf;
use std::time::Duration;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Deserialize, Principal};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use session_migrate::adopt::{self, Options, Report};
use session_migrate::client::Canister;
use session_migrate::progress::Progress;
use session_migrate::server;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use upload_canister::api::ChunkRange;
use upload_canister::migrations::public_release::{
    PublicAssetMetadata, PublicAssetType, PublicBase, PublicCapsule, PublicNote, PublicPerson,
};
use upload_model::public_release::CHUNK_SIZE;

use super::on_the_server::controller;

/// The stand-in on the embedded server.
pub struct OldRelease {
    pub pic: PocketIc,
    id: Principal,
}

#[derive(CandidType, Deserialize, Debug)]
pub enum ReleaseError {
    Unauthorized,
    NotFound,
    InvalidArgument(String),
    Conflict(String),
    ResourceExhausted,
    Internal(String),
    NotImplemented(String),
}

pub fn release_metadata(name: &str, bytes: u64) -> PublicAssetMetadata {
    PublicAssetMetadata::Note(PublicNote {
        base: PublicBase {
            name: name.into(),
            description: None,
            tags: vec!["tag".into()],
            asset_type: PublicAssetType::Original,
            bytes,
            mime_type: "text/plain".into(),
            sha256: None,
            width: None,
            height: None,
            url: None,
            storage_key: None,
            bucket: None,
            asset_location: None,
            processing_status: None,
            processing_error: None,
            created_at: 1,
            updated_at: 2,
            deleted_at: None,
        },
        word_count: Some(3),
        language: None,
        format: None,
    })
}

impl OldRelease {
    pub fn install() -> OldRelease {
        let wasm = std::fs::read(pocket_ic_fixtures::public_release().unwrap()).unwrap();
        let pic = server::pocket_ic().unwrap();
        let id = pic.create_canister_with_settings(Some(controller()), None);
        pic.add_cycles(id, 1_000_000_000_000_000);
        pic.install_canister(id, wasm, candid::encode_args(()).unwrap(), Some(controller()));
        OldRelease { pic, id }
    }

    pub fn call<T>(
        &self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ReleaseError>
    where
        T: CandidType + for<'a> Deserialize<'a>,
    {
        self.pic.advance_time(Duration::from_secs(1));
        let args = candid::encode_args(args).unwrap();
        let reply = self.pic.update_call(self.id, caller, method, args).unwrap();
        let (answer,): (Result<T, ReleaseError>,) = candid::decode_args(&reply).unwrap();
        answer
    }

    pub fn create_capsule(&self, owner: Principal) -> String {
        let capsule: PublicCapsule = self.call(owner, "capsules_create", (None::<PublicPerson>,)).unwrap();
        capsule.id
    }

    pub fn begin(&self, owner: Principal, capsule: &str, name: &str, bytes: u64, chunks: u32) -> u64 {
        self.call(owner, "uploads_begin", (capsule, release_metadata(name, bytes), chunks, name)).unwrap()
    }

    /// Sends the chunk `idx` of the file `bytes`.
    pub fn try_put(
        &self,
        caller: Principal,
        session: u64,
        idx: u32,
        bytes: &[u8],
    ) -> Result<(), ReleaseError> {
        let chunk = bytes.chunks(CHUNK_SIZE).nth(idx as usize).unwrap();
        self.call(caller, "uploads_put_chunk", (session, idx, ByteBuf::from(chunk)))
    }

    pub fn put(&self, owner: Principal, session: u64, idx: u32, bytes: &[u8]) {
        self.try_put(owner, session, idx, bytes).unwrap();
    }

    /// Begins an upload, and sends the chunks with the indices `sent`.
    pub fn begin_and_put(
        &self,
        owner: Principal,
        capsule: &str,
        name: &str,
        bytes: &[u8],
        sent: &[u32],
    ) -> u64 {
        let chunks = bytes.len().div_ceil(CHUNK_SIZE) as u32;
        let session = self.begin(owner, capsule, name, bytes.len() as u64, chunks);
        sent.iter().for_each(|idx| self.put(owner, session, *idx, bytes));
        session
    }

    /// Finishes an upload of `len` bytes; returns the ids of its blob and its memory.
    pub fn try_finish(
        &self,
        caller: Principal,
        session: u64,
        digest: Vec<u8>,
        len: usize,
    ) -> Result<(String, String), ReleaseError> {
        self.call(caller, "uploads_finish", (session, ByteBuf::from(digest), len as u64))
    }

    pub fn finish(&self, owner: Principal, session: u64, bytes: &[u8]) -> (String, String) {
        self.try_finish(owner, session, Sha256::digest(bytes).to_vec(), bytes.len()).unwrap()
    }

    /// Takes a snapshot, and downloads it into a folder.
    pub fn snapshot(&self, folder: &TempDir) -> PathBuf {
        let path = folder.path().join("old-release");
        let taken = self.pic.take_canister_snapshot(self.id, Some(controller()), None).unwrap();
        self.pic.canister_snapshot_download(self.id, controller(), taken.id, path.clone());
        path
    }

    /// Adopts a snapshot. Returns a temporary folder, the path of the result in it, and the report.
    pub fn adopted(&self) -> (TempDir, PathBuf, Report) {
        let folder = tempfile::tempdir().unwrap();
        let (snapshot, out) = (self.snapshot(&folder), folder.path().join("adopted"));
        let options = Options { snapshot, out: out.clone(), legacy: None };
        let report = adopt::run(&options, &Progress::hidden()).unwrap();
        assert!(report.counts.iter().all(adopt::KindCount::has_all_outcomes), "{:?}", report.counts);
        (folder, out, report)
    }
}

/// Completes an upload on the adopted canister, and returns the id of its blob.
pub fn complete(canister: &Canister<'_>, owner: Principal, session: u64, bytes: &[u8]) -> String {
    let status = canister.uploads_status(owner, session).unwrap();
    for ChunkRange { first, last } in status.missing {
        for idx in first..=last {
            let chunk = bytes.chunks(CHUNK_SIZE).nth(idx as usize).unwrap();
            canister.uploads_put_chunk(owner, session, idx, chunk.to_vec(), None).unwrap();
        }
    }
    let digest = Sha256::digest(bytes).into();
    canister.uploads_finish(owner, session, digest, bytes.len() as u64).unwrap().blob_id
}

/// Returns the metadata of an upload that begins on the adopted canister.
pub fn new_metadata() -> upload_canister::api::AssetMetadata {
    use upload_canister::api::{AssetMetadata, AssetMetadataBase, AssetType};
    AssetMetadata::image(AssetMetadataBase::new("new", "image/jpeg", AssetType::Original, 5, 1))
}

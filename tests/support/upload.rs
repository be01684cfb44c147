//! Uploads of small generated files.

use candid::Principal;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};
use upload_canister::api::{
    AssetMetadata, AssetMetadataBase, AssetType, BlobMeta, BlobRef, HashAlgorithm, Memory, Result, SmallFile,
    StorageBackend, UploadFinishResult, UploadStatus,
};
use upload_canister::session::Chunking;

use super::InstalledCanister;

/// Length of every chunk but the last, in bytes, as in `upload_config`.
pub const CHUNK: usize = 1_800_000;

/// Creates a file of this length; each `seed` gives a different file.
pub fn file(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut content: Vec<u8> = std::iter::repeat_with(&mut next).take(bytes.div_ceil(8)).flatten().collect();
    content.truncate(bytes);
    content
}

/// Creates a file of two chunks, the second of which is short.
pub fn two_chunks(seed: u64) -> Vec<u8> {
    file(CHUNK + 5, seed)
}

pub fn sha256(file: &[u8]) -> [u8; 32] {
    Sha256::digest(file).into()
}

pub fn digest(hash: HashAlgorithm, file: &[u8]) -> [u8; 32] {
    match hash {
        HashAlgorithm::Sha256 => sha256(file),
        HashAlgorithm::Blake3 => blake3::hash(file).into(),
    }
}

/// Returns the metadata of a file of this many bytes.
pub fn metadata(bytes: u64) -> AssetMetadata {
    let base = AssetMetadataBase::new("file.bin", "application/octet-stream", AssetType::Original, bytes, 0);
    AssetMetadata::document(base)
}

/// Returns the number of chunks of a file of this many bytes.
pub fn chunk_count(bytes: usize) -> u32 {
    Chunking::new(bytes as u64, CHUNK as u64).count()
}

/// A memory to be created without an upload. Exactly one of inline bytes, a blob and a backend is given.
#[derive(Clone, Copy)]
pub struct NewMemory<'a> {
    pub capsule: &'a str,
    pub inline: Option<&'a [u8]>,
    pub blob: Option<&'a BlobRef>,
    pub backend: Option<StorageBackend>,
    pub bytes: u64,
    pub idem: &'a str,
}

impl<'a> NewMemory<'a> {
    pub fn inline(capsule: &'a str, bytes: &'a [u8], idem: &'a str) -> Self {
        let size = bytes.len() as u64;
        Self { capsule, inline: Some(bytes), blob: None, backend: None, bytes: size, idem }
    }

    pub fn blob(capsule: &'a str, blob: &'a BlobRef, idem: &'a str) -> Self {
        Self { capsule, inline: None, blob: Some(blob), backend: None, bytes: blob.len, idem }
    }
}

impl InstalledCanister {
    /// Begins an upload that is verified by SHA-256; only the length of `file` matters.
    pub fn begin(&self, caller: Principal, capsule: &str, file: &[u8], idem: &str) -> Result<u64> {
        let args = (capsule, metadata(file.len() as u64), chunk_count(file.len()), idem);
        self.update(caller, "uploads_begin", args)
    }

    pub fn begin_hashed(
        &self,
        caller: Principal,
        capsule: &str,
        file: &[u8],
        idem: &str,
        hash: HashAlgorithm,
    ) -> Result<u64> {
        let args = (capsule, metadata(file.len() as u64), chunk_count(file.len()), idem, Some(hash));
        self.update(caller, "uploads_begin", args)
    }

    /// Sends any bytes as chunk `idx`, right or wrong; [`Self::put`] sends those of a file.
    pub fn put_bytes(&self, caller: Principal, session: u64, idx: u32, bytes: &[u8]) -> Result<()> {
        self.update(caller, "uploads_put_chunk", (session, idx, Bytes::new(bytes), None::<ByteBuf>))
    }

    /// Sends chunk `idx` of a file.
    pub fn put(&self, caller: Principal, session: u64, idx: u32, file: &[u8]) -> Result<()> {
        self.put_bytes(caller, session, idx, file.chunks(CHUNK).nth(idx as usize).unwrap())
    }

    /// Sends every chunk of a file in order. The test fails if a call is refused.
    pub fn put_all(&self, caller: Principal, session: u64, file: &[u8]) {
        for idx in 0..chunk_count(file.len()) {
            self.put(caller, session, idx, file).unwrap();
        }
    }

    /// Finishes the upload of a file that is verified by SHA-256, with the right digest and length.
    pub fn finish(&self, caller: Principal, session: u64, file: &[u8]) -> Result<UploadFinishResult> {
        self.finish_with_digest(caller, session, &sha256(file), file.len() as u64)
    }

    /// Finishes an upload with any digest and any length, right or wrong.
    pub fn finish_with_digest(
        &self,
        caller: Principal,
        session: u64,
        digest: &[u8],
        total_len: u64,
    ) -> Result<UploadFinishResult> {
        self.update(caller, "uploads_finish", (session, Bytes::new(digest), total_len))
    }

    pub fn abort(&self, caller: Principal, session: u64) -> Result<()> {
        self.update(caller, "uploads_abort", (session,))
    }

    pub fn status(&self, caller: Principal, session: u64) -> Result<UploadStatus> {
        self.query(caller, "uploads_status", (session,))
    }

    /// Uploads a file chunk by chunk, from begin to finish. The test fails if a call is refused.
    pub fn upload(&self, caller: Principal, capsule: &str, file: &[u8], idem: &str) -> UploadFinishResult {
        let session = self.begin(caller, capsule, file, idem).unwrap();
        self.put_all(caller, session, file);
        self.finish(caller, session, file).unwrap()
    }

    /// Uploads a file in one call.
    pub fn put_whole(
        &self,
        caller: Principal,
        capsule: &str,
        file: &[u8],
        idem: &str,
    ) -> Result<UploadFinishResult> {
        let file = SmallFile {
            capsule_id: capsule.into(),
            asset_metadata: metadata(file.len() as u64),
            idem: idem.into(),
            bytes: Bytes::new(file),
            digest: ByteBuf::from(sha256(file)),
            hash: None,
        };
        self.update(caller, "uploads_put_whole", (file,))
    }

    pub fn blob_meta(&self, caller: Principal, locator: &str) -> Result<BlobMeta> {
        self.query(caller, "blob_get_meta", (locator,))
    }

    pub fn read_chunk(&self, caller: Principal, locator: &str, idx: u32) -> Result<Vec<u8>> {
        let chunk: Result<ByteBuf> = self.query(caller, "blob_read_chunk", (locator, idx));
        chunk.map(ByteBuf::into_vec)
    }

    pub fn read_range(&self, caller: Principal, locator: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let range: Result<ByteBuf> = self.query(caller, "blob_read_range", (locator, offset, len));
        range.map(ByteBuf::into_vec)
    }

    /// Returns every byte of a blob, read chunk by chunk. The test fails if their number is not the size in the blob's
    /// record.
    pub fn read_back(&self, caller: Principal, locator: &str) -> Vec<u8> {
        let meta = self.blob_meta(caller, locator).unwrap();
        let bytes: Vec<u8> =
            (0..meta.chunk_count).flat_map(|idx| self.read_chunk(caller, locator, idx).unwrap()).collect();
        assert_eq!(bytes.len() as u64, meta.size, "{locator}");
        bytes
    }

    pub fn create_memory(&self, caller: Principal, new: NewMemory<'_>) -> Result<String> {
        let NewMemory { capsule, inline, blob, backend, bytes, idem } = new;
        let none = None::<String>;
        let inline = inline.map(Bytes::new);
        let asset = metadata(bytes);
        let digest = None::<ByteBuf>;
        let args = (capsule, inline, blob, backend, &none, &none, Some(bytes), digest, asset, idem);
        self.update(caller, "memories_create", args)
    }

    pub fn memory(&self, caller: Principal, id: &str) -> Result<Memory> {
        self.query(caller, "memories_read", (id,))
    }

    /// Returns a page of the memories of a capsule.
    pub fn memories(
        &self,
        caller: Principal,
        capsule: &str,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<Memory>> {
        self.query(caller, "memories_list", (capsule, after, limit))
    }
}

//! A file to be uploaded, which is never entirely in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use upload_canister::api;
use upload_canister::session::Chunking;

use super::ClientError;

/// Size of the buffer for hashing, bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// The time of creation in the metadata of every file: a constant, since a repeated begin must send the same metadata.
const TIME_OF_CREATION: u64 = 0;

/// A file on disk and its metadata for an upload. (In the interface, `AssetMetadata` are the metadata of a memory.)
#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    /// Path of the file.
    pub path: PathBuf,
    /// The name under which it is uploaded.
    pub name: String,
    /// Media type of the file.
    pub mime_type: String,
    /// Role of the file, such as original or thumbnail.
    pub asset_type: api::AssetType,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The metadata to send when the upload begins; `None`: [`Asset::metadata()`] makes them from the other fields.
    pub metadata: Option<Box<api::AssetMetadata>>,
}

impl Asset {
    /// Reads the file once for its size and hash. The media type is guessed from the extension of `name`.
    ///
    /// # Errors
    /// [`ClientError::File`] if the file cannot be read, or is not a regular file.
    pub fn open(
        path: &Path,
        name: impl Into<String>,
        asset_type: api::AssetType,
    ) -> Result<Asset, ClientError> {
        let (bytes, sha256) =
            hash_file(path).map_err(|source| ClientError::File { path: path.to_path_buf(), source })?;
        let name = name.into();
        Ok(Asset {
            path: path.to_path_buf(),
            mime_type: guess_mime_type(&name).to_owned(),
            name,
            asset_type,
            bytes,
            sha256,
            metadata: None,
        })
    }

    /// Reads chunk `index`, counted from 0, of the file divided into chunks of `chunk_size` bytes.
    ///
    /// # Errors
    /// [`ClientError::File`] if the file cannot be read, or has become shorter.
    pub fn chunk(&self, index: u32, chunk_size: u32) -> Result<Vec<u8>, ClientError> {
        let chunking = Chunking::new(self.bytes, u64::from(chunk_size));
        let (offset, length) = (chunking.offset(index), chunking.len(index));
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            // The length of a chunk fits into usize on every platform.
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| ClientError::File { path: self.path.clone(), source })
    }

    /// Returns the metadata for `uploads_begin`: those of an image or, for every other media type, of a document.
    pub fn metadata(&self) -> api::AssetMetadata {
        if let Some(metadata) = &self.metadata {
            return api::AssetMetadata::clone(metadata);
        }
        let base = api::AssetMetadataBase::new(
            self.name.clone(),
            self.mime_type.clone(),
            self.asset_type,
            self.bytes,
            TIME_OF_CREATION,
        );
        if self.mime_type.starts_with("image/") {
            api::AssetMetadata::image(base)
        } else {
            api::AssetMetadata::document(base)
        }
    }
}

fn hash_file(path: &Path) -> std::io::Result<(u64, [u8; 32])> {
    // A pipe can be read only once, and opening a pipe to which nobody writes would block forever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other(
            "it is not a regular file: its bytes are read more than once, so write them into a file first",
        ));
    }
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().into()));
        }
        hasher.update(&block[..read]);
        bytes += read as u64;
    }
}

fn guess_mime_type(name: &str) -> &'static str {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_a_file_is_refused_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/zero")] {
            let error = Asset::open(path, "a", api::AssetType::Original).unwrap_err().to_string();
            assert!(error.contains("it is not a regular file"), "{error}");
        }
    }

    #[test]
    fn chunks_put_together_are_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let content: Vec<u8> = (0..1050u32).map(|i| i as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let asset = Asset::open(&path, "a.jpg", api::AssetType::Original).unwrap();
        assert_eq!(asset.bytes, 1050);
        assert_eq!(asset.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
        assert_eq!(asset.mime_type, "image/jpeg");
        let chunks: Vec<_> = (0..3).map(|i| asset.chunk(i, 500).unwrap()).collect();
        assert_eq!(chunks.concat(), content);
        assert_eq!(chunks[2].len(), 50);
    }

    #[test]
    fn a_file_that_shrank_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        std::fs::write(&path, [0; 100]).unwrap();
        let asset = Asset::open(&path, "a.bin", api::AssetType::Original).unwrap();
        std::fs::write(&path, [0; 10]).unwrap();
        let error = asset.chunk(0, 64).unwrap_err();
        assert!(error.to_string().contains("a.bin"), "{error}");
        let changed = crate::upload::UploadError::from(error).to_string();
        assert!(changed.contains("a.bin changed while it was being uploaded"), "{changed}");
    }
}

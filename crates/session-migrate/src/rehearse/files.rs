//! The files that clients upload: those that the user gives are checked; if there are none, files are generated.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use upload_canister::api::AssetType;
use upload_canister::upload::limits;

use super::{Options, RehearseError};
use crate::client::Asset;

/// Maximum number of chunks of an upload; the canister refuses more.
pub const MAX_CHUNKS: u64 = limits::MAX_CHUNKS as u64;

/// The largest file that fits in [`MAX_CHUNKS`] full chunks.
pub const MAX_FILE_BYTES: u64 = MAX_CHUNKS * limits::upload_config().chunk_size as u64;

/// Size of the generated original in bytes: that of the photograph with which the first release was measured.
const ORIGINAL_BYTES: u64 = 21_827_484;

/// The generated derivatives: file name, kind, size in bytes, and whether they repeat the beginning of the original.
const DERIVATIVES: [(&str, AssetType, u64, bool); 3] = [
    ("display.jpg", AssetType::Preview, 204_800, true),
    ("thumb.jpg", AssetType::Thumbnail, 51_200, true),
    ("placeholder.jpg", AssetType::Derivative, 1_024, false),
];

/// Every byte of a derivative that does not repeat the original.
const FILL_BYTE: u8 = 0x42;

/// Checks that every file is a readable, regular file of at most [`MAX_FILE_BYTES`]. Empty files are allowed.
pub(super) fn check(files: &[PathBuf]) -> Result<(), RehearseError> {
    for path in files {
        let file_error = |why: String| RehearseError::File { path: path.clone(), why };
        let meta = std::fs::metadata(path).map_err(|error| file_error(format!("cannot read: {error}")))?;
        if !meta.is_file() {
            return Err(file_error("not a regular file".into()));
        }
        if meta.len() > MAX_FILE_BYTES {
            return Err(file_error(format!(
                "{} bytes are more than the limit of {MAX_FILE_BYTES} bytes ({MAX_CHUNKS} chunks)",
                meta.len()
            )));
        }
        // Only reading shows whether the file is readable.
        let mut byte = [0];
        File::open(path)
            .and_then(|mut file| file.read(&mut byte))
            .map_err(|error| file_error(format!("cannot read: {error}")))?;
    }
    Ok(())
}

/// Returns the assets of each client, client by client. Given files are uploaded by every client; without any, each
/// client's files are generated in `folder`.
pub(super) fn assets(options: &Options, folder: &Path) -> Result<Vec<Vec<Asset>>, RehearseError> {
    if options.files.is_empty() {
        return (0..options.clients).map(|client| generate_assets(options.seed, client, folder)).collect();
    }
    let given: Vec<Asset> = options
        .files
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            Ok(Asset::open(path, name.to_string_lossy(), AssetType::Original)?)
        })
        .collect::<Result<_, RehearseError>>()?;
    Ok(vec![given; options.clients as usize])
}

fn generate_assets(seed: u64, client: u32, folder: &Path) -> Result<Vec<Asset>, RehearseError> {
    let folder = folder.join(format!("client-{}", client + 1));
    std::fs::create_dir_all(&folder).map_err(RehearseError::io("create", &folder))?;
    let original = folder.join("original.jpg");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(client));
    write_random_file(&original, ORIGINAL_BYTES, &mut rng).map_err(RehearseError::io("write", &original))?;
    let mut assets = vec![Asset::open(&original, "original.jpg", AssetType::Original)?];
    for (name, kind, bytes, repeats_original) in DERIVATIVES {
        let path = folder.join(name);
        write_derivative(&original, &path, bytes, repeats_original)
            .map_err(RehearseError::io("write", &path))?;
        assets.push(Asset::open(&path, name, kind)?);
    }
    Ok(assets)
}

fn write_random_file(path: &Path, bytes: u64, rng: &mut ChaCha8Rng) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut block = [0; 16 * 1024];
    let mut left = bytes;
    while left > 0 {
        rng.fill_bytes(&mut block);
        let len = left.min(block.len() as u64);
        file.write_all(&block[..len as usize])?;
        left -= len;
    }
    file.flush()
}

fn write_derivative(original: &Path, path: &Path, bytes: u64, repeats_original: bool) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut source: Box<dyn Read> =
        if repeats_original { Box::new(File::open(original)?) } else { Box::new(std::io::repeat(FILL_BYTE)) };
    std::io::copy(&mut source.by_ref().take(bytes), &mut file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearse::Wasms;

    fn options(seed: u64) -> Options {
        Options {
            snapshot: None,
            files: Vec::new(),
            clients: 2,
            seed,
            rollback: false,
            wasms: Wasms::default(),
            record: None,
        }
    }

    #[test]
    fn generated_files_have_fixed_sizes_and_are_reproducible() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = assets(&options(1), a.path()).unwrap();
        let sizes: Vec<_> = first[0].iter().map(|asset| asset.bytes).collect();
        assert_eq!(sizes, [21_827_484, 204_800, 51_200, 1_024]);
        let hashes = |sets: &[Vec<Asset>]| -> Vec<[u8; 32]> {
            sets.iter().flatten().map(|asset| asset.sha256).collect()
        };
        let again = assets(&options(1), b.path()).unwrap();
        assert_eq!(hashes(&first), hashes(&again));
        assert_ne!(first[0][0].sha256, first[1][0].sha256, "clients upload different originals");
        let display = std::fs::read(&first[0][1].path).unwrap();
        let original = std::fs::read(&first[0][0].path).unwrap();
        assert_eq!(display, original[..204_800]);
        assert_eq!(std::fs::read(&first[0][3].path).unwrap(), [0x42; 1024]);
    }

    #[test]
    fn another_seed_gives_other_content() {
        let dir = tempfile::tempdir().unwrap();
        let one = generate_assets(1, 0, &dir.path().join("1")).unwrap();
        let two = generate_assets(2, 0, &dir.path().join("2")).unwrap();
        assert_ne!(one[0].sha256, two[0].sha256);
    }

    #[test]
    fn unusable_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error_of = |path: &Path| {
            let error = check(&[path.to_path_buf()]).unwrap_err();
            assert!(error.is_usage());
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            text
        };
        assert!(error_of(&dir.path().join("absent")).contains("cannot read"));
        assert!(error_of(dir.path()).contains("not a regular file"));
        let empty = dir.path().join("empty");
        File::create(&empty).unwrap();
        check(&[empty]).unwrap();
        let large = dir.path().join("large");
        let file = File::create(&large).unwrap();
        file.set_len(MAX_FILE_BYTES).unwrap();
        check(std::slice::from_ref(&large)).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(error_of(&large).contains("limit"));
    }
}

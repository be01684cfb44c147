//! The uploads that were in flight in a snapshot, and that clients continue.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use candid::Principal;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::upload_run::UploadRun;
use super::{RehearseError, StopPoint};
use crate::client::{Asset, Uploader};
use crate::inspect::{Contents, OpenSession};
use crate::snapshot::Snapshot;

/// Maximum number of uploads that clients continue. The snapshot's other uploads are checked by the accounting of the
/// migration and the inspection of the result.
const MAX_CONTINUED: usize = 60;

/// Maximum total size of the continued uploads, bytes.
const MAX_CONTINUED_BYTES: u64 = 512 << 20;

/// Returns the uploads that clients continue, with generated content for the missing chunks.
pub(super) fn continued_runs(
    snapshot: &Snapshot,
    contents: &mut Contents,
    seed: u64,
    folder: &Path,
) -> Result<Vec<UploadRun>, RehearseError> {
    let mut bytes_left = MAX_CONTINUED_BYTES;
    let mut chosen: Vec<OpenSession> = Vec::new();
    for session in contents.open.iter().take(MAX_CONTINUED) {
        if session.bytes <= bytes_left {
            bytes_left -= session.bytes;
            chosen.push(session.clone());
        }
    }
    // Uploads of the same owner and capsule have the same client; `traffic::choose` expects them to be adjacent.
    chosen.sort_by_key(|session| (session.owner, session.capsule.clone(), session.id));
    let files: Vec<PathBuf> =
        chosen.iter().map(|session| folder.join(format!("session-{}", session.id))).collect();
    for (session, path) in chosen.iter().zip(&files) {
        create_upload_file(session, seed, path).map_err(RehearseError::io("write", path))?;
    }
    let targets: Vec<(&OpenSession, &Path)> = chosen.iter().zip(files.iter().map(PathBuf::as_path)).collect();
    contents.write_chunks(snapshot, &targets)?;
    let mut clients: BTreeMap<(Principal, String), u32> = BTreeMap::new();
    let mut runs = Vec::with_capacity(chosen.len());
    for (session, path) in chosen.iter().zip(&files) {
        let next = FIRST_SNAPSHOT_CLIENT + clients.len() as u32;
        let client = *clients.entry((session.owner, session.capsule.clone())).or_insert(next);
        let base = session.metadata.base();
        let asset = Asset::open(path, base.name.clone(), base.asset_type)?;
        let asset = Asset { metadata: Some(Box::new(session.metadata.clone())), ..asset };
        let uploader =
            Uploader::new(session.owner, &session.capsule, asset, &session.idem, session.chunk_size)
                .resumed(session.id, session.stored.clone());
        let stop = match (uploader.missing().is_empty(), session.stored.is_empty()) {
            (true, _) => StopPoint::Complete,
            (false, true) => StopPoint::Begun,
            // Here, the missing chunks need not be between stored ones.
            (false, false) => StopPoint::Hole,
        };
        runs.push(UploadRun {
            client,
            stop,
            // Every second upload is still open when the direct build is installed.
            stays: runs.len() % 2 == 0,
            unseen: Default::default(),
            chunks_before: session.stored.len() as u32,
            read_back: None,
            problems: Vec::new(),
            repeats_begin: session.is_found_by_begin,
            is_from_snapshot: true,
            uploader,
        });
    }
    Ok(runs)
}

/// Number of the first client of the snapshot's uploads, above the numbers of all new clients.
const FIRST_SNAPSHOT_CLIENT: u32 = 1_001;

/// Creates the file of an upload with the chunks that the client still has to send. The other chunks are copied from
/// the snapshot later.
fn create_upload_file(session: &OpenSession, seed: u64, path: &Path) -> std::io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(session.id);
    let mut file = File::create_new(path)?;
    let chunk_size = u64::from(session.chunk_size);
    let mut at = 0;
    let mut buffer = vec![0; 1 << 20];
    while at < session.bytes {
        let idx = (at / chunk_size) as u32;
        let end = ((u64::from(idx) + 1) * chunk_size).min(session.bytes);
        if !session.stored.contains(&idx) {
            file.seek(SeekFrom::Start(at))?;
            while at < end {
                let part = &mut buffer[..(end - at).min(1 << 20) as usize];
                rng.fill_bytes(part);
                file.write_all(part)?;
                at += part.len() as u64;
            }
        }
        at = end;
    }
    file.set_len(session.bytes)
}

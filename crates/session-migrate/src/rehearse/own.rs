//! The uploads that were in flight in a snapshot, and what callers can read from its capsules.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use candid::Principal;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::upload_run::UploadRun;
use super::{RehearseError, StopPoint};
use crate::client::{Asset, Canister, ClientError, Uploader};
use crate::inspect::{Contents, OpenSession};
use crate::snapshot::Snapshot;

/// Maximum number of uploads that clients continue. The accounting of the migration and the inspection of the result
/// cover the others.
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
pub(super) const FIRST_SNAPSHOT_CLIENT: u32 = 1_001;

/// Creates the file of an upload, with only those chunks that the client still has to send.
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

/// Maximum number of answers that are compared.
const MAX_ANSWERS: usize = 20_000;

/// The answers to members of the snapshot's capsules, and to other callers, who read the contents of the capsules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadAnswers {
    answers: BTreeMap<String, String>,
    /// Whether further answers would exceed [`MAX_ANSWERS`].
    pub is_truncated: bool,
}

impl ReadAnswers {
    /// Reads each capsule as each of its members, as a member of the next capsule, as a principal without any capsule,
    /// and as the anonymous principal.
    pub fn read_all(canister: &Canister<'_>, contents: &Contents) -> ReadAnswers {
        let stranger = Principal::self_authenticating("a stranger in the rehearsal");
        let mut all = ReadAnswers::default();
        for (place, capsule) in contents.capsules.iter().enumerate() {
            let neighbour = contents.capsules.get(place + 1).and_then(|next| next.members.first());
            let others = [stranger, Principal::anonymous()].into_iter().chain(neighbour.copied());
            let mut callers = capsule.members.clone();
            callers.extend(others.filter(|other| !capsule.members.contains(other)));
            for (number, caller) in callers.iter().enumerate() {
                if all.answers.len() + 1 + 3 * capsule.memories.len() > MAX_ANSWERS {
                    all.is_truncated = true;
                    return all;
                }
                // The capsule's count of memories changes during the rehearsal, so it is left out.
                let listed = canister.capsules_read(*caller, &capsule.id).map(|found| {
                    let lists = (found.id, found.owners, found.writers, found.readers, found.created_at);
                    digest(&candid::encode_args((lists,)).unwrap_or_default())
                });
                all.add(caller, &capsule.id, listed);
                for (memory, blob) in &capsule.memories {
                    let read = canister.memories_read(*caller, memory);
                    let read = read.map(|memory| digest(&candid::encode_one(memory).unwrap_or_default()));
                    all.add(caller, memory, read);
                    if let Some(blob) = blob {
                        // The first caller reads every byte, all others only the first chunk.
                        let bytes = read_blob(canister, *caller, &format!("blob_{blob}"), number == 0);
                        all.add(caller, &format!("blob_{blob}"), bytes);
                    }
                }
            }
        }
        all
    }

    fn add(&mut self, caller: &Principal, what: &str, answer: Result<String, ClientError>) {
        let answer = match answer {
            Ok(digest) => digest,
            Err(ClientError::Refused { .. }) => "refused".to_owned(),
            Err(error) => error.to_string(),
        };
        self.answers.insert(format!("{what} as {caller}"), answer);
    }

    pub fn len(&self) -> usize {
        self.answers.len()
    }

    pub fn differences(&self, later: &ReadAnswers, when: &str) -> Vec<String> {
        let differs = |(what, before): (&String, &String)| {
            let after = later.answers.get(what).map_or("not asked", String::as_str);
            let shown = |answer: &str| answer.get(..64).unwrap_or(answer).to_owned();
            (after != before)
                .then(|| format!("{what} {when}: before {}, now {}", shown(before), shown(after)))
        };
        self.answers.iter().filter_map(differs).collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn read_blob(
    canister: &Canister<'_>,
    caller: Principal,
    blob: &str,
    reads_all: bool,
) -> Result<String, ClientError> {
    let meta = canister.blob_get_meta(caller, blob)?;
    let mut hasher = Sha256::new();
    hasher.update(meta.size.to_be_bytes());
    let chunks = if reads_all { meta.chunk_count } else { meta.chunk_count.min(1) };
    for index in 0..chunks {
        hasher.update(canister.blob_read_chunk(caller, blob, index)?);
    }
    Ok(hex::encode(hasher.finalize()))
}

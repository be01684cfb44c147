//! What callers can read from the capsules of a snapshot: read before the first step, and compared after later ones.

use std::collections::BTreeMap;

use candid::Principal;
use sha2::{Digest, Sha256};

use crate::client::{Canister, ClientError};
use crate::inspect::Contents;

/// Maximum number of answers that are compared.
const MAX_ANSWERS: usize = 20_000;

/// Maximum number of characters that are shown of an answer: as many as a digest in hex has.
const MAX_SHOWN_BYTES: usize = 64;

/// What the canister answers to members of the snapshot's capsules and to other callers, when they read the capsules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadAnswers {
    /// By what was read and by whom: the digest of the answer, `refused`, or another error.
    answers: BTreeMap<String, String>,
    /// Whether callers of a capsule, or whole capsules, were left out, since their answers might have exceeded
    /// [`MAX_ANSWERS`].
    pub is_truncated: bool,
}

impl ReadAnswers {
    /// Reads each capsule as each of its members, as a member of the next capsule, as a principal without any capsule,
    /// and as the anonymous principal.
    pub fn read_all(canister: &Canister<'_>, contents: &Contents) -> ReadAnswers {
        let stranger = Principal::self_authenticating("a stranger in the rehearsal");
        let mut all = ReadAnswers::default();
        for (place, capsule) in contents.capsules.iter().enumerate() {
            // There is none for the last capsule.
            let neighbour = contents.capsules.get(place + 1).and_then(|next| next.members.first());
            let others = [stranger, Principal::anonymous()].into_iter().chain(neighbour.copied());
            let mut callers = capsule.members.clone();
            callers.extend(others.filter(|other| !capsule.members.contains(other)));
            for (number, caller) in callers.iter().enumerate() {
                // One answer about the capsule, and at most two about each memory: its record and its blob.
                let at_most = 1 + 2 * capsule.memories.len();
                if all.answers.len() + at_most > MAX_ANSWERS {
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
                        let read = blob_digest(canister, *caller, &format!("blob_{blob}"), number == 0);
                        all.add(caller, &format!("blob_{blob}"), read);
                    }
                }
            }
        }
        all
    }

    /// Adds an answer. A refusal is the same answer whatever its reason.
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

    /// Returns a line for each answer of `self` that is different or absent in `later`. `when` says when that was read.
    pub fn differences(&self, later: &ReadAnswers, when: &str) -> Vec<String> {
        let differs = |(what, before): (&String, &String)| {
            let after = later.answers.get(what).map_or("not asked", String::as_str);
            let shown = |answer: &str| answer.get(..MAX_SHOWN_BYTES).unwrap_or(answer).to_owned();
            (after != before)
                .then(|| format!("{what} {when}: before {}, now {}", shown(before), shown(after)))
        };
        self.answers.iter().filter_map(differs).collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Reads a blob, or only its first chunk, and returns the digest of its size and of the bytes that were read.
fn blob_digest(
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

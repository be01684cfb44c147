//! Sessions in flight, which the first public release keeps only on its heap: that release's module is run on a copy of
//! the snapshot, and returns them.
//!
//! No function of that release returns a session as a whole, so each session is read in three steps:
//!
//! 1. `sessions_list` lists each session's number, caller, capsule, status and start time.
//! 2. `debug_put_chunk_b64` refuses a chunk number that is too high, and the refusal states how many chunks the file
//!    has. It also refuses a chunk that has arrived, so it is called for each chunk: this shows which ones have
//!    arrived, and fills the others with one byte each. This step is omitted for a session whose blob is committed.
//! 3. `debug_finish_hex` turns the upload, now complete, into a memory, and `memories_read` returns the client's
//!    metadata.
//!
//! The calls about a session are made as its caller, to a copy of the canister on a PocketIC server; the
//! snapshot is only read. None of these functions returns the idempotency key of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Deserialize, Principal};
use pocket_ic::{PocketIc, RejectResponse};
use sha2::{Digest, Sha256};
use upload_canister::migrations::public_release::{
    PublicAssetMetadata, PublicAssetType, PublicBase, PublicMemory, PublicNote, session_prefix,
};
use upload_canister::upload::limits::MAX_CHUNKS;

use super::AdoptError;
use super::source::Source;

/// A session, as far as the release reports it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub id: u64,
    pub caller: Principal,
    /// The capsule that gets the memory.
    pub capsule: String,
    /// Whether its blob is committed; `false`: the upload is in flight.
    pub is_committed: bool,
    /// When the session began, nanoseconds.
    pub created_at: u64,
    /// The upload, or the reason why it is not known.
    pub upload: Result<Upload, String>,
}

/// What the release knows about the file of a session.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    /// Number of chunks of the file; of a committed session, the number of stored chunks.
    pub chunks: u32,
    /// Numbers of the chunks that have arrived and are stored.
    pub received: BTreeSet<u32>,
    pub metadata: PublicAssetMetadata,
}

/// What was read from the heap of the release.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    pub sessions: Vec<Session>,
    /// The number that the release gave to a new session on the copy; `None` if it could not begin one there.
    pub next_number: Option<u64>,
}

/// Maximum session number that is believed: the release counts from 1, and a canister lives too short to issue more.
const MAX_NUMBER: u64 = 1_000_000_000_000;

impl Heap {
    /// Returns the session numbers that the release is known to have issued.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.sessions.iter().map(|session| session.id).chain(self.next_number)
    }

    /// Refuses session numbers above [`MAX_NUMBER`]: this canister issues ids above the highest one, and might run out
    /// of them.
    pub fn check_numbers(&self) -> Result<(), AdoptError> {
        match self.numbers().find(|number| *number > MAX_NUMBER) {
            Some(number) => Err(AdoptError::SessionNumber { number, limit: MAX_NUMBER }),
            None => Ok(()),
        }
    }
}

/// The error type in that release's interface.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
enum ReleaseError {
    Unauthorized,
    NotFound,
    InvalidArgument(String),
    Conflict(String),
    ResourceExhausted,
    Internal(String),
    NotImplemented(String),
}

/// The canister of that release, which runs on a copy of the snapshot.
pub(super) struct RunningRelease<'p> {
    pic: &'p PocketIc,
    id: Principal,
}

/// `Refused`: the function answered with an error. `Failed`: the call was rejected, or its reply does not decode.
enum CallError {
    Refused(ReleaseError),
    Failed(String),
}

impl CallError {
    fn describe(self, method: &str) -> String {
        match self {
            CallError::Refused(error) => format!("{method} answers {error:?}"),
            CallError::Failed(why) => format!("{method} fails: {why}"),
        }
    }
}

impl<'p> RunningRelease<'p> {
    pub fn new(pic: &'p PocketIc, id: Principal) -> Self {
        RunningRelease { pic, id }
    }

    /// Reads every session. The error is one line: the module does not list its sessions, or a line of the list does
    /// not parse.
    pub fn read_sessions(&self, source: &Source) -> Result<Heap, String> {
        let text: String = self
            .query(Principal::anonymous(), "sessions_list", ())
            .map_err(|error| error.describe("sessions_list"))?;
        let mut sessions = Vec::new();
        // The first line says how many sessions follow.
        for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
            let session = parse_session(line)
                .ok_or_else(|| format!("sessions_list has a line that is not a session: {line}"))?;
            sessions.push(session);
        }
        let next_number = self.probe_next_number(source);
        for session in &mut sessions {
            session.upload = self.read_upload(session, source);
        }
        Ok(Heap { sessions, next_number })
    }

    /// Returns the number of the next session: begins a session as an owner of the first capsule in which that
    /// succeeds, and aborts the session. `None` if it succeeds in no capsule.
    fn probe_next_number(&self, source: &Source) -> Option<u64> {
        source.capsules.iter().find_map(|(capsule, record)| {
            let owner = record.owners.iter().find_map(|(person, _)| person.principal())?;
            let args = (capsule, placeholder_metadata(), 1_u32, "the next number");
            let id: u64 = self.update(owner, "uploads_begin", args).ok()?;
            let _: Result<(), _> = self.update(owner, "uploads_abort", (id,));
            Some(id)
        })
    }

    fn read_upload(&self, session: &Session, source: &Source) -> Result<Upload, String> {
        let caller = session.caller;
        let prefix = session_prefix(session.id);
        let stored =
            source.chunks_by_prefix.get(&prefix).map(|stored| stored.chunks.clone()).unwrap_or_default();
        let stored_bytes: u64 = stored.values().map(|len| u64::from(*len)).sum();
        if session.is_committed {
            // After the commit of its blob, a session refuses chunks, and finishing it creates a memory.
            let chunks = stored.len() as u32;
            let metadata = self.finish(caller, session.id, stored_bytes)?;
            return Ok(Upload { chunks, received: stored.keys().copied().collect(), metadata });
        }
        let chunks: u32 = match self.put(caller, session.id, u32::MAX, &[]) {
            Err(CallError::Refused(ReleaseError::InvalidArgument(text))) => {
                let count = text.rsplit_once("expected < ").map(|(_, count)| count.trim_end_matches(')'));
                let count = count.and_then(|count| count.parse().ok());
                count.ok_or_else(|| {
                    format!("the refusal of a chunk does not say how many chunks the file has: {text}")
                })?
            }
            Err(error) => return Err(error.describe("debug_put_chunk_b64")),
            Ok(()) => return Err("debug_put_chunk_b64 accepts a chunk beyond the end of any file".into()),
        };
        if chunks > MAX_CHUNKS {
            return Err(format!("it has {chunks} chunks, at most {MAX_CHUNKS} are possible"));
        }
        let (mut received, mut lens_on_copy) = (BTreeSet::new(), BTreeMap::new());
        for idx in 0..chunks {
            match self.put(caller, session.id, idx, &[0]) {
                Ok(()) => drop(lens_on_copy.insert(idx, 1_u32)),
                Err(CallError::Refused(ReleaseError::InvalidArgument(_))) => {
                    // The refusal means that the chunk has arrived. Without stored bytes, it stays out of both
                    // collections.
                    if let Some(len) = stored.get(&idx) {
                        received.insert(idx);
                        lens_on_copy.insert(idx, *len);
                    }
                }
                Err(error) => return Err(error.describe("debug_put_chunk_b64")),
            }
        }
        if lens_on_copy.len() < chunks as usize {
            return Err(format!(
                "{} of its chunks have arrived according to the heap, and are not stored",
                chunks as usize - lens_on_copy.len()
            ));
        }
        let bytes_on_copy = lens_on_copy.values().map(|len| u64::from(*len)).sum();
        let metadata = self.finish(caller, session.id, bytes_on_copy)?;
        Ok(Upload { chunks, received, metadata })
    }

    fn put(&self, caller: Principal, id: u64, idx: u32, bytes: &[u8]) -> Result<(), CallError> {
        self.update(caller, "debug_put_chunk_b64", (id, idx, STANDARD.encode(bytes)))
    }

    /// Turns the upload of session `id` into a memory, with whatever bytes it has on the copy, and returns the client's
    /// metadata.
    fn finish(&self, caller: Principal, id: u64, bytes: u64) -> Result<PublicAssetMetadata, String> {
        // The release derives the memory's id from the time, so the time must be different for each memory.
        self.pic.advance_time(Duration::from_secs(1));
        // That release accepts any digest.
        let digest = hex::encode(Sha256::digest(b"the bytes of the copy are not read"));
        let (_, memory): (String, String) = self
            .update(caller, "debug_finish_hex", (id, digest, bytes))
            .map_err(|error| error.describe("debug_finish_hex"))?;
        let memory: PublicMemory = self
            .query(caller, "memories_read", (memory,))
            .map_err(|error| error.describe("memories_read"))?;
        let asset = memory.blob_internal_assets.into_iter().next();
        asset.map(|asset| asset.metadata).ok_or_else(|| "the memory of the upload has no asset".into())
    }

    fn query<T>(&self, sender: Principal, method: &str, args: impl ArgumentEncoder) -> Result<T, CallError>
    where
        T: CandidType + for<'a> Deserialize<'a>,
    {
        let args = encode(args)?;
        decode(self.pic.query_call(self.id, sender, method, args))
    }

    fn update<T>(&self, sender: Principal, method: &str, args: impl ArgumentEncoder) -> Result<T, CallError>
    where
        T: CandidType + for<'a> Deserialize<'a>,
    {
        let args = encode(args)?;
        decode(self.pic.update_call(self.id, sender, method, args))
    }
}

fn encode(args: impl ArgumentEncoder) -> Result<Vec<u8>, CallError> {
    candid::encode_args(args).map_err(|error| CallError::Failed(error.to_string()))
}

fn decode<T>(reply: Result<Vec<u8>, RejectResponse>) -> Result<T, CallError>
where
    T: CandidType + for<'a> Deserialize<'a>,
{
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let reply = reply.map_err(|reject| CallError::Failed(first_line(reject.reject_message)))?;
    let decoded: Result<(Result<T, ReleaseError>,), _> = candid::decode_args(&reply);
    let (answer,) = decoded.map_err(|error| CallError::Failed(first_line(error.to_string())))?;
    answer.map_err(CallError::Refused)
}

/// Parses a line of `sessions_list`: `Session 7: caller=…, capsule=…, status=Pending, created=…`.
fn parse_session(line: &str) -> Option<Session> {
    let (id, rest) = line.strip_prefix("Session ")?.split_once(": caller=")?;
    let (caller, rest) = rest.split_once(", capsule=")?;
    let (rest, created_at) = rest.rsplit_once(", created=")?;
    let (capsule, status) = rest.rsplit_once(", status=")?;
    Some(Session {
        id: id.parse().ok()?,
        caller: Principal::from_text(caller).ok()?,
        capsule: capsule.to_owned(),
        is_committed: status == "Committed",
        created_at: created_at.parse().ok()?,
        upload: Err("it was not requested".into()),
    })
}

/// Returns metadata for the session that `probe_next_number` begins and aborts.
fn placeholder_metadata() -> PublicAssetMetadata {
    PublicAssetMetadata::Note(PublicNote {
        base: PublicBase {
            name: String::new(),
            description: None,
            tags: Vec::new(),
            asset_type: PublicAssetType::Original,
            bytes: 1,
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
            created_at: 0,
            updated_at: 0,
            deleted_at: None,
        },
        word_count: None,
        language: None,
        format: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_of_sessions_is_parsed() {
        let caller = Principal::self_authenticating([1]);
        let line = format!("Session 12: caller={caller}, capsule=capsule_5, status=Committed, created=99");
        let session = parse_session(&line).unwrap();
        assert_eq!((session.id, session.caller, session.created_at), (12, caller, 99));
        assert_eq!((session.capsule.as_str(), session.is_committed), ("capsule_5", true));
        for damaged in ["", "Session x: caller=, capsule=, status=, created=", "Found 2 sessions:"] {
            assert!(parse_session(damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn impossible_session_numbers_are_refused_with_the_limit() {
        let line = |id: u64| format!("Session {id}: caller=aaaaa-aa, capsule=c, status=Pending, created=1");
        let heap = |id: u64, next: u64| Heap {
            sessions: vec![parse_session(&line(id)).unwrap()],
            next_number: Some(next),
        };
        heap(7, MAX_NUMBER).check_numbers().unwrap();
        for wrong in [heap(7, u64::MAX), heap(u64::MAX, 8)] {
            let error = wrong.check_numbers().unwrap_err();
            let named =
                [u64::MAX, MAX_NUMBER].iter().all(|number| error.to_string().contains(&number.to_string()));
            assert!(named && error.is_usage(), "{error}");
        }
    }
}

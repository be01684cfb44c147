//! The state that must be stored after the operations so far, in plain collections.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::operation::Guest;
use super::target::{Finished, Holdings, NewContent, Payload, View};
use super::{AGE_SECONDS, CHUNK, EXTENT_UNIT, Limits, SECOND, TTL_SECONDS, chunk_bytes, fill};

/// A capsule that exists or existed.
#[derive(Clone, Debug)]
pub struct Capsule {
    pub id: String,
    pub owner: u8,
    /// What the other person may do.
    pub guest: Guest,
    pub exists: bool,
}

/// A session in flight.
#[derive(Clone, Debug)]
pub struct Session {
    pub owner: u8,
    /// Number of the capsule.
    pub capsule: usize,
    pub key: u8,
    pub bytes: u64,
    /// The number of the content that the client is sending; with `bytes`, it determines the file.
    pub content: u8,
    /// Fill bytes of the chunks that have arrived.
    pub chunks: BTreeMap<u32, u8>,
    pub begun_at: u64,
    /// Whether the session was begun in the current step. If so, `begun_at` is still to be taken from the target.
    pub is_new: bool,
    pub last_seen: u64,
    /// Whether a finish has failed on the checksum, so that the session's chunks may be replaced.
    pub may_replace_chunks: bool,
    /// The id of the memory that the session will become; known from its first status on.
    pub memory: Option<String>,
}

/// The receipt of a session that has ended.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub owner: u8,
    pub capsule: usize,
    pub key: u8,
    pub bytes: u64,
    /// For a finished session: the answer and the fill bytes of the chunks.
    pub finished: Option<(Finished, Vec<u8>)>,
    /// Whether the owner aborted the session.
    pub is_aborted: bool,
    pub expires_at: u64,
}

/// A blob: one content in one capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub capsule: usize,
    pub bytes: u64,
    pub fills: Vec<u8>,
}

/// A memory in the capsule of this number.
#[derive(Clone, Debug)]
pub struct Memory {
    pub capsule: usize,
    /// `blob_<number>`, `inline` or `external`.
    pub locator: String,
    pub bytes: u64,
    /// Version of the memory's metadata; `None` for the upload's metadata.
    pub version: Option<u8>,
}

/// A call of `memories_create`: the memory that it created, and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub memory: String,
    pub content: NewContent,
    pub bytes: u64,
    pub version: u8,
}

/// Everything that the canister must store.
#[derive(Clone, Debug)]
pub struct Model {
    /// Every capsule that was ever created.
    pub capsules: Vec<Capsule>,
    /// Numbers of the two capsules that operations refer to.
    pub places: [usize; 2],
    pub sessions: BTreeMap<u64, Session>,
    pub receipts: BTreeMap<u64, Receipt>,
    /// Idempotency keys: (capsule, person, key) to session.
    pub keys: BTreeMap<(usize, u8, u8), u64>,
    /// Idempotency keys of memories that were created without an upload: (capsule, person, key).
    pub requests: BTreeMap<(usize, u8, u8), Request>,
    pub memories: BTreeMap<String, Memory>,
    pub blobs: BTreeMap<String, Blob>,
    /// Every session that was ever begun, with its owner.
    pub history: Vec<(u64, u8)>,
    /// The id of every memory that was ever created.
    pub memory_ids: Vec<String>,
    /// Sessions whose clients were active in the current step, so that their last activity changes.
    pub active_in_step: Vec<u64>,
    /// The id of every capsule that was ever created, including those that a loaded snapshot does not have.
    pub capsule_ids: BTreeSet<String>,
    /// Whether migration 1 is finalized, so that no rollback is possible.
    pub finalized: bool,
    /// The limits at the last check.
    pub limits: Limits,
    /// Whether stable memory was full at the last check, so that additions may be refused.
    pub lacks_room: bool,
    /// Whether room in stable memory that was promised to sessions has been taken, so that their chunks may be refused.
    pub overpromised: bool,
    /// Whether a quarantine record does not decode.
    pub damaged_in_quarantine: bool,
}

pub const fn chunk_count(bytes: u64) -> u32 {
    bytes.div_ceil(CHUNK) as u32
}

/// Returns the length of a chunk of a file; 1 if the file has no such chunk.
pub const fn chunk_len(bytes: u64, idx: u32) -> u64 {
    if idx >= chunk_count(bytes) {
        return 1;
    }
    let left = bytes - idx as u64 * CHUNK;
    if left < CHUNK { left } else { CHUNK }
}

/// Returns the fill bytes of the chunks of a file.
pub fn fills(content: u8, bytes: u64) -> Vec<u8> {
    (0..chunk_count(bytes)).map(|idx| fill(content, idx)).collect()
}

/// Digests by length and fill bytes of the file.
type Digests = HashMap<(u64, Vec<u8>), [u8; 32]>;

/// Returns the SHA-256 of a file with these fill bytes.
pub fn digest(bytes: u64, fills: &[u8]) -> [u8; 32] {
    thread_local! {
        static KNOWN: RefCell<Digests> = RefCell::default();
    }
    let key = (bytes, fills.to_vec());
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&key).copied()) {
        return known;
    }
    let mut sha256 = Sha256::new();
    for (idx, fill) in (0..).zip(fills) {
        sha256.update(chunk_bytes(*fill, chunk_len(bytes, idx)));
    }
    let digest = sha256.finalize().into();
    KNOWN.with_borrow_mut(|known| known.insert(key, digest));
    digest
}

impl Session {
    /// Returns the time at which the session expires, idle or too old.
    pub fn expires_at(&self) -> u64 {
        (self.last_seen + TTL_SECONDS * SECOND).min(self.begun_at + AGE_SECONDS * SECOND)
    }

    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at() <= now
    }

    /// Returns whether the session has expired because it was idle, not only because of its age.
    pub const fn is_idle(&self, now: u64) -> bool {
        self.last_seen + TTL_SECONDS * SECOND <= now
    }

    pub fn arrived_bytes(&self) -> u64 {
        self.chunks.keys().map(|idx| chunk_len(self.bytes, *idx)).sum()
    }

    pub fn missing_chunks(&self) -> Vec<u32> {
        (0..chunk_count(self.bytes)).filter(|idx| !self.chunks.contains_key(idx)).collect()
    }
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            capsules: Vec::new(),
            places: [0; 2],
            sessions: BTreeMap::new(),
            receipts: BTreeMap::new(),
            keys: BTreeMap::new(),
            requests: BTreeMap::new(),
            memories: BTreeMap::new(),
            blobs: BTreeMap::new(),
            history: Vec::new(),
            memory_ids: Vec::new(),
            active_in_step: Vec::new(),
            capsule_ids: BTreeSet::new(),
            finalized: false,
            limits,
            lacks_room: false,
            overpromised: false,
            damaged_in_quarantine: false,
        }
    }

    /// Restores the model of a snapshot, but keeps the ids that were issued since then: they must not be issued again.
    pub fn restore_snapshot(&mut self, before: Self) {
        let Self { history, mut memory_ids, capsule_ids, .. } = std::mem::replace(self, before);
        // A session that is in flight again becomes the same memory again.
        memory_ids.retain(|id| self.sessions.values().all(|session| session.memory.as_ref() != Some(id)));
        (self.history, self.memory_ids, self.capsule_ids) = (history, memory_ids, capsule_ids);
    }

    /// Returns the session that an operation refers to, counted back from the last one begun, and its owner.
    pub fn session_at(&self, n: u8) -> (u64, u8) {
        // An id that no canister has issued.
        const UNKNOWN: (u64, u8) = (4_000_000_000, 0);
        let len = self.history.len();
        if len == 0 { UNKNOWN } else { self.history[len - 1 - usize::from(n) % len] }
    }

    /// Returns the memory that an operation refers to, counted back from the last one created; `None` if none was ever
    /// created. The memory may no longer exist.
    pub fn memory_at(&self, n: u8) -> Option<String> {
        let last = self.memory_ids.len().checked_sub(1)?;
        Some(self.memory_ids[last - usize::from(n) % (last + 1)].clone())
    }

    pub fn may_write(&self, who: u8, capsule: usize) -> bool {
        let capsule = &self.capsules[capsule];
        capsule.exists && (capsule.owner == who || capsule.guest == Guest::Write)
    }

    pub fn may_read(&self, who: u8, capsule: usize) -> bool {
        let capsule = &self.capsules[capsule];
        capsule.exists && (capsule.owner == who || capsule.guest >= Guest::Read)
    }

    /// Returns the session, if it is a person's and has not expired.
    pub fn live_session(&self, who: u8, id: u64, now: u64) -> Option<&Session> {
        self.sessions.get(&id).filter(|session| session.owner == who && !session.is_expired(now))
    }

    /// Returns the receipt, if it is a person's and has not expired.
    pub fn live_receipt(&self, who: u8, id: u64, now: u64) -> Option<&Receipt> {
        self.receipts.get(&id).filter(|receipt| receipt.owner == who && receipt.expires_at > now)
    }

    /// Ends a session without a finish. Its receipt tells the owner how it ended, for as long as a session may be idle.
    pub fn drop_session(&mut self, id: u64, now: u64, is_aborted: bool) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let expires_at = session.expires_at().min(now) + TTL_SECONDS * SECOND;
        let Session { owner, capsule, key, bytes, .. } = session;
        self.forget_key((capsule, owner, key), id);
        // An expired receipt is no longer reported, but may stay stored until the timers run.
        let receipt = Receipt { owner, capsule, key, bytes, finished: None, is_aborted, expires_at };
        self.receipts.insert(id, receipt);
    }

    fn forget_key(&mut self, key: (usize, u8, u8), id: u64) {
        if self.keys.get(&key) == Some(&id) {
            self.keys.remove(&key);
        }
    }

    /// Does what the timers do. A session past its maximum age that is not converted yet waits until it is converted,
    /// or has been idle too long.
    pub fn sweep(&mut self, now: u64, all_converted: bool) {
        let ends = |session: &Session| session.is_idle(now) || all_converted && session.is_expired(now);
        let ended_sessions: Vec<u64> =
            self.sessions.iter().filter(|(_, session)| ends(session)).map(|(id, _)| *id).collect();
        ended_sessions.into_iter().for_each(|id| self.drop_session(id, now, false));
        let expired_receipts: Vec<u64> = self
            .receipts
            .iter()
            .filter(|(_, receipt)| receipt.expires_at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in expired_receipts {
            if let Some(receipt) = self.receipts.remove(&id) {
                self.forget_key((receipt.capsule, receipt.owner, receipt.key), id);
            }
        }
        let gone: Vec<String> = self
            .memories
            .iter()
            .filter(|(_, memory)| !self.capsules[memory.capsule].exists)
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().for_each(|id| self.drop_memory(id));
    }

    /// Removes a memory, and its blob if no other memory refers to it. The key of its upload is free again.
    pub fn drop_memory(&mut self, id: &str) {
        self.requests.retain(|_, request| request.memory != id);
        let receipts = &self.receipts;
        self.keys.retain(|_, session| {
            let finished = receipts.get(session).and_then(|receipt| receipt.finished.as_ref());
            finished.is_none_or(|(finished, _)| finished.memory != id)
        });
        if let Some(memory) = self.memories.remove(id)
            && self.memories.values().all(|other| other.locator != memory.locator)
        {
            self.blobs.remove(&memory.locator);
        }
    }

    /// Returns the bytes that the sessions for which `counts` holds have reserved.
    pub fn reserved_bytes(&self, counts: impl Fn(&Session) -> bool) -> u64 {
        self.sessions.values().filter(|session| counts(session)).map(|session| session.bytes).sum()
    }

    /// Returns the bytes of the blobs for which `counts` holds.
    pub fn stored_bytes(&self, counts: impl Fn(&Blob) -> bool) -> u64 {
        self.blobs.values().filter(|blob| counts(blob)).map(|blob| blob.bytes).sum()
    }

    /// Returns how many bytes of extents all blobs, and the sessions for which `counts` holds, would take in layout 3.
    pub fn extent_bytes(&self, counts: impl Fn(&Session) -> bool) -> u64 {
        let sessions = self.sessions.values().filter(|session| counts(session)).map(|session| session.bytes);
        let blobs = self.blobs.values().map(|blob| blob.bytes);
        sessions.chain(blobs).map(|bytes| bytes.next_multiple_of(EXTENT_UNIT)).sum()
    }

    /// Returns whether the stored payload is that of the model. `swept` is the model after the timers have run: what
    /// they would remove may be stored or not.
    ///
    /// A migration moves payload from the chunk map to extents, one session or blob after the other; the one that is
    /// being moved is in both. A session without any chunk takes room only in extents.
    pub fn explains_payload(&self, swept: &Self, got: Payload) -> bool {
        let (most, least) = (self.holdings().payload, swept.holdings().payload);
        match got {
            Payload { chunks, extent_bytes: 0 } => (least.chunks..=most.chunks).contains(&chunks),
            Payload { chunks: 0, extent_bytes } => {
                let least = swept.extent_bytes(|session| !session.chunks.is_empty());
                (least..=most.extent_bytes).contains(&extent_bytes)
            }
            both => both.chunks <= most.chunks && both.extent_bytes <= most.extent_bytes,
        }
    }

    /// Returns how much must be stored: committed blobs, live sessions and receipts, and nothing else.
    pub fn holdings(&self) -> Holdings {
        let live: usize = self.sessions.values().map(|session| session.chunks.len()).sum();
        let committed: usize = self.blobs.values().map(|blob| blob.fills.len()).sum();
        Holdings {
            sessions: self.sessions.len() as u64,
            receipts: self.receipts.len() as u64,
            payload: Payload { chunks: (live + committed) as u64, extent_bytes: self.extent_bytes(|_| true) },
            blobs: self.blobs.len() as u64,
            memories: self.memories.len() as u64,
            capsules: self.capsules.iter().filter(|capsule| capsule.exists).count() as u64,
            bytes: self.reserved_bytes(|_| true) + self.stored_bytes(|_| true),
        }
    }

    /// Returns whether an expired session or receipt waits for the timers. In the target, the session may have ended
    /// already, since a touch or a conversion does not wait for the timers.
    pub fn waits_for_timers(&self, now: u64) -> bool {
        self.sessions.values().any(|session| session.is_expired(now))
            || self.receipts.values().any(|receipt| receipt.expires_at <= now)
    }

    /// Returns the status that the owner of a session must get.
    pub fn view(&self, id: u64, session: &Session) -> View {
        let mut received: Vec<(u32, u32)> = Vec::new();
        for idx in session.chunks.keys() {
            match received.last_mut() {
                Some((_, last)) if *last + 1 == *idx => *last = *idx,
                _ => received.push((*idx, *idx)),
            }
        }
        View {
            id,
            capsule: self.capsules[session.capsule].id.clone(),
            idem: idem(session.key),
            bytes_expected: session.bytes,
            bytes_received: session.arrived_bytes(),
            received,
            memory: session.memory.clone().unwrap_or_default(),
            last_seen: session.last_seen,
            expires_at: session.expires_at(),
        }
    }
}

/// Returns the idempotency key of this number.
pub fn idem(key: u8) -> String {
    format!("key-{key}")
}

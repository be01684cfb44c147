//! The interface of the code under test, in plain types.

use super::Limits;
use super::operation::{Control, Guest, Stage};

/// Why a call was refused: the kind of the error, and for `Incomplete` the number of missing chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller may not do this.
    Unauthorized,
    /// The item does not exist for this caller.
    NotFound,
    /// An argument breaks a rule.
    Invalid,
    /// The call contradicts what is stored.
    Conflict,
    /// This many chunks are missing.
    Incomplete(u32),
    /// The stored bytes, or the bytes of the call, have another digest.
    Checksum,
    /// A limit is exceeded, or stable memory lacks room.
    Exhausted,
    /// Hashing has not finished, and the client must call again.
    Hashing,
    /// An internal error; expected only if a damaged quarantine record is retried.
    Internal,
}

pub type TargetResult<T> = Result<T, Refusal>;

/// The answer of finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Id of the memory that was created.
    pub memory: String,
    /// The text by which calls name the memory's blob.
    pub locator: String,
    pub size: u64,
}

/// A session as its owner sees it, without the path that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub id: u64,
    pub capsule: String,
    pub idem: String,
    /// Length of the file.
    pub bytes_expected: u64,
    /// Bytes that have arrived.
    pub bytes_received: u64,
    /// Chunks that have arrived, as ranges with both ends.
    pub received: Vec<(u32, u32)>,
    /// Id of the memory that the session will become.
    pub memory: String,
    /// Last activity, nanoseconds.
    pub last_seen: u64,
    /// Time at which the session expires if its client makes no further call, nanoseconds.
    pub expires_at: u64,
}

/// A memory as its readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryView {
    pub capsule: String,
    /// `blob_<number>`, `inline` or `external`.
    pub locator: String,
    /// Size in bytes, as in the metadata.
    pub bytes: u64,
    /// Version of the memory's metadata; `None` for the upload's metadata.
    pub version: Option<u8>,
}

/// A memory to be created without an upload.
#[derive(Clone, Debug)]
pub struct NewMemory<'a> {
    pub capsule: &'a str,
    pub idem: &'a str,
    pub content: NewContent,
    pub bytes: u64,
    pub version: u8,
}

/// Content of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// Bytes in the record, all of them zero.
    Inline,
    /// An existing blob.
    Blob(String),
    /// An external asset.
    Elsewhere,
    /// None of these.
    Nothing,
}

/// The phase of the migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to do.
    Idle,
    /// Validating, converting or verifying.
    Working,
    Converted,
    Finalized,
    /// Paused by a controller while going forward.
    Paused,
    /// Paused by a controller during a rollback.
    #[allow(dead_code, reason = "the canister's interface does not distinguish the two pauses")]
    PausedInRollback,
    RollingBack,
    RolledBack,
    /// Stuck, which is never expected.
    Stuck,
    /// The first migration is finalized, and the second one has begun.
    Second,
}

/// How much is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub sessions: u64,
    pub receipts: u64,
    /// The room that the chunks of sessions and of blobs take, by place.
    pub payload: Payload,
    pub blobs: u64,
    pub memories: u64,
    pub capsules: u64,
    /// Bytes on the canister's account: those that sessions have reserved, and those of blobs.
    pub bytes: u64,
}

/// Stored payload: each session and each blob either as chunks, or in extents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Chunks in the chunk map.
    pub chunks: u64,
    /// Allocated bytes of the payload region.
    pub extent_bytes: u64,
}

/// A chunk to be sent.
#[derive(Clone, Debug)]
pub struct Put {
    pub session: u64,
    pub idx: u32,
    pub bytes: Vec<u8>,
    /// `None` if the client sends no digest; otherwise whether the digest is the right one.
    pub digest: Option<bool>,
}

/// The code under test. The callers are two people, numbered 0 and 1 ([`super::PEOPLE`]). A method without a comment
/// makes the call that it is named after.
pub trait Target {
    /// Returns the time, nanoseconds.
    fn now(&self) -> u64;
    /// Lets time pass and the timers run. The timers end expired sessions, and remove expired receipts, released chunks
    /// and the memories of deleted capsules.
    fn pass(&mut self, seconds: u64);
    /// Lets time pass without the timers. Does nothing if the target cannot do that: the timers of a real canister run
    /// when they are due, or with the next update.
    fn pass_without_timers(&mut self, _seconds: u64) {}
    /// Creates a capsule of `owner`, one of the two people; the other one may write to it.
    fn create_capsule(&mut self, owner: u8) -> TargetResult<String>;
    fn delete_capsule(&mut self, who: u8, capsule: &str) -> TargetResult<()>;
    /// Calls `capsules_set_access`: the owner stays, and the other person gets the access of `guest`.
    fn share(&mut self, who: u8, owner: u8, capsule: &str, guest: Guest) -> TargetResult<()>;
    fn begin(&mut self, who: u8, capsule: &str, bytes: u64, chunks: u32, idem: &str) -> TargetResult<u64>;
    fn put(&mut self, who: u8, put: &Put) -> TargetResult<()>;
    /// Calls `uploads_finish`; if `without_budget`, in a message without budget for hashing.
    fn finish(
        &mut self,
        who: u8,
        session: u64,
        digest: &[u8],
        bytes: u64,
        without_budget: bool,
    ) -> TargetResult<Finished>;
    fn abort(&mut self, who: u8, session: u64) -> TargetResult<()>;
    fn status(&mut self, who: u8, session: u64) -> TargetResult<View>;
    fn create_memory(&mut self, who: u8, new: &NewMemory<'_>) -> TargetResult<String>;
    /// Calls `memories_update` with metadata of this size.
    fn update_memory(&mut self, who: u8, memory: &str, bytes: u64, version: u8) -> TargetResult<()>;
    fn memory(&mut self, who: u8, memory: &str) -> TargetResult<MemoryView>;
    fn delete_blob(&mut self, who: u8, locator: &str) -> TargetResult<()>;
    fn delete_memory(&mut self, who: u8, memory: &str) -> TargetResult<()>;
    /// Reads a chunk of a blob; `None` if the read fails, as for a chunk that does not exist.
    fn read(&mut self, who: u8, locator: &str, idx: u32) -> Option<Vec<u8>>;
    /// Returns the sessions of a person, without changing anything.
    fn sessions_of(&mut self, who: u8) -> Vec<View>;
    /// Returns whether every session is converted: only converted sessions can be evicted, or end because of their age.
    fn all_converted(&mut self) -> bool;
    /// Returns how much is stored.
    fn holdings(&mut self) -> Holdings;
    /// Upgrades to a build, which may be the running one. `share` is the percentage of new sessions on the compat path,
    /// if the build has both paths.
    fn upgrade(&mut self, to: Stage, share: u8);
    /// Runs the migration for this many steps.
    fn migrate(&mut self, steps: u8);
    /// Makes a controller's call to the migration; `None` if this target cannot make this call on the running build.
    fn control(&mut self, control: Control) -> Option<TargetResult<()>>;
    /// Returns the phase of the migration.
    fn phase(&mut self) -> Phase;
    /// Returns the limits in force, with no more bytes than stable memory has room for.
    fn limits(&mut self) -> Limits {
        Limits::TIGHT
    }
    /// Returns whether stable memory is so full that calls that add to it may be refused.
    fn lacks_room(&mut self) -> bool {
        false
    }
    /// Takes all of stable memory except this many MiB. Returns `false` if the target cannot do that, or has done it
    /// before.
    fn fill_memory(&mut self, _left: u16) -> bool {
        false
    }
    /// Puts a complete session with these chunks into layout 1 as the first public release did: in no index, on no
    /// account, and without an id for its memory. Returns its id; `None` if the target cannot do that.
    fn add_first_release_session(&mut self, _who: u8, _capsule: &str, _chunks: &[Vec<u8>]) -> Option<u64> {
        None
    }
    /// Puts records into layout 1 that no build can read; they are in no index. Does nothing if the target cannot do
    /// that.
    fn add_unreadable_records(&mut self, _records: u8) {}
    /// Damages the quarantine record of an unreadable record. Returns `false` if there is none, or the target cannot do
    /// that.
    fn damage_quarantined(&mut self, _record: u8) -> bool {
        false
    }
    /// Takes a snapshot of the canister. Returns `false` if the target cannot do that.
    fn take_snapshot(&mut self) -> bool {
        false
    }
    /// Loads the last snapshot, which was taken on this target.
    fn load_snapshot(&mut self) {}
    /// Checks the invariants of the code under test that the model does not cover; describes a violation. `emptied`
    /// means that no session is in flight, and nothing is stored.
    fn own_invariants(&mut self, emptied: bool) -> Result<(), String>;
    /// Runs the migration to its end; the error says what does not reconcile.
    fn conclude_migration(&mut self) -> Result<(), String>;
}

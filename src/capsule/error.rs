//! Errors of calls about capsules and memories.

use candid::Principal;

use crate::stable::{NoRoom, StableError};

use super::record::Access;
use super::{MAX_LIST, MAX_SUBJECT_BYTES};

/// Errors of capsule calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// The caller lacks a right. Also returned if the capsule does not exist, so that ids cannot be probed.
    #[error("{caller} needs {needs} to {capsule}")]
    Unauthorized {
        /// The caller.
        caller: Principal,
        /// The right that is missing.
        needs: Access,
        /// The capsule.
        capsule: String,
    },
    /// The anonymous principal cannot own a capsule.
    #[error("the anonymous principal cannot own a capsule")]
    Anonymous,
    /// The memory does not exist, or the caller may not know that it does.
    #[error("memory {0} not found")]
    NoSuchMemory(String),
    /// A memory already has this id.
    #[error("memory {0} already exists")]
    MemoryExists(String),
    /// The list of owners has nobody but the anonymous principal: the capsule could never be changed again.
    #[error("owners: at least one is needed")]
    NoOwner,
    /// The id of the subject is too long.
    #[error("subject: at most {MAX_SUBJECT_BYTES} bytes, got {got}")]
    SubjectTooLong {
        /// Length of the id, bytes.
        got: usize,
    },
    /// An access list is too long.
    #[error("{list}: at most {MAX_LIST} principals, got {got}")]
    ListTooLong {
        /// Name of the list.
        list: &'static str,
        /// Length of the list.
        got: usize,
    },
    /// A limit on a number of items, from the settings, would be exceeded.
    #[error("{limit}: {allowed} allowed, {requested} requested")]
    Full {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
        /// The number that would exceed the limit.
        requested: u64,
    },
    /// Stable memory has no room, whatever the limits are.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// A record does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
}

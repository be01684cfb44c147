//! Capsules and memories in stable memory.

use candid::Principal;

use crate::api::{Capsule, CapsuleAccess, Memory, PersonRef};
use crate::session::Time;
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, Register, StableError, Table, memory_ids};

use super::record::{Access, CapsuleRecord, MemoryRecord};

/// Principals in one access list; each costs up to 29 bytes in every read of the capsule.
const MAX_LIST: usize = 1_000;

/// A capsule call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// The caller lacks a right. Also said of a capsule that does not exist, so that ids cannot be probed.
    #[error("{caller} needs {needs} to {capsule}")]
    Unauthorized {
        /// Who called.
        caller: Principal,
        /// The right that is missing.
        needs: Access,
        /// On which capsule.
        capsule: String,
    },
    /// Anonymous callers own nothing.
    #[error("the anonymous principal cannot own a capsule")]
    Anonymous,
    /// No such memory, or the caller may not know of it.
    #[error("memory {0} not found")]
    NoSuchMemory(String),
    /// A memory has this id already.
    #[error("memory {0} exists already")]
    MemoryExists(String),
    /// A capsule without owners could never be changed again.
    #[error("owners: at least one is needed")]
    NoOwner,
    /// An access list is too long.
    #[error("{list}: at most {MAX_LIST} principals, got {got}")]
    ListTooLong {
        /// Which list.
        list: &'static str,
        /// Its length.
        got: usize,
    },
    /// A record does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
}

/// Capsules and memories in stable memory.
pub struct CapsuleStore {
    capsules: Table<String, CapsuleRecord>,
    memories: Table<String, MemoryRecord>,
    by_capsule: Table<TwoTexts, ()>,
    counter: Register<u64>,
}

impl CapsuleStore {
    /// Opens the store, or makes an empty one.
    pub fn open(memories: &Memories) -> Self {
        Self {
            capsules: Table::open(memories, memory_ids::CAPSULES),
            memories: Table::open(memories, memory_ids::MEMORIES),
            by_capsule: Table::open(memories, memory_ids::MEMORY_BY_CAPSULE),
            counter: Register::open(memories, memory_ids::CAPSULE_COUNTER),
        }
    }

    /// Makes a capsule that `caller` owns, about `subject` or else about the caller.
    ///
    /// # Errors
    /// [`CapsuleError::Anonymous`].
    pub fn create(
        &mut self,
        caller: Principal,
        subject: Option<PersonRef>,
        now: Time,
    ) -> Result<Capsule, CapsuleError> {
        if caller == Principal::anonymous() {
            return Err(CapsuleError::Anonymous);
        }
        let id = format!("capsule_{}", self.counter.next()?);
        let subject = subject.unwrap_or(PersonRef::Principal(caller));
        let record = CapsuleRecord::new(subject, caller, now.as_nanos());
        self.capsules.insert(id.clone(), &record);
        Ok(record.to_api(&id))
    }

    /// The capsule, if `caller` has at least the right `needs` on it.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`].
    pub fn authorize(
        &self,
        caller: Principal,
        needs: Access,
        capsule: &str,
    ) -> Result<CapsuleRecord, CapsuleError> {
        self.capsules
            .get(&capsule.to_owned())?
            .filter(|record| record.access_of(&caller).is_some_and(|has| has >= needs))
            .ok_or_else(|| CapsuleError::Unauthorized { caller, needs, capsule: capsule.to_owned() })
    }

    /// Replaces the access lists of a capsule; an owner's right.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], [`CapsuleError::NoOwner`], [`CapsuleError::ListTooLong`].
    pub fn set_access(
        &mut self,
        caller: Principal,
        capsule: &str,
        access: CapsuleAccess,
    ) -> Result<Capsule, CapsuleError> {
        let mut record = self.authorize(caller, Access::Own, capsule)?;
        if access.owners.iter().all(|owner| *owner == Principal::anonymous()) {
            return Err(CapsuleError::NoOwner);
        }
        let lists = [("owners", &access.owners), ("writers", &access.writers), ("readers", &access.readers)];
        for (list, principals) in lists {
            if principals.len() > MAX_LIST {
                return Err(CapsuleError::ListTooLong { list, got: principals.len() });
            }
        }
        record.set_access(access);
        self.capsules.insert(capsule.to_owned(), &record);
        Ok(record.to_api(capsule))
    }

    /// Adds a memory to its capsule.
    ///
    /// # Errors
    /// [`CapsuleError::MemoryExists`]; [`CapsuleError::Unauthorized`] when `caller` may not write, or the
    /// capsule is gone.
    pub fn attach(
        &mut self,
        caller: Principal,
        memory_id: &str,
        record: &MemoryRecord,
    ) -> Result<(), CapsuleError> {
        let mut capsule = self.authorize(caller, Access::Write, &record.capsule_id)?;
        if self.memories.contains(&memory_id.to_owned()) {
            return Err(CapsuleError::MemoryExists(memory_id.to_owned()));
        }
        capsule.memory_count = capsule.memory_count.saturating_add(1);
        self.memories.insert(memory_id.to_owned(), record);
        self.by_capsule.insert(TwoTexts(record.capsule_id.clone(), memory_id.to_owned()), &());
        self.capsules.insert(record.capsule_id.clone(), &capsule);
        Ok(())
    }

    /// A memory that `caller` may read.
    ///
    /// # Errors
    /// [`CapsuleError::NoSuchMemory`], for one the caller may not read as well.
    pub fn memory(&self, caller: Principal, memory_id: &str) -> Result<Memory, CapsuleError> {
        let missing = || CapsuleError::NoSuchMemory(memory_id.to_owned());
        let record = self.memories.get(&memory_id.to_owned())?.ok_or_else(missing)?;
        self.authorize(caller, Access::Read, &record.capsule_id).map_err(|_| missing())?;
        Ok(record.to_api(memory_id))
    }

    /// Up to `limit` memories of a capsule, in order of id, behind `after`.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`].
    pub fn list(
        &self,
        caller: Principal,
        capsule: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Memory>, CapsuleError> {
        self.authorize(caller, Access::Read, capsule)?;
        let start = TwoTexts(capsule.to_owned(), after.unwrap_or_default().to_owned());
        self.by_capsule
            .keys(start.clone()..)
            .take_while(|TwoTexts(of, _)| of == capsule)
            .filter(|key| after.is_none() || *key != start)
            .take(limit)
            .map(|TwoTexts(_, id)| {
                let record = self.memories.get(&id)?;
                Ok(record.ok_or_else(|| CapsuleError::NoSuchMemory(id.clone()))?.to_api(&id))
            })
            .collect()
    }
}

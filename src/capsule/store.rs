//! Capsules and memories in stable memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use candid::Principal;
use ic_stable_structures::storable::Blob;

use crate::api::{Capsule, CapsuleAccess, Memory, PersonRef};
use crate::session::Time;
use crate::stable::keys::TwoTexts;
use crate::stable::memory_ids::{self, CREATED_WITH_FIRST_CAPSULE};
use crate::stable::{Ids, Memories, StableError, StableRoom, Structures, Table};

use super::error::CapsuleError;
use super::member_keys::{member_key, parse_member_key};
use super::page::PageSize;
use super::record::{Access, CapsuleRecord, MemoryRecord};
use super::table::CapsuleTable;
use super::{MAX_LIST, MAX_SUBJECT_BYTES};

/// Returns `Ok(())` if one more item may be added to `existing` items; `limit` is the name of the limit.
fn check_limit(limit: &'static str, allowed: u64, existing: u64) -> Result<(), CapsuleError> {
    let requested = existing.saturating_add(1);
    if requested > allowed { Err(CapsuleError::Full { limit, allowed, requested }) } else { Ok(()) }
}

/// The tables of capsules and memories.
pub struct CapsuleStore {
    /// The capsules.
    pub records: CapsuleTable,
    pub(super) memories: Table<String, MemoryRecord>,
    by_capsule: Table<TwoTexts, ()>,
    by_member: Table<(Principal, Blob<32>), ()>,
    /// Deleted capsules whose memories are still to be removed.
    deleted: Table<String, ()>,
    by_idem_key: Table<[u8; 32], String>,
    count_by_creator: Table<Principal, u64>,
    /// For each deleted capsule with memories that could not be removed: the last such memory, after which the removal
    /// continues. This is on the heap, so that the removal is retried after an upgrade.
    resume_points: BTreeMap<String, String>,
    /// Capsule numbers.
    pub ids: Ids,
    created_with_first_capsule: Structures,
    room: StableRoom,
}

impl CapsuleStore {
    /// Opens the store. Structures that do not exist yet are created with the first capsule, or with their first
    /// record.
    pub fn open(memories: &Memories, room: &StableRoom) -> Self {
        Self {
            records: CapsuleTable::open(memories),
            memories: Table::open(memories, memory_ids::MEMORIES),
            by_capsule: Table::open(memories, memory_ids::MEMORY_BY_CAPSULE),
            by_member: Table::open(memories, memory_ids::CAPSULE_BY_MEMBER),
            by_idem_key: Table::open(memories, memory_ids::MEMORY_BY_IDEM),
            deleted: Table::open(memories, memory_ids::CONDEMNED_CAPSULES),
            count_by_creator: Table::open(memories, memory_ids::CAPSULES_BY_CREATOR),
            resume_points: BTreeMap::new(),
            ids: Ids::open(memories, memory_ids::CAPSULE_COUNTER),
            created_with_first_capsule: Structures::of(memories, |id| {
                CREATED_WITH_FIRST_CAPSULE.contains(&id)
            }),
            room: room.clone(),
        }
    }

    /// Creates a capsule owned by `caller`. Its subject is `subject`, or the caller if there is none.
    ///
    /// # Errors
    /// [`CapsuleError::Anonymous`], [`CapsuleError::SubjectTooLong`], [`CapsuleError::NoRoom`], or a damaged record.
    pub fn create(
        &mut self,
        caller: Principal,
        subject: Option<PersonRef>,
        now: Time,
    ) -> Result<Capsule, CapsuleError> {
        self.create_within(u64::MAX, caller, subject, now)
    }

    /// Does the same as [`Self::create`], but only if the caller has created fewer than `allowed` capsules that still
    /// exist. Capsules that the caller came to own later do not count: others could exhaust the limit with them.
    ///
    /// # Errors
    /// Those of [`Self::create`], and [`CapsuleError::Full`].
    pub fn create_within(
        &mut self,
        allowed: u64,
        caller: Principal,
        subject: Option<PersonRef>,
        now: Time,
    ) -> Result<Capsule, CapsuleError> {
        if caller == Principal::anonymous() {
            return Err(CapsuleError::Anonymous);
        }
        if let Some(PersonRef::Opaque(text)) = &subject
            && text.len() > MAX_SUBJECT_BYTES
        {
            return Err(CapsuleError::SubjectTooLong { got: text.len() });
        }
        let existing = self.count_by_creator.get(&caller)?.unwrap_or(0);
        check_limit("capsules per caller", allowed, existing)?;
        self.room.check_for_records()?;
        self.created_with_first_capsule.create(&self.room)?;
        let id = format!("capsule_{}", self.ids.issue()?);
        let subject = subject.unwrap_or(PersonRef::Principal(caller));
        let record = CapsuleRecord::new(subject, caller, now.as_nanos());
        self.count_by_creator.insert(caller, &existing.saturating_add(1));
        self.store(&id, &record);
        Ok(record.to_api(&id))
    }

    /// Adds a capsule under a given id, for tools that write a stable memory. If the id is in use, or too long for the
    /// index by member, changes nothing and returns `false`.
    ///
    /// # Errors
    /// A damaged count of the creator's capsules.
    pub fn restore(&mut self, id: &str, record: &CapsuleRecord) -> Result<bool, StableError> {
        if Blob::<32>::try_from(id.as_bytes()).is_err() || self.records.stored().contains(&id.to_owned()) {
            return Ok(false);
        }
        if let Some(creator) = record.created_by {
            let existing = self.count_by_creator.get(&creator)?.unwrap_or(0);
            self.count_by_creator.insert(creator, &existing.saturating_add(1));
        }
        self.store(id, record);
        Ok(true)
    }

    /// Deletes a capsule, if `caller` is an owner. The capsule disappears immediately for everyone; the calling code
    /// must then remove its memories and their blobs, which [`Self::memories_to_remove`] lists.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], or a damaged record.
    pub fn delete(&mut self, caller: Principal, capsule_id: &str) -> Result<(), CapsuleError> {
        let record = self.authorize(caller, Access::Own, capsule_id)?;
        if let Some(creator) = record.created_by {
            self.uncount_capsule_of(creator)?;
        }
        self.remove_from_member_index(capsule_id, &record);
        self.records.stored_mut().remove(&capsule_id.to_owned());
        self.deleted.insert(capsule_id.to_owned(), &());
        Ok(())
    }

    /// Lists up to `limit` capsules of which `caller` is a member, ordered by id, after `after`; fewer if they are
    /// large.
    ///
    /// # Errors
    /// A damaged record.
    pub fn list_capsules(
        &self,
        caller: Principal,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Capsule>, CapsuleError> {
        let start = after.map_or(Bound::Included(member_key("")), |id| Bound::Excluded(member_key(id)));
        let start = start.map(|key| (caller, key));
        let keys = self.by_member.keys((start, Bound::Unbounded));
        let (mut page, mut size) = (Vec::new(), PageSize::default());
        for (_, key) in keys.take_while(|(member, _)| *member == caller).take(limit) {
            let id = parse_member_key(&key);
            let Some((record, record_len)) = self.records.stored().get_with_len(&id)? else { continue };
            if !size.try_add(record_len) {
                break;
            }
            page.push(record.to_api(&id));
        }
        Ok(page)
    }

    /// Lists up to `limit` memories of one deleted capsule, the first that still has memories that are not skipped; the
    /// list is empty if there is no such capsule. Removes the entries of the deleted capsules before it that have no
    /// memories left.
    pub fn memories_to_remove(&mut self, limit: usize) -> Vec<TwoTexts> {
        let mut after = None;
        while let Some(capsule) = self.deleted.next_key(after.as_ref()) {
            let resume_point = self.resume_points.get(&capsule);
            let start = match resume_point {
                Some(memory) => Bound::Excluded(TwoTexts(capsule.clone(), memory.clone())),
                None => Bound::Included(TwoTexts(capsule.clone(), String::new())),
            };
            let keys = self.by_capsule.keys((start, Bound::Unbounded));
            let found: Vec<_> = keys.take_while(|TwoTexts(id, _)| *id == capsule).take(limit).collect();
            if !found.is_empty() {
                return found;
            }
            if resume_point.is_none() {
                self.deleted.remove(&capsule);
            }
            after = Some(capsule);
        }
        Vec::new()
    }

    /// From now on, until the next upgrade, [`Self::memories_to_remove`] skips this memory of a deleted capsule, and
    /// all memories of the capsule before it.
    pub fn skip_memory(&mut self, TwoTexts(capsule, memory): TwoTexts) {
        self.resume_points.insert(capsule, memory);
    }

    /// Returns the record of a capsule, without checking access; `None` if the capsule does not exist.
    ///
    /// # Errors
    /// A damaged record.
    pub fn capsule(&self, id: &str) -> Result<Option<Rc<CapsuleRecord>>, StableError> {
        self.records.get(id)
    }

    /// Returns the number of capsules.
    pub fn len(&self) -> u64 {
        self.records.stored().len()
    }

    /// Returns whether there is no capsule.
    pub fn is_empty(&self) -> bool {
        self.records.stored().is_empty()
    }

    /// Returns the number of memories.
    pub fn memory_total(&self) -> u64 {
        self.memories.len()
    }

    /// Returns the record of a capsule, if `caller` has at least the right `needs` to the capsule.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], or, for members, a damaged record.
    pub fn authorize(
        &self,
        caller: Principal,
        needs: Access,
        capsule_id: &str,
    ) -> Result<Rc<CapsuleRecord>, CapsuleError> {
        self.record_if(caller, needs, capsule_id, |record| {
            record.access_of(&caller).is_some_and(|has| has >= needs)
        })
    }

    /// Returns `Ok(())` if `caller` may read the blobs of a capsule: everyone may if the capsule is public.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], or, for members, a damaged record.
    pub fn authorize_blobs(&self, caller: Principal, capsule_id: &str) -> Result<(), CapsuleError> {
        let may = |record: &CapsuleRecord| record.is_public() || record.access_of(&caller).is_some();
        self.record_if(caller, Access::Read, capsule_id, may).map(drop)
    }

    /// Returns the record of a capsule, if there is one and `may` accepts it. `needs` is only used in the error.
    fn record_if(
        &self,
        caller: Principal,
        needs: Access,
        capsule_id: &str,
        may: impl FnOnce(&CapsuleRecord) -> bool,
    ) -> Result<Rc<CapsuleRecord>, CapsuleError> {
        let found = match self.capsule(capsule_id) {
            // Strangers must not learn that someone else's record is damaged.
            Err(_) if !self.by_member.contains(&(caller, member_key(capsule_id))) => None,
            found => found?,
        };
        found.filter(|record| may(record)).ok_or_else(|| CapsuleError::Unauthorized {
            caller,
            needs,
            capsule: capsule_id.to_owned(),
        })
    }

    /// Makes the blobs of a capsule readable by everyone, or only by its members, if `caller` is an owner.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], [`CapsuleError::NoRoom`], or a damaged record.
    pub fn set_public(
        &mut self,
        caller: Principal,
        capsule_id: &str,
        is_public: bool,
    ) -> Result<Capsule, CapsuleError> {
        let mut record = Rc::unwrap_or_clone(self.authorize(caller, Access::Own, capsule_id)?);
        self.room.check_for_records()?;
        record.is_public = is_public.then_some(true);
        self.records.stored_mut().insert(capsule_id.to_owned(), &record);
        Ok(record.to_api(capsule_id))
    }

    /// Replaces the access lists of a capsule, if `caller` is an owner.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], [`CapsuleError::NoOwner`], [`CapsuleError::ListTooLong`],
    /// [`CapsuleError::NoRoom`], or a damaged record.
    pub fn set_access(
        &mut self,
        caller: Principal,
        capsule_id: &str,
        access: CapsuleAccess,
    ) -> Result<Capsule, CapsuleError> {
        let mut record = Rc::unwrap_or_clone(self.authorize(caller, Access::Own, capsule_id)?);
        if access.owners.iter().all(|owner| *owner == Principal::anonymous()) {
            return Err(CapsuleError::NoOwner);
        }
        let lists = [("owners", &access.owners), ("writers", &access.writers), ("readers", &access.readers)];
        for (list, principals) in lists {
            if principals.len() > MAX_LIST {
                return Err(CapsuleError::ListTooLong { list, got: principals.len() });
            }
        }
        self.room.check_for_records()?;
        self.remove_from_member_index(capsule_id, &record);
        record.set_access(access);
        self.store(capsule_id, &record);
        Ok(record.to_api(capsule_id))
    }

    /// Returns `Ok(())` if a capsule that may hold `allowed` memories has room for one more memory.
    ///
    /// # Errors
    /// [`CapsuleError::Full`].
    pub fn check_memory_limit(capsule: &CapsuleRecord, allowed: u64) -> Result<(), CapsuleError> {
        check_limit("memories per capsule", allowed, capsule.memory_count)
    }

    /// Adds a memory to its capsule, without checking a limit or the room.
    ///
    /// # Errors
    /// [`CapsuleError::MemoryExists`]; [`CapsuleError::Unauthorized`] if `caller` may not write, or the capsule no
    /// longer exists; a damaged record of the capsule.
    pub fn attach(
        &mut self,
        caller: Principal,
        memory_id: &str,
        record: &MemoryRecord,
    ) -> Result<(), CapsuleError> {
        let capsule = self.authorize(caller, Access::Write, &record.capsule_id)?;
        if self.memories.contains(&memory_id.to_owned()) {
            return Err(CapsuleError::MemoryExists(memory_id.to_owned()));
        }
        if let Some(request) = record.request {
            self.by_idem_key.insert(request.idem_key, &memory_id.to_owned());
        }
        self.memories.insert(memory_id.to_owned(), record);
        self.by_capsule.insert(TwoTexts(record.capsule_id.clone(), memory_id.to_owned()), &());
        self.records.change(&record.capsule_id, capsule, |capsule| {
            capsule.memory_count = capsule.memory_count.saturating_add(1);
            capsule.inline_bytes = capsule.inline_bytes.saturating_add(record.content.inline_bytes());
        });
        Ok(())
    }

    /// Returns a memory that `caller` may read.
    ///
    /// # Errors
    /// Those of [`Self::memory_record`].
    pub fn memory(&self, caller: Principal, memory_id: &str) -> Result<Memory, CapsuleError> {
        Ok(self.memory_record(caller, Access::Read, memory_id)?.to_api(memory_id))
    }

    /// Returns the record of a memory if `caller` has the right `needs` to its capsule.
    ///
    /// # Errors
    /// [`CapsuleError::NoSuchMemory`], also if the caller may not read the memory; [`CapsuleError::Unauthorized`] if
    /// the caller may read the memory, but lacks the right `needs`; for members, a damaged record.
    pub fn memory_record(
        &self,
        caller: Principal,
        needs: Access,
        memory_id: &str,
    ) -> Result<MemoryRecord, CapsuleError> {
        let missing = || CapsuleError::NoSuchMemory(memory_id.to_owned());
        let record = match self.memories.get(&memory_id.to_owned()) {
            // As in `record_if`: strangers must not learn that the record is damaged.
            Err(_) if !self.is_in_a_capsule_of(caller, memory_id) => None,
            found => found?,
        };
        let record = record.ok_or_else(missing)?;
        let capsule = self.authorize(caller, Access::Read, &record.capsule_id).map_err(|_| missing())?;
        if capsule.access_of(&caller).is_none_or(|has| has < needs) {
            return Err(CapsuleError::Unauthorized { caller, needs, capsule: record.capsule_id });
        }
        Ok(record)
    }

    /// Returns whether a memory is in a capsule of `caller`, according to the indexes. To limit the cost, checks only
    /// the first 1,000 capsules.
    fn is_in_a_capsule_of(&self, caller: Principal, memory_id: &str) -> bool {
        const MAX_CAPSULES: usize = 1_000;
        let keys = self.by_member.keys((caller, member_key(""))..);
        let mut own_capsules = keys.take_while(|(member, _)| *member == caller).take(MAX_CAPSULES);
        own_capsules.any(|(_, capsule)| {
            self.by_capsule.contains(&TwoTexts(parse_member_key(&capsule), memory_id.to_owned()))
        })
    }

    /// Returns whether the memory exists, without checking access.
    pub fn has_memory(&self, memory_id: &str) -> bool {
        self.memories.contains(&memory_id.to_owned())
    }

    /// Returns the id of the memory that a call of `memories_create` with this key created, and the fingerprint of that
    /// call; `None` if there is no such memory, or no longer.
    ///
    /// # Errors
    /// A damaged record.
    pub fn memory_created_with(
        &self,
        idem_key: [u8; 32],
    ) -> Result<Option<(String, [u8; 32])>, CapsuleError> {
        let Some(id) = self.by_idem_key.get(&idem_key)? else { return Ok(None) };
        let request = self.memories.get(&id)?.and_then(|record| record.request);
        Ok(request.map(|request| (id, request.fingerprint)))
    }

    /// Replaces the record of an existing memory.
    pub fn replace_memory(&mut self, memory_id: &str, record: &MemoryRecord) {
        self.memories.insert(memory_id.to_owned(), record);
    }

    /// Returns the record of a memory, without checking access.
    ///
    /// # Errors
    /// [`CapsuleError::NoSuchMemory`], or a damaged record.
    pub fn memory_record_unchecked(&self, memory_id: &str) -> Result<MemoryRecord, CapsuleError> {
        let id = memory_id.to_owned();
        self.memories.get(&id)?.ok_or(CapsuleError::NoSuchMemory(id))
    }

    /// Removes a memory, given its record, without checking access.
    ///
    /// # Errors
    /// A damaged record of the capsule.
    pub fn detach(&mut self, memory_id: &str, record: &MemoryRecord) -> Result<(), CapsuleError> {
        let id = memory_id.to_owned();
        if let Some(capsule) = self.capsule(&record.capsule_id)? {
            self.records.change(&record.capsule_id, capsule, |capsule| {
                capsule.memory_count = capsule.memory_count.saturating_sub(1);
                capsule.inline_bytes = capsule.inline_bytes.saturating_sub(record.content.inline_bytes());
            });
        }
        if let Some(request) = record.request {
            self.by_idem_key.remove(&request.idem_key);
        }
        self.memories.remove(&id);
        self.by_capsule.remove(&TwoTexts(record.capsule_id.clone(), id));
        Ok(())
    }

    /// Stores a capsule, and adds it to the index by member.
    fn store(&mut self, capsule_id: &str, record: &CapsuleRecord) {
        for member in record.members() {
            self.by_member.insert((*member, member_key(capsule_id)), &());
        }
        self.records.stored_mut().insert(capsule_id.to_owned(), record);
    }

    /// Reduces the number of capsules that count for `creator` by one.
    fn uncount_capsule_of(&mut self, creator: Principal) -> Result<(), CapsuleError> {
        match self.count_by_creator.get(&creator)?.unwrap_or(0).saturating_sub(1) {
            0 => {
                self.count_by_creator.remove(&creator);
            }
            left => self.count_by_creator.insert(creator, &left),
        }
        Ok(())
    }

    fn remove_from_member_index(&mut self, capsule_id: &str, record: &CapsuleRecord) {
        for member in record.members() {
            self.by_member.remove(&(*member, member_key(capsule_id)));
        }
    }

    /// Lists up to `limit` memories of a capsule, ordered by id, after `after`; fewer if they are large.
    ///
    /// # Errors
    /// [`CapsuleError::Unauthorized`], or a damaged record.
    pub fn list_memories(
        &self,
        caller: Principal,
        capsule_id: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Memory>, CapsuleError> {
        self.authorize(caller, Access::Read, capsule_id)?;
        let start = TwoTexts(capsule_id.to_owned(), after.unwrap_or_default().to_owned());
        let keys = self.by_capsule.keys(start.clone()..).take_while(|TwoTexts(id, _)| id == capsule_id);
        let (mut page, mut size) = (Vec::new(), PageSize::default());
        for TwoTexts(_, id) in keys.filter(|key| after.is_none() || *key != start).take(limit) {
            let found = self.memories.get_with_len(&id)?;
            let (record, record_len) = found.ok_or_else(|| CapsuleError::NoSuchMemory(id.clone()))?;
            if !size.try_add(record_len) {
                break;
            }
            page.push(record.to_api(&id));
        }
        Ok(page)
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::CAPSULES, self.records.stored());
        to.table(memory_ids::numbers::MEMORIES, &self.memories);
        to.table(memory_ids::numbers::MEMORY_BY_CAPSULE, &self.by_capsule);
        to.table(memory_ids::numbers::CAPSULE_BY_MEMBER, &self.by_member);
        to.table(memory_ids::numbers::CONDEMNED_CAPSULES, &self.deleted);
        to.table(memory_ids::numbers::MEMORY_BY_IDEM, &self.by_idem_key);
        to.table(memory_ids::numbers::CAPSULES_BY_CREATOR, &self.count_by_creator);
        self.ids.describe(memory_ids::numbers::CAPSULE_COUNTER, to);
    }
}

//! The table of capsules. During a call, it can hold one decoded capsule, which is then decoded and stored only once.

use std::cell::RefCell;
use std::rc::Rc;

use crate::stable::{Memories, StableError, Table, memory_ids};

use super::record::CapsuleRecord;

pub struct CapsuleTable {
    stored: Table<String, CapsuleRecord>,
    /// Whether `hold` was called, and `let_go` not yet; a capsule may be held only then.
    is_holding: bool,
    held: RefCell<Option<Held>>,
}

struct Held {
    id: String,
    record: Rc<CapsuleRecord>,
    /// Whether the record has changes that are not stored yet.
    is_changed: bool,
}

impl CapsuleTable {
    pub fn open(memories: &Memories) -> Self {
        let stored = Table::open(memories, memory_ids::CAPSULES);
        Self { stored, is_holding: false, held: RefCell::new(None) }
    }

    /// From now on, one capsule stays decoded: the last one that was changed or, if none was changed, the last one that
    /// was read. Its changes are stored once, by [`Self::let_go`] or when another capsule is changed. Without this, a
    /// call with a thousand files would read and write access lists of 3,000 principals for each of the files. `hold`
    /// and `let_go` must be called in the same message, whose changes are stored completely or not at all.
    pub const fn hold(&mut self) {
        self.is_holding = true;
    }

    /// Ends what [`Self::hold`] began, and stores the changes of the held capsule.
    pub fn let_go(&mut self) {
        self.is_holding = false;
        self.flush();
    }

    /// Returns the stored table, without the changes to a capsule that is held.
    pub const fn stored(&self) -> &Table<String, CapsuleRecord> {
        &self.stored
    }

    /// Returns the stored table, with the changes of a held capsule; no capsule is held afterwards.
    pub fn stored_mut(&mut self) -> &mut Table<String, CapsuleRecord> {
        self.flush();
        &mut self.stored
    }

    /// Stores the changes of a held capsule; no capsule is held afterwards.
    fn flush(&mut self) {
        if let Some(Held { id, record, is_changed: true }) = self.held.take() {
            self.stored.insert(id, &record);
        }
    }

    /// Returns the record of a capsule, without decoding it again if the capsule is held; `None` if there is none.
    pub fn get(&self, id: &str) -> Result<Option<Rc<CapsuleRecord>>, StableError> {
        if let Some(held) = &*self.held.borrow()
            && held.id == id
        {
            return Ok(Some(held.record.clone()));
        }
        let found = self.stored.get(&id.to_owned())?.map(Rc::new);
        if let Some(record) = found.as_ref().filter(|_| self.is_holding) {
            let mut held = self.held.borrow_mut();
            if !held.as_ref().is_some_and(|held| held.is_changed) {
                *held = Some(Held { id: id.to_owned(), record: record.clone(), is_changed: false });
            }
        }
        Ok(found)
    }

    /// Changes the record of a capsule; `record` is its current value.
    pub fn change(
        &mut self,
        id: &str,
        mut record: Rc<CapsuleRecord>,
        change: impl FnOnce(&mut CapsuleRecord),
    ) {
        // If this capsule is held, drops the reference in `held`, so that `make_mut` need not clone the record. If
        // another capsule is held, stores its changes.
        if self.held.get_mut().take_if(|held| held.id == id).is_none() {
            self.flush();
        }
        change(Rc::make_mut(&mut record));
        let id = id.to_owned();
        if self.is_holding {
            self.held = RefCell::new(Some(Held { id, record, is_changed: true }));
        } else {
            self.stored.insert(id, &record);
        }
    }
}

//! Invariants of the tables, checked after every step, in addition to the answers that clients get.

use crate::blob::{BlobId, Place};
use crate::build_profile::LAYOUTS;
use crate::migrate::{Migration as _, Phase};
use crate::migrations::MoveToExtents;
use crate::migrations::extents::extents_of;
use crate::session::SessionId;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::PayloadState;
use crate::upload::path::compat::CompatPath;
use upload_model::Stage;

use super::Native;

impl Native {
    /// Checks that the tables agree with one another and, if `emptied`, that no session, receipt or account is left.
    pub(super) fn check_tables(&self, emptied: bool) -> Result<(), String> {
        let Storage { layout, sessions, index, payloads, blobs, usage, receipts, .. } =
            &self.canister.storage;
        let stored_sessions = sessions.legacy.len() + sessions.sessions.len();
        let live = stored_sessions - self.unreadable_in_layout_1();
        // Released chunks may be left to the timers if the memory has been filled or migration 2 (to layout 3) has
        // released them.
        let is_layout_3 = layout.get().unwrap() == Some(Layout::EXTENTS);
        let all_removed = emptied || !is_layout_3 && self.faults.filled.is_none();
        let released = if all_removed { blobs.release_total() } else { 0 };
        let pairs = [
            ("legacy records and their activity", self.legacy_sessions(), sessions.legacy.activity_count()),
            ("sessions and their meta", sessions.sessions.len(), sessions.metas.len()),
            ("sessions and the index", live, index.len()),
            ("released prefixes", released, 0),
        ];
        for (what, left, right) in pairs {
            if left != right {
                return Err(format!("{what}: {left} and {right}"));
            }
        }
        self.payload_invariant()?;
        self.promise_invariant()?;
        self.unreadable_records_invariant()?;
        if payloads.len() > live {
            return Err(format!("{} payload states of {live} sessions", payloads.len()));
        }
        if self.stage == Stage::Legacy && !sessions.sessions.is_empty() {
            return Err("the legacy build has written a record of layout 2".into());
        }
        let remaining = [live, payloads.len(), index.len(), receipts.len(), usage.account_count()];
        if emptied && remaining != [0; 5] {
            return Err(format!("sessions, payload states, index, receipts, accounts left: {remaining:?}"));
        }
        Ok(())
    }

    /// Checks that the sum of promised bytes is what the sessions in flight have reserved but not filled.
    fn promise_invariant(&self) -> Result<(), String> {
        let storage = &self.canister.storage;
        let split = storage.sessions.sessions.range(..).map(|entry| entry.unwrap().1.into_session().unwrap());
        let legacy =
            storage.sessions.legacy.keys_after(None).filter(|id| !self.is_unreadable(*id)).map(|id| {
                let found = CompatPath::default().read(storage, SessionId(id));
                found.unwrap().unwrap()
            });
        let promised: u64 = split.chain(legacy).map(|session| session.bytes_missing()).sum();
        match storage.promises.total() {
            counted if counted == promised => Ok(()),
            counted => Err(format!("{promised} bytes are promised, {counted} are counted")),
        }
    }

    /// Returns the bytes allocated for the unit that migration 2 is moving, if a client has removed the unit. The
    /// migration frees them in its next message.
    pub(super) fn abandoned_bytes(&self) -> u64 {
        let storage = &self.canister.storage;
        let Some(unit) = storage.migration.state_of(2).unwrap().unit else { return 0 };
        let is_gone = MoveToExtents { layouts: LAYOUTS }.digest(storage, unit.key).unwrap().is_none();
        extents_of(&unit.progress).filter(|_| is_gone).map_or(0, |extents| extents.size())
    }

    /// Checks that every allocated byte of the payload region belongs to a session, to a blob, or to the unit that
    /// migration 2 is moving.
    fn payload_invariant(&self) -> Result<(), String> {
        let Storage { payloads, blobs, migration, .. } = &self.canister.storage;
        blobs.extents().check().map_err(|e| e.to_string())?;
        let mut owned = 0;
        for entry in payloads.range(..) {
            let PayloadState { extents, subtrees, .. } = entry.unwrap().1;
            owned += [extents, subtrees].into_iter().flatten().map(|extents| extents.size()).sum::<u64>();
        }
        for id in blobs.list_in_extents(None, usize::MAX) {
            let Place::Extents(extents) = blobs.blob(BlobId(id)).unwrap().place else {
                return Err(format!("blob {id} is not in extents"));
            };
            owned += extents.size();
        }
        let taken = blobs.extents().taken_bytes().unwrap();
        let migration_2 = migration.state_of(2).unwrap();
        let in_progress = migration_2.unit.filter(|_| migration_2.phase != Phase::Converted);
        let extents_in_progress =
            in_progress.map(|unit| extents_of(&unit.progress).ok_or("the unit in progress has no extents"));
        owned += extents_in_progress.transpose()?.map_or(0, |extents| extents.size());
        if owned == taken {
            Ok(())
        } else {
            Err(format!(
                "{taken} bytes are allocated, but sessions, blobs and the unit in progress have \
                {owned}"
            ))
        }
    }
}

//! Bulk conversion: records are converted in the order of their ids, and read back in one pass over each table of
//! layout 2.

use super::SplitSessions;
use super::write::{Conversion, convert_record, join_halves, read_back, remove_written};
use crate::api::{Error, Result};
use crate::migrate::{Bulk, EngineTime, Fate, Settled};
use crate::session::SessionId;
use crate::storage::Storage;
use crate::upload::LegacySession;

/// Maximum number of records on the heap at a time; each takes some kilobytes.
const MAX_AT_ONCE: usize = 64;

impl Bulk<Storage> for SplitSessions {
    fn convert_first(
        &self,
        storage: &mut Storage,
        limit: usize,
        now: EngineTime,
        has_budget: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Settled>> {
        let sessions = storage.sessions.legacy.first(limit.min(MAX_AT_ONCE))?;
        let mut conversions = Vec::with_capacity(sessions.len());
        for session in &sessions {
            let room = storage.room.check_for_step().map_err(Error::from);
            match room.and_then(|()| convert_record(storage, session, now.into())) {
                Ok((class, conversion)) => {
                    conversions.push(ConvertedRecord { session, class: class.index(), conversion })
                }
                Err(error) if conversions.is_empty() => return Err(error),
                // The next call begins with this record, and returns its error if it fails again.
                Err(_) => break,
            }
            if !has_budget() {
                break;
            }
        }
        let (settled, first_error) = read_all_back(storage, conversions);
        if let (true, Some(error)) = (settled.is_empty(), first_error) {
            return Err(error);
        }
        // The leftover mark moves in one step past all records before the first one that stays in layout 1. Settled
        // records after that one are removed.
        let is_settled = |(session, unit): &(&LegacySession, &Settled)| session.id == unit.key;
        let settled_prefix = sessions.iter().zip(&settled).take_while(is_settled).count();
        storage.sessions.legacy.move_mark_past(sessions.get(..settled_prefix).unwrap_or_default());
        for unit in settled.iter().skip(settled_prefix) {
            storage.sessions.legacy.remove(&unit.key);
        }
        Ok(settled)
    }

    fn leftovers(&self, storage: &Storage, limit: usize) -> Vec<u64> {
        storage.sessions.legacy.leftovers(limit)
    }

    fn drop_leftover(&self, storage: &mut Storage, key: u64) {
        storage.sessions.legacy.remove_leftover(key);
    }

    fn clear_leftovers(&self, storage: &mut Storage) {
        storage.sessions.legacy.clear_leftovers();
    }
}

/// A record whose conversion is written but not read back yet, or whose outcome is final.
struct ConvertedRecord<'a> {
    session: &'a LegacySession,
    /// Index of its class in the plan.
    class: usize,
    conversion: Conversion,
}

/// Returns the outcomes of the records. A record that is not read back as it was written has no outcome, and stays in
/// layout 1 unchanged; the first error of this kind is returned, too.
fn read_all_back(
    storage: &mut Storage,
    conversions: Vec<ConvertedRecord<'_>>,
) -> (Vec<Settled>, Option<Error>) {
    let is_written = |record: &&ConvertedRecord<'_>| matches!(record.conversion, Conversion::Written(_));
    let ids: Vec<u64> = conversions.iter().filter(is_written).map(|record| record.session.id).collect();
    let tables = &storage.sessions;
    let halves = tables.sessions.get_ascending(&ids).into_iter().zip(tables.metas.get_ascending(&ids));
    let mut stored =
        ids.iter().zip(halves).map(|(id, (session, meta))| join_halves(SessionId(*id), session, meta));
    let mut settled = Vec::with_capacity(conversions.len());
    let mut first_error = None;
    for ConvertedRecord { session, class, conversion } in conversions {
        let id = SessionId(session.id);
        let fate = match conversion {
            Conversion::Settled(fate) => fate,
            Conversion::Written(split) => {
                let found = stored.next().unwrap_or_else(|| Err(Error::not_found("session", id)));
                match found.and_then(|found| read_back(session, &split, found)) {
                    Ok(digest) => Fate::Converted(digest),
                    Err(error) => {
                        remove_written(storage, id);
                        first_error.get_or_insert(error);
                        continue;
                    }
                }
            }
        };
        settled.push(Settled { key: id.0, class, fate });
    }
    (settled, first_error)
}

//! Records of a canister: its logs, its history, and the costs of its recent messages.

use super::replies::Change;
use crate::MessageCost;
use crate::engine::LOG_RECORD_BYTES;
use candid::Principal;
use ic_management_canister_types::{
    CanisterLogFilter, CanisterLogRecord, ChangeDetails, ChangeOrigin, FromCanisterRecord, FromUserRecord,
};
use std::collections::VecDeque;

/// Number of changes that a history keeps, as on the IC.
const MAX_CHANGES: usize = 20;
/// Number of executions whose costs are kept; a limit of this server.
const MAX_COSTS: usize = 10_000;

/// The newest log records that fit a number of bytes.
#[derive(Clone, Debug, Default)]
pub struct LogStore {
    records: VecDeque<CanisterLogRecord>,
    next_index: u64,
    bytes: u64,
}

impl LogStore {
    /// Appends a record, truncated to `limit` bytes, and drops the oldest ones so that at most `limit` bytes
    /// are stored in all.
    pub fn push(&mut self, timestamp_nanos: u64, mut content: Vec<u8>, limit: u64) {
        let longest = limit.saturating_sub(LOG_RECORD_BYTES);
        content.truncate(usize::try_from(longest).unwrap_or(usize::MAX));
        let record = CanisterLogRecord { idx: self.next_index, timestamp_nanos, content };
        self.bytes += bytes_in_log(&record);
        self.records.push_back(record);
        self.next_index += 1;
        self.shrink_to(limit);
    }

    /// Drops the oldest records until at most `limit` bytes are left.
    pub fn shrink_to(&mut self, limit: u64) {
        while self.bytes > limit {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= bytes_in_log(&oldest);
        }
    }

    /// Removes all records. Indexes continue.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Returns the bytes of all records, each counted as [`LOG_RECORD_BYTES`] plus its content.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the records that pass the filter (start inclusive, end exclusive), oldest first.
    pub fn select(&self, filter: Option<&CanisterLogFilter>) -> Vec<CanisterLogRecord> {
        self.records
            .iter()
            .filter(|record| match filter {
                None => true,
                Some(CanisterLogFilter::ByIdx { start, end }) => (*start..*end).contains(&record.idx),
                Some(CanisterLogFilter::ByTimestampNanos { start, end }) => {
                    (*start..*end).contains(&record.timestamp_nanos)
                }
            })
            .cloned()
            .collect()
    }
}

/// The same count as in `engine/texts.rs`, for a record.
fn bytes_in_log(record: &CanisterLogRecord) -> u64 {
    record.content.len() as u64 + LOG_RECORD_BYTES
}

/// The most recent changes of a canister, and the number of all changes.
#[derive(Clone, Debug, Default)]
pub struct History {
    changes: VecDeque<Change>,
    total: u64,
}

impl History {
    pub fn push(
        &mut self,
        timestamp_nanos: u64,
        canister_version: u64,
        origin: ChangeOrigin,
        details: ChangeDetails,
    ) {
        self.changes.push_back(Change { timestamp_nanos, canister_version, origin, details });
        self.total += 1;
        while self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
        }
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the newest `count` changes, oldest first.
    pub fn recent(&self, count: usize) -> Vec<Change> {
        let skip = self.changes.len().saturating_sub(count);
        self.changes.iter().skip(skip).cloned().collect()
    }

    /// Returns an estimate of the size of the history, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.changes.len() * std::mem::size_of::<Change>()) as u64
    }
}

/// Returns who made a change; `sender_version` is the version of the calling canister, if it stated one.
pub fn change_origin(caller: Principal, is_canister: bool, sender_version: Option<u64>) -> ChangeOrigin {
    if is_canister {
        ChangeOrigin::FromCanister(FromCanisterRecord {
            canister_id: caller,
            canister_version: sender_version,
        })
    } else {
        ChangeOrigin::FromUser(FromUserRecord { user_id: caller })
    }
}

/// The costs of a canister's newest executions.
#[derive(Clone, Debug, Default)]
pub struct CostRing {
    costs: VecDeque<MessageCost>,
    next_index: u64,
}

impl CostRing {
    /// Appends an entry with the next index, dropping the oldest beyond [`MAX_COSTS`].
    pub fn push(&mut self, mut cost: MessageCost) {
        cost.index = self.next_index;
        self.next_index += 1;
        if self.costs.len() == MAX_COSTS {
            self.costs.pop_front();
        }
        self.costs.push_back(cost);
    }

    /// Returns all entries that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &MessageCost> {
        self.costs.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_drop_the_oldest_and_keep_counting() {
        let mut logs = LogStore::default();
        for n in 0..5u8 {
            // A record takes 20 bytes and its content, so two of these fit.
            logs.push(u64::from(n), vec![n; 4], 50);
        }
        let selected = logs.select(None);
        assert_eq!(selected.iter().map(|r| r.idx).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(logs.bytes(), 48);
        let by_index = CanisterLogFilter::ByIdx { start: 4, end: 5 };
        assert_eq!(logs.select(Some(&by_index)).len(), 1);
        let by_time = CanisterLogFilter::ByTimestampNanos { start: 0, end: 3 };
        assert!(logs.select(Some(&by_time)).is_empty());
        logs.push(9, vec![7; 100], 50);
        assert_eq!(logs.select(None).len(), 1);
        assert_eq!(logs.bytes(), 50);
        logs.push(9, vec![], 19);
        assert!(logs.select(None).is_empty());
        logs.push(10, vec![1], 50);
        logs.clear();
        logs.push(11, vec![1], 50);
        assert_eq!(logs.select(None)[0].idx, 8);
    }

    #[test]
    fn history_keeps_the_newest_and_counts_all() {
        let mut history = History::default();
        for version in 0..25 {
            let origin = change_origin(Principal::anonymous(), false, None);
            history.push(0, version, origin, ChangeDetails::CodeUninstall);
        }
        assert_eq!(history.total(), 25);
        assert_eq!(history.recent(100).len(), MAX_CHANGES);
        let last: Vec<u64> = history.recent(2).iter().map(|c| c.canister_version).collect();
        assert_eq!(last, [23, 24]);
    }

    #[test]
    fn cost_indexes_also_count_dropped_entries() {
        let mut ring = CostRing::default();
        for _ in 0..MAX_COSTS + 3 {
            ring.push(MessageCost::default());
        }
        assert_eq!(ring.iter().count(), MAX_COSTS);
        assert_eq!(ring.iter().next().map(|c| c.index), Some(3));
    }
}

//! Computes the use of each limit.

use std::collections::BTreeMap;

use upload_canister::blob::extents::REGION_BYTES;
use upload_canister::stable::buckets::MAX_BUCKETS;
use upload_canister::stable::memory_ids::numbers as ids;

use super::facts::Facts;
use super::finding::FindingKind;
use super::report::{Limit, MemoryReport};
use super::scan::Scan;

/// A limit is reported as nearly reached if at least this percentage of it is used.
const NEARLY_FULL_PERCENT: u64 = 90;

/// Returns every limit with its use, and adds a finding for each that is nearly reached. If a limit applies to each
/// caller, or to each capsule, its use is that of the caller or capsule with the highest use.
pub(super) fn compute(facts: &Facts, scan: &mut Scan, memory: &MemoryReport) -> Vec<Limit> {
    let config = &facts.config.0;
    let largest_account = |kind: &str| {
        let accounts = facts.usage.iter().filter(|(key, _)| key.0 == kind);
        accounts.max_by_key(|(_, bytes)| **bytes).map(|(key, bytes)| (key.1.clone(), *bytes))
    };
    let largest = |counts: BTreeMap<String, u64>| counts.into_iter().max_by_key(|(_, count)| *count);
    let mut sessions: BTreeMap<String, u64> = BTreeMap::new();
    for (owner, _) in &facts.sessions_by_owner {
        *sessions.entry(owner.to_text()).or_default() += 1;
    }
    let capsules =
        facts.capsule_count_by_creator.iter().map(|(who, count)| (who.to_text(), *count)).collect();
    let memories = facts.capsules.iter().map(|(id, capsule)| (id.clone(), capsule.memories)).collect();
    let per_owner = [
        ("sessions of one caller", largest(sessions), config.max_sessions_per_caller),
        ("bytes in flight of one caller", largest_account("caller"), config.max_bytes_per_caller),
        ("bytes of one capsule", largest_account("capsule"), config.max_bytes_per_capsule),
        ("capsules created by one caller", largest(capsules), config.capsules_per_caller()),
        ("memories of one capsule", largest(memories), config.memories_per_capsule()),
    ];
    let to_limit = |(name, most, allowed): (&str, Option<(String, u64)>, u64)| {
        let (whose, used) = most.unzip();
        Limit { limit: name.into(), whose, used: used.unwrap_or(0), allowed }
    };
    let mut limits: Vec<Limit> = per_owner.into_iter().map(to_limit).collect();
    let of_canister = [
        (
            "bytes in the canister",
            largest_account("canister").map_or(0, |(_, bytes)| bytes),
            config.max_bytes,
        ),
        ("bytes promised", facts.promised.map_or(0, |[promised, _]| promised), config.max_promised_bytes()),
        ("buckets of stable memory", memory.buckets, MAX_BUCKETS),
        ("bytes of the payload region", facts.extent_state.end, REGION_BYTES),
    ];
    limits.extend(of_canister.map(|(name, used, allowed)| Limit {
        limit: name.into(),
        whose: None,
        used,
        allowed,
    }));
    for limit in limits.iter().filter(|limit| limit.percent() >= NEARLY_FULL_PERCENT) {
        let whose = limit.whose.as_ref().map_or(String::new(), |whose| format!(" ({whose})"));
        let Limit { limit: name, used, allowed, .. } = limit;
        let what = format!("{name}{whose}: {used} of {allowed}, {} %", limit.percent());
        scan.findings.add_general(FindingKind::NearlyFull, Some(ids::CONFIG), what);
    }
    limits
}

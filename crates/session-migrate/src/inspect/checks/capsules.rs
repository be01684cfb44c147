//! Checks capsules, their members and memories.

use std::collections::BTreeMap;

use candid::Principal;
use upload_canister::stable::keys::TwoTexts;
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::{ContentFact, Facts};
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    check_memories(facts, scan);
    check_members(facts, scan);
    check_keys_of_created_memories(facts, scan);
    check_counts(facts, scan);
}

fn check_memories(facts: &Facts, scan: &mut Scan) {
    let all_capsules_are_known = scan.fully_read(&[ids::CAPSULES, ids::CONDEMNED_CAPSULES]);
    let index_is_complete = scan.fully_read(&[ids::MEMORY_BY_CAPSULE]);
    for (memory_id, memory) in &facts.memories {
        let capsule_id = &memory.capsule_id;
        if all_capsules_are_known
            && !facts.capsules.contains_key(capsule_id)
            && !facts.condemned_capsules.contains(capsule_id)
        {
            let what = format!("memory {memory_id} is in {capsule_id}, which does not exist");
            scan.findings.add_at_key(
                FindingKind::MemoryWithoutCapsule,
                ids::MEMORIES,
                memory_id.clone(),
                what,
            );
        }
        let key = TwoTexts(capsule_id.clone(), memory_id.clone());
        if index_is_complete && !facts.memories_by_capsule.contains(&key) {
            let what = format!("memory {memory_id} is not among those of {capsule_id}");
            scan.findings.add_at_key(FindingKind::MissingInIndex, ids::MEMORY_BY_CAPSULE, key.shown(), what);
        }
    }
    if scan.fully_read(&[ids::MEMORIES]) {
        for key in &facts.memories_by_capsule {
            let TwoTexts(capsule_id, memory_id) = key;
            if facts.memories.get(memory_id).is_none_or(|memory| memory.capsule_id != *capsule_id) {
                let what = format!("memory {memory_id} does not exist, or is in another capsule");
                scan.findings.add_at_key(
                    FindingKind::IndexToNowhere,
                    ids::MEMORY_BY_CAPSULE,
                    key.shown(),
                    what,
                );
            }
        }
    }
}

fn check_members(facts: &Facts, scan: &mut Scan) {
    if scan.fully_read(&[ids::CAPSULE_BY_MEMBER]) {
        for (capsule_id, capsule) in &facts.capsules {
            for member in &capsule.members {
                if !facts.capsules_by_member.contains(&(*member, capsule_id.clone())) {
                    let what = format!(
                        "{member} is a member of {capsule_id}, but the index of this member lacks {capsule_id}"
                    );
                    let key = format!("{member} {capsule_id}");
                    scan.findings.add_at_key(FindingKind::MissingInIndex, ids::CAPSULE_BY_MEMBER, key, what);
                }
            }
        }
    }
    if scan.fully_read(&[ids::CAPSULES]) {
        for (member, capsule_id) in &facts.capsules_by_member {
            if facts.capsules.get(capsule_id).is_none_or(|capsule| !capsule.members.contains(member)) {
                let what =
                    format!("{member} is not a member of {capsule_id}, or {capsule_id} does not exist");
                let key = format!("{member} {capsule_id}");
                scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::CAPSULE_BY_MEMBER, key, what);
            }
        }
    }
}

/// Checks the index by idempotency key, which has the memories created without an upload, by `memories_create`.
fn check_keys_of_created_memories(facts: &Facts, scan: &mut Scan) {
    if scan.fully_read(&[ids::MEMORIES]) {
        for (key, memory_id) in &facts.memories_by_idem {
            let request = facts.memories.get(memory_id).and_then(|memory| memory.request);
            if request.is_none_or(|request| request.idem_key != *key) {
                let what = format!(
                    "refers to memory {memory_id}, which was not created under this key or does not exist"
                );
                scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::MEMORY_BY_IDEM, key.shown(), what);
            }
        }
    }
    if scan.fully_read(&[ids::MEMORY_BY_IDEM]) {
        for (memory_id, memory) in &facts.memories {
            let Some(request) = memory.request else { continue };
            if facts.memories_by_idem.get(&request.idem_key) != Some(memory_id) {
                let what = format!(
                    "no idempotency key refers to memory {memory_id}: a repeated call would create a second memory"
                );
                scan.findings.add_at_key(
                    FindingKind::MissingInIndex,
                    ids::MEMORY_BY_IDEM,
                    request.idem_key.shown(),
                    what,
                );
            }
        }
    }
}

fn check_counts(facts: &Facts, scan: &mut Scan) {
    if scan.fully_read(&[ids::MEMORIES]) {
        let mut counts_by_capsule: BTreeMap<&String, (u64, u64)> = BTreeMap::new();
        for memory in facts.memories.values() {
            let (memories, bytes) = counts_by_capsule.entry(&memory.capsule_id).or_default();
            *memories += 1;
            *bytes += if let ContentFact::Inline(bytes) = memory.content { bytes } else { 0 };
        }
        for (capsule_id, capsule) in &facts.capsules {
            let (memories, bytes) = counts_by_capsule.get(capsule_id).copied().unwrap_or_default();
            for (noun, recorded, counted) in
                [("memories", capsule.memories, memories), ("inline bytes", capsule.inline_bytes, bytes)]
            {
                if recorded == counted {
                    continue;
                }
                let what = format!(
                    "{capsule_id} has {recorded} {noun} according to its record, but {counted} were counted"
                );
                scan.findings.add_at_key(
                    FindingKind::CountDisagrees,
                    ids::CAPSULES,
                    capsule_id.clone(),
                    what,
                );
            }
        }
    }
    if scan.fully_read(&[ids::CAPSULES, ids::CAPSULES_BY_CREATOR]) {
        let recorded_counts = &facts.capsule_count_by_creator;
        let mut actual_counts: BTreeMap<Principal, u64> = BTreeMap::new();
        for creator in facts.capsules.values().filter_map(|capsule| capsule.created_by) {
            *actual_counts.entry(creator).or_default() += 1;
        }
        let creators = actual_counts.keys().chain(recorded_counts.keys());
        for creator in creators.collect::<std::collections::BTreeSet<_>>() {
            let [recorded, counted] =
                [recorded_counts, &actual_counts].map(|counts| counts.get(creator).copied().unwrap_or(0));
            if recorded != counted {
                let what = format!(
                    "{creator} has created {recorded} capsules according to this count, but {counted} exist"
                );
                scan.findings.add_at_key(
                    FindingKind::CountDisagrees,
                    ids::CAPSULES_BY_CREATOR,
                    creator.to_text(),
                    what,
                );
            }
        }
    }
}

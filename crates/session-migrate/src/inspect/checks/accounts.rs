//! Reconciles the accounts with the bytes that are stored and in flight.

use std::collections::{BTreeMap, BTreeSet};

use upload_canister::stable::keys::TwoTexts;
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::Facts;
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use super::payload::refs_of;
use crate::snapshot::Key as _;

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    // The tables from which the bytes are counted: if one is incomplete, the sums are unknown.
    let counted_tables = [
        ids::LEGACY_SESSIONS,
        ids::LEGACY_ACTIVITY,
        ids::SESSIONS,
        ids::UPLOAD_META,
        ids::SESSION_BY_OWNER,
        ids::BLOB_META,
        ids::MAPPED_BLOBS,
        ids::BLOBS,
        ids::BLOB_REFS,
        ids::CHUNKS,
        ids::MIGRATION_QUARANTINE,
        ids::LEGACY_LEFT_BEHIND,
    ];
    if !scan.fully_read(&counted_tables) {
        return;
    }
    if scan.fully_read(&[ids::USAGE]) {
        check_usage(facts, scan);
    }
    if scan.fully_read(&[ids::UPLOAD_COUNTS]) {
        check_promises(facts, scan);
    }
}

/// Returns the bytes that each account should have, according to the sessions in flight (also those in quarantine) and
/// the stored blobs.
fn bytes_by_account(facts: &Facts) -> BTreeMap<TwoTexts, u64> {
    let mut counted: BTreeMap<TwoTexts, u64> = BTreeMap::new();
    let mut add = |kind: &str, name: String, bytes: u64| {
        if bytes > 0 {
            *counted.entry(TwoTexts(kind.into(), name)).or_default() += bytes;
        }
    };
    // A session that is not in the index by owner is on no account: a legacy record of the first public release.
    let quarantined =
        facts.quarantine.iter().filter(|quarantined| quarantined.migration == 1).filter_map(|quarantined| {
            let legacy = quarantined.legacy.as_ref()?;
            Some((quarantined.unit, legacy.caller, &legacy.capsule_id, legacy.asset_metadata.bytes()))
        });
    let sessions = facts.sessions.iter();
    let sessions =
        sessions.map(|(id, session)| (*id, session.owner, &session.capsule, session.bytes_expected));
    for (_, owner, capsule, bytes) in
        sessions.chain(quarantined).filter(|(id, owner, ..)| facts.sessions_by_owner.contains(&(*owner, *id)))
    {
        add("caller", owner.to_text(), bytes);
        add("capsule", capsule.clone(), bytes);
        add("canister", String::new(), bytes);
    }
    for (id, (_, blob)) in &facts.blobs {
        if let Some((_, capsule)) = refs_of(facts, *id).next() {
            add("capsule", capsule.clone(), blob.size);
            add("canister", String::new(), blob.size);
        }
    }
    counted
}

fn check_usage(facts: &Facts, scan: &mut Scan) {
    let counted_bytes = bytes_by_account(facts);
    let accounts: BTreeSet<&TwoTexts> = counted_bytes.keys().chain(facts.usage.keys()).collect();
    for account in accounts {
        let [recorded, counted] =
            [&facts.usage, &counted_bytes].map(|bytes| bytes.get(account).copied().unwrap_or(0));
        // The bytes of a record that does not decode cannot be counted, although they are still on its accounts.
        let kind = match recorded.cmp(&counted) {
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Greater if facts.has_unreadable() => FindingKind::AccountUnattributed,
            _ => FindingKind::AccountDisagrees,
        };
        let TwoTexts(account_kind, name) = account;
        let what = format!(
            "{} has {recorded} bytes, but {counted} are in flight or stored",
            format!("{account_kind} {name}").trim()
        );
        scan.findings.add_at_key(kind, ids::USAGE, account.shown(), what);
    }
}

/// Compares the stored sum of promised bytes with the bytes that have not arrived of the sessions that this sum counts.
fn check_promises(facts: &Facts, scan: &mut Scan) {
    let Some([recorded, first_counted]) = facts.promised.filter(|[_, first_counted]| *first_counted > 0)
    else {
        return;
    };
    let counted = facts.sessions.iter().filter(|(id, session)| {
        **id >= first_counted && facts.sessions_by_owner.contains(&(session.owner, **id))
    });
    let missing: u64 = counted.map(|(_, session)| session.bytes_missing()).sum();
    let kind = match recorded.cmp(&missing) {
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Greater if facts.has_unreadable() => FindingKind::AccountUnattributed,
        _ => FindingKind::AccountDisagrees,
    };
    let what = format!("{recorded} bytes are promised, but {missing} are reserved and have not arrived");
    scan.findings.add_general(kind, Some(ids::UPLOAD_COUNTS), what);
}

//! Checks sessions, their indexes and receipts.

use upload_canister::migrate::{Phase, Treatment};
use upload_canister::migrations::split_sessions::{CLASSES, Class};
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::{Facts, Session};
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    check_records(facts, scan);
    report_unconvertible(facts, scan);
    for (id, session) in &facts.sessions {
        check_index_entries(facts, scan, *id, session);
    }
    check_index_by_activity(facts, scan);
    check_index_by_owner(facts, scan);
    check_index_by_key(facts, scan);
    check_receipts(facts, scan);
    check_migrations(facts, scan);
}

/// Checks the records themselves: their halves, their layouts, the counter of ids, and the number of leftovers.
fn check_records(facts: &Facts, scan: &mut Scan) {
    let halves = [
        (ids::SESSIONS, &facts.split_ids, ids::UPLOAD_META, &facts.meta_ids, "no upload meta"),
        (ids::UPLOAD_META, &facts.meta_ids, ids::SESSIONS, &facts.split_ids, "no session"),
    ];
    for (table, ids_here, other_table, ids_there, missing_half) in halves {
        if scan.fully_read(&[other_table]) {
            for id in ids_here.difference(ids_there) {
                scan.findings.add_at_key(
                    FindingKind::HalfSession,
                    table,
                    id.to_string(),
                    format!("there is {missing_half} under {id}"),
                );
            }
        }
    }
    for id in facts.split_ids.iter().filter(|id| facts.is_live_legacy(**id)) {
        let what = format!("session {id} is also in layout 1");
        scan.findings.add_at_key(FindingKind::SessionInBothLayouts, ids::SESSIONS, id.to_string(), what);
    }
    let last = facts.last_session_id;
    if scan.fully_read(&[ids::SESSION_COUNTER]) {
        for id in facts.split_ids.range(last.saturating_add(1)..) {
            let what = format!("session {id} is in flight, but the last issued id is {last}");
            scan.findings.add_at_key(FindingKind::IdAboveCounter, ids::SESSIONS, id.to_string(), what);
        }
    }
    if let Some(mark) = facts.mark.filter(|_| scan.fully_read(&[ids::LEGACY_SESSIONS])) {
        let counted = facts.legacy_ids.range(..=mark.through).count() as u64;
        if mark.records > 0 && mark.records != counted {
            let what = format!(
                "{} records are leftovers according to the mark, but {counted} were counted",
                mark.records
            );
            scan.findings.add_general(FindingKind::CountDisagrees, Some(ids::LEGACY_LEFT_BEHIND), what);
        }
    }
}

/// Reports legacy records that the first migration will quarantine, except those that do not decode, which are reported
/// as damaged records.
fn report_unconvertible(facts: &Facts, scan: &mut Scan) {
    for (id, examined) in &facts.examinations {
        let class = &CLASSES[examined.class.index()];
        let is_reported_as_damaged = matches!(examined.class, Class::Undecodable | Class::UnknownVersion);
        if class.treatment != Treatment::Quarantine || is_reported_as_damaged {
            continue;
        }
        let reason = examined.reason.as_deref().unwrap_or(class.what);
        let what = format!("legacy session {id} is of the class \"{}\": {reason}", class.name);
        scan.findings.add_at_key(FindingKind::Unconvertible, ids::LEGACY_SESSIONS, id.to_string(), what);
    }
}

/// Returns whether the build that stored a session had indexes of sessions. The first public release had none; its
/// legacy records are recognized by the missing time of the last activity.
fn is_indexed_by_its_build(session: &Session) -> bool {
    session.layout == 2 || session.activity.is_some()
}

fn check_index_entries(facts: &Facts, scan: &mut Scan, id: u64, session: &Session) {
    if !is_indexed_by_its_build(session) {
        return;
    }
    let seen = session.last_seen.as_nanos();
    let is_not = |what: &str| format!("session {id} of {} is not {what}", session.owner);
    if scan.fully_read(&[ids::SESSION_BY_OWNER]) && !facts.sessions_by_owner.contains(&(session.owner, id)) {
        let what = is_not("among the sessions of its owner");
        scan.findings.add_at_key(FindingKind::MissingInIndex, ids::SESSION_BY_OWNER, id.to_string(), what);
    }
    if scan.fully_read(&[ids::SESSION_BY_ACTIVITY]) && !facts.sessions_by_activity.contains(&(seen, id)) {
        let what = is_not(&format!("in the index by activity at {seen}, and will never expire"));
        scan.findings.add_at_key(FindingKind::MissingInIndex, ids::SESSION_BY_ACTIVITY, id.to_string(), what);
    }
    if scan.fully_read(&[ids::SESSION_BY_IDEM]) && !facts.sessions_by_idem.contains_key(&session.idem_key.0) {
        let what = format!(
            "no idempotency key refers to session {id}: a repeated begin would create a second session"
        );
        scan.findings.add_at_key(
            FindingKind::MissingIdempotencyKey,
            ids::SESSION_BY_IDEM,
            session.idem_key.0.shown(),
            what,
        );
    }
}

/// Returns whether all tables that show which sessions are in flight, or in quarantine, were read completely.
fn all_live_sessions_are_known(scan: &Scan) -> bool {
    scan.fully_read(&[
        ids::LEGACY_SESSIONS,
        ids::SESSIONS,
        ids::MIGRATION_QUARANTINE,
        ids::LEGACY_LEFT_BEHIND,
    ])
}

fn check_index_by_activity(facts: &Facts, scan: &mut Scan) {
    if !all_live_sessions_are_known(scan) {
        return;
    }
    for key in &facts.sessions_by_activity {
        let (seen, id) = *key;
        let what = match facts.sessions.get(&id) {
            // In flight, but its record does not decode.
            None if facts.is_live(id) => continue,
            None => format!("refers to session {id}, which does not exist"),
            Some(session) if session.last_seen.as_nanos() == seen => continue,
            Some(session) => {
                format!(
                    "has the time {seen}, but session {id} was last active at {}",
                    session.last_seen.as_nanos()
                )
            }
        };
        scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::SESSION_BY_ACTIVITY, key.shown(), what);
    }
}

fn check_index_by_owner(facts: &Facts, scan: &mut Scan) {
    if !all_live_sessions_are_known(scan) {
        return;
    }
    for key in &facts.sessions_by_owner {
        let (owner, id) = key;
        let what = match facts.sessions.get(id) {
            None if facts.is_live(*id) || facts.is_quarantined(*id) => continue,
            None => format!("refers to session {id}, which does not exist"),
            Some(session) if session.owner == *owner => continue,
            Some(session) => format!("refers to session {id}, which belongs to {}", session.owner),
        };
        scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::SESSION_BY_OWNER, key.shown(), what);
    }
}

/// Checks the index by idempotency key, in which a session stays after its end as long as it has a receipt.
fn check_index_by_key(facts: &Facts, scan: &mut Scan) {
    if !all_live_sessions_are_known(scan) || !scan.fully_read(&[ids::RECEIPTS]) {
        return;
    }
    for (key, id) in &facts.sessions_by_idem {
        let is_known = facts.is_live(*id) || facts.receipts.contains_key(id) || facts.is_quarantined(*id);
        let session_of_other_key = facts.sessions.get(id).filter(|session| session.idem_key.0 != *key);
        let what = match session_of_other_key {
            None if is_known => continue,
            None => format!("refers to session {id}, which is neither live nor has a receipt"),
            Some(_) => format!("refers to session {id}, which was begun under another key"),
        };
        scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::SESSION_BY_IDEM, key.shown(), what);
    }
}

fn check_receipts(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::RECEIPTS, ids::RECEIPT_BY_EXPIRY]) {
        return;
    }
    for (id, receipt) in &facts.receipts {
        if !facts.receipts_by_expiry.contains(&(receipt.expires_at, *id)) {
            let what = format!("the receipt of session {id} never expires");
            scan.findings.add_at_key(
                FindingKind::MissingInIndex,
                ids::RECEIPT_BY_EXPIRY,
                id.to_string(),
                what,
            );
        }
    }
    for key in &facts.receipts_by_expiry {
        let (expires_at, id) = *key;
        if facts.receipts.get(&id).is_none_or(|receipt| receipt.expires_at != expires_at) {
            let what = format!("no receipt of session {id} expires at this time");
            scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::RECEIPT_BY_EXPIRY, key.shown(), what);
        }
    }
}

/// Checks that finished migrations reconcile, and reports the quarantined units.
fn check_migrations(facts: &Facts, scan: &mut Scan) {
    for (number, state) in &facts.migrations {
        let must_reconcile = matches!(state.phase, Phase::Converted | Phase::Finalized);
        if let Some(imbalance) = state.imbalance().filter(|_| must_reconcile) {
            let what = format!("migration {number} is in phase {:?}: {imbalance}", state.phase);
            scan.findings.add_general(FindingKind::CountDisagrees, Some(ids::MIGRATION_STATE), what);
        }
    }
    // The second table is for all migrations from number 2 on; so far, number 2 is the last.
    for (number, table) in [(1, ids::MIGRATION_QUARANTINE), (2, ids::MIGRATION_QUARANTINES)] {
        let quarantined = facts
            .quarantine
            .iter()
            .filter(|quarantined| (quarantined.migration == 1) == (number == 1))
            .count();
        if quarantined > 0 {
            let what = format!("{quarantined} units are in the quarantine of migration {number}");
            scan.findings.add_general(FindingKind::Quarantined, Some(table), what);
        }
    }
}

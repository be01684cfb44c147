//! Accounting: the migration's own counts, checked against themselves and against what the clients know.

use upload_canister::api::{MigrationPhase, MigrationStatus};

/// What is wrong with `status` as the `build` canister reports it after everything should be converted.
/// `in_flight` uploads were open when the legacy build was left.
pub(super) fn check(build: &str, status: &MigrationStatus, in_flight: u64) -> Vec<String> {
    problems(status, in_flight)
        .into_iter()
        .map(|problem| format!("migration on the {build} build: {problem}"))
        .collect()
}

fn problems(status: &MigrationStatus, in_flight: u64) -> Vec<String> {
    let MigrationStatus { source, converted, already, quarantined, expired, .. } = *status;
    let mut problems = Vec::new();
    if !matches!(status.phase, MigrationPhase::Converted | MigrationPhase::Finalized) {
        problems.push(format!(
            "its phase is {:?}, expected Converted{}",
            status.phase,
            if status.note.is_empty() { String::new() } else { format!(" ({})", status.note) }
        ));
    }
    let sum = converted + already + quarantined + expired;
    if source != sum {
        problems.push(format!(
            "{source} records before, but {converted} converted + {already} already + {quarantined} quarantined \
             + {expired} expired = {sum}"
        ));
    }
    if source < in_flight {
        problems.push(format!("it saw {source} records, but {in_flight} uploads were in flight"));
    }
    if quarantined > 0 {
        problems.push(format!("{quarantined} records are quarantined"));
    }
    if expired > 0 {
        problems.push(format!("{expired} records have expired, though none was old enough"));
    }
    if status.digest_before != status.digest_after {
        problems.push(format!(
            "the digest of the source records is {}, that of the converted ones {}",
            hex::encode(&status.digest_before),
            hex::encode(&status.digest_after)
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    fn good() -> MigrationStatus {
        MigrationStatus {
            migration: 1,
            name: "split sessions".into(),
            layout: 2,
            phase: MigrationPhase::Converted,
            cursor: None,
            source: 5,
            converted: 3,
            already: 2,
            quarantined: 0,
            expired: 0,
            digest_before: ByteBuf::from([1; 32]),
            digest_after: ByteBuf::from([1; 32]),
            instructions: 1,
            messages: 1,
            batch: 16,
            attempts: 0,
            classes: vec![],
            proven_since: None,
            journal_entries: 1,
            note: String::new(),
            rollback_done: None,
            rollback_left: None,
        }
    }

    #[test]
    fn balanced_books_pass() {
        assert!(problems(&good(), 5).is_empty());
    }

    #[test]
    fn every_kind_of_imbalance_is_named() {
        type Change = fn(&mut MigrationStatus);
        let cases: [(&str, Change); 6] = [
            ("Stuck", |s| s.phase = MigrationPhase::Stuck),
            ("5 records before", |s| s.converted = 2),
            ("uploads were in flight", |s| (s.source, s.converted) = (4, 2)),
            ("quarantined", |s| (s.converted, s.quarantined) = (2, 1)),
            ("expired", |s| (s.converted, s.expired) = (2, 1)),
            ("digest", |s| s.digest_after = ByteBuf::from([2; 32])),
        ];
        for (words, change) in cases {
            let mut status = good();
            change(&mut status);
            let found = problems(&status, 5);
            assert!(found.iter().any(|problem| problem.contains(words)), "{words}: {found:?}");
        }
    }
}

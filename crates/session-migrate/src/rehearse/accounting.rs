//! Reconciles a migration: checks the counts of its status against each other, and against what the clients know.

use ic_stable_migrate::api::{MigrationPhase, MigrationStatus};

/// Bounds for the counts of a migration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Minimum number of source records: the uploads that were open when the legacy build was replaced.
    pub min_source: u64,
    /// Maximum number of records in quarantine.
    pub max_quarantined: u64,
    /// Maximum number of expired records.
    pub max_expired: u64,
}

/// Returns what is wrong with the status that a canister on the build `build` reports after the conversion.
pub(super) fn check<K>(build: &str, status: &MigrationStatus<K>, bounds: Bounds) -> Vec<String> {
    problems(status, bounds)
        .into_iter()
        .map(|problem| format!("migration on the {build} build: {problem}"))
        .collect()
}

fn problems<K>(status: &MigrationStatus<K>, bounds: Bounds) -> Vec<String> {
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
    let in_flight = bounds.min_source;
    if source < in_flight {
        problems.push(format!("it counted {source} records, but {in_flight} uploads were in flight"));
    }
    if quarantined > bounds.max_quarantined {
        problems.push(match bounds.max_quarantined {
            0 => format!("{quarantined} records are quarantined"),
            known => format!("{quarantined} records are quarantined, {known} were expected"),
        });
    }
    if expired > bounds.max_expired {
        problems.push(match bounds.max_expired {
            0 => format!("{expired} records have expired, although none was old enough"),
            known => format!("{expired} records have expired, but {known} were old enough"),
        });
    }
    if status.digest_before != status.digest_after {
        problems.push(format!(
            "the digest of the source records is {}, that of the converted ones is {}",
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

    fn at_least(min_source: u64) -> Bounds {
        Bounds { min_source, ..Bounds::default() }
    }

    #[test]
    fn matching_counts_pass() {
        assert!(problems(&good(), at_least(5)).is_empty());
        let some = MigrationStatus { converted: 1, quarantined: 1, expired: 1, ..good() };
        let bounds = Bounds { max_quarantined: 1, max_expired: 1, ..at_least(5) };
        assert!(problems(&some, bounds).is_empty());
        assert_eq!(problems(&some, at_least(5)).len(), 2);
    }

    #[test]
    fn every_kind_of_problem_is_named() {
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
            let found = problems(&status, at_least(5));
            assert!(found.iter().any(|problem| problem.contains(words)), "{words}: {found:?}");
        }
    }
}

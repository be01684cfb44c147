//! Reconciles a migration: checks the counts of its status against each other, and against what the clients know.

use ic_stable_migrate::api::{MigrationPhase, MigrationStatus};

/// Bounds for the counts of a migration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// Minimum number of source records: the uploads that were open when the legacy build was replaced.
    pub in_flight: u64,
    /// Maximum number of records in quarantine.
    pub quarantined: u64,
    /// Maximum number of expired records.
    pub expired: u64,
}

/// Returns what is wrong with the status that a canister on the build `build` reports after the conversion.
pub(super) fn check<K>(build: &str, status: &MigrationStatus<K>, expected: Expected) -> Vec<String> {
    problems(status, expected)
        .into_iter()
        .map(|problem| format!("migration on the {build} build: {problem}"))
        .collect()
}

fn problems<K>(status: &MigrationStatus<K>, expected: Expected) -> Vec<String> {
    let in_flight = expected.in_flight;
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
        problems.push(format!("it counted {source} records, but {in_flight} uploads were in flight"));
    }
    if quarantined > expected.quarantined {
        problems.push(match expected.quarantined {
            0 => format!("{quarantined} records are quarantined"),
            known => format!("{quarantined} records are quarantined, {known} were expected"),
        });
    }
    if expired > expected.expired {
        problems.push(match expected.expired {
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

    fn in_flight(in_flight: u64) -> Expected {
        Expected { in_flight, ..Expected::default() }
    }

    #[test]
    fn matching_counts_pass() {
        assert!(problems(&good(), in_flight(5)).is_empty());
        let some = MigrationStatus { converted: 1, quarantined: 1, expired: 1, ..good() };
        let expected = Expected { quarantined: 1, expired: 1, ..in_flight(5) };
        assert!(problems(&some, expected).is_empty());
        assert_eq!(problems(&some, in_flight(5)).len(), 2);
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
            let found = problems(&status, in_flight(5));
            assert!(found.iter().any(|problem| problem.contains(words)), "{words}: {found:?}");
        }
    }
}

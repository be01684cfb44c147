//! The schema of the engine's records, compared with `schema.json`.

use std::collections::BTreeMap;

use stable_schema::{Body, Compatibility, StableSchema, Value, Way, compare_values};

use super::*;

fn records() -> BTreeMap<String, Value> {
    let record =
        |name: &str, version: u8, shape| (name.to_owned(), Value::one(version.into(), Body::Cbor(shape)));
    BTreeMap::from([
        record(MigrationState::<u64>::NAME, state::VERSION, MigrationState::<u64>::shape()),
        record(JournalRecord::<u64>::NAME, journal::VERSION, JournalRecord::<u64>::shape()),
        record(QuarantineRecord::NAME, quarantine::VERSION, QuarantineRecord::shape()),
    ])
}

#[test]
fn the_checked_in_schema_is_that_of_the_types() {
    let json = serde_json::to_string_pretty(&records()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json"), &json).unwrap();
        return;
    }
    let Ok(checked_in) = serde_json::from_str::<BTreeMap<String, Value>>(SCHEMA) else {
        panic!("schema.json cannot be read; UPDATE_GOLDEN=1 writes it");
    };
    for (name, value) in records() {
        let Some(old) = checked_in.get(&name) else { panic!("schema.json lacks the {name}") };
        let changes = compare_values(old, &value, Way::Upgrade);
        let forbidden: Vec<_> =
            changes.iter().filter(|reason| reason.verdict == Compatibility::Forbidden).collect();
        assert!(forbidden.is_empty(), "running canisters could not be upgraded: {name}: {forbidden:?}");
    }
    assert!(
        SCHEMA == json,
        "schema.json is not what the types describe; if the change is intended, UPDATE_GOLDEN=1 writes it"
    );
}

#[test]
fn a_changed_record_of_the_engine_is_found() {
    #[derive(StableSchema)]
    #[allow(dead_code, reason = "only the shape is used")]
    struct Narrower {
        #[n(0)]
        batch: u16,
        #[n(1)]
        attempts: u32,
        #[n(2)]
        steps: u64,
        #[n(3)]
        messages: u64,
        #[n(4)]
        limit: u32,
        #[n(5)]
        skip_next: bool,
    }
    let value = |shape| Value::one(1, Body::Cbor(shape));
    let found = compare_values(&value(Pace::shape()), &value(Narrower::shape()), Way::Upgrade);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].to_string(), "v1.batch: forbidden: a u32 where u16 is read");
}

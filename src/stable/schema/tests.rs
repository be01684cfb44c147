//! Checks that the checked-in schemas of all builds are those of the types.

use stable_schema::{Body, FORMAT, Memory as Entry, Migration, Schema, Structure, Value, candid_text};

use super::{Described as _, Description};
use crate::build_profile::{LEGACY, PROFILES, Profile};
use crate::migrate::{MigrationState, QuarantineRecord};
use crate::migrations;
use crate::stable::layout::Layout;
use crate::stable::memory_ids::{self, ALL, numbers};
use crate::stable::{RawMemory, Record as _};
use crate::storage::Storage;
use crate::upload::path::compat::UploadSessionMeta;

/// For each migration: the memories that it takes records from, and the memories that it puts records into.
const MOVES: [(u16, &[u8], &[u8]); 2] = [
    (1, &[numbers::LEGACY_SESSIONS, numbers::LEGACY_ACTIVITY], &[numbers::SESSIONS, numbers::UPLOAD_META]),
    (
        2,
        &[numbers::CHUNKS, numbers::BLOB_META, numbers::MAPPED_BLOBS],
        &[
            numbers::EXTENT_REGION,
            numbers::FREE_EXTENTS,
            numbers::FREE_EXTENTS_BY_LEN,
            numbers::EXTENT_STATE,
            numbers::BLOBS,
        ],
    ),
];

fn schema(profile: &Profile) -> Schema {
    let mut description = Description::default();
    Storage::create(RawMemory::default()).unwrap().describe(&mut description);
    let mut memories = description.memories;
    let legacy = memories.iter_mut().find(|memory| memory.id == numbers::LEGACY_SESSIONS).unwrap();
    legacy.value = Some(legacy_sessions(profile));
    let reserved = ALL.iter().filter(|(.., structure)| *structure == memory_ids::Structure::Reserved);
    memories.extend(reserved.map(|(id, name, _)| Entry {
        id: *id,
        name: (*name).into(),
        structure: Structure::Reserved,
        key: None,
        value: None,
    }));
    memories.sort_by_key(|memory| memory.id);
    Schema {
        format: FORMAT,
        canister: "upload-canister".into(),
        build: profile.name.into(),
        layouts: profile.layouts.iter().map(|layout| layout.0).collect(),
        refuses_unknown_memories: true,
        migrations: migrations_of(profile),
        memories,
    }
}

/// Describes the sessions of layout 1 by the type that reads them in a build: the type of the compat path, or, in the
/// direct build, the frozen copy in migration 1.
fn legacy_sessions(profile: &Profile) -> Value {
    if profile.features.contains(&"compat") {
        return UploadSessionMeta::value();
    }
    Value::one(1, Body::Candid(candid_text::<migrations::split_sessions::LegacyUploadSession>()))
}

fn migrations_of(profile: &Profile) -> Vec<Migration> {
    let plans = migrations::ALL.iter().map(|migration| migration.plan());
    let known = plans.filter(|plan| {
        profile.features.contains(&"direct") && profile.layouts.iter().any(|layout| layout.0 == plan.to.0)
    });
    let described = known.map(|plan| {
        let moves = MOVES.iter().find(|(number, ..)| *number == plan.number);
        let (_, takes_from, puts_into) = moves.expect("every migration lists what it moves");
        Migration {
            number: plan.number,
            name: plan.name.into(),
            from: plan.from.0,
            to: plan.to.0,
            // Only migration 1, and only in a build that can serve layout 1 afterwards; nothing leads out of layout 3.
            reversible: plan.from.0 == Layout::LEGACY.0 && profile.features.contains(&"compat"),
            takes_from: takes_from.to_vec(),
            puts_into: puts_into.to_vec(),
        }
    });
    described.collect()
}

#[test]
fn every_memory_of_the_table_is_described() {
    let described: Vec<(u8, String)> =
        schema(&LEGACY).memories.into_iter().map(|memory| (memory.id, memory.name)).collect();
    let declared: Vec<(u8, String)> = ALL.iter().map(|(id, name, _)| (*id, (*name).into())).collect();
    assert_eq!(described, declared);
}

#[test]
fn the_checked_in_schemas_are_those_of_the_types() {
    for profile in PROFILES {
        let path = format!("{}/schemas/{}.json", env!("CARGO_MANIFEST_DIR"), profile.name);
        let json = schema(&profile).to_json();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &json).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        if checked_in == json {
            continue;
        }
        panic!(
            "schemas/{}.json is not what the types describe; if the change is intended, UPDATE_GOLDEN=1 \
            writes it, and `session-migrate check --tree` says what the change does to a canister that is \
            upgraded",
            profile.name
        );
    }
}

/// The first assertion is about the layout header, which is not the engine's.
#[test]
fn records_of_the_engine_begin_with_the_version_described() {
    assert_eq!(Layout::LEGACY.encode()[..4], *b"UPL\x01");
    assert_eq!(MigrationState::default().encode()[0], 1);
    assert_eq!(QuarantineRecord::new(String::new(), Vec::new()).encode()[0], 1);
}

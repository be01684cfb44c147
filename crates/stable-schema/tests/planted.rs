//! Changes planted one at a time in the schema of the upload canister: for each wrong one, the comparison names the
//! memory and the rule; each harmless one passes. The upgrades between the actual builds are accepted, too.

use std::path::Path;

use stable_schema::{
    Body, Compatibility, Encoding, Enum, Field, Memory, Migration, Plain, Record, Rule, Schema, Shape, Size,
    Structure, Tag, Value, Variant, Way, compare,
};

fn checked_in(build: &str) -> Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{build}.json"));
    Schema::from_json(&std::fs::read(&path).unwrap()).unwrap()
}

fn memory<'s>(schema: &'s mut Schema, name: &str) -> &'s mut Memory {
    schema.memories.iter_mut().find(|memory| memory.name == name).unwrap()
}

/// Returns the shape of the values in the memory of this name, in their latest version.
fn shape<'s>(schema: &'s mut Schema, name: &str) -> &'s mut Shape {
    let Some(Value::Versions(versions)) = &mut memory(schema, name).value else { panic!("{name}") };
    let body = versions.values_mut().next_back().unwrap();
    let Body::Cbor(shape) = body else { panic!("{name}") };
    shape
}

fn record<'s>(schema: &'s mut Schema, name: &str) -> &'s mut Record {
    let Shape::Record(record) = shape(schema, name) else { panic!("{name}") };
    record
}

fn field<'s>(schema: &'s mut Schema, memory: &str, name: &str) -> &'s mut Field {
    record(schema, memory).fields.iter_mut().find(|field| field.name == name).unwrap()
}

/// Returns the enum that is the type of a field.
fn enum_of<'s>(schema: &'s mut Schema, memory: &str, name: &str) -> &'s mut Enum {
    let Shape::Enum(found) = &mut field(schema, memory, name).shape else { panic!("{memory}.{name}") };
    found
}

fn drop_memory(schema: &mut Schema, name: &str) {
    schema.memories.retain(|memory| memory.name != name);
}

fn key<'s>(schema: &'s mut Schema, name: &str) -> &'s mut Plain {
    memory(schema, name).key.as_mut().unwrap()
}

fn new_field(number: u32, name: &str, shape: Shape) -> Field {
    Field { number, name: name.into(), default: false, shape }
}

fn new_memory(id: u8, name: &str) -> Memory {
    let key = Some(Plain { name: "u64".into(), size: Size::Fixed(8) });
    let value = Some(Value::one(1, Body::Cbor(Shape::Text)));
    Memory { id, name: name.into(), structure: Structure::Map, key, value }
}

/// The changed memory; the place and the rule of the expected reason; the change.
type Planted = (&'static str, &'static str, Rule, fn(&mut Schema));

const WRONG: [Planted; 24] = [
    ("SESSIONS", "value.v1.chunk_size", Rule::ChangedType, |s| {
        field(s, "SESSIONS", "chunk_size").shape = Shape::Text
    }),
    ("SESSIONS", "value.v1.bytes_expected", Rule::Narrowed, |s| {
        field(s, "SESSIONS", "bytes_expected").shape = Shape::Uint(32);
    }),
    ("SESSIONS", "value.v1.completed_at", Rule::NowRequired, |s| {
        field(s, "SESSIONS", "completed_at").shape = Shape::Uint(64);
    }),
    ("SESSIONS", "value.v1.last_seen", Rule::Renumbered, |s| {
        field(s, "SESSIONS", "last_seen").number = 6;
        field(s, "SESSIONS", "completed_at").number = 5;
    }),
    ("SESSIONS", "value.v1.idem", Rule::DroppedField, |s| {
        record(s, "SESSIONS").fields.retain(|field| field.name != "idem");
    }),
    ("SESSIONS", "value.v1.retries", Rule::NewRequiredField, |s| {
        record(s, "SESSIONS").fields.push(new_field(7, "retries", Shape::Uint(32)));
    }),
    ("SESSIONS", "value.v1", Rule::ChangedEncoding, |s| record(s, "SESSIONS").encoding = Encoding::Map),
    ("SESSIONS", "value.v1", Rule::DroppedVersion, |s| {
        let Some(Value::Versions(versions)) = &mut memory(s, "SESSIONS").value else { panic!() };
        let body = versions.remove(&1).unwrap();
        versions.insert(2, body);
    }),
    ("CONFIG", "value.v1.motto", Rule::ChangedType, |s| {
        // A new field of another name and type takes the number of a dropped field.
        *field(s, "CONFIG", "max_bytes") = new_field(5, "motto", Shape::Optional(Shape::Text.into()));
    }),
    ("RECEIPTS", "value.v1.outcome.Aborted", Rule::Renumbered, |s| {
        let outcome = enum_of(s, "RECEIPTS", "outcome");
        outcome.variants[1].number = 2;
        outcome.variants[2].number = 1;
    }),
    ("RECEIPTS", "value.v1.outcome.Evicted", Rule::DroppedVariant, |s| {
        enum_of(s, "RECEIPTS", "outcome").variants.retain(|variant| variant.name != "Evicted");
    }),
    ("RECEIPTS", "value.v1.outcome", Rule::ChangedEncoding, |s| {
        enum_of(s, "RECEIPTS", "outcome").tag = Tag::Number
    }),
    ("RECEIPTS", "value.v1.idem_key", Rule::ChangedType, |s| {
        field(s, "RECEIPTS", "idem_key").shape = Shape::FixedBytes(16);
    }),
    ("MEMORIES", "value.v1.created_by", Rule::ChangedType, |s| {
        field(s, "MEMORIES", "created_by").shape = Shape::Text
    }),
    ("LEGACY_SESSIONS", "value.v1", Rule::CandidType, |s| {
        let Some(Value::Versions(versions)) = &mut memory(s, "LEGACY_SESSIONS").value else { panic!() };
        let Some(Body::Candid(text)) = versions.get_mut(&1) else { panic!() };
        *text = text.replace("expected_chunks : nat32", "expected_chunks : nat16");
    }),
    ("BLOB_META", "value.v1", Rule::CandidType, |s| {
        let Some(Value::Versions(versions)) = &mut memory(s, "BLOB_META").value else { panic!() };
        let Some(Body::Candid(text)) = versions.get_mut(&1) else { panic!() };
        *text = text.replace("size : nat64", "size : nat64; owner : principal");
    }),
    ("USAGE", "", Rule::DroppedMemory, |s| drop_memory(s, "USAGE")),
    ("RESERVED_ADMINS", "", Rule::DroppedTombstone, |s| drop_memory(s, "RESERVED_ADMINS")),
    ("RESERVED_ADMINS", "", Rule::ReusedId, |s| *memory(s, "RESERVED_ADMINS") = new_memory(9, "LABELS")),
    ("CONDEMNED_CAPSULES", "", Rule::ReusedId, |s| memory(s, "CONDEMNED_CAPSULES").name = "LABELS".into()),
    ("CONFIG", "", Rule::ChangedStructure, |s| memory(s, "CONFIG").structure = Structure::Map),
    ("SESSION_BY_ACTIVITY", "key", Rule::ChangedType, |s| key(s, "SESSION_BY_ACTIVITY").name = "u64".into()),
    ("CAPSULES_BY_CREATOR", "key", Rule::ShrunkBound, |s| key(s, "CAPSULES_BY_CREATOR").size = Size::Max(10)),
    ("RELEASED_CHUNKS", "key", Rule::ChangedBound, |s| key(s, "RELEASED_CHUNKS").size = Size::Fixed(36)),
];

#[test]
fn each_wrong_change_is_found_by_name() {
    let old = checked_in("staged");
    for (index, (name, place, rule, plant)) in WRONG.into_iter().enumerate() {
        let mut new = old.clone();
        plant(&mut new);
        assert_ne!(old, new, "{index}: {name} {place}: nothing was planted");
        let found = compare(&old, &new).unwrap();
        assert_eq!(found.upgrade_verdict(), Compatibility::Forbidden, "{index}: {name} {place}");
        let lines: Vec<_> =
            found.upgrade.iter().filter(|line| line.verdict == Compatibility::Forbidden).collect();
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, [name], "{index}: {place}");
        let reason = lines[0].reasons.iter().find(|reason| reason.rule == rule);
        let reason = reason.unwrap_or_else(|| panic!("{index}: {name} {place}: {:?}", lines[0].reasons));
        assert!(reason.place.starts_with(place), "{index}: {reason}");
        assert_eq!(reason.verdict, Compatibility::Forbidden, "{index}: {reason}");
    }
}

#[test]
fn a_layout_that_may_be_stored_must_be_accepted() {
    let old = checked_in("direct");
    let mut new = old.clone();
    new.layouts = vec![1, 2];
    let found = compare(&old, &new).unwrap();
    assert_eq!(
        (found.upgrade[0].name.as_str(), found.upgrade[0].verdict),
        ("layouts", Compatibility::Conditional)
    );
    assert!(found.upgrade[0].reasons[0].text.starts_with("layout 3 is refused"), "{:?}", found.upgrade[0]);
    new.layouts = vec![4];
    assert_eq!(compare(&old, &new).unwrap().upgrade_verdict(), Compatibility::Forbidden);
}

/// The new build accepts the layout, but does not contain the migration, which may have begun.
#[test]
fn a_migration_that_is_dropped_must_be_finalized_first() {
    let old = checked_in("direct");
    let mut new = old.clone();
    new.migrations.retain(|migration| migration.number != 1);
    let found = compare(&old, &new).unwrap();
    assert_eq!(found.upgrade[0].verdict, Compatibility::Conditional);
    assert!(found.upgrade[0].reasons[0].text.contains("first finalize it"), "{:?}", found.upgrade[0]);
}

/// A description; the verdicts for the upgrade and for the rollback; the change.
type Harmless = (&'static str, Compatibility, Compatibility, fn(&mut Schema));

/// Changes that need no step before the upgrade; some allow a rollback only on a condition.
const HARMLESS: [Harmless; 12] = [
    ("an optional field", Compatibility::Compatible, Compatibility::Conditional, |s| {
        record(s, "SESSIONS").fields.push(new_field(7, "note", Shape::Optional(Shape::Text.into())));
    }),
    ("a field with a default", Compatibility::Compatible, Compatibility::Conditional, |s| {
        let field = Field { default: true, ..new_field(7, "notes", Shape::List(Shape::Text.into())) };
        record(s, "SESSIONS").fields.push(field);
    }),
    ("a wider number", Compatibility::Compatible, Compatibility::Conditional, |s| {
        field(s, "SESSIONS", "chunk_size").shape = Shape::Uint(64);
    }),
    ("a field that may be absent from now on", Compatibility::Compatible, Compatibility::Conditional, |s| {
        field(s, "UPLOAD_META", "expected_chunks").shape = Shape::Optional(Shape::Uint(32).into());
    }),
    ("a variant", Compatibility::Compatible, Compatibility::Conditional, |s| {
        let cancelled =
            Variant { number: 4, name: "Cancelled".into(), encoding: Encoding::Array, fields: vec![] };
        enum_of(s, "RECEIPTS", "outcome").variants.push(cancelled);
    }),
    ("a version in addition to the old one", Compatibility::Compatible, Compatibility::Conditional, |s| {
        let Some(Value::Versions(versions)) = &mut memory(s, "SESSIONS").value else { panic!() };
        versions.insert(2, Body::Cbor(Shape::Text));
    }),
    ("a renamed field", Compatibility::Compatible, Compatibility::Compatible, |s| {
        field(s, "SESSIONS", "last_seen").name = "last_activity".into();
    }),
    ("a renamed type", Compatibility::Unchanged, Compatibility::Unchanged, |s| {
        record(s, "SESSIONS").name = "Stored".into()
    }),
    ("a memory under a new id", Compatibility::Compatible, Compatibility::Conditional, |s| {
        s.memories.push(new_memory(200, "LABELS"));
    }),
    ("a memory that is retired", Compatibility::Compatible, Compatibility::Conditional, |s| {
        let usage = memory(s, "USAGE");
        (usage.structure, usage.key, usage.value) = (Structure::Reserved, None, None);
    }),
    ("another tombstone", Compatibility::Compatible, Compatibility::Unchanged, |s| {
        let tombstone =
            Memory { structure: Structure::Reserved, key: None, value: None, ..new_memory(200, "NEVER") };
        s.memories.push(tombstone);
    }),
    ("a longer key", Compatibility::Compatible, Compatibility::Conditional, |s| {
        key(s, "CAPSULES_BY_CREATOR").size = Size::Max(40);
    }),
];

#[test]
fn each_harmless_change_passes() {
    let old = checked_in("staged");
    for (what, upgrade, rollback, plant) in HARMLESS {
        let mut new = old.clone();
        plant(&mut new);
        assert_ne!(old, new, "{what}: nothing was planted");
        let found = compare(&old, &new).unwrap();
        assert_eq!(found.upgrade_verdict(), upgrade, "{what}: {:?}", found.upgrade);
        assert_eq!(found.rollback_verdict(), rollback, "{what}: {:?}", found.rollback);
    }
}

#[test]
fn the_same_build_is_unchanged() {
    for build in ["legacy", "staged", "direct"] {
        let schema = checked_in(build);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/{build}.json"));
        assert_eq!(schema.to_json(), std::fs::read_to_string(file).unwrap(), "{build}");
        let found = compare(&schema, &schema).unwrap();
        assert_eq!(
            (found.upgrade_verdict(), found.rollback_verdict()),
            (Compatibility::Unchanged, Compatibility::Unchanged)
        );
        assert!(found.upgrade.iter().all(|line| line.reasons.is_empty()), "{build}");
    }
}

#[test]
fn the_chain_of_builds_is_accepted() {
    let [legacy, staged, direct] = ["legacy", "staged", "direct"].map(checked_in);
    let verdict = |found: &[stable_schema::Line], name: &str| {
        found.iter().find(|line| line.name == name).unwrap().verdict
    };

    let first = compare(&legacy, &staged).unwrap();
    assert_eq!(first.upgrade_verdict(), Compatibility::NeedsMigration(1));
    for name in ["layouts", "LEGACY_SESSIONS", "LEGACY_ACTIVITY"] {
        assert_eq!(verdict(&first.upgrade, name), Compatibility::NeedsMigration(1), "{name}");
    }
    assert_eq!(verdict(&first.upgrade, "CAPSULES"), Compatibility::Unchanged);
    assert_eq!(first.rollback_verdict(), Compatibility::Conditional);
    let text = &first.rollback[0].reasons[0].text;
    assert_eq!(text, "layout 2 is refused: first roll back migration 1 on the staged build");

    let second = compare(&staged, &direct).unwrap();
    assert_eq!(second.upgrade_verdict(), Compatibility::NeedsMigration(2));
    for name in ["layouts", "CHUNKS", "BLOB_META", "MAPPED_BLOBS"] {
        assert_eq!(verdict(&second.upgrade, name), Compatibility::NeedsMigration(2), "{name}");
    }
    assert_eq!(verdict(&second.upgrade, "LEGACY_SESSIONS"), Compatibility::Unchanged);
    assert_eq!(second.rollback_verdict(), Compatibility::Conditional);
    let text = &second.rollback[0].reasons[0].text;
    assert!(
        text.starts_with("layout 3 is refused, and the direct build cannot roll migration 2 back"),
        "{text}"
    );

    // The staged build may be left out: the direct build has both migrations.
    let both = compare(&legacy, &direct).unwrap();
    assert_eq!(both.upgrade_verdict(), Compatibility::NeedsMigration(2));
    assert_eq!(verdict(&both.upgrade, "LEGACY_SESSIONS"), Compatibility::NeedsMigration(1));
}

/// The direct build reads the records of the compat path with a frozen copy of the type, which must be the type that
/// the legacy build stores.
#[test]
fn the_migration_reads_what_the_compat_path_writes() {
    let sessions = |build| memory(&mut checked_in(build), "LEGACY_SESSIONS").value.clone().unwrap();
    let [written, read] = ["legacy", "direct"].map(sessions);
    for way in [Way::Upgrade, Way::Rollback] {
        assert_eq!(stable_schema::compare_values(&written, &read, way), []);
    }
}

#[test]
fn a_migration_does_not_excuse_a_changed_type() {
    let (legacy, mut staged) = (checked_in("legacy"), checked_in("staged"));
    let Some(Value::Versions(versions)) = &mut memory(&mut staged, "LEGACY_SESSIONS").value else { panic!() };
    let Some(Body::Candid(text)) = versions.get_mut(&1) else { panic!() };
    *text = text.replace("idem : text", "idem : blob");
    assert_eq!(compare(&legacy, &staged).unwrap().upgrade_verdict(), Compatibility::Forbidden);
}

/// Candid reads an option of another type as null; for stored data that is a loss.
#[test]
fn a_stored_option_of_another_type_is_forbidden() {
    let old = checked_in("staged");
    let mut new = old.clone();
    let Some(Value::Versions(versions)) = &mut memory(&mut new, "LEGACY_SESSIONS").value else { panic!() };
    let Some(Body::Candid(text)) = versions.get_mut(&1) else { panic!() };
    let changed = text.replace("blob_id : opt nat64", "blob_id : opt text");
    assert_ne!(*text, changed);
    *text = changed;
    assert_eq!(compare(&old, &new).unwrap().upgrade_verdict(), Compatibility::Forbidden);
}

#[test]
fn a_schema_of_another_canister_is_refused() {
    let old = checked_in("staged");
    let new = Schema { canister: "ledger".into(), ..old.clone() };
    let text = compare(&old, &new).unwrap_err().to_string();
    assert_eq!(text, "one schema is of the canister `upload-canister`, the other of `ledger`");
}

#[test]
fn a_text_that_is_not_a_schema_is_refused() {
    let good = checked_in("legacy");
    assert_eq!(Schema::from_json(good.to_json().as_bytes()).unwrap(), good);
    assert_eq!(Schema::from_json(good.to_compact_json().as_bytes()).unwrap(), good);

    let error_of = |schema: &Schema| Schema::from_json(schema.to_json().as_bytes()).unwrap_err().to_string();
    let later = Schema { format: 2, ..good.clone() };
    assert_eq!(
        error_of(&later),
        "the stable schema has format 2, this program reads up to 1: use a later one"
    );
    let mut twice = good.clone();
    twice.memories[1].id = twice.memories[0].id;
    assert_eq!(error_of(&twice), "not a stable schema: memory 0 is listed twice or out of order");
    let migration = Migration {
        number: 1,
        name: "one".into(),
        from: 1,
        to: 2,
        reversible: true,
        takes_from: vec![],
        puts_into: vec![],
    };
    let twice = Schema { migrations: vec![migration.clone(), migration], ..good.clone() };
    assert_eq!(error_of(&twice), "not a stable schema: migration 1 is listed twice or out of order");

    let json = good.to_json();
    for damaged in ["", "{}", "[1]", &json[..json.len() / 2], &json.replace("\"build\"", "\"bild\"")] {
        let error = Schema::from_json(damaged.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("not a stable schema: ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_value_is_compared_in_both_directions() {
    let value = |bits| Value::one(1, Body::Cbor(Shape::Uint(bits)));
    let verdict = |way| stable_schema::compare_values(&value(64), &value(32), way)[0].verdict;
    assert_eq!(verdict(Way::Upgrade), Compatibility::Forbidden);
    assert_eq!(verdict(Way::Rollback), Compatibility::Compatible);
}

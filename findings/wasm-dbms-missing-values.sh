#!/usr/bin/env bash
# wasm-dbms 0.10.1 (crates.io), the engine of ic-dbms-canister: filters on missing values and on times
#
# Expected: as in SQL, NULL is neither less nor greater than a value, as it does not match LIKE and JSON filters here
#   either ("a Null column never matches"); and a time with an offset is a point in time: 12:00+02:00 is 10:00Z.
# Actual: values are compared by their type first, then by their fields. NULL comes after the signed numbers, decimals,
#   dates and blobs, and before texts and unsigned numbers. So Lt and Le find the rows without a value in an unsigned
#   column, and Gt and Ge in a signed one; Ne finds them in both. Times are compared by their local digits.
# Affected: canisters that delete or bill by a filter: "smaller than 15" includes everything without a size, and after
#   u32 was widened to i64 no longer. "Older than" is wrong by the difference of the offsets. Add NotNull to filters with
#   an order, and store times in UTC. 0.11.0 does the same.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::prelude::*;

#[derive(Debug, Table, Clone, PartialEq, Eq)]
#[table = "files"]
pub struct File {
    #[primary_key]
    pub id: Uint32,
    pub unsigned: Nullable<Uint32>,
    pub signed: Nullable<Int32>,
    pub text: Nullable<Text>,
    pub time: DateTime,
}

#[derive(DatabaseSchema)]
#[tables(File = "files")]
pub struct Schema;

fn at(hour: u8, minute: u8, timezone_offset_minutes: i16) -> DateTime {
    DateTime { year: 2024, month: 1, day: 1, hour, minute, second: 0, microsecond: 0, timezone_offset_minutes }
}

fn main() {
    let ctx = DbmsContext::new(HeapMemoryProvider::default());
    Schema::register_tables(&ctx).unwrap();
    let database = WasmDbmsDatabase::oneshot(&ctx, Schema);
    for (id, number, time) in [(1u32, None, at(12, 0, 120)), (2, Some(10u32), at(11, 0, 0)), (3, Some(20), at(10, 0, 0))] {
        let row = FileInsertRequest {
            id: id.into(),
            unsigned: number.map_or(Nullable::Null, |n| Nullable::Value(n.into())),
            signed: number.map_or(Nullable::Null, |n| Nullable::Value((n as i32).into())),
            text: number.map_or(Nullable::Null, |n| Nullable::Value(n.to_string().into())),
            time,
        };
        database.insert::<File>(row).unwrap();
    }
    let show = |what: &str, filter: Filter| {
        let rows = database.select::<File>(Query::builder().all().filter(Some(filter)).build()).unwrap();
        println!("{what}: {:?}", rows.iter().map(|row| row.id.unwrap().0).collect::<Vec<_>>());
    };
    println!("rows: 1 has no values, at 12:00+02:00; 2 has 10, at 11:00Z; 3 has 20, at 10:00Z");
    for (column, value) in [("unsigned", Value::from(15u32)), ("signed", Value::from(15i32)), ("text", Value::from("15"))] {
        show(&format!("{column} < 15"), Filter::lt(column, value.clone()));
        show(&format!("{column} > 15"), Filter::gt(column, value.clone()));
        show(&format!("{column} != 10"), Filter::ne(column, match column { "signed" => 10i32.into(), "text" => "10".into(), _ => 10u32.into() }));
    }
    show("time = 10:00Z", Filter::eq("time", at(10, 0, 0).into()));
    show("time > 10:30Z", Filter::gt("time", at(10, 30, 0).into()));
}
EOF
rust_program > seen <<'EOF'
wasm-dbms = "=0.10.1"
wasm-dbms-api = "=0.10.1"
wasm-dbms-macros = "=0.10.1"
wasm-dbms-memory = "=0.10.1"
EOF
expect_seen <<'EOF'
rows: 1 has no values, at 12:00+02:00; 2 has 10, at 11:00Z; 3 has 20, at 10:00Z
unsigned < 15: [1, 2]
unsigned > 15: [3]
unsigned != 10: [1, 3]
signed < 15: [2]
signed > 15: [1, 3]
signed != 10: [1, 3]
text < 15: [1, 2]
text > 15: [3]
text != 10: [1, 3]
time = 10:00Z: [3]
time > 10:30Z: [1, 2]
EOF

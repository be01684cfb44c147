#!/usr/bin/env bash
# wasm-dbms 0.10.1 (crates.io), the engine of ic-dbms-canister: a column that becomes optional, or required
#
# Expected: a migration that returns Ok keeps the stored values: u32 to Nullable<u32> is a relaxation, and Nullable<u32>
#   to u32 is allowed if no row has NULL (wasm-dbms-api, MigrationOp: "AlterColumn: change one or more constraint flags").
# Actual: a nullable value is stored with a byte in front, and AlterColumn changes the schema only, not the rows. After
#   u32 to Nullable, multiples of 256, such as 1 MiB, are NULL, and any other number makes the whole table unreadable.
#   After Nullable to u32, the byte is read as part of the number: 100 is 25601. migrate() returns Ok each time, and
#   nothing is pending.
# Affected: canisters that make a field optional in an upgrade: sizes and texts are missing or wrong, and the next update
#   of a row stores them like that. Add a new field, and copy. 0.11.0 does the same.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::prelude::*;

macro_rules! version {
    ($module:ident, $size:ty) => {
        mod $module {
            use super::*;
            #[derive(Debug, Table, Clone, PartialEq, Eq)]
            #[table = "files"]
            pub struct File { #[primary_key] pub id: Uint32, pub name: Text, pub size: $size }
            #[derive(DatabaseSchema)]
            #[tables(File = "files")]
            pub struct Schema;
        }
    };
}
version!(required, Uint32);
version!(optional, Nullable<Uint32>);

macro_rules! upgrade {
    ($what:literal, $from:ident, $to:ident, $size:expr, $wrap:expr) => {{
        let ctx = DbmsContext::new(HeapMemoryProvider::default());
        $from::Schema::register_tables(&ctx).unwrap();
        WasmDbmsDatabase::oneshot(&ctx, $from::Schema)
            .insert::<$from::File>($from::FileInsertRequest { id: 1.into(), name: "film".into(), size: $wrap($size) }).unwrap();
        let mut database = WasmDbmsDatabase::oneshot(&ctx, $to::Schema);
        println!("{}, {}: migrate {:?}, drift {:?}, read {}", $what, $size, database.migrate(MigrationPolicy::default()),
            database.has_drift().unwrap(),
            database.select::<$to::File>(Query::builder().all().build())
                .map_or_else(|e| format!("{e:?}"), |rows| format!("{:?}", rows[0].size.as_ref().unwrap())));
    }};
}

fn main() {
    for size in [256u32, 1 << 20, 1, 100] {
        upgrade!("required to optional", required, optional, size, Uint32);
    }
    for size in [0u32, 100, 1 << 20] {
        upgrade!("optional to required", optional, required, size, |size| Nullable::Value(Uint32(size)));
    }
}
EOF
rust_program > seen <<'EOF'
wasm-dbms = "=0.10.1"
wasm-dbms-api = "=0.10.1"
wasm-dbms-macros = "=0.10.1"
wasm-dbms-memory = "=0.10.1"
EOF
expect_seen <<'EOF'
required to optional, 256: migrate Ok(()), drift false, read Null
required to optional, 1048576: migrate Ok(()), drift false, read Null
required to optional, 1: migrate Ok(()), drift false, read Memory(DecodeError(TooShort))
required to optional, 100: migrate Ok(()), drift false, read Memory(DecodeError(TooShort))
optional to required, 0: migrate Ok(()), drift false, read Uint32(1)
optional to required, 100: migrate Ok(()), drift false, read Uint32(25601)
optional to required, 1048576: migrate Ok(()), drift false, read Uint32(268435457)
EOF

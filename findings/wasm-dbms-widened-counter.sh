#!/usr/bin/env bash
# wasm-dbms 0.10.1 (crates.io), the engine of ic-dbms-canister: a counter that gets a wider type
#
# Expected: u32 to u64 is in the list of changes that a migration makes by itself (wasm-dbms-api, MigrationOp:
#   "WidenColumn: widen a column to a larger compatible type"), and #[autoincrement] fills in the next number afterwards.
# Actual: the rows are widened, the stored counter is not, so it still gives a u32, which the record does not take. After
#   migrate() has returned Ok, every insert without a number panics. Inserts with a number work, and so do other columns
#   that are widened.
# Affected: canisters whose ids are getting too large: after the upgrade nothing can be added, and each call traps. Make
#   counters Uint64 from the beginning. 0.11.0 does the same.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use std::panic::{catch_unwind, AssertUnwindSafe};
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::prelude::*;

macro_rules! version {
    ($module:ident, $id:ty) => {
        mod $module {
            use super::*;
            #[derive(Debug, Table, Clone, PartialEq, Eq)]
            #[table = "files"]
            pub struct File { #[primary_key] #[autoincrement] pub id: $id, pub name: Text }
            #[derive(DatabaseSchema)]
            #[tables(File = "files")]
            pub struct Schema;
        }
    };
}
version!(narrow, Uint32);
version!(wide, Uint64);

macro_rules! insert {
    ($module:ident, $database:ident, $what:literal, $id:expr) => {{
        let inserted = catch_unwind(AssertUnwindSafe(|| $database.insert::<$module::File>($module::FileInsertRequest { id: $id, name: "film".into() })));
        println!("{}: {}", $what, match inserted {
            Ok(result) => format!("{result:?}"),
            Err(panic) => format!("panics, {}", panic.downcast_ref::<&str>().unwrap_or(&"")),
        });
    }};
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let ctx = DbmsContext::new(HeapMemoryProvider::default());
    narrow::Schema::register_tables(&ctx).unwrap();
    let before = WasmDbmsDatabase::oneshot(&ctx, narrow::Schema);
    insert!(narrow, before, "u32, next number", Autoincrement::Auto);
    drop(before);
    let mut after = WasmDbmsDatabase::oneshot(&ctx, wide::Schema);
    println!("u32 to u64: migrate {:?}", after.migrate(MigrationPolicy::default()));
    insert!(wide, after, "u64, next number", Autoincrement::Auto);
    insert!(wide, after, "u64, number 2", Autoincrement::Value(2u64.into()));
    insert!(wide, after, "u64, next number", Autoincrement::Auto);
    println!("rows: {:?}", after.select::<wide::File>(Query::builder().all().build()).unwrap().iter().map(|row| row.id.unwrap().0).collect::<Vec<_>>());
}
EOF
rust_program > seen <<'EOF'
wasm-dbms = "=0.10.1"
wasm-dbms-api = "=0.10.1"
wasm-dbms-macros = "=0.10.1"
wasm-dbms-memory = "=0.10.1"
EOF
expect_seen <<'EOF'
u32, next number: Ok(())
u32 to u64: migrate Ok(())
u64, next number: panics, autoincrement field 'id' was not resolved before into_record()
u64, number 2: Ok(())
u64, next number: panics, autoincrement field 'id' was not resolved before into_record()
rows: [1, 2]
EOF

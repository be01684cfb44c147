#!/usr/bin/env bash
# wasm-dbms 0.10.1 (crates.io), the engine of ic-dbms-canister: migrations after which the database stays closed
#
# Expected: migrate() applies what is pending, and "on success the new snapshots and schema hash are persisted and the
#   drift flag is cleared" (wasm-dbms-api, module migration), so the tables can be used again.
# Actual: a new column is always stored after the others, and a table keeps the alignment that it was created with. Both
#   are part of what is compared. So if the new field is not the last one of the struct, if fields have only changed
#   places, or if all columns have a fixed size (whose sum is the alignment), migrate() returns Ok, nothing is pending,
#   and every call still fails with SchemaDrift. Migrating again changes nothing, and the build before is refused, too,
#   because it would have to drop the new column.
# Affected: canisters that are upgraded with such a struct: no row can be read or written. Add fields at the end, and
#   have a Text, Blob or Json in each table from the beginning. 0.11.0 does the same.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::prelude::*;

macro_rules! version {
    ($module:ident, $($(#[$attribute:meta])* $field:ident: $type:ty),*) => {
        mod $module {
            use super::*;
            #[derive(Debug, Table, Clone, PartialEq, Eq)]
            #[table = "files"]
            pub struct File { #[primary_key] pub id: Uint32, $($(#[$attribute])* pub $field: $type),* }
            #[derive(DatabaseSchema)]
            #[tables(File = "files")]
            pub struct Schema;
        }
    };
}
version!(named, name: Text, size: Uint32);
version!(named_last, name: Text, size: Uint32, #[default = 7] parts: Uint32);
version!(named_middle, name: Text, #[default = 7] parts: Uint32, size: Uint32);
version!(named_swapped, size: Uint32, name: Text);
version!(fixed, size: Uint32);
version!(fixed_last, size: Uint32, #[default = 7] parts: Uint32);
version!(fixed_wider, size: Uint64);

macro_rules! build {
    ($what:literal, $ctx:ident, $module:ident) => {{
        let mut database = WasmDbmsDatabase::oneshot(&$ctx, $module::Schema);
        let migrated = [(); 2].map(|()| database.migrate(MigrationPolicy::default()).map_or_else(|e| format!("{e:?}"), |()| "Ok".into()));
        println!("{}: migrate {}, again {}, {} pending, select {}", $what, migrated[0], migrated[1],
            database.pending_migrations().unwrap().len(),
            database.select::<$module::File>(Query::builder().all().build()).map_or_else(|e| format!("{e:?}"), |_| "Ok".into()));
    }};
}

macro_rules! upgrade {
    ($what:literal, $from:ident, $to:ident) => {{
        let ctx = DbmsContext::new(HeapMemoryProvider::default());
        $from::Schema::register_tables(&ctx).unwrap();
        build!($what, ctx, $to);
        ctx
    }};
}

fn main() {
    upgrade!("new last field", named, named_last);
    let ctx = upgrade!("new field in the middle", named, named_middle);
    build!("... and back", ctx, named);
    upgrade!("fields in another order", named, named_swapped);
    upgrade!("new last field, all of fixed size", fixed, fixed_last);
    upgrade!("wider field, all of fixed size", fixed, fixed_wider);
}
EOF
rust_program > seen <<'EOF'
wasm-dbms = "=0.10.1"
wasm-dbms-api = "=0.10.1"
wasm-dbms-macros = "=0.10.1"
wasm-dbms-memory = "=0.10.1"
EOF
expect_seen <<'EOF'
new last field: migrate Ok, again Ok, 0 pending, select Ok
new field in the middle: migrate Ok, again Ok, 0 pending, select Migration(SchemaDrift)
... and back: migrate Migration(DestructiveOpDenied { op: "DropColumn(files.parts)" }), again Migration(DestructiveOpDenied { op: "DropColumn(files.parts)" }), 1 pending, select Migration(SchemaDrift)
fields in another order: migrate Ok, again Ok, 0 pending, select Migration(SchemaDrift)
new last field, all of fixed size: migrate Ok, again Ok, 0 pending, select Migration(SchemaDrift)
wider field, all of fixed size: migrate Ok, again Ok, 0 pending, select Migration(SchemaDrift)
EOF

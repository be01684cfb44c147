#!/usr/bin/env bash
# ic-sqlite-vfs 2.1.0 (crates.io), f64 in columns that are NUMERIC or DECIMAL
#
# Expected: what was stored as f64 can be read as f64: sqlite3_column_double converts an INTEGER (SQLite, Result Values
#   From A Query), and rusqlite, which the crate's guide for migrations starts from, takes both.
# Actual: NUMERIC and DECIMAL columns store 2.0 as the integer 2, and `get::<f64>` checks the type of the single value. So
#   1.5 is read and 2.0 is "expected REAL, actual INTEGER", and a query of many rows fails from the first whole number
#   on. So does a `sum` or `max` that is made of whole numbers only.
# Affected: canisters with prices, ratings or positions: tests with 1.5 pass, and lists fail in production once somebody
#   stores 2. Declare columns as REAL, and write `CAST(... AS REAL)` in queries.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_sqlite_vfs::{params, Db, DefaultMemoryImpl, MemoryId, MemoryManager};

extern "C" {
    fn _exit(code: i32) -> !;
}

fn show(what: &str, sql: &str) {
    let rows = Db::query(|connection| connection.query_all(sql, params![], |row| row.get::<f64>(0)));
    println!("{what}: {}", rows.map_or_else(|e| format!("{e:?}"), |rows| format!("{rows:?}")));
}

fn main() {
    Db::init(MemoryManager::init(DefaultMemoryImpl::default()).get(MemoryId::new(120))).unwrap();
    Db::update(|connection| {
        connection.execute_batch("CREATE TABLE prices (id INTEGER PRIMARY KEY, any, number NUMERIC, exact DECIMAL(10, 2), real REAL)")?;
        for price in [1.5, 2.0] {
            connection.execute("INSERT INTO prices (any, number, exact, real) VALUES (?1, ?1, ?1, ?1)", params![price])?;
        }
        Ok(())
    })
    .unwrap();
    println!("stored: 1.5, then 2.0");
    for column in ["real", "any", "number", "exact"] {
        show(&format!("{column}, first"), &format!("SELECT {column} FROM prices WHERE id = 1"));
        show(&format!("{column}, all"), &format!("SELECT {column} FROM prices ORDER BY id"));
    }
    show("max(number)", "SELECT max(number) FROM prices");
    show("sum(number)", "SELECT sum(number) FROM prices");
    show("sum(number), only 2.0", "SELECT sum(number) FROM prices WHERE number = 2.0");
    show("cast(number as real)", "SELECT cast(number AS real) FROM prices ORDER BY id");
    // The end of a thread closes the database too late, which a canister never does.
    unsafe { _exit(0) }
}
EOF
rust_program > seen <<'EOF'
ic-sqlite-vfs = "=2.1.0"
EOF
expect_seen <<'EOF'
stored: 1.5, then 2.0
real, first: [1.5]
real, all: [1.5, 2.0]
any, first: [1.5]
any, all: [1.5, 2.0]
number, first: [1.5]
number, all: TypeMismatch { index: 0, expected: "REAL", actual: "INTEGER" }
exact, first: [1.5]
exact, all: TypeMismatch { index: 0, expected: "REAL", actual: "INTEGER" }
max(number): TypeMismatch { index: 0, expected: "REAL", actual: "INTEGER" }
sum(number): [3.5]
sum(number), only 2.0: TypeMismatch { index: 0, expected: "REAL", actual: "INTEGER" }
cast(number as real): [1.5, 2.0]
EOF

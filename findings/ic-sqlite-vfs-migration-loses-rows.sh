#!/usr/bin/env bash
# ic-sqlite-vfs 2.1.0 (crates.io), a migration that creates a table again
#
# Expected: what ALTER TABLE cannot do is done as SQLite's documentation says (Making Other Kinds Of Table Schema
#   Changes): foreign_keys = OFF, copy the rows into a new table, drop the old one, rename the new one, foreign_keys = ON.
#   No other table changes.
# Actual: Db::migrate runs the SQL within a transaction, with foreign keys on, and PRAGMA foreign_keys does nothing within
#   a transaction. So dropping the old table deletes its rows as far as other tables are concerned: with ON DELETE CASCADE
#   their rows are deleted, with SET NULL they lose their reference, and migrate() returns Ok. Without an action, the
#   migration is refused.
# Affected: canisters that add a constraint to a table, or change a column of it, in an upgrade: the rows of its child
#   tables are gone. Copy the child tables first, and fill them again afterwards.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_sqlite_vfs::db::migrate::Migration;
use ic_sqlite_vfs::{params, Db, DefaultMemoryImpl, MemoryId, MemoryManager};

const FIRST: Migration = Migration {
    version: 1,
    sql: "CREATE TABLE albums (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
          CREATE TABLE photos (id INTEGER PRIMARY KEY, album INTEGER NOT NULL REFERENCES albums(id) ON DELETE CASCADE);
          CREATE TABLE covers (id INTEGER PRIMARY KEY, album INTEGER REFERENCES albums(id) ON DELETE SET NULL);
          CREATE TABLE owners (id INTEGER PRIMARY KEY);
          CREATE TABLE rights (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES owners(id));",
};
const ALBUMS: Migration = Migration {
    version: 2,
    sql: "PRAGMA foreign_keys = OFF;
          CREATE TABLE new_albums (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (length(name) < 100));
          INSERT INTO new_albums SELECT id, name FROM albums;
          DROP TABLE albums;
          ALTER TABLE new_albums RENAME TO albums;
          PRAGMA foreign_key_check;
          PRAGMA foreign_keys = ON;",
};
const OWNERS: Migration = Migration {
    version: 3,
    sql: "PRAGMA foreign_keys = OFF;
          CREATE TABLE new_owners (id INTEGER PRIMARY KEY, name TEXT);
          INSERT INTO new_owners SELECT id, NULL FROM owners;
          DROP TABLE owners;
          ALTER TABLE new_owners RENAME TO owners;
          PRAGMA foreign_keys = ON;",
};

extern "C" {
    fn _exit(code: i32) -> !;
}

fn count(what: &str, sql: &str) {
    println!("{what}: {}", Db::query(|connection| connection.query_scalar::<i64>(sql, params![])).unwrap());
}

fn counts() {
    count("  albums", "SELECT count(*) FROM albums");
    count("  photos", "SELECT count(*) FROM photos");
    count("  covers with an album", "SELECT count(album) FROM covers");
    count("  rights", "SELECT count(*) FROM rights");
}

fn main() {
    Db::init(MemoryManager::init(DefaultMemoryImpl::default()).get(MemoryId::new(120))).unwrap();
    Db::migrate(&[FIRST]).unwrap();
    Db::update(|connection| {
        connection.execute_batch(
            "INSERT INTO albums VALUES (1, 'holiday'); INSERT INTO photos VALUES (1, 1), (2, 1); INSERT INTO covers VALUES (1, 1);
             INSERT INTO owners VALUES (1); INSERT INTO rights VALUES (1, 1);",
        )
    })
    .unwrap();
    println!("before");
    counts();
    println!("albums again: migrate {:?}", Db::migrate(&[FIRST, ALBUMS]));
    counts();
    println!("owners again: migrate {:?}", Db::migrate(&[FIRST, ALBUMS, OWNERS]).map_err(|e| e.to_string()));
    // The end of a thread closes the database too late, which a canister never does.
    unsafe { _exit(0) }
}
EOF
rust_program > seen <<'EOF'
ic-sqlite-vfs = "=2.1.0"
EOF
expect_seen <<'EOF'
before
  albums: 1
  photos: 2
  covers with an album: 1
  rights: 1
albums again: migrate Ok(())
  albums: 1
  photos: 0
  covers with an album: 0
  rights: 1
owners again: migrate Err("sqlite constraint failed: FOREIGN KEY constraint failed")
EOF

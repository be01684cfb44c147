#!/usr/bin/env bash
# ic_mple_log 0.19.0 and log 0.4.35 (crates.io), the log in memory of a canister
#
# Expected: take_memory_records(count, offset) gives the records from that offset on, and each record has its offset, so
#   that a log is read page by page; change_capacity keeps the records and their offsets (tests of the crate,
#   change_capacity_extend_preserves_entries and change_capacity_preserves_offsets).
# Actual: where the offset is in the buffer is computed from its capacity, as if it were full. After the buffer has been
#   made larger, or disabled and enabled again, it is not, and a read from any offset but an old one gives no records
#   until the buffer is full again.
# Affected: operators who enlarge the log because records get lost: after the first page the log seems to end, so new
#   errors are not seen. Read from offset 0 until the buffer is full, and leave out what is known.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_mple_log::{init_log, take_memory_records, writer::InMemoryWriter, LogSettings};

fn read(count: usize, from: usize) -> Vec<String> {
    let records = take_memory_records(count, from).logs;
    records.iter().map(|record| format!("{}: event {}", record.offset, record.log.rsplit(' ').next().unwrap().trim())).collect()
}

fn show(when: &str) {
    println!("{when}: {} records so far", take_memory_records(0, 0).all_logs_count);
    for (count, from) in [(3, 0), (3, 95), (3, 98), (3, 101)] {
        println!("  {count} from {from}: {:?}", read(count, from));
    }
}

fn main() {
    init_log(&LogSettings { enable_console: false, in_memory_records: 8, max_record_length: 200, log_filter: "info".into() }).unwrap();
    (0..100).for_each(|number| log::info!("event {number}"));
    show("a buffer for 8");
    InMemoryWriter::change_capacity(32);
    show("made larger, for 32");
    (100..104).for_each(|number| log::info!("event {number}"));
    show("after 4 more");
    (104..124).for_each(|number| log::info!("event {number}"));
    show("after 20 more, full");
}
EOF
rust_program > seen <<'EOF'
ic_mple_log = "=0.19.0"
log = "=0.4.35"
EOF
expect_seen <<'EOF'
a buffer for 8: 100 records so far
  3 from 0: ["92: event 92", "93: event 93", "94: event 94"]
  3 from 95: ["95: event 95", "96: event 96", "97: event 97"]
  3 from 98: ["98: event 98", "99: event 99"]
  3 from 101: []
made larger, for 32: 100 records so far
  3 from 0: ["92: event 92", "93: event 93", "94: event 94"]
  3 from 95: []
  3 from 98: []
  3 from 101: []
after 4 more: 104 records so far
  3 from 0: ["92: event 92", "93: event 93", "94: event 94"]
  3 from 95: []
  3 from 98: []
  3 from 101: []
after 20 more, full: 124 records so far
  3 from 0: ["92: event 92", "93: event 93", "94: event 94"]
  3 from 95: ["95: event 95", "96: event 96", "97: event 97"]
  3 from 98: ["98: event 98", "99: event 99", "100: event 100"]
  3 from 101: ["101: event 101", "102: event 102", "103: event 103"]
EOF

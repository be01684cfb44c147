#!/usr/bin/env bash
# b3_utils 0.13.1 (crates.io), the log of a canister
#
# Expected: 1000 records are kept and "older records are evicted"; the log does not survive an upgrade by itself, but is
#   exported by export_log, "in the order of insertion", and imported again by import_log (documentation of log!,
#   export_log and import_log).
# Actual: export_log returns the newest record first, and import_log adds its first record first. So an imported log is
#   in reverse order; and since import_log reduces the capacity to 100 for good, it evicts the newest records: of 300,
#   the 100 oldest are left, and the next record evicts the newest of these.
# Affected: canisters that keep their log over an upgrade in this way: what happened before the upgrade is lost, and
#   what is left is of no use. Reverse what export_log returned, and set the capacity again with set_capacity.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use b3_utils::log;
use b3_utils::logs::{export_log, import_log, with_log};

fn show(when: &str) {
    let records = export_log();
    println!("{when}: capacity {}, {} records, {} first, {} last", with_log(|log| log.max_capacity()), records.len(),
        records[0].message, records.last().unwrap().message);
}

fn main() {
    (1..=300).for_each(|number| log!("event {number}"));
    show("before the upgrade");
    let exported = export_log();
    // The log is thread-local: in a new thread it is empty, as in an upgraded canister.
    std::thread::spawn(|| {
        import_log(exported);
        show("after the upgrade");
        log!("event 301");
        show("after one more event");
        (302..=600).for_each(|number| log!("event {number}"));
        show("after 300 more events");
    }).join().unwrap();
}
EOF
# Each event is printed, too.
rust_program > all <<'EOF'
b3_utils = { version = "=0.13.1", features = ["logging"] }
candid = "=0.10.12"
EOF
grep -v '^event' all > seen
expect_seen <<'EOF'
before the upgrade: capacity 1000, 300 records, event 300 first, event 1 last
after the upgrade: capacity 100, 100 records, event 1 first, event 100 last
after one more event: capacity 100, 100 records, event 301 first, event 99 last
after 300 more events: capacity 100, 100 records, event 600 first, event 501 last
EOF

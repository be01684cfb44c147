#!/usr/bin/env bash
# ic-stable-structures 0.7.2 (crates.io), Option<T> as a value
#
# Expected: `Option<u64>::BOUND` says Bounded { max_size: 9, is_fixed_size: true }, and the trait requires every value
#   of a fixed-size type to have exactly max_size bytes (crate documentation, Storable::BOUND).
# Actual: None is stored in one byte. A StableBTreeMap with such values accepts every Some and panics at the first None,
#   and so does a StableVec. Options of unbounded types work.
# Affected: a canister whose map has `Option<u64>` as values: it works in every test that sets a value, and traps at the
#   first record without one.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_stable_structures::{Storable, StableBTreeMap, StableVec, VectorMemory};
use std::panic::{catch_unwind, AssertUnwindSafe};

fn attempt(what: &str, act: impl FnOnce()) {
    let said = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(()) => "stored".to_string(),
        Err(e) => e.downcast::<String>().unwrap().lines().next().unwrap().to_string(),
    };
    println!("{what}: {said}");
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    println!("{:?}", Option::<u64>::BOUND);
    println!("bytes of Some(0): {}, of None: {}", Some(0u64).to_bytes().len(), None::<u64>.to_bytes().len());
    let mut map = StableBTreeMap::<u64, Option<u64>, _>::new(VectorMemory::default());
    attempt("map, Some(0)", || drop(map.insert(1, Some(0))));
    attempt("map, None", || drop(map.insert(2, None)));
    let vec = StableVec::<Option<u64>, _>::new(VectorMemory::default());
    attempt("vec, None", || vec.push(&None));
    let mut map = StableBTreeMap::<u64, Option<String>, _>::new(VectorMemory::default());
    attempt("map of Option<String>, None", || drop(map.insert(2, None)));
}
EOF
rust_program > seen <<'EOF'
ic-stable-structures = "=0.7.2"
EOF
expect_seen <<'EOF'
Bounded { max_size: 9, is_fixed_size: true }
bytes of Some(0): 9, of None: 1
map, Some(0): stored
map, None: assertion `left == right` failed: expected a fixed-size element with length 9 bytes, but found 1 bytes
vec, None: assertion `left == right` failed: expected a fixed-size element with length 9 bytes, but found 1 bytes
map of Option<String>, None: stored
EOF

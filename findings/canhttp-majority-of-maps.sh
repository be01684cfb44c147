#!/usr/bin/env bash
# canhttp 0.6.1 (crates.io), results of several HTTPS outcalls
#
# Expected: ReduceWithThreshold::new(2) gives the result that at least two of the calls have returned ("requiring that
#   at least threshold many Ok results are the same"), and if all are equal, then it gives what ReduceWithEquality
#   gives.
# Actual: ReduceWithThreshold compares hashes of the results as CBOR, in which the entries of a HashMap have no fixed
#   order, while ReduceWithEquality compares them with `==`. So equal results that hold a HashMap or HashSet are
#   inconsistent for one, and equal for the other.
# Affected: canisters that ask several providers: with prices by currency in a HashMap there is no majority although all
#   agree, except in tests with a single entry. Use BTreeMap and BTreeSet in results.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use canhttp::multi::{MultiResults, ReduceWithEquality, ReduceWithThreshold};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

fn show<V: Clone + Debug + PartialEq + serde::Serialize>(what: &str, answer: impl Fn() -> V) {
    let results = || MultiResults::<_, V, String>::from_non_empty_iter(["first", "second", "third"].map(|provider| (provider, Ok(answer()))));
    println!("{what}, three times the same: equality {}, 2 of 3 {}",
        if results().reduce(ReduceWithEquality).is_ok() { "Ok" } else { "Err" },
        match results().reduce(ReduceWithThreshold::new(2)) { Ok(_) => "Ok", Err(e) => format!("{e:?}").split('(').next().unwrap().to_string().leak() });
}

fn main() {
    let entry = |number: u32| (format!("currency {number}"), number);
    show("HashMap of 1", || HashMap::from([entry(1)]));
    show("HashMap of 32", || (0..32).map(entry).collect::<HashMap<_, _>>());
    show("HashSet of 32", || (0..32).collect::<HashSet<_>>());
    show("BTreeMap of 32", || (0..32).map(entry).collect::<BTreeMap<_, _>>());
}
EOF
rust_program > seen <<'EOF'
canhttp = { version = "=0.6.1", features = ["multi"] }
serde = "=1.0.228"
EOF
expect_seen <<'EOF'
HashMap of 1, three times the same: equality Ok, 2 of 3 Ok
HashMap of 32, three times the same: equality Ok, 2 of 3 InconsistentResults
HashSet of 32, three times the same: equality Ok, 2 of 3 InconsistentResults
BTreeMap of 32, three times the same: equality Ok, 2 of 3 Ok
EOF

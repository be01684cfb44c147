#!/usr/bin/env bash
# candid 0.10.39 (crates.io), a type with an example in its documentation
#
# Expected: an example for rustdoc is only about Rust, so that `export_service!` writes the sentences of a comment into
#   the .did without it, or leaves out the whole comment.
# Actual: `derive(CandidType)` takes every line of the comment, with code, fences, and the lines that rustdoc hides
#   (`# …`). Only documentation that is left out of the build by an attribute, `cfg_attr(doc, doc = "…")`, is not in the
#   interface.
# Affected: users of a library with such types have its Rust examples in the public interface of their canister, and in
#   every file that is generated from it; comparing two releases' .did files shows a change.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'RUST'
use candid::{CandidType, candid_method, export_service};

/// How far it is.
///
/// ```
/// # use library::Status;
/// assert_eq!(Status::default().done, 0);
/// ```
#[derive(CandidType)]
struct Status {
    done: u32,
}

/// How many there are.
#[cfg_attr(doc, doc = r#"
```
assert_eq!(library::Count::default().units, 0);
```
"#)]
#[derive(CandidType)]
struct Count {
    units: u32,
}

#[candid_method(query)]
fn status() -> (Status, Count) {
    (Status { done: 0 }, Count { units: 0 })
}

fn main() {
    export_service!();
    println!("{}", __export_service());
}
RUST
rust_program > printed <<'EOF'
candid = "=0.10.39"
EOF
sed 's/ *$//' printed > seen
expect_seen <<'EOF'
// How many there are.
type Count = record { units : nat32 };
// How far it is.
//
// ```
// # use library::Status;
// assert_eq!(Status::default().done, 0);
// ```
type Status = record { done : nat32 };
service : { status : () -> (Status, Count) query }
EOF

#!/usr/bin/env bash
# ic-cdk 0.20.3 with candid 0.10.39 (crates.io), ic_cdk::export_candid
#
# Expected: a macro of a library may define endpoints for its users, and name their types by `$crate::…`, as macros for
#   other crates must (The Rust Reference, Macros By Example, Hygiene).
# Actual: such an endpoint compiles on its own. In a canister with `ic_cdk::export_candid!()`, without which the
#   interface cannot be extracted, the procedural macro panics: it keeps the types as text, in which `$crate` is not a
#   path.
# Affected: authors of libraries with endpoints: their macro compiles in the library's tests, but in no canister of a
#   user.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > Cargo.toml <<'EOF'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[features]
export = []
path = []

[dependencies]
ic-cdk = "=0.20.3"
candid = "=0.10.39"
EOF
cat > src/lib.rs <<'EOF'
pub type Answer = Result<u64, String>;

#[cfg(not(feature = "path"))]
macro_rules! endpoints {
    () => {
        #[ic_cdk::query]
        fn status() -> $crate::Answer {
            Ok(1)
        }
    };
}
#[cfg(feature = "path")]
macro_rules! endpoints {
    () => {
        #[ic_cdk::query]
        fn status() -> crate::Answer {
            Ok(1)
        }
    };
}
endpoints!();

#[cfg(feature = "export")]
ic_cdk::export_candid!();
EOF
nice -n 10 cargo check --quiet > cargo.log 2>&1 || give_up cargo.log
for features in "" path export path,export; do
  if cargo check --quiet --features "$features" > log 2>&1; then
    echo "[$features] compiles"
  else
    echo "[$features] $(grep -m 1 -oE 'proc macro panicked|custom attribute panicked' log || head -n 1 log)"
  fi
done > seen
expect_seen <<'EOF'
[] compiles
[path] compiles
[export] proc macro panicked
[path,export] compiles
EOF

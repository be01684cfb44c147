#!/usr/bin/env bash
# candid 0.10.12, 0.10.13 and 0.10.39, b3_utils 0.13.1 (crates.io)
#
# Expected: a program that compiles with candid 0.10.12 compiles with every later 0.10, too: these are compatible for
#   cargo, and to add an item without a default to a public trait is a breaking change (The Cargo Book, SemVer
#   Compatibility, "Adding a non-defaulted trait item").
# Actual: candid 0.10.13 added the method encode_ref, without a default, to the public trait ArgumentEncoder. A type
#   with its own encoder does not compile any more; b3_utils 0.13.1 has one, and asks for candid "0.10.10".
# Affected: users of crates that encode arguments on their own: a fresh `cargo add` does not build, nor does a project
#   after `cargo update`, with an error in code that is not theirs. Pin candid to 0.10.12: `candid = "=0.10.12"`.
. "$(dirname "$0")/lib/common.sh"

check() {
  printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n\n[dependencies]\n%s\n' "$1" > Cargo.toml
  rm -f Cargo.lock
  nice -n 10 cargo fetch > fetch.log 2>&1 || give_up fetch.log
  if nice -n 10 cargo check --quiet > cargo.log 2>&1; then echo 'compiles'; else grep -E '^error(\[|: could)' cargo.log; fi
}

mkdir src
cat > src/main.rs <<'EOF'
use candid::{ser::IDLBuilder, utils::ArgumentEncoder, Principal};

struct Arguments { to: Principal, text: String }

impl ArgumentEncoder for Arguments {
    fn encode(self, builder: &mut IDLBuilder) -> candid::Result<()> {
        builder.arg(&self.to)?.arg(&self.text).map(|_| ())
    }
}

fn main() {
    println!("{:?}", candid::encode_args(Arguments { to: Principal::anonymous(), text: "hello".into() }));
}
EOF
for version in 0.10.12 0.10.13 0.10.39; do
  echo "an encoder, with candid $version:"
  check "candid = \"=$version\""
done > seen
echo 'fn main() {}' > src/main.rs
for version in 0.10.12 0.10.39; do
  echo "b3_utils, with candid $version:"
  check "b3_utils = \"=0.13.1\"
candid = \"=$version\""
done >> seen
expect_seen <<'EOF'
an encoder, with candid 0.10.12:
compiles
an encoder, with candid 0.10.13:
error[E0046]: not all trait items implemented, missing: `encode_ref`
error: could not compile `probe` (bin "probe") due to 1 previous error
an encoder, with candid 0.10.39:
error[E0046]: not all trait items implemented, missing: `encode_ref`
error: could not compile `probe` (bin "probe") due to 1 previous error
b3_utils, with candid 0.10.12:
compiles
b3_utils, with candid 0.10.39:
error[E0046]: not all trait items implemented, missing: `encode_ref`
error: could not compile `b3_utils` (lib) due to 1 previous error
EOF

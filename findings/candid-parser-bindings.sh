#!/usr/bin/env bash
# candid_parser 0.4.1 (crates.io), bindings for Rust and Motoko, as didc makes them; motoko 4.10.0 (npm) as the compiler
#
# Expected: a valid `.did` becomes code that compiles (Candid specification, Records: "host languages … will have to
#   come up with a suitable textual encoding" of names that are not valid in them; fileName and file_name are two
#   names).
# Actual: Rust names are converted to snake case: file_name and fileName become the same field twice, a_b and aB the
#   same variant twice, and a type called Vec contains itself. For Motoko, keywords of recent years are not escaped:
#   transient, persistent, finally, do, ignore, weak, implicit, mixin, include. No error is reported, and the output
#   does not compile.
# Affected: anyone who adds a field in another spelling next to an old one, or has a field `finally` or `include`.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0
cat > names.did <<'EOF'
type Upload = record { file_name : text; fileName : text };
type Phase = variant { a_b; aB };
type Vec = record { items : vec nat };
service : { put : (Upload, Phase, Vec) -> () };
EOF
cat > keywords.did <<'EOF'
service : { put : (record { "type" : nat; stable : nat; transient : nat; persistent : nat; finally : nat; do : nat; ignore : nat;
  weak : nat; implicit : nat; mixin : nat; include : nat }) -> () };
EOF
mkdir src
cat > src/main.rs <<'EOF'
use candid_parser::{bindings::{motoko, rust}, check_file, configs::Configs};

fn main() {
    let (env, actor, prog) = check_file("names.did".as_ref()).unwrap();
    let config = rust::Config::new("".parse::<Configs>().unwrap());
    let (output, _) = rust::compile(&config, &env, &actor, &prog, Default::default());
    for line in output.lines().filter(|l| ["file_name", "AB", "items"].iter().any(|name| l.contains(name))) {
        println!("Rust: {}", line.trim());
    }
    let (env, actor, prog) = check_file("keywords.did".as_ref()).unwrap();
    std::fs::write("keywords.mo", motoko::compile(&env, &actor, &prog)).unwrap();
}
EOF
rust_program > seen <<'EOF'
candid_parser = "=0.4.1"
EOF
cat > probe.mjs <<'EOF'
import motoko from 'motoko';
import fs from 'fs';
const mo = motoko.default ?? motoko;
const errors = (name, text) => {
  mo.write(name, text);
  const found = mo.check(name);
  return (found.diagnostics ?? found).some((d) => d.severity === 1);
};
const names = fs.readFileSync('keywords.mo', 'utf8').match(/\w+(?= : Nat\b)/g).sort();
for (const name of names) console.log(`Motoko: ${name} : Nat, ${errors('one.mo', `module { public type T = { ${name} : Nat } }`) ? 'refused' : 'compiles'}`);
EOF
node probe.mjs >> seen
expect_seen <<'EOF'
Rust: pub file_name: String,
Rust: pub file_name: String,
Rust: pub enum Phase { #[serde(rename="aB")] AB, #[serde(rename="a_b")] AB }
Rust: pub struct Vec { pub items: Vec<candid::Nat> }
Motoko: do : Nat, refused
Motoko: finally : Nat, refused
Motoko: ignore : Nat, refused
Motoko: implicit : Nat, refused
Motoko: include : Nat, refused
Motoko: mixin : Nat, refused
Motoko: persistent : Nat, refused
Motoko: stable_ : Nat, compiles
Motoko: transient : Nat, refused
Motoko: type_ : Nat, compiles
Motoko: weak : Nat, refused
EOF

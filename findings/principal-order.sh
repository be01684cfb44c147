#!/usr/bin/env bash
# ic_principal 0.1.5 (the Principal of candid 0.10), ic-stable-structures 0.7.2 (crates.io), @icp-sdk/core 6.1.0 (npm)
#
# Expected: principals are ordered by their bytes (Internet Computer interface specification, state tree,
#   canister_ranges: "lexicographic ordering of principals").
# Actual: Rust's `Ord` compares the length first, then the bytes; so does every StableBTreeMap with such keys.
#   JavaScript's compareTo compares bytes. Both orders agree on ids of the same length, so that tests with canisters
#   alone do not show the difference: users have 29 bytes, canisters 10, the anonymous caller 1.
# Affected: front ends that sort or page by principal and ask the canister for the entries after a principal: entries
#   are skipped or returned twice; Rust programs that look for a canister in a range by `low <= id && id <= high`.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { Principal } from '@icp-sdk/core/principal';
const short = Principal.fromUint8Array(Uint8Array.of(4));
const long = Principal.fromUint8Array(Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
console.log(`JavaScript: ${[short, long].sort((a, b) => a.compareTo(b) === 'lt' ? -1 : 1).map((p) => p.toText()).join(' < ')}`);
EOF
node probe.mjs > seen
mkdir src
cat > src/main.rs <<'EOF'
use ic_principal::Principal;
use ic_stable_structures::{StableBTreeMap, VectorMemory};

fn main() {
    let text = |all: Vec<Principal>| all.iter().map(|p| p.to_text()).collect::<Vec<_>>().join(" < ");
    let mut all = vec![Principal::from_slice(&[1; 10]), Principal::from_slice(&[4])];
    let mut map = StableBTreeMap::<Principal, u8, _>::new(VectorMemory::default());
    all.iter().for_each(|p| drop(map.insert(*p, 0)));
    println!("StableBTreeMap: {}", text(map.keys().collect()));
    all.sort();
    println!("Rust, Ord: {}", text(all.clone()));
    all.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
    println!("Rust, bytes: {}", text(all));
}
EOF
rust_program >> seen <<'EOF'
ic_principal = "=0.1.5"
ic-stable-structures = "=0.7.2"
EOF
expect_seen <<'EOF'
JavaScript: kcyov-mibae-aqcai-baeaq-cai < 2vxsx-fae
StableBTreeMap: 2vxsx-fae < kcyov-mibae-aqcai-baeaq-cai
Rust, Ord: 2vxsx-fae < kcyov-mibae-aqcai-baeaq-cai
Rust, bytes: kcyov-mibae-aqcai-baeaq-cai < 2vxsx-fae
EOF

#!/usr/bin/env bash
# b3_utils 0.13.1 (crates.io), numbers in JSON-RPC answers of Ethereum
#
# Expected: hex_string_with_0x_to_nat reads a quantity, which is written with as few digits as possible: 1024 is 0x400,
#   and 0 is 0x0 (Ethereum JSON-RPC specification, Hex value encoding). The crate writes it so, too
#   (u128_to_hex_string_with_0x), and hex_string_with_0x_to_u128 reads it.
# Actual: hex_string_with_0x_to_nat reads whole bytes: a quantity with an odd number of digits is an error.
# Affected: wallets in canisters that ask for balances through the EVM RPC canister: about half of all balances cannot
#   be read, among them 0 and every amount of 1 to 15 wei, 256 to 4095 wei, and so on. Insert a zero after 0x.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use b3_utils::{hex_string_with_0x_to_nat, hex_string_with_0x_to_u128, u128_to_hex_string_with_0x};

fn main() {
    for number in [0, 15, 16, 255, 1024, 4096, 1_000_000_000_000_000_000, 2_000_000_000_000_000_000] {
        let text = u128_to_hex_string_with_0x(number);
        println!("{text}: as u128 {}, as Nat {}", hex_string_with_0x_to_u128(&text).unwrap(),
            match hex_string_with_0x_to_nat(&text) { Ok(nat) => nat.0.to_string(), Err(e) => e.to_string() });
    }
}
EOF
rust_program > seen <<'EOF'
b3_utils = "=0.13.1"
candid = "=0.10.12"
EOF
expect_seen <<'EOF'
0x0: as u128 0, as Nat Hex string to nat error: Odd number of digits
0xf: as u128 15, as Nat Hex string to nat error: Odd number of digits
0x10: as u128 16, as Nat 16
0xff: as u128 255, as Nat 255
0x400: as u128 1024, as Nat Hex string to nat error: Odd number of digits
0x1000: as u128 4096, as Nat 4096
0xde0b6b3a7640000: as u128 1000000000000000000, as Nat Hex string to nat error: Odd number of digits
0x1bc16d674ec80000: as u128 2000000000000000000, as Nat 2000000000000000000
EOF

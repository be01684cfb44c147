#!/usr/bin/env bash
# internet-computer-wallet 0.3.3 (PyPI), icw transfer
#
# Expected: `icw --token icp transfer WHOM AMOUNT` sends the amount; 0.29 ICP are 29,000,000 e8s (ICRC-1: an amount is a
#   number of the smallest unit, icrc1_decimals says how many make a token).
# Actual: an amount with a decimal point is in tokens, an amount without one is in the smallest unit: 1.0 is one ICP, 1
#   is a hundred-millionth of it. Tokens are multiplied as a float and truncated, not rounded: 0.29 is sent as
#   28,999,999 e8s, 2.01 as 200,999,999. The printed result is computed from the amount that was sent. --subaccount 255
#   is the number 255, 256 is the text "256" padded with zeros on the right, and a memo of an even number of digits is
#   hexadecimal: 2026 is two bytes.
# Affected: anyone who pays invoices or tops up a canister by script: an e8s is missing and the payment is not
#   recognized, or all of it goes to another subaccount. Compute the smallest unit first, and write memos that are not
#   hexadecimal.
. "$(dirname "$0")/lib/common.sh"

python_packages env internet-computer-wallet==0.3.3
mkdir bin
cat > bin/dfx <<'EOF'
#!/bin/sh
# Answers as a ledger that accepts the transfer, and keeps what was sent.
for word; do case $word in *amount*) printf '%s\n' "$word" > sent;; esac; done
echo '{"Ok":"1"}'
EOF
chmod +x bin/dfx
transfer() {
  PATH=$scratch/bin:$PATH env/bin/icw --token icp transfer aaaaa-aa "$@" > said
  echo "$*: $(sed -E 's/.*subaccount = ([^;]*); \}; amount = ([0-9]+);.*memo = ([^;]*);.*/\2 e8s, subaccount \1, memo \3/' sent)"
}
{
  for amount in 1 1.0 0.29 2.01 0.3; do transfer $amount; done
  transfer 0.29; grep '"amount"' said
  transfer 1.0 --subaccount 255
  transfer 1.0 --subaccount 256
  transfer 1.0 --memo 2026
  transfer 1.0 --memo inv-17
} > seen
expect_seen <<'EOF'
1: 1 e8s, subaccount null, memo null
1.0: 100000000 e8s, subaccount null, memo null
0.29: 28999999 e8s, subaccount null, memo null
2.01: 200999999 e8s, subaccount null, memo null
0.3: 30000000 e8s, subaccount null, memo null
0.29: 28999999 e8s, subaccount null, memo null
  "amount": 0.28999999,
1.0 --subaccount 255: 100000000 e8s, subaccount opt blob "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\ff", memo null
1.0 --subaccount 256: 100000000 e8s, subaccount opt blob "\32\35\36\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00", memo null
1.0 --memo 2026: 100000000 e8s, subaccount null, memo opt blob "\20\26"
1.0 --memo inv-17: 100000000 e8s, subaccount null, memo opt blob "\69\6e\76\2d\31\37"
EOF

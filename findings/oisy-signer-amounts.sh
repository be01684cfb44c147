#!/usr/bin/env bash
# @dfinity/oisy-wallet-signer 6.0.0 (npm), the message that asks the user to agree to a transfer
#
# Expected: for ledgers without consent messages the signer decodes the arguments and shows a message "resembling one
#   produced by an ICRC SNS ledger" (its README), with the amount. Amounts are integers (ICRC-1: `amount : nat`).
# Actual: the amount is divided as a floating-point number: of an amount with 18 decimals, as ckETH has, 16 or 17 digits
#   are shown, rounded up or down. One token plus its smallest unit is shown as "1.0", and an allowance of 2^64 - 1 ends
#   in other digits.
# Affected: people who compare the amount with an invoice or their balance before they agree; shops that distinguish
#   payments by their last digits: the digits that matter are not shown.
. "$(dirname "$0")/lib/common.sh"
. "$lib/oisy-signer.sh"

cat > probe.mjs <<'EOF'
import { Principal } from '@icp-sdk/core/principal';
import { shown } from './oisy-signer.mjs';
const to = { owner: Principal.managementCanister(), subaccount: [] };
for (const [amount, decimals] of [[150_000_000n, 8], [1_000_000_000_000_000_001n, 18], [123_456_789_012_345_678n, 18],
  [1_234_567_890_123_456_789_012n, 18], [2n ** 64n - 1n, 8]]) {
  const transfer = { to, amount, fee: [], memo: [], from_subaccount: [], created_at_time: [] }, unit = 10n ** BigInt(decimals);
  const exact = `${amount / unit}.${`${amount % unit}`.padStart(decimals, '0')}`;
  console.log(`${exact}: ${await shown('icrc1_transfer', transfer, decimals, 'Amount')}`);
}
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1.50000000: 1.5 TOK
1.000000000000000001: 1.0 TOK
0.123456789012345678: 0.12345678901234568 TOK
1234.567890123456789012: 1,234.5678901234567 TOK
184467440737.09551615: 184,467,440,737.09552 TOK
EOF

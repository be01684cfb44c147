#!/usr/bin/env bash
# @dfinity/oisy-wallet-signer 6.0.0 (npm), the memo in the message that asks the user to agree to a transfer
#
# Expected: a memo is shown as text if it is UTF-8, and otherwise in hexadecimal digits, as ledgers show it
#   (documentation of decodeMemo: "if decoding fails, fallback to hex"). Memos are bytes (ICRC-1: `memo : opt blob`).
# Actual: decoding never fails: bytes that are not UTF-8 become U+FFFD, one character for each byte. Different memos
#   look the same, and none is shown in hexadecimal digits.
# Affected: people who check the memo by which an exchange or a minter finds its customer (a number, a hash, a record):
#   the memo of another customer looks like theirs, and the payment is credited to somebody else.
. "$(dirname "$0")/lib/common.sh"
. "$lib/oisy-signer.sh"

cat > probe.mjs <<'EOF'
import { Principal } from '@icp-sdk/core/principal';
import { shown } from './oisy-signer.mjs';
const to = { owner: Principal.managementCanister(), subaccount: [] };
for (const memo of ['696e766f6963652037', '82a1', '82a2', 'c0ffee', 'fefdfc']) {
  const transfer = { to, amount: 5n, fee: [], memo: [Buffer.from(memo, 'hex')], from_subaccount: [], created_at_time: [] };
  const message = await shown('icrc1_transfer', transfer, 8, 'Memo');
  console.log(`${memo}: ${message.replace(/\uFFFD/g, '<U+FFFD>')}`);
}
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
696e766f6963652037: invoice 7
82a1: <U+FFFD><U+FFFD>
82a2: <U+FFFD><U+FFFD>
c0ffee: <U+FFFD><U+FFFD><U+FFFD>
fefdfc: <U+FFFD><U+FFFD><U+FFFD>
EOF

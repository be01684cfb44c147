#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), decodePayment of ledger/icrc
#
# Expected: of `token:address?param&param` the amount is returned, "amount=" *digit [ "." *digit ] (the grammar in its
#   documentation); the order of parameters has no meaning.
# Actual: the amount is found only if nothing comes after it. If `&label=…` or `&memo=…` follows, the amount is missing
#   without an error; the token and the address are correct.
# Affected: a wallet that scans the code of an invoice asks for the amount, or sends one that was typed before. Write
#   the amount last, and read it with URLSearchParams.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @icp-sdk/canisters@3.6.0 @icp-sdk/core@6.1.0 @dfinity/utils@5.0.0
cat > probe.mjs <<'JS'
import { decodePayment } from '@icp-sdk/canisters/ledger/icrc';
for (const params of ['amount=1.5', 'label=coffee&amount=1.5', 'amount=1.5&label=coffee', 'amount=1.5&memo=7', 'memo=7&amount=1.5&label=coffee']) {
  const { token, identifier, amount } = decodePayment(`icp:aaaaa-aa?${params}`);
  console.log(`${params}: ${token} to ${identifier}, amount ${amount}; URLSearchParams: ${new URLSearchParams(params).get('amount')}`);
}
JS
node probe.mjs > seen
expect_seen <<'EXPECTED'
amount=1.5: icp to aaaaa-aa, amount 1.5; URLSearchParams: 1.5
label=coffee&amount=1.5: icp to aaaaa-aa, amount 1.5; URLSearchParams: 1.5
amount=1.5&label=coffee: icp to aaaaa-aa, amount undefined; URLSearchParams: 1.5
amount=1.5&memo=7: icp to aaaaa-aa, amount undefined; URLSearchParams: 1.5
memo=7&amount=1.5&label=coffee: icp to aaaaa-aa, amount undefined; URLSearchParams: 1.5
EXPECTED

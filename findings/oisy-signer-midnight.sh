#!/usr/bin/env bash
# @dfinity/oisy-wallet-signer 6.0.0 (npm), the message that asks the user to agree to an allowance
#
# Expected: an allowance that ends at 2031-01-01T00:00:00Z (`expires_at` of ICRC-2, nanoseconds since 1970) is shown
#   with that time. 24:00 is the end of a day, the same instant as 00:00 of the next one (ISO 8601).
# Actual: with Node.js 20, the first hour of a day is shown as hour 24 of the same day: midnight is Jan 1, 24:00:00,
#   which is a day too late.
# Affected: people who give an allowance until a date, usually midnight: they believe that it lasts a day longer, and
#   payments of that day fail.
. "$(dirname "$0")/lib/common.sh"
. "$lib/oisy-signer.sh"

cat > probe.mjs <<'EOF'
import { Principal } from '@icp-sdk/core/principal';
import { shown } from './oisy-signer.mjs';
const spender = { owner: Principal.managementCanister(), subaccount: [] };
for (const time of ['2030-12-31T23:59:59Z', '2031-01-01T00:00:00Z', '2031-01-01T00:30:00Z', '2031-01-01T01:00:00Z', '2031-01-02T00:00:00Z']) {
  const allowance = { spender, amount: 5n, fee: [], memo: [], from_subaccount: [], created_at_time: [], expected_allowance: [],
    expires_at: [BigInt(Date.parse(time)) * 1_000_000n] };
  console.log(`${time}: ${await shown('icrc2_approve', allowance, 8, 'Expiration date')}`);
}
process.exit();
EOF
node probe.mjs > seen
expect_seen <<'EOF'
2030-12-31T23:59:59Z: Tue, Dec 31, 2030, 23:59:59 UTC
2031-01-01T00:00:00Z: Wed, Jan 1, 2031, 24:00:00 UTC
2031-01-01T00:30:00Z: Wed, Jan 1, 2031, 24:30:00 UTC
2031-01-01T01:00:00Z: Wed, Jan 1, 2031, 01:00:00 UTC
2031-01-02T00:00:00Z: Thu, Jan 2, 2031, 24:00:00 UTC
EOF

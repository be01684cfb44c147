#!/usr/bin/env bash
# @dfinity/utils 5.0.0 (npm), TokenAmountV2.fromNumber
#
# Expected: 1 is 10^decimals units of the token, for every number of decimals (the method's documentation): cycles have
#   12, ckETH has 18. A number with more decimals than the token has is an error, "has more than N decimals", in the
#   same class.
# Actual: numbers are rounded to 8 decimals before they are read, whatever the token: 0.000000004 T cycles, which are
#   4,000 cycles, become 0, and so do amounts of ckETH below 5 gwei; others are rounded up. The error never occurs, not
#   even for ICP: 0.000000005 ICP are one e8s. fromString is exact and refuses.
# Affected: front ends that show or send cycles and 18-decimal tokens: fees of ck tokens become 0, and costs of single
#   calls vanish. Use fromString, or fromUlps.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { FromStringToTokenError, TokenAmountV2 } from '@dfinity/utils';
const attempt = (make) => { try { const made = make(); return made.toUlps?.() ?? FromStringToTokenError[made]; } catch (e) { return e.message; } };
for (const [symbol, decimals, amounts] of [
  ['TC', 12, [[0.5, '0.5'], [0.000000004, '0.000000004'], [1.234567890123, '1.234567890123'], [0.000002590001, '0.000002590001']]],
  ['ckETH', 18, [[0.000000002, '0.000000002'], [0.1234567891, '0.1234567891']]],
  ['ICP', 8, [[0.000000005, '0.000000005']]],
]) {
  const token = { symbol, name: symbol, decimals };
  for (const [amount, text] of amounts) {
    console.log(`${text} ${symbol}: fromNumber ${attempt(() => TokenAmountV2.fromNumber({ amount, token }))}, fromString ${attempt(() => TokenAmountV2.fromString({ amount: text, token }))}`);
  }
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
0.5 TC: fromNumber 500000000000, fromString 500000000000
0.000000004 TC: fromNumber 0, fromString 4000
1.234567890123 TC: fromNumber 1234567890000, fromString 1234567890123
0.000002590001 TC: fromNumber 2590000, fromString 2590001
0.000000002 ckETH: fromNumber 0, fromString 2000000000
0.1234567891 ckETH: fromNumber 123456790000000000, fromString 123456789100000000
0.000000005 ICP: fromNumber 1, fromString FractionalTooManyDecimals
EOF

#!/usr/bin/env bash
# @dfinity/utils 5.0.0 (npm), TokenAmountV2.fromString and TokenAmount.fromString
#
# Expected: a text that is not one of the accepted forms is FromStringToTokenError.InvalidFormat; commas and apostrophes
#   may group thousands, as in 1,234,567.8901 (documentation of fromString). `1,5` is no such grouping; in much of the
#   world it is one and a half.
# Actual: commas and apostrophes are removed wherever they are: `1,5` is 15 tokens, `0,00000001` is one whole token.
#   Other texts that are not numbers are refused, so that the input seems to be checked.
# Affected: wallets and top-up forms used where the comma separates decimals: ten times as much is sent, or 10^8 times,
#   without a warning. Refuse a comma that is not followed by three digits before calling.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { FromStringToTokenError, TokenAmount, TokenAmountV2 } from '@dfinity/utils';
const token = { symbol: 'ICP', name: 'Internet Computer', decimals: 8 };
const show = (read, amount, units) => {
  const value = read.fromString({ amount, token });
  return typeof value === 'object' ? `${units(value)} e8s` : `error, ${FromStringToTokenError[value]}`;
};
for (const amount of ['1.5', '1,234,567.8901', "1'234", '1,5', "1'5", '0,00000001', '12,34.5', '1 5', '1_5', '1e1']) {
  console.log(`${amount}: TokenAmountV2 ${show(TokenAmountV2, amount, (value) => value.toUlps())}; TokenAmount ${show(TokenAmount, amount, (value) => value.toE8s())}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1.5: TokenAmountV2 150000000 e8s; TokenAmount 150000000 e8s
1,234,567.8901: TokenAmountV2 123456789010000 e8s; TokenAmount 123456789010000 e8s
1'234: TokenAmountV2 123400000000 e8s; TokenAmount 123400000000 e8s
1,5: TokenAmountV2 1500000000 e8s; TokenAmount 1500000000 e8s
1'5: TokenAmountV2 1500000000 e8s; TokenAmount 1500000000 e8s
0,00000001: TokenAmountV2 100000000 e8s; TokenAmount 100000000 e8s
12,34.5: TokenAmountV2 123450000000 e8s; TokenAmount 123450000000 e8s
1 5: TokenAmountV2 error, InvalidFormat; TokenAmount error, InvalidFormat
1_5: TokenAmountV2 error, InvalidFormat; TokenAmount error, InvalidFormat
1e1: TokenAmountV2 error, InvalidFormat; TokenAmount 1000000000 e8s
EOF

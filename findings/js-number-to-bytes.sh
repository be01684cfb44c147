#!/usr/bin/env bash
# @dfinity/utils 5.0.0 (npm), numberToUint8Array and bigIntToUint8Array
#
# Expected: eight bytes, big endian, that uint8ArrayToBigInt turns back into the number, for every number that
#   JavaScript holds exactly (the names and types of the three functions, which stand side by side in the package).
# Actual: from 2^31 on the upper four bytes are filled with ones, from 2^32 on they are dropped: 4 GiB becomes 0.
#   bigIntToUint8Array is correct up to 2^64, and drops higher bits without an error.
# Affected: keys and subaccounts made from sizes, times in milliseconds or ids: wrong from 2 GiB on, and two sizes share
#   one from 4 GiB on.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { numberToUint8Array, bigIntToUint8Array, uint8ArrayToBigInt } from '@dfinity/utils';
for (const n of [255, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 32 + 5, 1700000000123]) {
  console.log(`${n}: number ${uint8ArrayToBigInt(numberToUint8Array(n))}, bigint ${uint8ArrayToBigInt(bigIntToUint8Array(BigInt(n)))}`);
}
console.log(`2^64 + 5: bigint ${uint8ArrayToBigInt(bigIntToUint8Array(2n ** 64n + 5n))}`);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
255: number 255, bigint 255
2147483647: number 2147483647, bigint 2147483647
2147483648: number 18446744071562067968, bigint 2147483648
4294967296: number 0, bigint 4294967296
4294967301: number 5, bigint 4294967301
1700000000123: number 18446744072902502523, bigint 1700000000123
2^64 + 5: bigint 5
EOF

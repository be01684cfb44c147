#!/usr/bin/env bash
# @icp-sdk/canisters 3.6.0 (npm), parseBtcAddress of ckbtc
#
# Expected: an address of Bitcoin in bech32 or bech32m may be written in capitals throughout (BIP 173 and 350: decoders
#   accept both, and codes to be scanned should use capitals).
# Actual: addresses of version 0 are read in both spellings, those of version 1 (Taproot, bc1p…) only in lower case; in
#   capitals, each of them is a ParseBtcAddressMalformedAddressError.
# Affected: a wallet for ckBTC refuses a scanned Taproot address. If it is all in capitals, convert it to lower case
#   before parsing.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @icp-sdk/canisters@3.6.0 @icp-sdk/core@6.1.0 @dfinity/utils@5.0.0
cat > probe.mjs <<'JS'
import * as ckbtc from '@icp-sdk/canisters/ckbtc';
const read = (address) => {
  try { return `version ${ckbtc.parseBtcAddress({ address }).type === ckbtc.BtcAddressType.P2tr ? 1 : 0}`; } catch (error) {
    return Object.keys(ckbtc).find((name) => ckbtc[name] === error.constructor);
  }
};
for (const address of ['bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', 'bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0'])
  for (const written of [address, address.toUpperCase()]) console.log(`${written}: ${read(written)}`);
JS
node probe.mjs > seen
expect_seen <<'EXPECTED'
bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4: version 0
BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4: version 0
bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0: version 1
BC1P0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQZK5JJ0: ParseBtcAddressMalformedAddressError
EXPECTED

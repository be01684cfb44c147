#!/usr/bin/env bash
# @ic-pay/icpay-sdk 1.4.135 (npm), amounts of tokens with 18 decimals
#
# Expected: tokenAmountDecimals of calculateTokenAmountFromUSD is the amount in the smallest unit as a text of digits,
#   "whole number for blockchain" (its source), as `icrc1_transfer` and BigInt take it; formatBalance is its inverse.
# Actual: the amount is computed as a float and converted by toString(): from 1,000 tokens of 18 decimals on, the text
#   is in scientific notation, which BigInt refuses. formatBalance parses a float, too, and changes the digits from the
#   17th on.
# Affected: payments of a thousand stable coins and more fail, smaller ones do not. Compute with BigInt from the price
#   and the number of decimals.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps @ic-pay/icpay-sdk@1.4.135
cat > probe.cjs <<'JS'
const http = require('node:http');
const { Icpay } = require('@ic-pay/icpay-sdk');
const ledger = { id: '1', name: 'A dollar', symbol: 'USD', canisterId: 'aaaaa-aa', decimals: 18, currentPrice: 1, verified: true };
const server = http.createServer((_, response) => response.setHeader('content-type', 'application/json').end(JSON.stringify([ledger])));
server.listen(0, '127.0.0.1', async () => {
  const icpay = new Icpay({ publishableKey: 'pk_test', apiUrl: `http://127.0.0.1:${server.address().port}`, debug: false });
  for (const usdAmount of [5, 999, 1000, 12345.5]) {
    const { tokenAmountDecimals } = await icpay.calculateTokenAmountFromUSD({ usdAmount, ledgerCanisterId: 'aaaaa-aa' });
    let amount;
    try { amount = BigInt(tokenAmountDecimals); } catch (error) { amount = error.message; }
    console.log(`${usdAmount} USD: ${tokenAmountDecimals}; BigInt: ${amount}`);
  }
  for (const balance of ['1500000000000000000', '1234567890123456789', '100000000000000000001']) console.log(`balance ${balance}: ${icpay.formatBalance(balance, 18)}`);
  server.close();
});
JS
timeout 60 node probe.cjs > seen 2> errors || { cat errors; exit 2; }
expect_seen <<'EXPECTED'
5 USD: 5000000000000000000; BigInt: 5000000000000000000
999 USD: 999000000000000000000; BigInt: 999000000000000000000
1000 USD: 1e+21; BigInt: Cannot convert 1e+21 to a BigInt
12345.5 USD: 1.23455e+22; BigInt: Cannot convert 1.23455e+22 to a BigInt
balance 1500000000000000000: 1.5
balance 1234567890123456789: 1.23456789012345677
balance 100000000000000000001: 100
EXPECTED

#!/usr/bin/env bash
# @bitgo/sdk-coin-icp 1.23.4, @ledgerhq/coin-internet_computer 1.29.4, @icp-sdk/canisters 3.6.0 (npm)
#
# Expected: wallets of BitGo give out addresses of the form ACCOUNT?memoId=NUMBER (isWalletAddress: "memoId is required for
#   wallet version 1 addresses"). A library that takes such an address for valid sends the number as the memo of the
#   transfer.
# Actual: receiverId() of BitGo's own builder accepts the address, toJson() shows it as the recipient, and the signed
#   transfer has memo 0. The library of the Ledger wallet finds it valid, too, and builds a transfer with memo 0.
#   @icp-sdk/canisters refuses the address with an error.
# Affected: anyone who pays to such an address: the tokens arrive, but nothing tells whose they are. Cut the address at
#   the question mark, and pass the number as the memo.
. "$(dirname "$0")/lib/common.sh"
. "$lib/ledger-live.sh"

npm_packages --legacy-peer-deps @bitgo/sdk-coin-icp@1.23.4 @bitgo/statics@58.48.0 axios@1.13.5 \
  @icp-sdk/canisters@3.6.0 @icp-sdk/core@6.1.0 @dfinity/utils@5.0.0
cat > probe.cjs <<'JS'
const BigNumber = require('bignumber.js');
const { coins } = require('@bitgo/statics');
const { KeyPair, TransactionBuilderFactory } = require('@bitgo/sdk-coin-icp');
const { default: utils } = require('@bitgo/sdk-coin-icp/dist/src/lib/utils');
const { validateAddress } = require('./ledger/node_modules/@ledgerhq/coin-internet_computer/lib/logic/validation.js');
const { createUnsignedSendTransaction } = require('./ledger/node_modules/@ledgerhq/coin-internet_computer/lib/logic/buildTransaction.js');

const prv = '11'.repeat(32), keys = new KeyPair({ prv }), factory = new TransactionBuilderFactory(coins.get('icp'));
const { pub } = keys.getKeys(), account = new KeyPair({ prv: '22'.repeat(32) }).getAddress();
const short = (text) => text.replace(account, 'ACCOUNT');

/** What BitGo signs. */
const bitgo = async (address, memo) => {
  const builder = factory.getTransferBuilder();
  builder.sender(keys.getAddress(), pub).receiverId(address).amount('100000000');
  if (memo !== undefined) builder.memo(memo);
  await builder.build();
  builder.sign({ key: prv });
  builder.combine();
  const { operations, metadata } = await factory.parseTransaction(builder.transaction.toBroadcastFormat(), true);
  return `valid ${utils.isValidAddress(address)}, shown ${short(builder.transaction.toJson().recipient)}, sent to ${short(operations[1].account.address)} with memo ${metadata.memo}`;
};

/** What the library of the Ledger wallet gives to the device to sign. */
const ledger = (recipient, memo) => {
  const { transferRawRequest: { to, memo: sent } } = createUnsignedSendTransaction({ type: 'send', recipient, amount: new BigNumber(100000000), memo }, pub);
  return `valid ${validateAddress(recipient).isValid}, sent to ${short(Buffer.from(to).toString('hex'))} with memo ${sent}`;
};

(async () => {
  const { AccountIdentifier } = await import('@icp-sdk/canisters/ledger/icp');
  const sdk = (address) => { try { return AccountIdentifier.fromHex(address).toHex(); } catch ({ message }) { return message; } };
  for (const [address, memo] of [[account, 7], [`${account}?memoId=7`]]) {
    console.log(`${short(address)}${memo ? `, memo ${memo}` : ''}`);
    console.log(`  BitGo: ${await bitgo(address, memo)}`);
    console.log(`  Ledger: ${ledger(address, memo?.toString())}`);
    console.log(`  @icp-sdk/canisters: ${short(sdk(address))}`);
  }
})();
JS
node probe.cjs > seen
expect_seen <<'EXPECTED'
ACCOUNT, memo 7
  BitGo: valid true, shown ACCOUNT, sent to ACCOUNT with memo 7
  Ledger: valid true, sent to ACCOUNT with memo 7
  @icp-sdk/canisters: ACCOUNT
ACCOUNT?memoId=7
  BitGo: valid true, shown ACCOUNT?memoId=7, sent to ACCOUNT with memo 0
  Ledger: valid true, sent to ACCOUNT with memo 0
  @icp-sdk/canisters: Invalid AccountIdentifier: expected 32 bytes, got 37.
EXPECTED

#!/usr/bin/env bash
# cycles4sale-mcp 0.1.5 (PyPI) on @dfinity/didc 0.0.4 and @icp-sdk/core 6.1.0 (npm): replies as text, read by patterns
#
# Expected: list_buy_orders returns the buy orders that the canister's listBuyOrders returns, and list_for_sale returns
#   the offers.
# Actual: the text that icp prints is searched for `buyer = …; icpRemaining = …`, the order of the fields in the
#   canister's source. The printers of Candid write the fields of a record in the order of their hashes, in which
#   icpRemaining is before buyer (Candid specification, Records): the pattern is never found, and the list is empty. The
#   pattern of list_for_sale works, since seller and available happen to be in order.
# Affected: an agent that looks for buyers sees none, and does not sell. Search for each field on its own, or let icp
#   write JSON.
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/didc@0.0.4 @icp-sdk/core@6.1.0
python_packages env cycles4sale-mcp==0.1.5
# What `icp canister call` prints: the order is that of didc, which writes the hashes; icp knows the names.
cat > print.mjs <<'JS'
import { decode, encode } from '@dfinity/didc';
import { idlLabelToId } from '@icp-sdk/core/candid';
const [, , types, input] = process.argv;
const idl = `service : { f : ${types} -> () }`, withType = { kind: 'methodParams', name: 'f' };
let text = decode({ idl, withType, input: encode({ idl, withType, input, targetFormat: 'hex' }), targetFormat: 'candid' });
for (const name of ['buyer', 'icpRemaining', 'seller', 'available'])
  text = text.replaceAll(idlLabelToId(name).toLocaleString('en').replaceAll(',', '_'), name);
console.log(text);
JS
mkdir bin
node print.mjs '(vec record { buyer : principal; icpRemaining : nat })' \
  '(vec { record { buyer = principal "aaaaa-aa"; icpRemaining = 5_000_000 } })' > listBuyOrders
node print.mjs '(vec record { seller : principal; available : nat })' \
  '(vec { record { seller = principal "aaaaa-aa"; available = 7 } })' > listForSale
printf '#!/bin/sh\ncat "%s/$4"\n' "$scratch" > bin/icp
chmod +x bin/icp
cat > probe.py <<'PY'
from cycles4sale_mcp import market

for method, read in (('listForSale', market.list_for_sale), ('listBuyOrders', market.list_buy_orders)):
    print(' '.join(open(method).read().split()))
    print(method, 'is read as', read())
PY
PATH=$scratch/bin:$PATH env/bin/python probe.py > seen
expect_seen <<'EXPECTED'
( vec { record { seller = principal "aaaaa-aa"; available = 7 : nat }; }, )
listForSale is read as [{'seller': 'aaaaa-aa', 'available': 7}]
( vec { record { icpRemaining = 5_000_000 : nat; buyer = principal "aaaaa-aa"; }; }, )
listBuyOrders is read as []
EXPECTED

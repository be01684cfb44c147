#!/usr/bin/env bash
# ic-basilisk-toolkit 0.5.4 with ic-basilisk 0.16.1 (PyPI), Wallet.invoice_subaccount and user_subaccount
#
# Expected: each invoice, and each user, has an account of its own: the subaccount is derived from the identifier, any
#   text (documentation of both functions). A subaccount has 32 bytes, so longer texts have to be hashed.
# Actual: the text is cut after 28 bytes. Invoices whose numbers begin alike, with a year, a customer or a date, share a
#   single account. Short numbers, as in the examples, are fine. Conversely, no other tool derives the same subaccount
#   from a principal: JavaScript and Rust write the principal's bytes after their number, this package writes the
#   principal's text.
# Affected: the payment of one invoice looks like the payment of all of them. Pass the first 28 characters of a digest
#   instead.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-basilisk-toolkit==0.5.4 ic-basilisk==0.16.1
npm_packages @dfinity/utils@5.0.0 @icp-sdk/core@6.1.0
cat > probe.py <<'EOF'
from ic_basilisk_toolkit.wallet import Wallet
with open('seen', 'w') as seen:
    for id in ['17f6a82d', 'customer-0042-2026-11-30-0001', 'customer-0042-2026-11-30-0002']:
        print('invoice %s: %r' % (id, Wallet.invoice_subaccount(id)), file=seen)
    print('user, Basilisk: %s' % Wallet.user_subaccount('rrkah-fqaaa-aaaaa-aaaaq-cai').hex(), file=seen)
EOF
cat > probe.mjs <<'EOF'
import { principalToSubAccount } from '@dfinity/utils';
import { Principal } from '@icp-sdk/core/principal';
console.log(`user, JavaScript: ${Buffer.from(principalToSubAccount(Principal.fromText('rrkah-fqaaa-aaaaa-aaaaq-cai'))).toString('hex')}`);
EOF
env/bin/python probe.py > log 2>&1
node probe.mjs >> seen
expect_seen <<'EOF'
invoice 17f6a82d: b'inv_17f6a82d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
invoice customer-0042-2026-11-30-0001: b'inv_customer-0042-2026-11-30-000'
invoice customer-0042-2026-11-30-0002: b'inv_customer-0042-2026-11-30-000'
user, Basilisk: 7573725f72726b61682d66716161612d61616161612d61616161712d63616900
user, JavaScript: 0a00000000000000010101000000000000000000000000000000000000000000
EOF

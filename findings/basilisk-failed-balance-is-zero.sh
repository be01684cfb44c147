#!/usr/bin/env bash
# ic-basilisk-toolkit 0.5.4 with ic-basilisk 0.16.1 (PyPI), Wallet.refresh and balance_of
#
# Expected: the cached balance is the last one that the ledger has returned (documentation of Wallet); a failed call
#   says nothing about the balance.
# Actual: a rejected call, for example while the ledger is stopped for an upgrade, counts as a balance of 0, which is
#   returned and overwrites the cached balance. refresh logs an error, balance_of does not; neither raises an exception.
# Affected: canisters that decide by the balance (pay, refill, close an account) act as if the money were gone, until
#   the next refresh that succeeds.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-basilisk-toolkit==0.5.4 ic-basilisk==0.16.1
cat > probe.py <<'EOF'
from types import SimpleNamespace
from ic_basilisk_toolkit import wallet
from ic_basilisk_toolkit.wallet import Wallet


class Ledger:
    """The calls of a canister, which the network answers."""

    def __init__(self, principal):
        pass

    def icrc1_balance_of(self, account):
        return 'icrc1_balance_of'


def answered(calls, answer):
    """Runs a function of the wallet; the network gives this answer to each call."""
    try:
        next(calls)
        while True:
            calls.send(answer)
    except StopIteration as end:
        return end.value


wallet.ICRCLedger = Ledger
wallet.ic = SimpleNamespace(id=lambda: SimpleNamespace(to_str=lambda: 'rrkah-fqaaa-aaaaa-aaaaq-cai'), time=lambda: 0)
own = Wallet()
own.register_token('ckBTC', ledger='mxzaz-hqaaa-aaaar-qaada-cai')
balance, rejection = SimpleNamespace(Ok=5_000, Err=None), SimpleNamespace(Ok=None, Err='IC0508: Canister is stopped')
with open('seen', 'w') as seen:
    for what, calls, answer in [('refresh, answered', own.refresh, balance), ('refresh, rejected', own.refresh, rejection),
                                ('balance_of, answered', own.balance_of, balance), ('balance_of, rejected', own.balance_of, rejection)]:
        said = answered(calls('ckBTC'), answer)
        print('%s: %s; cached %d' % (what, said['balance'] if isinstance(said, dict) else said, own.cached_balance('ckBTC')), file=seen)
EOF
env/bin/python probe.py > log 2>&1 || { cat log; exit 1; }
expect_seen <<'EOF'
refresh, answered: 5000; cached 5000
refresh, rejected: 0; cached 0
balance_of, answered: 5000; cached 5000
balance_of, rejected: 0; cached 0
EOF

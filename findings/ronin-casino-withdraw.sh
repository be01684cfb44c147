#!/usr/bin/env bash
# ronin-casino 0.3.0 with ic-py 1.0.1 and cbor2 5.9.0 (PyPI), a client of canisters that hold deposits
#
# Expected: withdraw(amount) sends what is left to the caller, withdraw(amount, principal) to somebody else (its
#   documentation); the canister's argument is `opt principal`.
# Actual: ic-py's Types.Opt is a function that makes a type from a type; here it is passed as the type itself, and the
#   encoder raises AttributeError before anything is sent. Both forms fail, always. Deposits have no argument and work.
# Affected: an agent cannot withdraw its deposit with the same client. Call the method through ic-py:
#   Types.Opt(Types.Principal).
. "$(dirname "$0")/lib/common.sh"

python_packages env ronin-casino==0.3.0 ic-py==1.0.1 cbor2==5.9.0 requests==2.32.5
cat > probe.py <<'PY'
from ic.candid import Types, encode
from ronin_casino import RoninCasino

casino = RoninCasino()
sent = []
ok = [{'value': {'ok': 7}}]
casino._agent.update_raw = lambda canister, method, arg: sent.append((method, arg)) or ok

print('process_deposit:', casino.process_deposit().success, 'sent', [method for method, _ in sent])
for to in (None, 'aaaaa-aa'):
    sent.clear()
    try:
        casino.withdraw(100, to)
        print('withdraw:', sent)
    except AttributeError as error:
        print('withdraw to', to, 'raises:', error, '- sent', sent)
arg = encode([{'type': Types.Nat, 'value': 100}, {'type': Types.Opt(Types.Principal), 'value': []}])
print('ic-py with the type of the argument:', arg.hex())
PY
env/bin/python probe.py > seen
expect_seen <<'EXPECTED'
process_deposit: True sent ['process_deposit']
withdraw to None raises: 'function' object has no attribute 'buildTypeTable' - sent []
withdraw to aaaaa-aa raises: 'function' object has no attribute 'buildTypeTable' - sent []
ic-py with the type of the argument: 4449444c016e68027d006400
EXPECTED

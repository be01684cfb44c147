#!/usr/bin/env bash
# ic-casals 0.7.0 (PyPI), with replies as icp prints them: @dfinity/didc 0.0.4 (npm)
#
# Expected: an operation that needs the approval of other signers is proposed to the multisig canister. Unless the
#   proposal is executed at once, the command stops and reports its number (documentation of the module multisig).
# Actual: Candid text groups digits, as in 1_000 : nat, but the number of the proposal is read only up to the first
#   underscore. From proposal 1,000 on, the command queries proposal 1, which was executed long ago, and returns as if
#   the other signers had agreed. Other functions of the package remove the underscores.
# Affected: teams whose multisig has been in use for a long time: the command continues as if the controllers were set,
#   while the proposal waits, or is declined.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-casals==0.7.0
npm_packages @dfinity/didc@0.0.4
cat > print.mjs <<'EOF'
import * as didc from '@dfinity/didc';
const idl = 'service : { f : (nat) -> () }', withType = { kind: 'methodParams', name: 'f' };
const input = didc.encode({ idl, input: `(${process.argv[2]})`, withType, targetFormat: 'hex' });
console.log(didc.decode({ idl, input, withType, targetFormat: 'candid' }));
EOF
cat > probe.py <<'EOF'
import subprocess
from types import SimpleNamespace
from casals_cli import multisig


class Icp:
    """icp with a multisig canister: the newest proposal is pending, older ones were executed."""

    def __init__(self, newest):
        self.newest, self.said = newest, []

    def icp(self, argv, timeout=None):
        method, args = argv[3], argv[4]
        if method == 'list_signers':
            return SimpleNamespace(stdout='(record { signers = vec { principal "aaaaa-aa" }; threshold = 2 : nat })')
        number = self.newest if method == 'propose' else int(args[1:].split(' ')[0])
        status = 'pending' if number == self.newest else 'executed'
        printed = subprocess.check_output(['node', 'print.mjs', '%d' % number], text=True).strip()
        if method == 'get_proposal':
            printed = '(record { id = %s; status = variant { %s } })' % (printed[1:-1], status)
        self.said.append('%s %s' % (method, printed))
        return SimpleNamespace(stdout=printed)


for newest in 999, 1000, 1234:
    icp = Icp(newest)
    try:
        multisig.set_controllers_via_multisig(icp, 'aaaaa-aa', 'aaaaa-aa', 'rrkah-fqaaa-aaaaa-aaaaq-cai', ['aaaaa-aa'])
        said = 'returns, as if it had been executed'
    except RuntimeError as error:
        said = error
    print('proposal %d: %s' % (newest, '; '.join(icp.said)))
    print('  set_controllers_via_multisig: %s' % said)
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
proposal 999: propose (999 : nat); get_proposal (record { id = 999 : nat; status = variant { pending } })
  set_controllers_via_multisig: multisig proposal #999 (set controllers of rrkah-fqaaa-aaaaa-aaaaq-cai) is pending; re-run once approved
proposal 1000: propose (1_000 : nat); get_proposal (record { id = 1 : nat; status = variant { executed } })
  set_controllers_via_multisig: returns, as if it had been executed
proposal 1234: propose (1_234 : nat); get_proposal (record { id = 1 : nat; status = variant { executed } })
  set_controllers_via_multisig: returns, as if it had been executed
EOF

#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), arguments as Candid text; read back with cbor2 6.3.0 (PyPI)
#
# Expected: with the interface at hand, an unknown field is refused, as an unknown tag of a variant is, and so is an
#   extra argument; a last argument of type opt may be left out (Candid specification, Upgrading and Subtyping,
#   Functions: parameters may be missing where they are optional).
# Actual: the opposite. If an optional field is misspelt, it is dropped without an error and the call is made; the same
#   holds for an extra argument. But a call without the last optional argument is refused.
# Affected: an operator who sets a limit under a wrong name is told that the call succeeded, but has set nothing. And a
#   canister that adds an optional argument at the end, which is the only safe way to add one, breaks every script that
#   calls it with icp, since icp asks the canister for its newest interface.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/icp-cli-linux-x64@1.5.0
python_packages venv cbor2==6.3.0
export HOME=$scratch/home ICP_HOME=$scratch/home/icp DO_NOT_TRACK=1
mkdir -p "$ICP_HOME"
icp=node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp
$icp identity new tester --storage plaintext > icp.log 2>&1
cat > canister.did <<'EOF'
type Settings = record { max_bytes : nat64; max_files : opt nat64; hash : opt variant { sha256; blake3 } };
service : { set : (Settings) -> (); put : (text, opt nat) -> (); }
EOF
cat > argument.py <<'EOF'
import sys, json, base64, cbor2
print(cbor2.loads(base64.b64decode(json.load(sys.stdin)['request']['envelope']))['content']['arg'].hex())
EOF
# Signs a call without sending it. Prints the encoded argument in hexadecimal digits, or the error if icp refuses to sign.
sign() {
  $icp canister call rrkah-fqaaa-aaaaa-aaaaq-cai "$1" "$2" --candid canister.did --identity tester --network ic --sign-only - 2> errors |
    venv/bin/python argument.py 2> /dev/null || grep -o 'variant field .*\|wrong number of .*' errors
}
{
  none=$(sign set '(record { max_bytes = 5 })')
  for field in 'max_files = opt 7' 'max_fils = opt 7' 'hash = opt variant { blake4 }'; do
    got=$(sign set "(record { max_bytes = 5; $field })")
    case $got in "$none") got='signed, as if it had not been written' ;; 4449444c*) got='signed' ;; esac
    echo "record { max_bytes = 5; $field }: $got"
  done
  two=$(sign put '("a", opt 5)')
  for arguments in '("a", opt 5, "extra")' '("a")'; do
    got=$(sign put "$arguments")
    case $got in "$two") got='signed, as ("a", opt 5)' ;; esac
    echo "$arguments: $got"
  done
} > seen
expect_seen <<'EOF'
record { max_bytes = 5; max_files = opt 7 }: signed
record { max_bytes = 5; max_fils = opt 7 }: signed, as if it had not been written
record { max_bytes = 5; hash = opt variant { blake4 } }: variant field blake4 not found
("a", opt 5, "extra"): signed, as ("a", opt 5)
("a"): wrong number of argument values
EOF

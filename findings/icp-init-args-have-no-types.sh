#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), init arguments as Candid text; read with @icp-sdk/core 5.4.0
#
# Expected: the text `(record { max_files = opt 100 })` is encoded at the type that the service declares for its init
#   arguments, as `icp canister call` does with the same text for a method. The types are at hand: the module has them
#   in candid:service, which icp reads before an upgrade.
# Actual: init arguments (--args, and init_args in icp.yaml) are encoded as if there were no interface: a number without
#   an annotation is an `int`. At `nat64` that is an error, but at `opt nat64` an `opt int` is read as null (Candid
#   specification, Coercion): the installation succeeds without the limit. An optional record with a number in it is
#   lost as a whole, and texts and principals next to it arrive.
# Affected: operators whose canister has optional numbers among its init arguments: the canister runs with its defaults,
#   and nothing says so. Write the type: `opt (100 : nat64)`, or give the arguments as bytes.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages
cat > uploads.did <<'EOD'
type Init = record { max_files : opt nat64; note : opt text; keep : opt record { days : nat; label : text } };
service : (Init) -> { configure : (Init) -> () }
EOD
module_of uploads.wasm 'icp:public candid:service' uploads.did
cat > network-of-one.mjs <<'EOD'
import fs from 'node:fs';
import { Principal } from '@icp-sdk/core/principal';
import { manage, serve } from './icp-network.mjs';
const management = {
  canister_status: () => ({ controllers: [Principal.fromText('2vxsx-fae')] }),
  install_code: ({ arg }) => fs.writeFileSync('argument', Uint8Array.from(arg)),
};
serve(({ method_name, arg }) => manage(management, method_name, arg));
EOD
# Prints the argument at the declared type, from a file or from a signed call.
cat > read.mjs <<'EOD'
import fs from 'node:fs';
import { Cbor } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
const { Nat, Nat64, Opt, Record, Text } = IDL;
const Init = Record({ max_files: Opt(Nat64), note: Opt(Text), keep: Opt(Record({ days: Nat, label: Text })) });
const [, , file] = process.argv;
const bytes = file === 'call.json'
  ? Cbor.decode(Buffer.from(JSON.parse(fs.readFileSync(file, 'utf8')).request.envelope, 'base64')).content.arg : fs.readFileSync(file);
const { max_files, note, keep } = IDL.decode([Init], Uint8Array.from(bytes))[0];
const text = (value) => (value.length ? JSON.stringify(value[0], (_, v) => (typeof v === 'bigint' ? Number(v) : v)) : 'null');
console.log(`max_files ${text(max_files)}, note ${text(note)}, keep ${text(keep)}`);
EOD
start_network network-of-one.mjs
canister=rrkah-fqaaa-aaaaa-aaaaq-cai
configure() {
  icp canister call $canister configure "$1" --candid uploads.did --network ic --sign-only - > call.json 2> icp.log || give_up icp.log
  echo "as argument of a method: $(node read.mjs call.json)"
}
install() {
  icp canister install $canister --wasm uploads.wasm --mode install --args "$1" -n "$(cat address)" -k "$(cat root-key)" > icp.log 2>&1 || give_up icp.log
  echo "as init argument, $(grep -o 'installed successfully' icp.log): $(node read.mjs argument)"
}
{
  plain='(record { max_files = opt 100; note = opt "cellar"; keep = opt record { days = 30; label = "short" } })'
  typed='(record { max_files = opt (100 : nat64); note = opt "cellar"; keep = opt record { days = 30 : nat; label = "short" } })'
  configure "$plain"
  install "$plain"
  echo 'with annotations:'
  install "$typed"
} > seen
expect_seen <<'EOD'
as argument of a method: max_files 100, note "cellar", keep {"days":30,"label":"short"}
as init argument, installed successfully: max_files null, note "cellar", keep null
with annotations:
as init argument, installed successfully: max_files 100, note "cellar", keep {"days":30,"label":"short"}
EOD

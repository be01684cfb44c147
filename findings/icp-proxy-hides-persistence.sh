#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64) with motoko 4.10.0 (npm), an upgrade through a proxy canister
#
# Expected: `icp deploy --proxy` upgrades what it created: a canister whose only controller is the proxy. A module with
#   enhanced orthogonal persistence must be upgraded with wasm_memory_persistence (Internet Computer interface
#   specification, install_code), and Motoko's compiler writes no other modules by default.
# Actual: icp asks the network whether the canister has that section, as the user and not through the proxy. The section
#   is private, so a user who is not a controller is told that there is none. The upgrade is sent without the option,
#   which the network refuses; --wasm-memory-persistence keep, which would set it, is refused by icp itself: "not an EOP
#   canister". The check of the interface is skipped silently for the same reason: it, too, is private by default.
# Affected: teams that control Motoko canisters by a proxy: the first deployment succeeds and no later one does. Add the
#   user as a second controller.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages motoko@4.10.0
cat > build.mjs <<'EOD'
import fs from 'node:fs';
import { createRequire } from 'node:module';
const { default: mo } = createRequire(import.meta.url)('motoko');
const build = (name, source) => {
  mo.write('uploads.mo', source);
  fs.writeFileSync(`${name}.wasm`, mo.wasm('uploads.mo', 'ic').wasm);
};
build('old', 'persistent actor { public func size() : async Nat { 1 }; public func total() : async Nat { 1 } }');
build('new', 'persistent actor { public func size() : async Nat { 1 } }');
EOD
node build.mjs
# The network: a proxy canister, and a canister with the old module. Private sections are for its controller only.
cat > network-of-two.mjs <<'EOD'
import fs from 'node:fs';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { manage, serve } from './icp-network.mjs';

const wasm = fs.readFileSync('old.wasm');
const number = (at) => {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    value |= (wasm[at] & 127) << shift;
    if (wasm[at++] < 128) return [value, at];
  }
};
const sections = {};
for (let at = 8; at < wasm.length;) {
  const [size, start] = number(at + 1), [length, name] = number(start);
  if (wasm[at] === 0) sections[wasm.toString('utf8', name, name + length)] = wasm.toString('utf8', name + length, start + size);
  at = start + size;
}
const visible = (isController) => Object.fromEntries(Object.entries(sections).flatMap(([section, text]) => {
  const [, visibility, name] = section.match(/^icp:(public|private) (.*)/) ?? [];
  return visibility && (isController || visibility === 'public') ? [[name, text]] : [];
}));

const controller = () => Principal.fromText(fs.readFileSync('controller', 'utf8').trim());
const management = {
  canister_status: () => ({ controllers: [controller()] }),
  install_code: ({ mode }) => {
    const persistence = mode.upgrade?.[0]?.wasm_memory_persistence?.[0];
    fs.writeFileSync('mode', persistence ? `wasm_memory_persistence = ${Object.keys(persistence)}` : 'no wasm_memory_persistence');
    if (!persistence) throw new Error('Missing upgrade option: wasm_memory_persistence');
  },
};
const { Nat, Record, Text, Variant, Vec } = IDL, Blob = Vec(IDL.Nat8);
const Forwarded = Record({ canister_id: IDL.Principal, method: Text, args: Blob, cycles: Nat });
const Result = Variant({ Ok: Record({ result: Blob }), Err: Variant({ CallFailed: Record({ reason: Text }) }) });
const proxy = (arg) => {
  const [{ method, args }] = IDL.decode([Forwarded], Uint8Array.from(arg));
  try {
    return { Ok: { result: Uint8Array.from(manage(management, method, args)) } };
  } catch ({ message }) {
    return { Err: { CallFailed: { reason: message } } };
  }
};
serve(({ method_name, arg }) => (method_name === 'proxy' ? IDL.encode([Result], [proxy(arg)]) : manage(management, method_name, arg)),
  (sender) => visible(sender === controller().toText()));
EOD
start_network network-of-two.mjs
proxy=qoctq-giaaa-aaaaa-aaaea-cai
upgrade() {
  rm -f mode
  local said=upgraded
  icp canister install rrkah-fqaaa-aaaaa-aaaaq-cai --wasm new.wasm --mode upgrade "$@" -n "$(cat address)" -k "$(cat root-key)" > icp.log 2>&1 ||
    said=$(grep -o -m 1 'BREAKING change\|Missing upgrade option\|is not an EOP canister' icp.log)
  echo "  upgrade${*:+ }${*/$proxy/PROXY}: $(cat mode 2> /dev/null || echo 'not sent'); $said"
}
{
  echo 'The user is the controller:'
  icp identity principal > controller
  upgrade
  upgrade --yes
  echo 'The proxy is the controller:'
  echo $proxy > controller
  upgrade --proxy $proxy
  upgrade --proxy $proxy --wasm-memory-persistence keep
} > seen
expect_seen <<'EOD'
The user is the controller:
  upgrade: not sent; BREAKING change
  upgrade --yes: wasm_memory_persistence = keep; upgraded
The proxy is the controller:
  upgrade --proxy PROXY: no wasm_memory_persistence; Missing upgrade option
  upgrade --proxy PROXY --wasm-memory-persistence keep: not sent; is not an EOP canister
EOD

#!/usr/bin/env bash
# @junobuild/admin 4.0.0 with @icp-sdk/canisters 3.6.0 and @icp-sdk/core 5.4.0 (npm), the upgrade of a canister
#
# Expected: before an upgrade a snapshot is taken, unless takeSnapshot is false (the package's documentation of
#   upgradeSatellite and its siblings). A canister may have ten snapshots, and taking one replaces another only if the
#   caller names it (Internet Computer interface specification, take_canister_snapshot).
# Actual: the new snapshot replaces the first one of the list, however many there are. If an operator keeps a snapshot
#   from before a migration, a single failed upgrade replaces it by a snapshot of the state that was to be repaired.
# Affected: operators who take a snapshot by hand and then upgrade with this library: the snapshot for a rollback is
#   gone. Download the snapshot first, or pass takeSnapshot: false.
. "$(dirname "$0")/lib/common.sh"
. "$lib/juno-admin.sh"

cp "$lib/network.mjs" .
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { upgradeModule } from '@junobuild/admin';
import { agentOf, outcome } from './network.mjs';
import { idlFactory } from './node_modules/@icp-sdk/canisters/declarations/ic-management/ic-management.idl.js';

const canisterId = Principal.fromText('rrkah-fqaaa-aaaaa-aaaaq-cai'), owner = Principal.fromText('2vxsx-fae');
const wasm = (name) => Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 0, name.length + 1, name.length, ...Buffer.from(name)]);
const methods = new Map(idlFactory({ IDL })._fields);

// The management canister, and a canister with snapshots that its operator has taken.
let snapshots, next;
const management = {
  canister_status: () => ({
    status: { running: null }, module_hash: [new Uint8Array(32)], memory_size: 0n, cycles: 0n, version: 1n, ready_for_migration: false,
    reserved_cycles: 0n, idle_cycles_burned_per_day: 0n,
    memory_metrics: { wasm_binary_size: 0n, wasm_chunk_store_size: 0n, canister_history_size: 0n, stable_memory_size: 0n,
      snapshots_size: 0n, wasm_memory_size: 0n, global_memory_size: 0n, custom_sections_size: 0n },
    query_stats: { response_payload_bytes_total: 0n, num_instructions_total: 0n, num_calls_total: 0n, request_payload_bytes_total: 0n },
    settings: { freezing_threshold: 0n, wasm_memory_threshold: 0n, environment_variables: [], controllers: [owner], reserved_cycles_limit: 0n,
      log_visibility: { controllers: null }, snapshot_visibility: { controllers: null }, wasm_memory_limit: 0n, memory_allocation: 0n,
      compute_allocation: 0n },
  }),
  list_canister_snapshots: () => snapshots,
  take_canister_snapshot: ({ replace_snapshot: [replaced] }) => {
    snapshots = snapshots.filter(({ id }) => id[0] !== replaced?.[0]);
    snapshots.push({ id: [++next], total_size: 0n, taken_at_timestamp: BigInt(next) });
    return snapshots.at(-1);
  },
  install_code: () => { throw new Error('post_upgrade trapped'); },
};
const agent = agentOf(({ method_name, arg }) => {
  const { argTypes, retTypes } = methods.get(method_name);
  const reply = management[method_name]?.(...IDL.decode(argTypes, arg));
  return IDL.encode(retTypes, retTypes.length ? [reply] : []);
});

for (const [count, options] of [[1], [3], [3, { takeSnapshot: false }]]) {
  snapshots = Array.from({ length: count }, (_, i) => ({ id: [i + 1], total_size: 0n, taken_at_timestamp: BigInt(i + 1) }));
  next = count;
  const ids = () => snapshots.map(({ id }) => id[0]).join(', ');
  const before = ids();
  const upgrade = upgradeModule({ actor: { agent }, canisterId, wasmModule: wasm('new'), arg: new Uint8Array(), mode: { upgrade: [] }, ...options });
  const said = await outcome(upgrade, 'upgraded');
  console.log(`snapshots ${before}${options ? ', takeSnapshot: false' : ''}: ${said}; then snapshots ${ids()}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
snapshots 1: post_upgrade trapped; then snapshots 2
snapshots 1, 2, 3: post_upgrade trapped; then snapshots 2, 3, 4
snapshots 1, 2, 3, takeSnapshot: false: post_upgrade trapped; then snapshots 1, 2, 3
EOF

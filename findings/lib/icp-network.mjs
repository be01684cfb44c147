// A network for icp on a port of this machine: the management canister, and one canister with code.
import fs from 'node:fs';
import http from 'node:http';
import { Cbor } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { certifyTree, fetchOf, fork, label, leaf, rootKey } from './network.mjs';
import { idlFactory } from './node_modules/@icp-sdk/canisters/declarations/ic-management/ic-management.idl.js';

// The status of a canister with the fields that icp requires and the declarations do not have yet.
const { Bool, Nat, Nat64, Null, Opt, Record, Text, Variant, Vec } = IDL;
const fields = (type, names) => Object.fromEntries(names.map((name) => [name, type]));
const sizes = ['wasm_memory', 'stable_memory', 'global_memory', 'wasm_binary', 'custom_sections', 'canister_history', 'wasm_chunk_store',
  'snapshots', 'log_memory_store'].map((name) => `${name}_size`);
const queries = ['num_calls', 'num_instructions', 'request_payload_bytes', 'response_payload_bytes'].map((name) => `${name}_total`);
const limits = ['compute_allocation', 'memory_allocation', 'freezing_threshold', 'reserved_cycles_limit', 'log_memory_limit',
  'minimum_incoming_canister_call_cycles', 'wasm_memory_limit', 'wasm_memory_threshold'];
const amounts = ['memory_size', 'cycles', 'reserved_cycles', 'idle_cycles_burned_per_day'];
const viewers = ['log_visibility', 'snapshot_visibility', 'status_visibility'];
const Visibility = Variant({ controllers: Null, public: Null, allowed_viewers: Vec(IDL.Principal) });
const Status = Record({
  ...fields(Nat, amounts), memory_metrics: Record(fields(Nat, sizes)), query_stats: Record(fields(Nat, queries)), version: Nat64,
  module_hash: Opt(Vec(IDL.Nat8)), ready_for_migration: Bool, status: Variant({ running: Null, stopping: Null, stopped: Null }),
  settings: Record({
    ...fields(Nat, limits), ...fields(Visibility, viewers), controllers: Vec(IDL.Principal),
    environment_variables: Vec(Record({ name: Text, value: Text })),
  }),
});
const status = ({ controllers, environment_variables = [], module_hash = new Uint8Array(32) }) => ({
  ...fields(0n, amounts), memory_metrics: fields(0n, sizes), query_stats: fields(0n, queries), version: 1n, module_hash: [module_hash],
  ready_for_migration: false, status: { running: null },
  settings: { ...fields(0n, limits), ...fields({ controllers: null }, viewers), controllers, environment_variables },
});

const methods = new Map(idlFactory({ IDL })._fields);
/** The reply of the management canister to the bytes of an argument. `management` has a function for each method that has one. */
export const manage = (management, method, arg) => {
  const { argTypes, retTypes } = methods.get(method);
  const reply = management[method]?.(...IDL.decode(argTypes, Uint8Array.from(arg)));
  if (method === 'canister_status') return IDL.encode([Status], [status(reply)]);
  return IDL.encode(retTypes, retTypes.length ? [reply] : []);
};

/**
 * Listens, and writes the files `address` and `root-key`. `execute` answers calls as in network.mjs, `sections` returns the metadata
 * that a sender may read.
 */
export const serve = (execute, sections = () => ({})) => {
  const answer = fetchOf(execute);
  const bytes = (text) => new TextEncoder().encode(text);
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = parts.length ? Buffer.concat(parts) : undefined;
    const content = body && Cbor.decode(body).content;
    if (content?.request_type !== 'read_state') {
      response.end(Buffer.from(await (await answer(request.url, { body })).arrayBuffer()));
      return;
    }
    const canister = Principal.fromText(request.url.split('/').at(-2)).toUint8Array();
    const read = Object.entries(sections(Principal.fromUint8Array(content.sender).toText())).sort(([a], [b]) => (a < b ? -1 : 1));
    const metadata = read.length ? fork(...read.map(([name, text]) => label(name, leaf(bytes(text))))) : [0];
    const certificate = await certifyTree(label('canister', label(canister, label('metadata', metadata))));
    response.end(Buffer.from(Cbor.encode({ certificate })));
  });
  server.listen(0, '127.0.0.1', () => {
    fs.writeFileSync('root-key', Buffer.from(rootKey).toString('hex'));
    fs.writeFileSync('address', `http://127.0.0.1:${server.address().port}`);
  });
};

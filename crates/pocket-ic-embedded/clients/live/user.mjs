// A user of a canister, through the published agent.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HttpAgent } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';

function accepted(methodName, result, bytes) {
  const [reply] = IDL.decode([IDL.Variant({ Ok: result, Err: IDL.Reserved })], bytes);
  assert.ok('Ok' in reply, `${methodName} is refused`);
  return reply.Ok;
}

/** A user with a key file, who can list and read everything that they have stored. */
export class User {
  constructor(folder, name) {
    const { privateKey } = generateKeyPairSync('ed25519');
    this.pem = join(folder, `${name}.pem`);
    writeFileSync(this.pem, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const seed = privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32);
    this.identity = Ed25519KeyIdentity.fromSecretKey(new Uint8Array(seed));
  }

  async connect(network, canister) {
    const rootKey = new Uint8Array(Buffer.from(network.rootKey, 'hex'));
    this.agent = await HttpAgent.create({ host: network.url, rootKey, identity: this.identity });
    this.canister = canister;
  }

  async query(methodName, types, args, result) {
    const answer = await this.agent.query(this.canister, { methodName, arg: IDL.encode(types, args) });
    assert.equal(answer.status, 'replied', answer.reject_message);
    return accepted(methodName, result, answer.reply.arg);
  }

  async update(methodName, types, args, result) {
    const call = { methodName, arg: IDL.encode(types, args), effectiveCanisterId: this.canister };
    return accepted(methodName, result, (await this.agent.update(this.canister, call)).reply);
  }

  /** The number of bytes that have arrived, for each upload in flight. */
  async inFlight() {
    const Status = IDL.Record({ bytes_received: IDL.Nat64 });
    const all = await this.query('uploads_list', [IDL.Opt(IDL.Nat64), IDL.Opt(IDL.Nat32)], [[], []], IDL.Vec(Status));
    return all.map(status => Number(status.bytes_received));
  }

  /** Every file in the user's capsules, by name. */
  async stored() {
    const Base = IDL.Record({ base: IDL.Record({ name: IDL.Text }) });
    const kinds = ['Note', 'Image', 'Document', 'Audio', 'Video'].map(kind => [kind, Base]);
    const Memory = IDL.Record({
      id: IDL.Text,
      asset_metadata: IDL.Variant(Object.fromEntries(kinds)),
      blob: IDL.Record({ locator: IDL.Text }),
    });
    const page = [IDL.Opt(IDL.Text), IDL.Opt(IDL.Nat32)];
    const files = new Map();
    const capsules = await this.query('capsules_list', page, [[], []], IDL.Vec(IDL.Record({ id: IDL.Text })));
    for (const { id } of capsules) {
      let after = [];
      for (;;) {
        const memories = await this.query('memories_list', [IDL.Text, ...page], [id, after, []], IDL.Vec(Memory));
        if (memories.length === 0) break;
        for (const { asset_metadata, blob } of memories) {
          const [{ base }] = Object.values(asset_metadata);
          files.set(base.name, await this.content(blob.locator));
        }
        after = [memories.at(-1).id];
      }
    }
    return files;
  }

  /** The bytes of a blob. Its id is also the locator in its memory. */
  async content(id) {
    const Meta = IDL.Record({ chunk_count: IDL.Nat32 });
    const { chunk_count: count } = await this.query('blob_get_meta', [IDL.Text], [id], Meta);
    const chunks = [];
    for (let index = 0; index < count; index += 1) {
      chunks.push(await this.query('blob_read_chunk', [IDL.Text, IDL.Nat32], [id, index], IDL.Vec(IDL.Nat8)));
    }
    return Buffer.concat(chunks);
  }
}

// An operator adopts a canister of the first public release with the published icp-cli and session-migrate, by the
// commands of docs/adopting.md. The tests print how long the canister is stopped, and check that its clients continue.
// In place of the release they use a stand-in, which stores memory and sessions as the release does.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { snapshotIn } from './icp.mjs';
import { startNetwork } from './network.mjs';
import { createCanister, prepare } from './operator.mjs';
import { User } from './user.mjs';

const CHUNK = 1_800_000;

/** Size of the finished file in megabytes. The figures in docs/adopting.md are for 100. */
const MEGABYTES = Number(process.env.ADOPTED_MEGABYTES ?? 4);

const { Nat8, Nat32, Nat64, Text } = IDL;
const Bytes = IDL.Vec(Nat8);
const Base = IDL.Record({
  name: Text,
  description: IDL.Opt(Text),
  tags: IDL.Vec(Text),
  asset_type: IDL.Variant({ Original: IDL.Null }),
  bytes: Nat64,
  mime_type: Text,
  sha256: IDL.Opt(Bytes),
  width: IDL.Opt(Nat32),
  height: IDL.Opt(Nat32),
  url: IDL.Opt(Text),
  storage_key: IDL.Opt(Text),
  bucket: IDL.Opt(Text),
  asset_location: IDL.Opt(Text),
  processing_status: IDL.Opt(Text),
  processing_error: IDL.Opt(Text),
  created_at: Nat64,
  updated_at: Nat64,
  deleted_at: IDL.Opt(Nat64),
});
const Note = IDL.Record({ base: Base, word_count: IDL.Opt(Nat32), language: IDL.Opt(Text), format: IDL.Opt(Text) });
const Metadata = IDL.Variant({ Note });

const metadata = (name, bytes) => {
  const base = { name, tags: [], asset_type: { Original: null }, bytes: BigInt(bytes), mime_type: 'text/plain' };
  const optional = [
    'description', 'sha256', 'width', 'height', 'url', 'storage_key', 'bucket', 'asset_location', 'processing_status',
    'processing_error', 'deleted_at',
  ];
  for (const field of optional) base[field] = [];
  return { Note: { base: { ...base, created_at: 1n, updated_at: 1n }, word_count: [], language: [], format: [] } };
};

/** A client that was written for the first public release. */
class OldClient extends User {
  async begin(name, bytes) {
    const capsule = await this.update('capsules_create', [IDL.Opt(IDL.Null)], [[]], IDL.Record({ id: Text }));
    const args = [capsule.id, metadata(name, bytes.length), Math.ceil(bytes.length / CHUNK), name];
    return this.update('uploads_begin', [Text, Metadata, Nat32, Text], args, Nat64);
  }

  async put(session, bytes, chunks) {
    for (const index of chunks) {
      const chunk = bytes.subarray(index * CHUNK, (index + 1) * CHUNK);
      await this.update('uploads_put_chunk', [Nat64, Nat32, Bytes], [session, index, chunk], IDL.Null);
    }
  }

  async finish(session, bytes, result) {
    const digest = createHash('sha256').update(bytes).digest();
    return this.update('uploads_finish', [Nat64, Bytes, Nat64], [session, digest, BigInt(bytes.length)], result);
  }
}

const allChunks = bytes => [...Array(Math.ceil(bytes.length / CHUNK)).keys()];

export async function adoptionTests(test) {
  const network = await startNetwork(process.env.SESSION_MIGRATE, 'serve');
  const { project, env, notRun, shell, operator } = prepare(network, 'adopting.md');
  const [alice, bob] = ['alice', 'bob'].map(name => new OldClient(project, name));
  const done = randomBytes(MEGABYTES * 1_000_000);
  const half = randomBytes(2 * CHUNK + 7);
  const seconds = {};
  /** Runs commands, and records how long they take. */
  const timed = async (what, ...commands) => {
    const began = performance.now();
    const outputs = [];
    for (const command of commands) outputs.push(await operator(command));
    seconds[what] = (performance.now() - began) / 1_000;
    return outputs.join('\n');
  };
  let blob;
  let session;

  try {
    await test('a canister of the first public release has files, and an upload in flight', async () => {
      env.CANISTER = await createCanister(shell);
      // docs/adopting.md has no command that exports the identity.
      await shell('icp identity export $IDENTITY > identity.pem');
      copyFileSync(process.env.PUBLIC_RELEASE_WASM, join(project, 'release.wasm'));
      await shell('icp canister install $CANISTER --wasm release.wasm --mode install -n embedded');
      for (const user of [alice, bob]) await user.connect(network, Principal.fromText(env.CANISTER));
      const finished = await alice.begin('done.txt', done);
      await alice.put(finished, done, allChunks(done));
      [, blob] = /^(blob_\d+)$/.exec((await alice.finish(finished, done, IDL.Tuple(Text, Text)))[0]);
      session = await bob.begin('half.txt', half);
      await bob.put(session, half, [0, 2]);
    });

    await test('it is stopped, adopted and started again', async () => {
      const taken = await timed(
        'stop and snapshot',
        'icp canister stop $CANISTER -n ic && icp canister snapshot create $CANISTER -n ic',
      );
      env.SNAPSHOT = snapshotIn(taken);
      await timed('download', 'icp canister snapshot download $CANISTER $SNAPSHOT --output old-release -n ic');
      const adopted = await timed('adopt', 'cargo migrate adopt old-release --out adopted --json adopted.json');
      assert.match(adopted, /adopted/);
      const uploaded = await timed('upload', 'icp canister snapshot upload $CANISTER --input adopted -n ic');
      env.ADOPTED = snapshotIn(uploaded);
      await timed(
        'restore and start',
        'icp canister snapshot restore $CANISTER $ADOPTED -n ic && icp canister start $CANISTER -n ic',
      );
      const total = Object.values(seconds).reduce((sum, part) => sum + part);
      const parts = Object.entries(seconds).map(([what, part]) => `${what} ${part.toFixed(1)}`);
      console.log(`        stopped for ${total.toFixed(1)} s with ${MEGABYTES} MB: ${parts.join(', ')}`);
    });

    await test('finished files are read, and the upload in flight continues under its number', async () => {
      assert.ok((await alice.content(blob)).equals(done));
      await assert.rejects(bob.content(blob), /refused/);
      const Range = IDL.Record({ first: Nat32, last: Nat32 });
      const status = await bob.query('uploads_status', [Nat64], [session], IDL.Record({ received: IDL.Vec(Range) }));
      assert.deepEqual(status.received, [{ first: 0, last: 0 }, { first: 2, last: 2 }]);
      await bob.put(session, half, [1]);
      const { blob_id } = await bob.finish(session, half, IDL.Record({ blob_id: Text }));
      assert.ok((await bob.content(blob_id)).equals(half));
    });

    await test('session-migrate uploads the same folder, and the upload continues again', async () => {
      const upload = 'cargo migrate snapshot upload adopted --canister $CANISTER --identity identity.pem';
      [, env.ADOPTED] = /snapshot restore \S+ ([0-9a-f]+)/.exec(await operator(upload));
      await shell('icp canister stop $CANISTER -n embedded');
      await operator('icp canister snapshot restore $CANISTER $ADOPTED -n ic && icp canister start $CANISTER -n ic');
      assert.ok((await alice.content(blob)).equals(done));
      await bob.put(session, half, [1]);
      const { blob_id } = await bob.finish(session, half, IDL.Record({ blob_id: Text }));
      assert.ok((await bob.content(blob_id)).equals(half));
    });

    await test('every other command of the page is run', async () => {
      await operator('cargo migrate inspect adopted --deep');
      await operator('cargo migrate snapshot verify adopted');
      assert.match(await operator('cargo migrate rehearse --snapshot adopted --clients 1'), /verdict: pass/);
      await assert.rejects(operator('cargo migrate inspect old-release'), error => error.code === 2);
      assert.deepEqual([...notRun], []);
    });
  } finally {
    await network.stop();
  }
}

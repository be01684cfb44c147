// The real canister, on the legacy build and on the direct one, behaves like the fake canister of the other tests.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { accepted, uploadActor, type UploadCanister } from '../../src/canister.js';
import type { _SERVICE } from '../../src/declarations/legacy.did.js';
import { inlineHasher } from '../../src/hash/hasher.js';
import { memoryStore } from '../../src/store/memory.js';
import { Uploader } from '../../src/uploader.js';
import { fileOf } from '../support/scene.js';
import { startNetwork } from './live-network.js';
import { lacking, needs } from './needs.js';
import { agentOf, Operator } from './operator.js';
import { readBack } from './read-back.js';

const skip = lacking('binary', 'modules');

/** A canister whose functions may be replaced, and an uploader on it. */
interface Scene {
  real: _SERVICE;
  capsule: string;
  page(changed?: Partial<UploadCanister>): Uploader;
}

function sceneOf(real: _SERVICE, capsule: string): Scene {
  const store = memoryStore();
  const page = (changed: Partial<UploadCanister> = {}) =>
    new Uploader({ ...real, ...changed }, 'scope', { store, hasher: inlineHasher, parallel: 2 });
  return { real, capsule, page };
}

async function assertStored({ real }: Scene, memoryId: string, file: File): Promise<void> {
  const expected = Buffer.from(await file.arrayBuffer());
  assert.equal(Buffer.compare(await readBack(real, memoryId), expected), 0, `${file.name} differs`);
}

const CASES: Record<string, (scene: Scene, seed: number) => Promise<void>> = {
  async 'files of every kind of length, by both digests'(scene, seed) {
    for (const [index, bytes] of [0, 1, 1_800_000, 1_800_001].entries()) {
      for (const hash of ['sha256', 'blake3'] as const) {
        const file = fileOf(bytes, seed + index, `${index}-${hash}.bin`);
        const { memory_id } = await scene.page().upload(file, { capsule: scene.capsule, hash });
        await assertStored(scene, memory_id, file);
      }
    }
  },

  async 'a damaged chunk is found and replaced'(scene, seed) {
    for (const hash of ['sha256', 'blake3'] as const) {
      const sent: number[] = [];
      const uploads_put_chunk: UploadCanister['uploads_put_chunk'] = (id, index, bytes, sha256) => {
        sent.push(index);
        const damaged = index === 1 && sent.filter((other) => other === 1).length === 1;
        const sentBytes = damaged ? bytes.map((byte, at) => (at === 7 ? byte ^ 1 : byte)) : bytes;
        return scene.real.uploads_put_chunk(id, index, sentBytes, sha256);
      };
      const file = fileOf(4_000_000, seed + 10, `damaged-${hash}.bin`);
      const page = scene.page({ uploads_put_chunk });
      await assertStored(scene, (await page.upload(file, { capsule: scene.capsule, hash })).memory_id, file);
      assert.deepEqual(sent.sort(), [0, 1, 1, 2]);
    }
  },

  async 'after its session was aborted, an upload is begun again'(scene, seed) {
    let aborted = false;
    const uploads_finish: UploadCanister['uploads_finish'] = async (id, digest, length) => {
      if (!aborted) {
        aborted = true;
        accepted('uploads_abort', await scene.real.uploads_abort(id));
      }
      return scene.real.uploads_finish(id, digest, length);
    };
    const file = fileOf(2_000_000, seed + 20);
    const page = scene.page({ uploads_finish });
    await assertStored(scene, (await page.upload(file, { capsule: scene.capsule })).memory_id, file);
  },

  async 'an upload that another tab finishes is finished'(scene, seed) {
    const file = fileOf(4_000_000, seed + 30);
    let other: string | undefined;
    const uploads_put_chunk: UploadCanister['uploads_put_chunk'] = async (...args) => {
      other ??= (await scene.page().upload(file, { capsule: scene.capsule })).memory_id;
      return scene.real.uploads_put_chunk(...args);
    };
    const { memory_id } = await scene.page({ uploads_put_chunk }).upload(file, { capsule: scene.capsule });
    assert.equal(memory_id, other);
  },

  async 'what is refused says why'(scene, seed) {
    const elsewhere = scene.page().upload(fileOf(2_000_000, seed + 40), { capsule: 'capsule_999999' });
    await assert.rejects(elsewhere, { name: 'UploadError', code: 'refused' });
    const named = scene.page().upload(fileOf(10, seed + 41), { capsule: scene.capsule, name: 'n'.repeat(2_000) });
    await assert.rejects(named, { name: 'UploadError', code: 'refused', resumable: false });
    assert.deepEqual((await scene.page().unfinished()).filter(({ name }) => name.length > 1_000), []);
  },
};

async function allCases(t: TestContext, scene: Scene, build: string, seed: number): Promise<void> {
  for (const [name, act] of Object.entries(CASES)) {
    await t.test(`${build}: ${name}`, () => act(scene, seed));
  }
}

test('the real canister answers as the fake one does', { skip, timeout: 400_000 }, async (t) => {
  const network = await startNetwork(needs.binary);
  t.after(() => network.stop());
  const operator = await Operator.install(network, needs.modules);
  const real = uploadActor(await agentOf(network, Ed25519KeyIdentity.generate()), operator.canisterId);
  const capsule = accepted('capsules_create', await real.capsules_create([]));
  const scene = sceneOf(real, capsule.id);
  await allCases(t, scene, 'legacy', 100);
  await operator.upgrade('staged');
  await operator.waitFor('Converted');
  await operator.upgrade('direct');
  await allCases(t, scene, 'direct', 200);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inlineHasher, type Hasher } from '../src/hash/hasher.js';
import { metadataOf } from '../src/metadata.js';
import type { Progress } from '../src/progress.js';
import { FakeCanister } from './support/fake-canister.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

/** Damages these stored chunks, once, before the first finish. */
function damageBeforeFinish(scene: Scene, indexes: number[]): void {
  let done = false;
  scene.network.before = ({ method }) => {
    if (method === 'uploads_finish' && !done) {
      done = true;
      const [session] = scene.network.canister.state.sessions.values();
      for (const index of indexes) {
        session!.chunks.get(index)![0]! ^= 1;
      }
    }
  };
}

test('chunks that differ from the file are found and replaced', async () => {
  for (const hash of ['sha256', 'blake3'] as const) {
    const scene = new Scene();
    damageBeforeFinish(scene, [2, 7]);
    const phases = new Set<string>();
    const onProgress = ({ phase }: Progress) => phases.add(phase);
    const file = fileOf(9_999);
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE, hash, onProgress }), file);
    assert.equal(scene.count('uploads_put_chunk'), 12, 'ten chunks and two again');
    assert.equal(scene.count('uploads_chunk_digests'), 4, 'pages of three');
    assert.ok(phases.has('repairing'));
  }
});

test('different bytes under a chunk number are replaced after finish', async () => {
  const scene = new Scene({ parallel: 1 });
  let puts = 0;
  scene.network.before = ({ method }) => {
    puts += method === 'uploads_put_chunk' ? 1 : 0;
    const [session] = scene.network.canister.state.sessions.values();
    if (puts === 4) session!.chunks.set(3, new Uint8Array(1_000));
  };
  const file = fileOf(9_999);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

/** A file whose bytes change after this many of its parts have been read. */
function changingFile(file: File, afterParts: number): File {
  const other = fileOf(file.size, 99);
  let parts = 0;
  return Object.assign(new File([file], file.name, { type: file.type, lastModified: file.lastModified }), {
    slice: (from: number, to: number) => ((parts += 1) > afterParts ? other : file).slice(from, to),
    stream: () => (parts > afterParts ? other : file).stream(),
    arrayBuffer: () => (parts > afterParts ? other : file).arrayBuffer(),
  });
}

test('a file that changes while it is sent is refused', async () => {
  const scene = new Scene();
  const failed = scene.page().upload(changingFile(fileOf(9_999), 5), { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'file-changed', resumable: false });
  assert.deepEqual(await scene.page().unfinished(), []);
  assert.equal(scene.network.canister.state.memories.size, 0);
});

test('a file that can no longer be read is refused', async () => {
  const scene = new Scene();
  const file = fileOf(9_999);
  const gone = () => Promise.reject(new DOMException('gone', 'NotReadableError'));
  const part = Object.assign(file.slice(0, 1_000), { arrayBuffer: gone });
  const failed = scene.page().upload(Object.assign(file, { slice: () => part }), { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'file-changed' });
});

test('an upload can be resumed after its hasher failed during repair', async () => {
  let digests = 0;
  const hasher: Hasher = {
    digest(data, algorithm, options) {
      digests += 1;
      return digests > 1 ? Promise.reject(new Error('the worker is gone')) : inlineHasher.digest(data, algorithm, options);
    },
  };
  const scene = new Scene({ hasher });
  damageBeforeFinish(scene, [2]);
  await assert.rejects(scene.page().upload(fileOf(9_999), { capsule: CAPSULE }), /the worker is gone/);
  assert.equal((await scene.page().unfinished()).length, 1);
  assert.equal(scene.count('uploads_abort'), 0);
});

test('a checksum that stays wrong ends the upload', async () => {
  const scene = new Scene();
  scene.network.before = ({ method }) => {
    const [session] = scene.network.canister.state.sessions.values();
    if (method === 'uploads_finish') session!.chunks.get(2)![0]! ^= 1;
  };
  const failed = scene.page().upload(fileOf(9_999), { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'refused' });
  assert.equal(scene.count('uploads_finish'), 4, 'one, and one after each of three repairs');
});

test('a refused digest is answered with one by the same function', async () => {
  for (const algorithm of ['sha256', 'blake3'] as const) {
    const file = fileOf(100);
    const answer = await new FakeCanister().uploads_put_whole({
      capsule_id: CAPSULE,
      asset_metadata: metadataOf(file, undefined, {}),
      idem: 'key',
      bytes: new Uint8Array(await file.arrayBuffer()),
      digest: new Uint8Array(32),
      hash: algorithm === 'sha256' ? [] : [{ blake3: null }],
    });
    assert.ok('Err' in answer && 'ChecksumMismatch' in answer.Err);
    const got = Uint8Array.from(answer.Err.ChecksumMismatch.got);
    assert.deepEqual(got, Uint8Array.from(await inlineHasher.digest(file, algorithm)));
  }
});

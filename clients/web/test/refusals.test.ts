import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Principal } from '@icp-sdk/core/principal';
import type { Refusal } from '../src/canister.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

/** Refusals that end an upload, and whether the upload can be resumed. */
const FINAL_REFUSALS: Array<[Refusal, boolean]> = [
  [{ Unauthorized: { caller: Principal.anonymous(), needs: 'an identity' } }, true],
  [{ ResourceExhausted: { limit: 'sessions per caller', allowed: 100n, requested: 101n } }, true],
  [{ InvalidArgument: { field: 'name', expected: 'at most 1024 bytes', got: '2000 bytes' } }, false],
  [{ NotFound: { kind: 'capsule', key: CAPSULE } }, false],
];

for (const [refusal, resumable] of FINAL_REFUSALS) {
  test(`${Object.keys(refusal)[0]} ends the upload and is reported`, async () => {
    for (const method of ['uploads_begin', 'uploads_put_chunk', 'uploads_finish', 'uploads_put_whole']) {
      const scene = new Scene();
      scene.network.canister.refusals.set(method, refusal);
      const file = fileOf(method === 'uploads_put_whole' ? 500 : 4_500);
      const failed = scene.page().upload(file, { capsule: CAPSULE });
      await assert.rejects(failed, { name: 'UploadError', code: 'refused', resumable, refusal });
      // Chunks are sent in parallel, so their calls do not show whether one was retried.
      if (method !== 'uploads_put_chunk') assert.equal(scene.count(method), 1);
      assert.equal((await scene.page().unfinished()).length, resumable ? 1 : 0);
      await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
    }
  });
}

test('Internal is retried', async () => {
  for (const method of ['uploads_begin', 'uploads_put_chunk', 'uploads_finish', 'uploads_put_whole']) {
    const scene = new Scene();
    scene.network.canister.refusals.set(method, { Internal: 'temporary' });
    const file = fileOf(method === 'uploads_put_whole' ? 500 : 4_500);
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  }
});

for (const detail of ['has expired; begin the upload again', 'was evicted', 'was aborted']) {
  test(`a session that ${detail} is begun again`, async () => {
    for (const at of ['uploads_put_chunk', 'uploads_finish']) {
      const scene = new Scene();
      let ended = false;
      scene.network.before = ({ method }) => {
        if (method === at && !ended) {
          ended = true;
          scene.network.canister.endAll(detail);
        }
      };
      const file = fileOf(9_999);
      await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
      assert.equal(scene.count('uploads_begin'), 2);
    }
  });
}

test('an upload whose sessions always end is not restarted for ever', async () => {
  const scene = new Scene();
  scene.network.before = ({ method }) => {
    if (method === 'uploads_finish') scene.network.canister.endAll('was evicted');
  };
  const failed = scene.page().upload(fileOf(9_999), { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'refused' });
  assert.equal(scene.count('uploads_begin'), 3);
});

test('a session lost with a snapshot is begun again', async () => {
  const scene = new Scene();
  let lost = false;
  scene.network.before = ({ method }) => {
    if (method === 'uploads_finish' && !lost) {
      lost = true;
      scene.network.canister.state.sessions.clear();
      scene.network.canister.state.keys.clear();
    }
  };
  const file = fileOf(9_999);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('an upload that another tab finishes is finished', async () => {
  const scene = new Scene({ parallel: 1 });
  const file = fileOf(9_999);
  let other: Promise<unknown> | undefined;
  scene.network.before = async ({ method }) => {
    if (method === 'uploads_put_chunk' && !other) {
      await (other = scene.page().upload(file, { capsule: CAPSULE }));
    }
  };
  const result = await scene.page().upload(file, { capsule: CAPSULE });
  await scene.assertStored(result, file);
  assert.deepEqual(await other, result);
  assert.equal(scene.network.canister.state.memories.size, 1);
});

test('an upload sent by two tabs at once gives one memory', async () => {
  const scene = new Scene({ parallel: 1 });
  const file = fileOf(9_999);
  const first = scene.page().upload(file, { capsule: CAPSULE });
  let other: Promise<unknown> | undefined;
  scene.network.before = async ({ method }) => {
    if (method === 'uploads_put_chunk' && !other) {
      other = scene.page().upload(file, { capsule: CAPSULE });
    }
  };
  const result = await first;
  await scene.assertStored(result, file);
  assert.deepEqual(await other, result);
  assert.equal(scene.network.canister.state.memories.size, 1);
});

test('an idempotency key that is in use is replaced by another', async () => {
  for (const bytes of [500, 9_999]) {
    const scene = new Scene();
    const method = bytes === 500 ? 'uploads_put_whole' : 'uploads_begin';
    scene.network.canister.quarantinesFirstKey = true;
    const file = fileOf(bytes);
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
    assert.equal(scene.count(method), 2);
  }
});

test('chunks that the canister lacks are sent again', async () => {
  const scene = new Scene();
  let lost = false;
  scene.network.before = ({ method }) => {
    const [session] = scene.network.canister.state.sessions.values();
    if (method === 'uploads_finish' && !lost) {
      lost = true;
      session!.chunks.delete(3);
      session!.chunks.delete(4);
    }
  };
  const file = fileOf(9_999);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.equal(scene.count('uploads_put_chunk'), 12);
});

test('a status query that does not find the session yet is repeated', async () => {
  // Once, and more often than the query is repeated: then all chunks are sent.
  for (const times of [1, 9]) {
    const scene = new Scene();
    const stop = new AbortController();
    scene.network.before = ({ number }) => {
      if (number === 7) stop.abort();
    };
    const file = fileOf(9_999);
    await assert.rejects(scene.page().upload(file, { capsule: CAPSULE, signal: stop.signal }));
    let lags = times;
    scene.network.before = ({ method }) => {
      if (method === 'uploads_status' && lags > 0) {
        lags -= 1;
        scene.network.canister.refusals.set(method, { NotFound: { kind: 'session', key: '1' } });
      }
    };
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  }
});

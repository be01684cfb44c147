import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Progress } from '../src/progress.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

test('an abort ends the upload with its reason at any call', async () => {
  // The upload takes 13 calls.
  for (let after = 0; after <= 12; after += 1) {
    const scene = new Scene({ parallel: 2 });
    const stop = new AbortController();
    let callsThen = 0;
    scene.network.before = ({ number }) => {
      if (number === after) {
        callsThen = scene.network.calls.length;
        stop.abort();
      }
    };
    const upload = scene.page().upload(fileOf(9_999), { capsule: CAPSULE, signal: stop.signal });
    await assert.rejects(upload, { name: 'AbortError' });
    await scene.network.idle();
    assert.equal(scene.network.calls.length, callsThen, `calls after the abort at ${after}`);
  }
});

test('an abort ends the wait for a retry immediately', async () => {
  const scene = new Scene();
  const stop = new AbortController();
  scene.network.fault = () => ({ status: 503 });
  scene.clock.holds = true;
  const onProgress = ({ retry }: Progress) => retry && setImmediate(() => stop.abort(new Error('enough')));
  const upload = scene.page().upload(fileOf(9_999), { capsule: CAPSULE, signal: stop.signal, onProgress });
  await assert.rejects(upload, { message: 'enough' });
  assert.equal(scene.network.calls.length, 1);
});

test('with an aborted signal nothing begins', async () => {
  const scene = new Scene();
  const upload = scene.page().upload(fileOf(9_999), { capsule: CAPSULE, signal: AbortSignal.abort() });
  await assert.rejects(upload, { name: 'AbortError' });
  assert.deepEqual(scene.network.calls, []);
});

test('an abort of one upload does not affect the others', async () => {
  const scene = new Scene({ parallel: 2 });
  const page = scene.page();
  const stop = new AbortController();
  scene.network.before = ({ number }) => {
    if (number === 8) stop.abort();
  };
  const kept = fileOf(9_999, 2);
  const aborted = page.upload(fileOf(9_999, 1), { capsule: CAPSULE, signal: stop.signal });
  const upload = page.upload(kept, { capsule: CAPSULE });
  await assert.rejects(aborted, { name: 'AbortError' });
  await scene.assertStored(await upload, kept);
});

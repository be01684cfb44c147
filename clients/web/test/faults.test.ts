import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Progress } from '../src/progress.js';
import { idlFactory as direct } from './declarations/direct.did.js';
import { idlFactory as staged } from './declarations/staged.did.js';
import type { Call, Fault } from './support/network.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

/** A fault that affects the first call of every function, and no other call. */
function firstOfEach(fault: Fault): (call: Call) => Fault | undefined {
  const seen = new Set<string>();
  return ({ method }) => {
    if (seen.has(method)) return undefined;
    seen.add(method);
    return fault;
  };
}

const FAULTS: Fault[] = [
  'lose-request',
  'lose-reply',
  { status: 429 },
  { status: 503 },
  { reject: 5, errorCode: 'IC0508' },
  { reject: 5, errorCode: 'IC0509' },
  { reject: 2, errorCode: 'IC0207' },
  { reject: 5, errorCode: 'IC0503' },
];

for (const fault of FAULTS) {
  test(`${JSON.stringify(fault)} at each function does not stop an upload`, async () => {
    for (const bytes of [500, 4_500]) {
      const scene = new Scene();
      scene.network.fault = firstOfEach(fault);
      const file = fileOf(bytes);
      await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
      assert.equal(scene.network.canister.state.memories.size, 1, 'one file, one memory');
    }
  });
}

test('a call that is never answered is made again', async () => {
  const scene = new Scene();
  scene.network.fault = firstOfEach('silence');
  const file = fileOf(4_500);
  scene.network.silent = () => scene.clock.expireCalls();
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('chunks that arrive late do no harm', async () => {
  const scene = new Scene();
  scene.network.fault = ({ method, number }) => (method === 'uploads_put_chunk' && number % 2 ? 'late' : undefined);
  scene.network.before = async ({ method }) => {
    if (method === 'uploads_finish') await scene.network.deliverLate();
  };
  const file = fileOf(9_999);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('a canister that traps once after it was stopped does not stop an upload', async () => {
  const scene = new Scene({ parallel: 1 });
  scene.network.fault = ({ number }) => {
    if (number > 2 && number < 9) return { reject: 5, errorCode: 'IC0508' };
    return number === 9 ? { reject: 5, errorCode: 'IC0503' } : undefined;
  };
  const file = fileOf(4_500);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('calls wait for a stopped canister, and progress reports it', async () => {
  const scene = new Scene();
  scene.network.fault = ({ number }) => (number > 2 && number < 12 ? { reject: 5, errorCode: 'IC0508' } : undefined);
  const waits: Progress[] = [];
  const onProgress = (progress: Progress) => progress.retry && waits.push(progress);
  const file = fileOf(4_500);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE, onProgress }), file);
  assert.ok(waits.length > 3);
  assert.ok(waits.every(({ phase, total }) => phase === 'uploading' && total === 4_500));
});

test('upgrades between two calls are not noticed', async () => {
  const scene = new Scene({ parallel: 1 });
  scene.network.before = ({ number }) => {
    if (number === 4 || number === 8) {
      scene.network.canister = scene.network.canister.upgraded();
      scene.network.served = number === 4 ? staged : direct;
    }
  };
  const file = fileOf(9_999);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.equal(scene.count('uploads_begin'), 1);
  assert.equal(scene.count('uploads_put_chunk'), 10);
});

test('the time limit ends a call, and a later call continues', async () => {
  const scene = new Scene();
  scene.network.fault = ({ number }) => (number > 4 ? { status: 503 } : undefined);
  const file = fileOf(9_999);
  const failed = scene.page().upload(file, { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'unreachable', resumable: true });
  assert.ok(scene.clock.now() > 60_000, `${scene.clock.now()} ms`);
  scene.network.fault = () => undefined;
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.equal(scene.network.canister.state.nextId, 2n, 'one session');
});

test('errors that would recur are not retried', async () => {
  for (const fault of [{ reject: 3, errorCode: 'IC0301' }, { reject: 5, errorCode: 'IC0536' }, { status: 403 }]) {
    const scene = new Scene();
    scene.network.fault = ({ method }) => (method === 'uploads_begin' ? fault : undefined);
    const failed = scene.page().upload(fileOf(4_500), { capsule: CAPSULE });
    await assert.rejects(failed, { name: 'UploadError', code: 'rejected', resumable: true });
    assert.equal(scene.count('uploads_begin'), 1);
  }
});

test('a trap is tried three times', async () => {
  const scene = new Scene();
  scene.network.fault = ({ method }) => (method === 'uploads_begin' ? { reject: 5, errorCode: 'IC0503' } : undefined);
  await assert.rejects(scene.page().upload(fileOf(4_500), { capsule: CAPSULE }), { code: 'rejected' });
  assert.equal(scene.count('uploads_begin'), 3);
});

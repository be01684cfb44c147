import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Progress } from '../src/progress.js';
import { realTiming } from '../src/retry.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

test('a small file takes one update call', async () => {
  const scene = new Scene();
  const file = fileOf(1_000);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.deepEqual(scene.network.calls, ['upload_config', 'uploads_put_whole']);
});

test('an empty file can be uploaded', async () => {
  const scene = new Scene();
  const file = fileOf(0);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('a large file is begun, sent in chunks and finished', async () => {
  const scene = new Scene();
  const file = fileOf(4_500);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  const puts = Array.from({ length: 5 }, () => 'uploads_put_chunk');
  assert.deepEqual(scene.network.calls, ['upload_config', 'uploads_begin', ...puts, 'uploads_finish']);
});

test('a file can be verified with BLAKE3', async () => {
  const scene = new Scene();
  for (const bytes of [700, 4_500]) {
    const file = fileOf(bytes);
    const result = await scene.page().upload(file, { capsule: CAPSULE, hash: 'blake3' });
    await scene.assertStored(result, file);
    assert.equal(result.checksum_blake3.length, 1);
  }
});

test('a finish that takes several calls is called until it is done', async () => {
  const scene = new Scene();
  scene.network.canister.hashPerCall = 2;
  const file = fileOf(7_000);
  const phases: Progress[] = [];
  const onProgress = (progress: Progress) => phases.push(progress);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE, onProgress }), file);
  assert.equal(scene.count('uploads_finish'), 4);
  const verifying = phases.filter(({ phase }) => phase === 'verifying').map(({ loaded }) => loaded);
  assert.deepEqual(verifying, [0, 2_000, 4_000, 6_000]);
});

test('a canister that does not continue hashing is abandoned', async () => {
  const scene = new Scene();
  scene.network.canister.hashPerCall = 0;
  const failed = scene.page().upload(fileOf(3_000), { capsule: CAPSULE });
  await assert.rejects(failed, { name: 'UploadError', code: 'inconsistent', resumable: true });
});

test('progress runs from zero to the size of the file', async () => {
  const scene = new Scene();
  const seen: Progress[] = [];
  const onProgress = (progress: Progress) => seen.push(progress);
  await scene.page().upload(fileOf(4_500), { capsule: CAPSULE, onProgress });
  const uploading = seen.filter(({ phase }) => phase === 'uploading').map(({ loaded }) => loaded);
  assert.equal(uploading[0], 0);
  assert.equal(uploading.at(-1), 4_500);
  assert.deepEqual(uploading, [...uploading].sort((a, b) => a - b));
  assert.deepEqual(seen.at(-1), { phase: 'done', loaded: 4_500, total: 4_500 });
});

test('no record remains of a finished upload', async () => {
  const scene = new Scene();
  await scene.page().upload(fileOf(4_500), { capsule: CAPSULE });
  assert.deepEqual(await scene.page().unfinished(), []);
});

test('the date of a file may be any date', async (t) => {
  const dates: Array<[number, bigint]> = [
    [-2_082_844_800_000, 0n],
    [1.5, 1_000_000n],
    [Number.NaN, 0n],
    [8.64e15, 18_446_744_073_709_000_000n],
  ];
  for (const [lastModified, expected] of dates) {
    const scene = new Scene();
    const file = Object.assign(new Blob(['abc']), { name: 'dated', lastModified });
    const put = t.mock.method(scene.network.canister, 'uploads_put_whole');
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
    const { asset_metadata } = put.mock.calls[0]!.arguments[0]!;
    assert.equal(Object.values(asset_metadata)[0].base.created_at, expected, `${lastModified}`);
  }
});

test('settings and options that are undefined have their defaults', async () => {
  const scene = new Scene({ parallel: undefined, patienceMs: undefined, callTimeoutMs: undefined });
  const file = fileOf(9_999);
  const absent = { name: undefined, tags: undefined, hash: undefined, signal: undefined, onProgress: undefined };
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE, ...absent }), file);
  assert.equal(scene.network.mostInFlight.get('uploads_put_chunk'), 4);
  scene.network.fault = () => ({ status: 503 });
  const failed = scene.page().upload(file, { capsule: CAPSULE });
  await assert.rejects(failed, { code: 'unreachable', message: /within (5\d\d|600) s/ });
});

test('the time limit of a call may be infinite', async () => {
  const waits = [Infinity, 2 ** 40, 20].map((ms) => {
    const stop = new AbortController();
    const wait = realTiming.sleep(ms, stop.signal).then(() => 'ended', () => 'waiting');
    setTimeout(() => stop.abort(), 200);
    return wait;
  });
  assert.deepEqual(await Promise.all(waits), ['waiting', 'waiting', 'ended']);
});

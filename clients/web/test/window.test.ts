import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Window } from '../src/window.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

test('concurrent uploads share one window', async () => {
  const scene = new Scene({ parallel: 5 });
  const page = scene.page();
  const files = [1, 2, 3].map((seed) => fileOf(20_000 + seed, seed));
  const results = await Promise.all(files.map((file) => page.upload(file, { capsule: CAPSULE })));
  assert.equal(scene.network.mostInFlight.get('uploads_put_chunk'), 5);
  for (const [index, file] of files.entries()) {
    await scene.assertStored(results[index]!, file);
  }
});

test('simultaneous uploads all progress', async () => {
  const scene = new Scene({ parallel: 2 });
  const page = scene.page();
  const ends: number[] = [];
  const upload = async (seed: number) => {
    await page.upload(fileOf(20_000, seed), { capsule: CAPSULE });
    ends.push(scene.network.calls.length);
  };
  await Promise.all([upload(1), upload(2)]);
  const [first, second] = ends as [number, number];
  assert.ok(second - first < 10, `the second ended ${second - first} calls after the first`);
});

test('a slot is free again when its work fails', async () => {
  const window = new Window(1);
  const { signal } = new AbortController();
  await assert.rejects(window.run(signal, () => Promise.reject(new Error('no'))));
  assert.equal(await window.run(signal, async () => 'yes'), 'yes');
});

test('an upload aborted while waiting for a slot leaves the queue', async () => {
  const window = new Window(1);
  const stop = new AbortController();
  const { signal } = new AbortController();
  let leave = () => {};
  const first = window.run(signal, () => new Promise<void>((resolve) => (leave = resolve)));
  const second = window.run(stop.signal, async () => 'never');
  const third = window.run(signal, async () => 'third');
  stop.abort(new Error('stop'));
  await assert.rejects(second, { message: 'stop' });
  leave();
  await first;
  assert.equal(await third, 'third');
});

test('a window without slots is refused', () => {
  assert.throws(() => new Window(0), RangeError);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { bytesToHex } from '@noble/hashes/utils.js';
import { inlineHasher } from '../src/hash/hasher.js';
import type { Port, Reply, Request } from '../src/hash/protocol.js';
import { serveHasher } from '../src/hash/serve.js';
import { startingHasher, workerHasher } from '../src/hash/worker-hasher.js';
import { fileOf } from './support/scene.js';

/** A hasher on one end of a channel; the other end is served as a worker does. */
function overChannel() {
  const { port1, port2 } = new MessageChannel();
  serveHasher(port2 as unknown as Port<Reply, Request>);
  return { hasher: workerHasher(port1 as unknown as Port<Request, Reply>), close: () => port1.close() };
}

test('SHA-256 is that of the platform', async () => {
  const file = fileOf(200_001);
  const expected = createHash('sha256').update(Buffer.from(await file.arrayBuffer())).digest('hex');
  assert.equal(bytesToHex(await inlineHasher.digest(file, 'sha256')), expected);
});

test('BLAKE3 is that of its test vectors', async () => {
  // Official vectors: the input is 0, 1, …, 250, 0, 1, …
  const vectors: Array<[number, string]> = [
    [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  ];
  for (const [bytes, digest] of vectors) {
    const input = Uint8Array.from({ length: bytes }, (_, index) => index % 251);
    assert.equal(bytesToHex(await inlineHasher.digest(new Blob([input]), 'blake3')), digest);
  }
});

test('a worker computes the same digest, and reports its progress', async () => {
  const { hasher, close } = overChannel();
  const files = [fileOf(9_000_001, 1), fileOf(10, 2)];
  const seen: number[] = [];
  const digests = await Promise.all([
    hasher.digest(files[0]!, 'sha256', { onProgress: (hashed) => seen.push(hashed) }),
    hasher.digest(files[1]!, 'blake3'),
  ]);
  assert.equal(bytesToHex(digests[0]!), bytesToHex(await inlineHasher.digest(files[0]!, 'sha256')));
  assert.equal(bytesToHex(digests[1]!), bytesToHex(await inlineHasher.digest(files[1]!, 'blake3')));
  assert.ok(seen.length > 0 && seen.every((hashed, index) => hashed > (seen[index - 1] ?? 0)), `${seen}`);
  close();
});

test('an abort stops the worker', async () => {
  const { hasher, close } = overChannel();
  const stop = new AbortController();
  const onProgress = () => stop.abort();
  const hashed = hasher.digest(fileOf(9_000_001), 'sha256', { signal: stop.signal, onProgress });
  await assert.rejects(hashed, { name: 'AbortError' });
  assert.equal((await hasher.digest(fileOf(1), 'sha256')).length, 32);
  close();
});

test('a worker that cannot be loaded is an error', async () => {
  const worker = new EventTarget();
  const hasher = workerHasher(Object.assign(worker, { postMessage: () => {} }) as unknown as Port<Request, Reply>);
  const asked = hasher.digest(fileOf(1), 'sha256');
  worker.dispatchEvent(new Event('error'));
  await assert.rejects(asked, /could not be loaded/);
  await assert.rejects(hasher.digest(fileOf(1), 'sha256'), /could not be loaded/);
});

test('a file that a worker cannot read is an error with its name', async () => {
  const { port1, port2 } = new MessageChannel();
  // A file with an unreadable stream cannot be sent over a channel of Node.js, so this worker just answers with the
  // error.
  port2.on('message', ({ id }) => port2.postMessage({ kind: 'failed', id, name: 'NotReadableError', message: 'gone' }));
  const hasher = workerHasher(port1 as unknown as Port<Request, Reply>);
  await assert.rejects(hasher.digest(fileOf(1), 'sha256'), { name: 'NotReadableError', message: 'gone' });
  port1.close();
});

test('a file that this thread cannot read is an error with the same name', async () => {
  const file = fileOf(10);
  // Chromium reports a file that has changed on disk like this.
  file.stream = () => new ReadableStream({ pull: () => Promise.reject(new TypeError('network error')) });
  await assert.rejects(inlineHasher.digest(file, 'sha256'), { name: 'NotReadableError', message: /network error/ });
});

/** A hasher that starts workers, each on a channel; the workers that run, and the number of all that were started. */
function overWorkers(idleMs: number) {
  const running = new Set<EventTarget>();
  const workers = { running, started: 0, fails: false };
  const start = () => {
    const { port1, port2 } = new MessageChannel();
    serveHasher(port2 as unknown as Port<Reply, Request>);
    workers.started += 1;
    const worker: EventTarget = Object.assign(port1 as unknown as EventTarget, {
      terminate: () => (port1.close(), running.delete(worker)),
    });
    running.add(worker);
    if (workers.fails) setImmediate(() => worker.dispatchEvent(new Event('error')));
    return worker as unknown as ReturnType<Parameters<typeof startingHasher>[0]>;
  };
  return { workers, hasher: startingHasher(start, idleMs) };
}

test('a worker starts with the first digest, and ends when it is idle', async () => {
  const { workers, hasher } = overWorkers(50);
  assert.equal(workers.started, 0);
  for (let round = 1; round <= 2; round += 1) {
    await Promise.all([1, 2, 3].map((seed) => hasher.digest(fileOf(1_000, seed), 'sha256')));
    await hasher.digest(fileOf(1_000), 'sha256');
    assert.equal(workers.running.size, 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(workers.running.size, 0, 'the idle worker runs');
    assert.equal(workers.started, round);
  }
});

test('after a worker that failed, the next digest starts another', async () => {
  const { workers, hasher } = overWorkers(10);
  workers.fails = true;
  // The network is down while the page loads its worker.
  await assert.rejects(hasher.digest(fileOf(40_000_000), 'sha256'), /could not be loaded/);
  workers.fails = false;
  assert.equal((await hasher.digest(fileOf(1), 'sha256')).length, 32);
  assert.equal(workers.started, 2);
});

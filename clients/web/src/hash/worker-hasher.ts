// The page's side: a hasher that delegates the work to a worker.

import type { Hasher } from './hasher.js';
import type { Port, Reply, Request } from './protocol.js';

interface Pending {
  resolve(digest: Uint8Array): void;
  reject(error: unknown): void;
  onProgress: ((hashed: number) => void) | undefined;
}

/** A worker that `workerHasher` has started itself ends after this time without a digest. */
const IDLE_MS = 10_000;

/** A port to a worker that can be ended. */
type Startable = Port<Request, Reply> & { terminate(): void };

/**
 * A hasher in a worker. It starts the worker with the first digest and ends it when it is idle. Bundlers that know
 * `new URL(…, import.meta.url)` find the worker by themselves. With other bundlers, start `upload-client/worker` as a
 * module worker, and pass it: it is used as long as the hasher, and never ended.
 */
export function workerHasher(worker?: Port<Request, Reply>): Hasher {
  return worker === undefined ? startingHasher(startWorker, IDLE_MS) : hasherOn(worker);
}

/** Starts a worker whenever a digest is requested and none runs: after an idle time, or after one has failed. */
export function startingHasher(start: () => Startable, idleMs: number): Hasher {
  let running: { worker: Startable; hasher: Hasher } | undefined;
  let digests = 0;
  let idle: ReturnType<typeof setTimeout> | undefined;

  const end = () => {
    running?.worker.terminate();
    running = undefined;
  };
  const started = () => {
    const worker = start();
    worker.addEventListener('error', () => running?.worker === worker && end());
    return { worker, hasher: hasherOn(worker) };
  };

  return {
    async digest(data, algorithm, options) {
      clearTimeout(idle);
      digests += 1;
      try {
        running ??= started();
        return await running.hasher.digest(data, algorithm, options);
      } finally {
        digests -= 1;
        if (digests === 0 && running !== undefined) {
          clearTimeout(idle);
          idle = setTimeout(end, idleMs);
        }
      }
    },
  };
}

function hasherOn(worker: Port<Request, Reply>): Hasher {
  const pending = new Map<number, Pending>();
  let last = 0;

  worker.addEventListener('message', ({ data: reply }) => {
    const request = pending.get(reply.id);
    if (request === undefined) {
      return;
    }
    if (reply.kind === 'progress') {
      request.onProgress?.(reply.hashed);
      return;
    }
    pending.delete(reply.id);
    if (reply.kind === 'digest') {
      request.resolve(reply.digest);
    } else {
      // The error keeps its name: `NotReadableError` if the file has changed on disk.
      request.reject(Object.assign(new Error(reply.message), { name: reply.name }));
    }
  });
  // A worker reports this error once, possibly before the first digest is requested.
  let broken: Error | undefined;
  worker.addEventListener('error', ({ message }) => {
    broken = new Error(`the worker that computes digests failed: ${message ?? 'it could not be loaded'}`);
    for (const [id, { reject }] of pending) {
      pending.delete(id);
      reject(broken);
    }
  });

  return {
    digest: (data, algorithm, { signal, onProgress } = {}) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        if (broken !== undefined) throw broken;
        const id = (last += 1);
        const stop = () => {
          pending.delete(id);
          worker.postMessage({ kind: 'abort', id });
          reject(signal?.reason);
        };
        const stopListening = () => signal?.removeEventListener('abort', stop);
        pending.set(id, {
          resolve: (digest) => (stopListening(), resolve(digest)),
          reject: (error) => (stopListening(), reject(error)),
          onProgress,
        });
        signal?.addEventListener('abort', stop, { once: true });
        worker.postMessage({ kind: 'digest', id, data, algorithm });
      }),
  };
}

function startWorker(): Worker {
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
}

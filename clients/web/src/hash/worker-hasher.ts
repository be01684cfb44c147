// The page's side: a hasher that delegates the work to a worker.

import type { Hasher } from './hasher.js';
import type { Port, Reply, Request } from './protocol.js';

interface Pending {
  resolve(digest: Uint8Array): void;
  reject(error: unknown): void;
  onProgress: ((hashed: number) => void) | undefined;
}

/**
 * A hasher in a worker. Bundlers that know `new URL(…, import.meta.url)` find the worker by themselves. With other
 * bundlers, start `upload-client/worker` as a module worker, and pass it.
 */
export function workerHasher(worker: Port<Request, Reply> = startWorker()): Hasher {
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

function startWorker(): Port<Request, Reply> {
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
}

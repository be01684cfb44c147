// The worker's side: computes the digests that the page requests.

import { inlineHasher } from './hasher.js';
import type { Port, Reply, Request } from './protocol.js';

/** Minimum number of bytes hashed between two progress reports. */
const REPORT_BYTES = 4_000_000;

export function serveHasher(port: Port<Reply, Request>): void {
  const running = new Map<number, AbortController>();

  const digest = async ({ id, data, algorithm }: Extract<Request, { kind: 'digest' }>) => {
    const abort = new AbortController();
    running.set(id, abort);
    let reported = 0;
    const onProgress = (hashed: number) => {
      if (hashed - reported >= REPORT_BYTES) {
        reported = hashed;
        port.postMessage({ kind: 'progress', id, hashed });
      }
    };
    try {
      const digest = await inlineHasher.digest(data, algorithm, { signal: abort.signal, onProgress });
      port.postMessage({ kind: 'digest', id, digest });
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      port.postMessage({ kind: 'failed', id, name, message });
    } finally {
      running.delete(id);
    }
  };

  port.addEventListener('message', ({ data: request }) => {
    if (request.kind === 'digest') {
      void digest(request);
    } else {
      running.get(request.id)?.abort();
    }
  });
}

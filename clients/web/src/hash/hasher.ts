// The digest of a file, which is read in parts and never entirely in memory.

import { blake3 } from '@noble/hashes/blake3.js';
import { sha256 } from '@noble/hashes/sha2.js';

export type HashAlgorithm = 'sha256' | 'blake3';

export interface HashOptions {
  signal?: AbortSignal;
  /** Called with the number of bytes hashed so far. */
  onProgress?: (hashed: number) => void;
}

/** Computes digests: in a worker, in this thread, or with another library. */
export interface Hasher {
  digest(data: Blob, algorithm: HashAlgorithm, options?: HashOptions): Promise<Uint8Array>;
}

const ALGORITHMS = { sha256, blake3 };

/** A hasher that works in this thread. In a page it blocks the user interface; see `workerHasher`. */
export const inlineHasher: Hasher = {
  async digest(data, algorithm, { signal, onProgress } = {}) {
    const hash = ALGORITHMS[algorithm].create();
    const reader = data.stream().getReader();
    let hashed = 0;
    try {
      for (;;) {
        signal?.throwIfAborted();
        const { done, value } = await reader.read().catch((cause: unknown) => {
          // Chromium reports a file that has changed or is gone as `TypeError: network error`.
          throw new DOMException(String(cause), 'NotReadableError');
        });
        if (done) {
          return hash.digest();
        }
        hash.update(value);
        hashed += value.length;
        onProgress?.(hashed);
      }
    } finally {
      reader.releaseLock();
    }
  },
};

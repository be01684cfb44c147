// The positions of the chunks in a file.

import type { ChunkRange } from './canister.js';

export class Chunks {
  readonly count: number;

  constructor(
    readonly bytes: number,
    readonly size: number,
  ) {
    this.count = Math.ceil(bytes / size);
  }

  all(): number[] {
    return Array.from({ length: this.count }, (_, index) => index);
  }

  /** The bytes of chunk `index`, not read yet. */
  of(file: Blob, index: number): Blob {
    return file.slice(index * this.size, Math.min((index + 1) * this.size, this.bytes));
  }

  /** The number of bytes in these chunks, which may include the shorter last one. */
  bytesOf(indexes: Iterable<number>): number {
    let bytes = 0;
    for (const index of indexes) {
      bytes += Math.min(this.size, this.bytes - index * this.size);
    }
    return bytes;
  }
}

/** The numbers of the chunks in these ranges, both ends included. */
export function indexesOf(ranges: readonly ChunkRange[]): number[] {
  return ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
}

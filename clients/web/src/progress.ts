// Progress of an upload, as reported to the application.

import type { Retry } from './retry.js';

export type Phase =
  /** The digest of the file is computed. */
  | 'hashing'
  /** Chunks are being sent. */
  | 'uploading'
  /** The canister hashes the stored bytes. */
  | 'verifying'
  /** Stored chunks that differ from the file are searched for; afterwards they are uploaded again. */
  | 'repairing'
  | 'done';

export interface Progress {
  phase: Phase;
  /** Number of bytes processed in this phase. */
  loaded: number;
  /** Bytes of the file. */
  total: number;
  /** Present while a call is waiting to be retried. */
  retry?: Retry;
}

export class Reporter {
  private phase: Phase = 'hashing';
  private loaded = 0;

  constructor(
    private readonly total: number,
    private readonly tell: (progress: Progress) => void,
  ) {}

  at(phase: Phase, loaded: number): void {
    this.phase = phase;
    this.loaded = loaded;
    this.tell({ phase, loaded, total: this.total });
  }

  waiting(retry: Retry): void {
    this.tell({ phase: this.phase, loaded: this.loaded, total: this.total, retry });
  }
}

// What an upload fails with. An abort is not among them: it throws the reason of the caller's signal.

import type { Refusal } from './canister.js';

export type UploadErrorCode =
  /** The canister refuses the upload: `refusal` says why. */
  | 'refused'
  /** The network rejects the call, and trying again would not help. */
  | 'rejected'
  /** It was tried until the patience ran out. */
  | 'unreachable'
  /** The file is another than at the beginning, or cannot be read any more. */
  | 'file-changed'
  /** The canister contradicts itself. */
  | 'inconsistent';

interface Details {
  /** Whether the same call of `upload` later goes on where this one ended. */
  resumable: boolean;
  refusal?: Refusal | undefined;
  cause?: unknown;
}

export class UploadError extends Error {
  override readonly name = 'UploadError';
  readonly resumable: boolean;
  readonly refusal: Refusal | undefined;

  constructor(
    readonly code: UploadErrorCode,
    message: string,
    { resumable, refusal, cause }: Details,
  ) {
    super(message, { cause });
    this.resumable = resumable;
    this.refusal = refusal;
  }
}

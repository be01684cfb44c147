// The errors with which an upload fails. An abort is not one of them: it throws the reason of the caller's signal.

import type { Refusal } from './canister.js';

export type UploadErrorCode =
  /** The canister refuses the upload: `refusal` has the reason. */
  | 'refused'
  /** The network rejects the call, and retrying would not help. */
  | 'rejected'
  /** The call was retried until `patienceMs` had passed. */
  | 'unreachable'
  /** The file has changed during the upload, or can no longer be read. */
  | 'file-changed'
  /** The canister's answers contradict each other. */
  | 'inconsistent';

interface Details {
  /** Whether a later call of `upload` would resume where this one ended. */
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

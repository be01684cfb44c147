// The errors with which an upload fails. An abort throws the reason of the caller's signal instead.

import type { Refusal } from './canister.js';

export type UploadErrorCode =
  /** The canister refuses the upload: `refusal` has the reason. */
  | 'refused'
  /** The network or the agent rejects the call, and no further retry is made. */
  | 'rejected'
  /** The call was retried for `patienceMs`, without success. */
  | 'unreachable'
  /** The file has changed during the upload, or can no longer be read. */
  | 'file-changed'
  /** The canister's answers contradict each other, or repeated calls make no progress. */
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

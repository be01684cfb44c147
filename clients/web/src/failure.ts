// The error with which an upload fails, from the error of a step.

import { RefusedError } from './canister.js';
import { UploadError } from './errors.js';
import { isAgentError } from './verdict.js';

/**
 * Refusals whose cause may go away, so that the upload can be resumed: bytes are freed, rights are granted, faults
 * are fixed.
 */
const RESUMABLE = ['Unauthorized', 'ResourceExhausted', 'Internal'];

export function failure(error: unknown): unknown {
  if (error instanceof RefusedError) {
    const { refusal, message } = error;
    const resumable = RESUMABLE.some((kind) => kind in refusal);
    return new UploadError('refused', message, { resumable, refusal, cause: error });
  }
  if (isAgentError(error)) {
    return new UploadError('rejected', String(error), { resumable: true, cause: error });
  }
  return error;
}

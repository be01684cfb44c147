// The session of an upload: finds or begins it, and begins another if it has ended.

import type { UploadFinishResult } from './canister.js';
import { SessionEnded } from './ended.js';
import { finish } from './finish.js';
import { transfer } from './transfer.js';
import { ask, hashArgument, refused, renewIdempotencyKey, type Upload } from './upload.js';

/** Maximum number of times that an upload is begun again because its session has ended. */
const RESTARTS = 2;

export async function uploadInChunks(upload: Upload): Promise<UploadFinishResult> {
  for (let restarts = 0; ; restarts += 1) {
    const before = upload.record.session;
    const session = await begin(upload);
    try {
      return await transfer(upload, session, upload.resumed || restarts > 0);
    } catch (error) {
      if (!(error instanceof SessionEnded)) {
        throw error;
      }
      // Another tab, or a call whose reply was lost, may have finished the upload.
      const outcome = await finish(upload, session).catch((again: unknown) => {
        if (again instanceof SessionEnded) {
          return undefined;
        }
        throw again;
      });
      if (outcome !== undefined && 'result' in outcome) {
        return outcome.result;
      }
      if (restarts >= RESTARTS) {
        throw error.cause;
      }
      // The repeated begin has returned the same ended session: only a new idempotency key gives another.
      if (restarts > 0 && session === before) {
        await renewIdempotencyKey(upload);
      }
    }
  }
}

/**
 * The session of this upload: the one that was begun before with the same idempotency key, or a new one. The record
 * with this key is stored before the call, so that the session is found again however the call ends.
 */
async function begin(upload: Upload): Promise<bigint> {
  try {
    return await callBegin(upload);
  } catch (error) {
    // The idempotency key was used with other metadata, or belongs to a session that the migration has quarantined.
    if (!refused(error, 'Conflict')) {
      throw error;
    }
  }
  await renewIdempotencyKey(upload);
  return callBegin(upload);
}

async function callBegin(upload: Upload): Promise<bigint> {
  const { record, store } = upload;
  record.session = await sessionOf(upload);
  await store.put(record);
  return record.session;
}

/** The session of a record: the canister begins it, or returns the one that it has begun before. */
export function sessionOf({
  canister,
  caller,
  chunks,
  record,
}: Pick<Upload, 'canister' | 'caller' | 'chunks' | 'record'>): Promise<bigint> {
  const { capsule, metadata, idem } = record;
  return ask(caller, 'uploads_begin', () =>
    canister.uploads_begin(capsule, metadata, chunks.count, idem, hashArgument(record)),
  );
}

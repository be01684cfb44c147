// Sends the chunks of a file that are missing, until the canister has finished the upload.

import { indexesOf } from './chunks.js';
import { sessionEnded } from './ended.js';
import { UploadError } from './errors.js';
import { finish } from './finish.js';
import type { UploadFinishResult } from './canister.js';
import { differingChunks } from './repair.js';
import { ask, read, refused, type Upload } from './upload.js';

/** Maximum number of times that differing chunks are searched for and sent again. */
const REPAIRS = 3;

/** Maximum number of retries after `NotFound`: the replica that answers a query may not have the session yet. */
const LAGS = 3;
const LAG_MS = 1_000;

/** `mayHaveChunks`: whether chunks of the session may have arrived before. */
export async function transfer(upload: Upload, session: bigint, mayHaveChunks: boolean): Promise<UploadFinishResult> {
  let send = mayHaveChunks ? await missing(upload, session) : upload.chunks.all();
  let leftBefore = Infinity;
  for (let repairs = 0; ; ) {
    await putAll(upload, session, send);
    const outcome = await finish(upload, session);
    if ('result' in outcome) {
      return outcome.result;
    }
    if ('mismatch' in outcome) {
      if (repairs >= REPAIRS) {
        throw outcome.mismatch;
      }
      repairs += 1;
      send = await differingChunks(upload, session);
    } else {
      if (outcome.count >= leftBefore) {
        const message = `${outcome.count} chunks of session ${session} are missing, however often they are sent`;
        throw new UploadError('inconsistent', message, { resumable: true });
      }
      leftBefore = outcome.count;
      send = indexesOf(outcome.missing);
    }
  }
}

/**
 * The chunks that have not arrived; all chunks if the status query does not find the session. Chunks that arrive in the
 * meantime are sent twice, which is not an error.
 */
async function missing(upload: Upload, session: bigint): Promise<number[]> {
  const { canister, caller } = upload;
  for (let lags = 0; ; lags += 1) {
    try {
      const status = await ask(caller, 'uploads_status', () => canister.uploads_status(session));
      return indexesOf(status.missing);
    } catch (error) {
      if (!refused(error, 'NotFound')) {
        throw sessionEnded(error, session) ?? error;
      }
      // The session exists, since `uploads_begin` has just returned it.
      if (lags >= LAGS) {
        return upload.chunks.all();
      }
      await caller.pause(LAG_MS);
    }
  }
}

/** Sends these chunks, as many in parallel as the window allows. */
async function putAll(upload: Upload, session: bigint, indexes: number[]): Promise<void> {
  const { window, chunks, report, file, canister } = upload;
  const stop = new AbortController();
  const signal = AbortSignal.any([upload.signal, stop.signal]);
  const caller = upload.caller.under(signal);
  let stored = chunks.bytes - chunks.bytesOf(indexes);
  report.at('uploading', stored);

  const put = async (index: number) => {
    const bytes = await read(chunks.of(file, index));
    try {
      await ask(caller, 'uploads_put_chunk', () => canister.uploads_put_chunk(session, index, bytes, []));
    } catch (error) {
      // Different bytes were stored earlier. After a failed finish, the wrong chunks are found and may be replaced.
      if (refused(error, 'Conflict')?.kind !== 'chunk') {
        throw sessionEnded(error, session) ?? error;
      }
    }
    stored += bytes.length;
    report.at('uploading', stored);
  };

  // A lane sends one chunk after the other, and takes the next only once the previous is stored. So an upload does not
  // queue all its chunks at the window, and concurrent uploads share it.
  const queue = indexes.values();
  const lane = async () => {
    for (const index of queue) {
      await window.run(signal, () => put(index));
    }
  };
  const lanes = Array.from({ length: Math.min(window.size, indexes.length) }, lane);
  try {
    await Promise.all(lanes);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(lanes);
    throw error;
  }
}

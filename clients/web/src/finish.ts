// Finishing a session, and the reasons why it may not be possible yet.

import type { ChunkRange, UploadFinishResult } from './canister.js';
import { UploadError } from './errors.js';
import { sessionEnded } from './ended.js';
import { ask, refused, type Upload } from './upload.js';

export type Outcome =
  | { result: UploadFinishResult }
  /** `count` chunks have not arrived; `missing` has the first ranges of them. */
  | { missing: ChunkRange[]; count: number }
  /** The stored bytes differ from the file's. */
  | { mismatch: unknown };

export async function finish(upload: Upload, session: bigint): Promise<Outcome> {
  const { canister, caller, chunks, record, report } = upload;
  // Before the first answer, any number is progress.
  let hashed = -1n;
  for (;;) {
    report.at('verifying', Math.max(Number(hashed), 0));
    try {
      const result = await ask(caller, 'uploads_finish', () =>
        canister.uploads_finish(session, record.digest, BigInt(chunks.bytes)),
      );
      return { result };
    } catch (error) {
      const incomplete = refused(error, 'Incomplete');
      if (incomplete) {
        return { missing: incomplete.missing, count: incomplete.missing_chunks };
      }
      if (refused(error, 'ChecksumMismatch')) {
        return { mismatch: error };
      }
      const hashing = refused(error, 'Hashing');
      if (!hashing) {
        throw sessionEnded(error, session) ?? error;
      }
      if (hashing.hashed <= hashed) {
        const message = `uploads_finish makes no progress: repeated calls return ${hashed} of ${hashing.total} bytes hashed`;
        throw new UploadError('inconsistent', message, { resumable: true, cause: error });
      }
      hashed = hashing.hashed;
    }
  }
}

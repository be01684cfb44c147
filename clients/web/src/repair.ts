// Finds the stored chunks that differ from the file, after a finish that failed on the checksum.

import { bytesToHex } from '@noble/hashes/utils.js';
import { UploadError } from './errors.js';
import { sessionEnded } from './ended.js';
import { ask, digestOf, type Upload } from './upload.js';

export async function differingChunks(upload: Upload, session: bigint): Promise<number[]> {
  const { chunks, file, hasher, record, report, signal } = upload;
  const stored = await storedDigests(upload, session);
  const differ: number[] = [];
  for (const index of chunks.all()) {
    report.at('repairing', index * chunks.size);
    const own = await digestOf(hasher, chunks.of(file, index), 'sha256', { signal });
    if (stored.get(index) !== bytesToHex(own)) {
      differ.push(index);
    }
  }
  if (differ.length > 0) {
    return differ;
  }
  const digest = await digestOf(hasher, file, record.algorithm, { signal });
  const same = bytesToHex(digest) === bytesToHex(record.digest);
  throw same
    ? new UploadError('inconsistent', 'every chunk has the right digest, but the whole file does not', {
        resumable: false,
      })
    : new UploadError('file-changed', 'the file has changed since its digest was computed', { resumable: false });
}

/**
 * The SHA-256 digests of the chunks that have arrived, in hexadecimal digits. The canister returns about twenty per
 * page.
 */
async function storedDigests({ canister, caller }: Upload, session: bigint): Promise<Map<number, string>> {
  const digests = new Map<number, string>();
  let from: [] | [number] = [];
  do {
    const page = await ask(caller, 'uploads_chunk_digests', () =>
      canister.uploads_chunk_digests(session, from, []),
    ).catch((error: unknown) => {
      throw sessionEnded(error, session) ?? error;
    });
    for (const { idx, sha256 } of page.digests) {
      digests.set(idx, bytesToHex(sha256));
    }
    from = page.next;
  } while (from.length > 0);
  return digests;
}

// The upload of a file that fits into one call.

import type { SmallFile, UploadFinishResult } from './canister.js';
import { UploadError } from './errors.js';
import { ask, hashArgument, read, refused, renewIdempotencyKey, type Upload } from './upload.js';

export async function uploadWhole(upload: Upload): Promise<UploadFinishResult> {
  try {
    return await put(upload);
  } catch (error) {
    if (refused(error, 'ChecksumMismatch')) {
      const message = 'the file has changed since its digest was computed';
      throw new UploadError('file-changed', message, { resumable: false, cause: error });
    }
    if (!refused(error, 'Conflict')) {
      throw error;
    }
  }
  await renewIdempotencyKey(upload);
  return put(upload);
}

async function put(upload: Upload): Promise<UploadFinishResult> {
  const { canister, caller, window, file, record, report, signal } = upload;
  report.at('uploading', 0);
  return window.run(signal, async () => {
    const small: SmallFile = {
      capsule_id: record.capsule,
      asset_metadata: record.metadata,
      idem: record.idem,
      bytes: await read(file),
      digest: record.digest,
      hash: hashArgument(record),
    };
    return ask(caller, 'uploads_put_whole', () => canister.uploads_put_whole(small));
  });
}

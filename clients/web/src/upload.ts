// An upload in progress: the objects that all of its steps use.

import { accepted, type Answer, RefusedError, type Refusal, type UploadCanister } from './canister.js';
import type { Chunks } from './chunks.js';
import { UploadError } from './errors.js';
import type { HashAlgorithm, HashOptions, Hasher } from './hash/hasher.js';
import type { Reporter } from './progress.js';
import type { Caller } from './retry.js';
import type { UploadRecord, UploadStore } from './store/store.js';
import type { Window } from './window.js';

export interface Upload {
  canister: UploadCanister;
  store: UploadStore;
  hasher: Hasher;
  window: Window;
  caller: Caller;
  signal: AbortSignal;
  report: Reporter;
  file: Blob;
  chunks: Chunks;
  record: UploadRecord;
  /** Whether the record existed before: chunks may have arrived. */
  resumed: boolean;
}

/** Makes a call, with retries; throws a {@link RefusedError} if the final answer is an error. */
export function ask<T>(
  caller: Caller,
  method: string,
  call: () => Promise<Answer<T>>,
): Promise<T> {
  return caller.call(method, async () => accepted(method, await call()));
}

export async function read(part: Blob): Promise<Uint8Array> {
  try {
    return new Uint8Array(await part.arrayBuffer());
  } catch (cause) {
    throw unreadable(cause);
  }
}

export async function digestOf(
  hasher: Hasher,
  data: Blob,
  algorithm: HashAlgorithm,
  options: HashOptions,
): Promise<Uint8Array> {
  try {
    return await hasher.digest(data, algorithm, options);
  } catch (error) {
    // Any other failure, for example of a worker, does not concern the file.
    throw error instanceof Error && error.name === 'NotReadableError' ? unreadable(error) : error;
  }
}

/** Browsers refuse to read a file that has changed on disk since it was chosen. */
function unreadable(cause: unknown): UploadError {
  return new UploadError('file-changed', `the file can no longer be read: ${String(cause)}`, {
    resumable: false,
    cause,
  });
}

/** The details of the refusal in `error`, if it is a refusal of this kind. */
export function refused<K extends string>(error: unknown, kind: K): Extract<Refusal, Record<K, unknown>>[K] | undefined {
  if (error instanceof RefusedError && kind in error.refusal) {
    return (error.refusal as Record<string, unknown>)[kind] as Extract<Refusal, Record<K, unknown>>[K];
  }
  return undefined;
}

/** Gives the upload a new idempotency key: with the old one, begin is refused or returns an ended session. */
export async function renewIdempotencyKey({ record, store }: Upload): Promise<void> {
  record.idem = crypto.randomUUID();
  delete record.session;
  await store.put(record);
}

/** The optional argument for the hash algorithm, absent for SHA-256. */
export function hashArgument({ algorithm }: UploadRecord): [] | [{ blake3: null }] {
  return algorithm === 'blake3' ? [{ blake3: null }] : [];
}

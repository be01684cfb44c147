// The record of an upload. It is stored until the upload is finished, so that the upload can continue after a reload.

import type { AssetMetadata } from '../canister.js';
import type { HashAlgorithm } from '../hash/hasher.js';

export interface UploadRecord {
  /** Identifies the upload: canister, caller and capsule, and the file's name, hash algorithm and digest. */
  key: string;
  /** Identifies canister and caller. */
  scope: string;
  capsule: string;
  name: string;
  bytes: number;
  algorithm: HashAlgorithm;
  digest: Uint8Array;
  /** The idempotency key of begin. */
  idem: string;
  /** The metadata given at begin. */
  metadata: AssetMetadata;
  /** The session, once begun. */
  session?: bigint;
  /** Time at which the upload was begun, in milliseconds since 1970. */
  startedAt: number;
}

export interface UploadStore {
  /**
   * Returns the stored record with this key. If there is none, stores `record` and returns it. If two tabs call this at
   * once, only one of them stores its record.
   */
  claim(record: UploadRecord): Promise<UploadRecord>;
  put(record: UploadRecord): Promise<void>;
  delete(key: string): Promise<void>;
  /** All records of a canister and caller. */
  list(scope: string): Promise<UploadRecord[]>;
}

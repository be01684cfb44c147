// The record of an upload, stored until it is finished, so that it can continue after a reload.

import type { AssetMetadata } from '../canister.js';
import type { HashAlgorithm } from '../hash/hasher.js';

export interface UploadRecord {
  /** Canister, caller, capsule and file, the digest of its bytes included. */
  key: string;
  /** Canister and caller. */
  scope: string;
  capsule: string;
  name: string;
  bytes: number;
  algorithm: HashAlgorithm;
  digest: Uint8Array;
  /** The idempotency key of begin. */
  idem: string;
  /** As given at begin: a repeated begin must be the same. */
  metadata: AssetMetadata;
  /** The session, once begun. */
  session?: bigint;
  /** When the upload was begun, milliseconds since 1970. */
  startedAt: number;
}

export interface UploadStore {
  /** The record of this key; `record` itself, stored, if there was none. Of two tabs only one stores its own. */
  claim(record: UploadRecord): Promise<UploadRecord>;
  put(record: UploadRecord): Promise<void>;
  delete(key: string): Promise<void>;
  /** All records of a canister and caller. */
  list(scope: string): Promise<UploadRecord[]>;
}

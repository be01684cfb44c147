// The interface for applications: settings, and an uploader for one canister and caller.

import type { Agent } from '@icp-sdk/core/agent';
import { Principal } from '@icp-sdk/core/principal';
import { bytesToHex } from '@noble/hashes/utils.js';
import { RefusedError, uploadActor, type UploadCanister, type UploadFinishResult } from './canister.js';
import { Chunks } from './chunks.js';
import { UploadError } from './errors.js';
import { failure } from './failure.js';
import type { HashAlgorithm, Hasher } from './hash/hasher.js';
import { workerHasher } from './hash/worker-hasher.js';
import { metadataOf, type Description, type Named } from './metadata.js';
import { Reporter, type Progress } from './progress.js';
import { Caller, realTiming, type RetryLimits, type Timing } from './retry.js';
import { sessionOf, uploadInChunks } from './session.js';
import { indexedDbStore } from './store/indexed-db.js';
import type { UploadRecord, UploadStore } from './store/store.js';
import { ask, digestOf, type Upload } from './upload.js';
import { uploadWhole } from './whole.js';
import { Window } from './window.js';

/** A setting or option that is `undefined` has its default value. */
export interface Settings {
  /** The store for records of uploads; IndexedDB by default. */
  store?: UploadStore | undefined;
  /** Computes digests; a worker by default. */
  hasher?: Hasher | undefined;
  /** Maximum number of chunks in flight, for all uploads together; 4 by default. */
  parallel?: number | undefined;
  /** Time, in milliseconds, for which a call is retried; 10 minutes by default. */
  patienceMs?: number | undefined;
  /** Time, in milliseconds, after which a call without an answer is abandoned and retried; 5 minutes by default. */
  callTimeoutMs?: number | undefined;
  timing?: Timing | undefined;
}

export interface UploadOptions extends Description {
  /** The capsule that gets the file. */
  capsule: string;
  /** The hash algorithm by which the file is verified; SHA-256 by default. */
  hash?: HashAlgorithm | undefined;
  /** Aborting the signal stops the upload, which can be resumed. To abort an upload permanently, call `discard`. */
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

const DEFAULTS = {
  parallel: 4,
  patienceMs: 10 * 60 * 1000,
  // The agent's messages expire after this time.
  callTimeoutMs: 5 * 60 * 1000,
};

export class Uploader {
  private readonly store: UploadStore;
  private readonly hasher: Hasher;
  private readonly window: Window;
  private readonly timing: Timing;
  private readonly limits: RetryLimits;

  /** `scope` identifies canister and caller. Uploaders with different scopes do not see each other's records. */
  constructor(
    private readonly canister: UploadCanister,
    private readonly scope: string,
    settings: Settings = {},
  ) {
    this.store = settings.store ?? indexedDbStore();
    this.hasher = settings.hasher ?? workerHasher();
    this.timing = settings.timing ?? realTiming;
    this.window = new Window(settings.parallel ?? DEFAULTS.parallel);
    this.limits = {
      patienceMs: settings.patienceMs ?? DEFAULTS.patienceMs,
      callTimeoutMs: settings.callTimeoutMs ?? DEFAULTS.callTimeoutMs,
    };
  }

  /** An uploader for a canister, acting as the agent's identity. */
  static async connect(agent: Agent, canisterId: Principal | string, settings: Settings = {}): Promise<Uploader> {
    const caller = await agent.getPrincipal();
    const scope = `${Principal.from(canisterId).toText()} ${caller.toText()}`;
    return new Uploader(uploadActor(agent, canisterId), scope, settings);
  }

  /**
   * Uploads a file, or continues where an earlier call for the same file ended: one with the same name, bytes, capsule
   * and hash algorithm. Throws an {@link UploadError}, the reason of the signal, or an error of the hasher or the
   * store.
   */
  async upload(file: Blob & Named, options: UploadOptions): Promise<UploadFinishResult> {
    const signal = options.signal ?? new AbortController().signal;
    const report = new Reporter(file.size, options.onProgress ?? (() => undefined));
    const caller = this.caller(signal, report);
    let record: UploadRecord | undefined;
    try {
      const { chunk_size } = await caller.call('upload_config', () => this.canister.upload_config());
      const chunks = new Chunks(file.size, chunk_size);
      report.at('hashing', 0);
      const onProgress = (hashed: number) => report.at('hashing', hashed);
      const digest = await digestOf(this.hasher, file, options.hash ?? 'sha256', { signal, onProgress });
      const fresh = this.recordOf(file, options, digest);
      record = await this.store.claim(fresh);
      // A record that was stored before has the same `key` as the new one, but another idempotency key.
      const resumed = record.idem !== fresh.idem;
      const { canister, store, hasher, window } = this;
      const upload: Upload = { canister, store, hasher, window, caller, signal, report, file, chunks, record, resumed };
      const result = await (chunks.count > 1 ? uploadInChunks(upload) : uploadWhole(upload));
      await store.delete(record.key);
      report.at('done', file.size);
      return result;
    } catch (error) {
      signal.throwIfAborted();
      const failed = failure(error);
      if (record !== undefined && failed instanceof UploadError && !failed.resumable) {
        // The upload cannot be resumed. If the canister cannot be reached now, the session will expire.
        this.forget(record).catch(() => undefined);
      }
      throw failed;
    }
  }

  /** Unfinished uploads of this caller to this canister. To resume one, pass the same file to `upload`. */
  unfinished(): Promise<UploadRecord[]> {
    return this.store.list(this.scope);
  }

  /** Aborts an upload permanently: the canister frees the upload's bytes, and the record is deleted from the store. */
  async discard(record: UploadRecord, signal = new AbortController().signal): Promise<void> {
    await this.store.delete(record.key);
    const caller = this.quietCaller(signal);
    const session = record.session ?? (await this.begunSession(record, caller));
    if (session !== undefined) {
      await this.abortSession(session, caller);
    }
  }

  /** Discards an upload that has just failed: if it has no session, the canister has refused to begin it. */
  private async forget({ key, session }: UploadRecord): Promise<void> {
    await this.store.delete(key);
    if (session !== undefined) {
      await this.abortSession(session, this.quietCaller());
    }
  }

  /** The session of an upload whose page did not get the answer to begin; undefined if the canister has none. */
  private async begunSession(record: UploadRecord, caller: Caller): Promise<bigint | undefined> {
    const { canister } = this;
    const { chunk_size } = await caller.call('upload_config', () => canister.upload_config());
    const chunks = new Chunks(record.bytes, chunk_size);
    if (chunks.count <= 1) {
      return undefined;
    }
    return sessionOf({ canister, caller, chunks, record }).catch((error: unknown) => {
      if (error instanceof RefusedError) return undefined;
      throw error;
    });
  }

  private async abortSession(session: bigint, caller: Caller): Promise<void> {
    await ask(caller, 'uploads_abort', () => this.canister.uploads_abort(session)).catch((error: unknown) => {
      // A session that has already ended cannot be aborted.
      if (!(error instanceof RefusedError && ('Conflict' in error.refusal || 'NotFound' in error.refusal))) {
        throw error;
      }
    });
  }

  /** A caller that reports no progress. */
  private quietCaller(signal = new AbortController().signal): Caller {
    return this.caller(signal, new Reporter(0, () => undefined));
  }

  private caller(signal: AbortSignal, report: Reporter): Caller {
    return new Caller(this.timing, this.limits, signal, (retry) => report.waiting(retry));
  }

  private recordOf(file: Blob & Named, options: UploadOptions, digest: Uint8Array): UploadRecord {
    const { capsule, hash: algorithm = 'sha256', name = file.name ?? '' } = options;
    return {
      // Two calls of `upload` with the same key are the same upload.
      key: JSON.stringify([this.scope, capsule, name, algorithm, bytesToHex(digest)]),
      scope: this.scope,
      capsule,
      name,
      bytes: file.size,
      algorithm,
      digest,
      idem: crypto.randomUUID(),
      metadata: metadataOf(file, algorithm === 'sha256' ? digest : undefined, options),
      startedAt: this.timing.now(),
    };
  }
}

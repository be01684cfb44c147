// A fake canister: the upload functions according to their contract, with maps as storage. Its state can be passed to
// another instance, as in an upgrade.

import { createHash } from 'node:crypto';
import { blake3 } from '@noble/hashes/blake3.js';
import type { Answer, AssetMetadata, Refusal, UploadCanister, UploadFinishResult } from '../../src/canister.js';
import type { HashAlgorithm } from '../../src/hash/hasher.js';

interface Session {
  id: bigint;
  capsule: string;
  metadata: AssetMetadata;
  key: string;
  request: string;
  algorithm: HashAlgorithm;
  bytes: number;
  chunks: Map<number, Uint8Array>;
  /** Whether a chunk may be replaced by other bytes: after a finish with another digest. */
  replaceable: boolean;
  /** Number of chunks that finish has hashed. */
  hashed: number;
}

interface State {
  nextId: bigint;
  sessions: Map<bigint, Session>;
  keys: Map<string, bigint>;
  ended: Map<bigint, { request: string; result?: UploadFinishResult; digest?: string; detail: string }>;
  memories: Map<string, Uint8Array>;
}

/** Number of digests in an answer of `uploads_chunk_digests`. */
const DIGESTS_PER_PAGE = 3;

export class FakeCanister implements UploadCanister {
  /** Number of chunks that finish hashes in one call. */
  hashPerCall = Infinity;
  /** By function, the refusal of its next call. */
  readonly refusals = new Map<string, Refusal>();
  /** Whether the first key that is used belongs to a session in quarantine. */
  quarantinesFirstKey = false;
  private quarantined: string | undefined;

  constructor(
    readonly chunkSize = 1_000,
    readonly state: State = {
      nextId: 1n,
      sessions: new Map(),
      keys: new Map(),
      ended: new Map(),
      memories: new Map(),
    },
  ) {}

  /** The canister after an upgrade, which keeps only the stable state. */
  upgraded(): FakeCanister {
    return new FakeCanister(this.chunkSize, structuredClone(this.state));
  }

  memory(id: string): Uint8Array | undefined {
    return this.state.memories.get(id);
  }

  /** Ends every session, like expiry or eviction. */
  endAll(detail: string): void {
    for (const session of this.state.sessions.values()) {
      this.end(session, detail);
    }
  }

  upload_config = async () => ({ inline_max: 32_768, chunk_size: this.chunkSize, inline_budget_per_capsule: 32_768 });

  uploads_begin: UploadCanister['uploads_begin'] = async (capsule, metadata, chunks, idem, hash) => {
    const refusal = this.refusal('uploads_begin');
    if (refusal) return refusal;
    if (this.quarantinesFirstKey && (this.quarantined ??= idem) === idem) {
      return conflict('session', 0, 'quarantined by the migration: damaged');
    }
    const algorithm: HashAlgorithm = hash[0] && 'blake3' in hash[0] ? 'blake3' : 'sha256';
    const bytes = Number(base(metadata).bytes);
    if (chunks !== Math.ceil(bytes / this.chunkSize)) return invalid('expected_chunks', chunks);
    const key = `${capsule} ${idem}`;
    const request = `${text(metadata)} ${chunks} ${algorithm}`;
    const id = this.state.keys.get(key);
    if (id !== undefined) {
      const before = this.state.sessions.get(id)?.request ?? this.state.ended.get(id)?.request;
      return before === request ? { Ok: id } : conflict('idem', idem, 'begun under this key with other parameters');
    }
    const session: Session = {
      id: this.state.nextId++,
      capsule,
      metadata,
      key,
      request,
      algorithm,
      bytes,
      chunks: new Map(),
      replaceable: false,
      hashed: 0,
    };
    this.state.sessions.set(session.id, session);
    this.state.keys.set(key, session.id);
    return { Ok: session.id };
  };

  uploads_put_chunk: UploadCanister['uploads_put_chunk'] = async (id, index, bytes, sha256) => {
    const refusal = this.refusal('uploads_put_chunk');
    if (refusal) return refusal;
    const session = this.session(id);
    if ('Err' in session) return session;
    const { chunks, replaceable } = session.Ok;
    if (bytes.length !== this.lengthOf(session.Ok, index)) return invalid('chunk', bytes.length);
    const got = digestOf('sha256', [bytes]);
    if (sha256[0] && text(sha256[0]) !== text(got)) return mismatch(sha256[0], got);
    const before = chunks.get(index);
    if (before && text(before) !== text(bytes) && !replaceable) {
      return conflict('chunk', index, 'arrived before with other bytes');
    }
    chunks.set(index, Uint8Array.from(bytes));
    return { Ok: null };
  };

  uploads_finish: UploadCanister['uploads_finish'] = async (id, digest, length) => {
    const refusal = this.refusal('uploads_finish');
    if (refusal) return refusal;
    const ended = this.state.ended.get(id);
    if (ended?.result && ended.digest === text(digest)) return { Ok: ended.result };
    const found = this.session(id);
    if ('Err' in found) return found;
    const session = found.Ok;
    if (Number(length) !== session.bytes) return invalid('total_len', length);
    const missing = this.missing(session);
    if (missing.length > 0) {
      return {
        Err: {
          Incomplete: {
            expected_chunks: this.countOf(session),
            missing_chunks: missing.length,
            missing: missing.slice(0, 64).map((index) => ({ first: index, last: index })),
          },
        },
      };
    }
    session.hashed = Math.min(session.hashed + this.hashPerCall, this.countOf(session));
    if (session.hashed < this.countOf(session)) {
      const hashed = BigInt(session.hashed * this.chunkSize);
      return { Err: { Hashing: { hashed, total: BigInt(session.bytes) } } };
    }
    const stored = [...session.chunks.entries()].sort(([a], [b]) => a - b).map(([, bytes]) => bytes);
    const got = digestOf(session.algorithm, stored);
    if (text(got) !== text(digest)) {
      session.replaceable = true;
      return mismatch(digest, got);
    }
    return { Ok: this.commit(session, stored, digest) };
  };

  uploads_put_whole: UploadCanister['uploads_put_whole'] = async (file) => {
    const refusal = this.refusal('uploads_put_whole');
    if (refusal) return refusal;
    const { capsule_id, asset_metadata, idem, bytes, digest, hash } = file;
    if (bytes.length > this.chunkSize) return invalid('bytes', bytes.length);
    const begun = await this.uploads_begin(capsule_id, asset_metadata, bytes.length === 0 ? 0 : 1, idem, hash);
    if ('Err' in begun) return begun;
    if (this.state.sessions.has(begun.Ok) && bytes.length > 0) {
      const put = await this.uploads_put_chunk(begun.Ok, 0, bytes, []);
      if ('Err' in put) return put;
    }
    return this.uploads_finish(begun.Ok, digest, BigInt(bytes.length));
  };

  uploads_status: UploadCanister['uploads_status'] = async (id) => {
    const refusal = this.refusal('uploads_status');
    if (refusal) return refusal;
    const found = this.session(id);
    if ('Err' in found) return found;
    const session = found.Ok;
    const one = (index: number) => ({ first: index, last: index });
    const missing = this.missing(session);
    return {
      Ok: {
        session: id,
        capsule_id: session.capsule,
        idem: session.key,
        path: { Direct: null },
        bytes_expected: BigInt(session.bytes),
        bytes_received: 0n,
        chunk_size: this.chunkSize,
        expected_chunks: this.countOf(session),
        received: [...session.chunks.keys()].sort((a, b) => a - b).map(one),
        missing: missing.map(one),
        next_expected: missing[0] === undefined ? [] : [missing[0]],
        last_seen: 0n,
        expires_at: 0n,
        provisional_memory_id: `memory_${id}`,
      },
    };
  };

  uploads_chunk_digests: UploadCanister['uploads_chunk_digests'] = async (id, from) => {
    const refusal = this.refusal('uploads_chunk_digests');
    if (refusal) return refusal;
    const found = this.session(id);
    if ('Err' in found) return found;
    const chunks = [...found.Ok.chunks.entries()].sort(([a], [b]) => a - b).filter(([index]) => index >= (from[0] ?? 0));
    const next = chunks[DIGESTS_PER_PAGE]?.[0];
    const page = chunks.slice(0, DIGESTS_PER_PAGE);
    const digests = page.map(([idx, bytes]) => ({ idx, sha256: digestOf('sha256', [bytes]) }));
    return { Ok: { digests, next: next === undefined ? [] : [next] } };
  };

  uploads_abort: UploadCanister['uploads_abort'] = async (id) => {
    const found = this.session(id);
    if ('Err' in found) return found;
    this.end(found.Ok, 'was aborted');
    return { Ok: null };
  };

  private session(id: bigint): Answer<Session> {
    const session = this.state.sessions.get(id);
    if (session) return { Ok: session };
    const ended = this.state.ended.get(id);
    return ended ? conflict('session', id, ended.detail) : { Err: { NotFound: { kind: 'session', key: `${id}` } } };
  }

  private end(session: Session, detail: string): void {
    this.state.sessions.delete(session.id);
    this.state.keys.delete(session.key);
    this.state.ended.set(session.id, { request: session.request, detail });
  }

  private commit(session: Session, stored: Uint8Array[], digest: Uint8Array): UploadFinishResult {
    const id = `memory_${session.id}`;
    const result: UploadFinishResult = {
      memory_id: id,
      blob_id: `blob_${session.id}`,
      storage_location: `icp://blob/blob_${session.id}`,
      storage_backend: { Icp: null },
      remote_id: [],
      size: BigInt(session.bytes),
      checksum_sha256: session.algorithm === 'sha256' ? [digest] : [],
      checksum_blake3: session.algorithm === 'blake3' ? [digest] : [],
      uploaded_at: 1n,
      expires_at: [],
    };
    this.state.memories.set(id, new Uint8Array(Buffer.concat(stored)));
    this.state.sessions.delete(session.id);
    this.state.ended.set(session.id, { request: session.request, result, digest: text(digest), detail: 'is finished' });
    return result;
  }

  private countOf({ bytes }: Session): number {
    return Math.ceil(bytes / this.chunkSize);
  }

  private lengthOf(session: Session, index: number): number {
    return Math.max(0, Math.min(this.chunkSize, session.bytes - index * this.chunkSize));
  }

  private missing(session: Session): number[] {
    return Array.from({ length: this.countOf(session) }, (_, index) => index).filter((i) => !session.chunks.has(i));
  }

  private refusal(method: string): { Err: Refusal } | undefined {
    const refusal = this.refusals.get(method);
    this.refusals.delete(method);
    return refusal && { Err: refusal };
  }
}

function base(metadata: AssetMetadata) {
  const [kind] = Object.values(metadata);
  return kind.base;
}

function digestOf(algorithm: HashAlgorithm, parts: Uint8Array[]): Uint8Array {
  const whole = Buffer.concat(parts);
  return algorithm === 'sha256' ? createHash('sha256').update(whole).digest() : blake3(whole);
}

function text(value: unknown): string {
  const plain = (_key: string, part: unknown) =>
    typeof part === 'bigint' ? `${part}` : part instanceof Uint8Array ? Array.from(part) : part;
  return JSON.stringify(value instanceof Uint8Array ? Array.from(value) : value, plain);
}

function conflict(kind: string, key: unknown, detail: string): { Err: Refusal } {
  return { Err: { Conflict: { kind, key: `${key}`, detail } } };
}

function invalid(field: string, got: unknown): { Err: Refusal } {
  return { Err: { InvalidArgument: { field, expected: 'another', got: `${got}` } } };
}

function mismatch(expected: Uint8Array, got: Uint8Array): { Err: Refusal } {
  return { Err: { ChecksumMismatch: { expected, got } } };
}

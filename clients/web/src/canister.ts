// The functions of the canister that an upload uses.

import { Actor, type ActorMethod, type Agent } from '@icp-sdk/core/agent';
import type { Principal } from '@icp-sdk/core/principal';
import { bytesToHex } from '@noble/hashes/utils.js';
import { idlFactory, type _SERVICE, type Error as Refusal } from './declarations/legacy.did.js';

export type {
  AssetMetadata,
  AssetMetadataBase,
  AssetType,
  ChunkRange,
  Error as Refusal,
  SmallFile,
  UploadFinishResult,
} from './declarations/legacy.did.js';

type Used =
  | 'upload_config'
  | 'uploads_abort'
  | 'uploads_begin'
  | 'uploads_chunk_digests'
  | 'uploads_finish'
  | 'uploads_put_chunk'
  | 'uploads_put_whole'
  | 'uploads_status';

/**
 * The functions that an uploader calls. An actor of the canister has them, and so has the fake canister of the tests.
 */
export type UploadCanister = {
  [M in Used]: _SERVICE[M] extends ActorMethod<infer Args, infer Answer> ? (...args: Args) => Promise<Answer> : never;
};

/** An actor of the canister, with its whole interface. */
export function uploadActor(agent: Agent, canisterId: Principal | string): _SERVICE {
  return Actor.createActor<_SERVICE>(idlFactory, { agent, canisterId });
}

/** The canister answered a call with an error. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';

  constructor(
    readonly method: string,
    readonly refusal: Refusal,
  ) {
    super(`${method}: ${describe(refusal)}`);
  }
}

export type Answer<T> = { Ok: T } | { Err: Refusal };

/** The result in an answer; throws a {@link RefusedError} if the answer is an error. */
export function accepted<T>(method: string, answer: Answer<T>): T {
  if ('Err' in answer) {
    throw new RefusedError(method, answer.Err);
  }
  return answer.Ok;
}

function describe(refusal: Refusal): string {
  const [kind, detail] = Object.entries(refusal)[0] ?? ['unknown', ''];
  const plain = (_key: string, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value instanceof Uint8Array ? bytesToHex(value) : value;
  return `${kind} ${typeof detail === 'string' ? detail : JSON.stringify(detail, plain)}`;
}

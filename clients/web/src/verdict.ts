// Decides whether to retry a failed call. Every call of an upload may be repeated: the canister answers a repeated call
// in the same way as the first.

import { RefusedError } from './canister.js';
import { UploadError } from './errors.js';

/**
 * Whether to retry a call: `again` until `patienceMs` has passed, a `few` times, since the failure may be temporary, or
 * `never`.
 */
export type Verdict = 'again' | 'few' | 'never';

/** The fields of an agent's error, matched by name: `instanceof` fails if a bundle has two copies of the agent. */
interface AgentCode {
  name?: string;
  status?: number;
  rejectCode?: number;
  rejectErrorCode?: string;
}

/** A call took longer than `callTimeoutMs`. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** By reject code. `never` is for a missing canister or method, missing permission, and failures that would recur. */
export const REJECT_CODES: Record<number, Verdict> = {
  1: 'never', // SYS_FATAL
  2: 'again', // SYS_TRANSIENT: queues are full, the canister is out of cycles, …
  3: 'never', // DESTINATION_INVALID
  4: 'never', // CANISTER_REJECT
  5: 'few', // CANISTER_ERROR: the canister trapped
  6: 'again', // SYS_UNKNOWN
};

export const ERROR_CODES: Record<string, Verdict> = {
  IC0508: 'again', // stopped, as during some upgrades
  IC0509: 'again', // stopping
  IC0536: 'never', // no such method
  IC0537: 'again', // no module: between uninstalling and installing
};

export const HTTP_STATUS: Record<number, Verdict> = {
  408: 'again',
  425: 'again',
  429: 'again',
  500: 'again',
  502: 'again',
  503: 'again',
  504: 'again',
};

export const AGENT_CODES: Record<string, Verdict> = {
  HttpFetchErrorCode: 'again', // no network, or the connection broke: a lost reply
  TimeoutWaitingForResponseErrorCode: 'again', // the reply did not arrive in time
  RequestStatusDoneNoReplyErrorCode: 'again', // the reply is no longer kept
  IngressExpiryInvalidErrorCode: 'again', // the message was in transit for too long
  CertificateOutdatedErrorCode: 'again', // a replica that lags
  CertificateTimeErrorCode: 'again',
  UnexpectedErrorCode: 'few',
  LookupErrorCode: 'few',
  MissingLookupValueErrorCode: 'few',
  QuerySignatureVerificationFailedErrorCode: 'few', // node keys may have changed
};

/** Whether to retry the call that failed with `error`. */
export function verdict(error: unknown): Verdict {
  if (error instanceof RefusedError) {
    return 'Internal' in error.refusal ? 'few' : 'never';
  }
  if (error instanceof TimeoutError) {
    return 'again';
  }
  const code = agentCode(error);
  if (code === undefined) {
    return 'never';
  }
  if (code.rejectErrorCode !== undefined && code.rejectErrorCode in ERROR_CODES) {
    return ERROR_CODES[code.rejectErrorCode] ?? 'never';
  }
  if (code.rejectCode !== undefined) {
    return REJECT_CODES[code.rejectCode] ?? 'never';
  }
  if (code.status !== undefined && code.name === 'HttpErrorCode') {
    return HTTP_STATUS[code.status] ?? 'never';
  }
  return AGENT_CODES[code.name ?? ''] ?? 'never';
}

function agentCode(error: unknown): AgentCode | undefined {
  // The cause of an agent's error has the fields `code` and `kind`.
  const cause = error instanceof Error && !(error instanceof UploadError) ? error.cause : undefined;
  if (typeof cause === 'object' && cause !== null && 'code' in cause && 'kind' in cause) {
    return cause.code as AgentCode;
  }
  return undefined;
}

/** Whether `error` comes from an agent, as opposed to a bug in the program. */
export function isAgentError(error: unknown): boolean {
  return agentCode(error) !== undefined;
}

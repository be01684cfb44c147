// A session that accepts no more calls: finished, expired, evicted, aborted, quarantined, or lost with a snapshot.

import { refused } from './upload.js';

export class SessionEnded extends Error {
  override readonly name = 'SessionEnded';

  constructor(session: bigint, cause: unknown) {
    super(`session ${session} has ended: ${String(cause)}`, { cause });
  }
}

/** A `SessionEnded` if `error` says that the session has ended. */
export function sessionEnded(error: unknown, session: bigint): SessionEnded | undefined {
  const kind = refused(error, 'Conflict')?.kind ?? refused(error, 'NotFound')?.kind;
  return kind === 'session' ? new SessionEnded(session, error) : undefined;
}

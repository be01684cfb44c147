// Time that does not pass by itself: short waits end immediately, and the time limit of a call passes when a test
// requests it.

import type { Timing } from '../../src/retry.js';

/** Waits of at least this length are the time limits of calls; retries wait for a shorter time. */
const LONG_MS = 60_000;

export class Clock implements Timing {
  /** Whether short waits are held as well, instead of ending immediately. */
  holds = false;
  private time = 0;
  private held: Array<() => void> = [];

  now = () => this.time;
  random = () => 0.5;

  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      if (this.holds || ms >= LONG_MS) {
        this.held.push(resolve);
      } else {
        this.time += ms;
        setImmediate(resolve);
      }
    });

  /** Lets the time limit of every call in flight pass. */
  expireCalls(): void {
    for (const resolve of this.held.splice(0)) {
      resolve();
    }
  }
}

// A call that is retried until it succeeds, fails with an error that is not retried, or `patienceMs` has passed.

import { UploadError } from './errors.js';
import { TimeoutError, verdict } from './verdict.js';

/** Clock and randomness. Tests replace them. */
export interface Timing {
  now(): number;
  /** Resolves after this many milliseconds; rejects with the signal's reason if it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A number from 0 to 1. */
  random(): number;
}

export interface RetryLimits {
  /** Time, in milliseconds, for which a call is retried. */
  patienceMs: number;
  /** Time, in milliseconds, after which a call without an answer is abandoned and retried. */
  callTimeoutMs: number;
}

/** A call that failed and will be made again. */
export interface Retry {
  method: string;
  /** Number of times that the call has failed. */
  failures: number;
  /** Time, in milliseconds, until the call is retried. */
  inMs: number;
  error: unknown;
}

/** Number of errors with the verdict `few` after which a call is not retried. */
const FEW = 3;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** The longest delay of a timer, 24 days: a timer with a longer one ends immediately. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const realTiming: Timing = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const stop = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, Math.min(ms, LONGEST_TIMER_MS));
      signal?.addEventListener('abort', stop, { once: true });
    }),
};

/** Makes calls, and retries them. (Elsewhere, the caller is the principal that calls.) */
export class Caller {
  constructor(
    private readonly timing: Timing,
    private readonly limits: RetryLimits,
    private readonly signal: AbortSignal,
    private readonly onRetry: (retry: Retry) => void,
  ) {}

  /** A caller with the same settings and another signal. */
  under(signal: AbortSignal): Caller {
    return new Caller(this.timing, this.limits, signal, this.onRetry);
  }

  /**
   * Makes a call, and retries it if necessary. Throws the signal's reason, an error of `make` after which there is no
   * further retry, or an `UploadError` with the code `unreachable`.
   */
  async call<T>(method: string, make: () => Promise<T>): Promise<T> {
    const since = this.timing.now();
    // An outage before it, with errors of the verdict `again`, does not use up the attempts of an error with `few`.
    let few = 0;
    // Counts the attempt that is being made as a failure.
    for (let failures = 1; ; failures += 1) {
      this.signal.throwIfAborted();
      try {
        return await this.once(method, make);
      } catch (error) {
        this.signal.throwIfAborted();
        const judged = verdict(error);
        few += judged === 'few' ? 1 : 0;
        if (judged === 'never' || few >= FEW) {
          throw error;
        }
        const inMs = this.delay(failures);
        if (this.timing.now() + inMs - since > this.limits.patienceMs) {
          const seconds = Math.round((this.timing.now() - since) / 1000);
          const message = `${method} failed ${failures} times within ${seconds} s: ${String(error)}`;
          throw new UploadError('unreachable', message, { resumable: true, cause: error });
        }
        this.onRetry({ method, failures, inMs, error });
        await this.timing.sleep(inMs, this.signal);
      }
    }
  }

  /** Waits before a call that is not a retry. */
  pause(ms: number): Promise<void> {
    return this.timing.sleep(ms, this.signal);
  }

  /**
   * Makes the call once. A call of an agent cannot be aborted: on an abort or timeout, its answer is ignored.
   */
  private async once<T>(method: string, make: () => Promise<T>): Promise<T> {
    const settled = new AbortController();
    const signal = AbortSignal.any([this.signal, settled.signal]);
    const { callTimeoutMs } = this.limits;
    const timeout = this.timing.sleep(callTimeoutMs, signal).then(() => {
      throw new TimeoutError(`${method}: no answer within ${callTimeoutMs} ms`);
    });
    timeout.catch(() => undefined);
    try {
      return await Promise.race([make(), timeout]);
    } finally {
      settled.abort();
    }
  }

  /** Doubles with every failure, and is shortened at random by up to half, so that clients do not retry in step. */
  private delay(failures: number): number {
    const full = Math.min(FIRST_DELAY_MS * 2 ** (failures - 1), LONGEST_DELAY_MS);
    return Math.round(full * (0.5 + this.timing.random() / 2));
  }
}

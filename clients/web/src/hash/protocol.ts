// The messages between the page and its worker.

import type { HashAlgorithm } from './hasher.js';

export type Request =
  | { kind: 'digest'; id: number; data: Blob; algorithm: HashAlgorithm }
  | { kind: 'abort'; id: number };

export type Reply =
  | { kind: 'progress'; id: number; hashed: number }
  | { kind: 'digest'; id: number; digest: Uint8Array }
  | { kind: 'failed'; id: number; name: string; message: string };

/** The other side: for the page the worker, and for the worker the page. In tests the port is a `MessagePort`. */
export interface Port<Out, In> {
  postMessage(message: Out): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<In>) => void): void;
  /** Only a worker has this event: it could not be loaded, for example because a policy forbids it. */
  addEventListener(type: 'error', listener: (event: Partial<ErrorEvent>) => void): void;
}

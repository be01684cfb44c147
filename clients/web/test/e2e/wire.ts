// A proxy between a page and the network that counts update calls, delays them, and loses replies.

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { EventEmitter, once } from 'node:events';
import type { AddressInfo } from 'node:net';

export class Wire {
  /** Number of update calls forwarded, including repeated ones. */
  calls = 0;
  /** Number of replies that were lost. */
  lost = 0;
  /** Number of calls that the network has rejected because the canister was stopped. */
  stopped = 0;
  url = '';
  private limit = 0;
  private held: readonly string[] = [];
  private awaited = { method: '', times: 0 };
  private readonly changes = new EventEmitter();
  /** For each message, by its hash, whether its replies are lost, however often it is sent. */
  private readonly losing = new Map<string, boolean>();
  private readonly server = createServer((request, response) => {
    this.forward(request, response).catch(() => response.destroy());
  });

  /** `loseEvery`: the replies to one of this many messages are lost. */
  constructor(
    private readonly target: string,
    private readonly loseEvery: number,
  ) {
    this.changes.setMaxListeners(0);
  }

  async start(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Forwards this many calls, counted from the first one; the others wait. */
  allow(calls: number): void {
    this.limit = calls;
    this.change();
  }

  /** Delays calls of these functions, and does not count them. Other calls are forwarded as `allow` says. */
  hold(...methods: string[]): void {
    this.held = methods;
    this.change();
  }

  /** Forwards every call from now on. */
  release(): void {
    this.held = [];
    this.allow(Infinity);
  }

  /** Resolves when this many calls have been forwarded. */
  reached(calls: number): Promise<void> {
    return this.until(() => this.calls >= calls);
  }

  /** Resolves when this many more calls of this function have been forwarded. */
  passed(method: string, times: number): Promise<void> {
    this.awaited = { method, times };
    return this.until(() => this.awaited.times <= 0);
  }

  /** Resolves when a call has been rejected because the canister was stopped. */
  sawStopped(): Promise<void> {
    return this.until(() => this.stopped > 0);
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await once(this.changes, 'change');
    }
  }

  async stop(): Promise<void> {
    this.release();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private change(): void {
    this.changes.emit('change');
  }

  private async forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const isCall = request.method === 'POST' && request.url?.endsWith('/call') === true;
    if (isCall) {
      await this.until(() => this.calls < this.limit && !this.holds(body));
      this.calls += 1;
      if (body.includes(this.awaited.method)) this.awaited.times -= 1;
      this.change();
    }
    const headers = Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.includes(name));
    const answer = await fetch(new URL(request.url ?? '/', this.target), {
      method: request.method ?? 'GET',
      headers: headers as Array<[string, string]>,
      ...(body.length > 0 ? { body } : {}),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (isCall && bytes.includes('IC0508')) {
      this.stopped += 1;
      this.change();
    }
    if (isCall && this.isLost(body)) {
      this.lost += 1;
      response.destroy();
      return;
    }
    const back = [...answer.headers].filter(([name]) => !HOP_BY_HOP.includes(name));
    response.writeHead(answer.status, Object.fromEntries(back)).end(bytes);
  }

  private holds(body: Buffer): boolean {
    return this.held.some((method) => body.includes(method));
  }

  private isLost(body: Buffer): boolean {
    const message = createHash('sha256').update(body).digest('hex');
    if (!this.losing.has(message)) {
      this.losing.set(message, (this.losing.size + 1) % this.loseEvery === 0);
    }
    return this.losing.get(message) === true;
  }
}

const HOP_BY_HOP = ['connection', 'host', 'content-length', 'transfer-encoding', 'keep-alive', 'content-encoding'];

// A network for agents: the embedded server with --live, for as long as a test runs.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface LiveNetwork {
  url: string;
  rootKey: string;
  /** A canister id on the subnet where canisters are created. */
  firstCanister: string;
  stop(): Promise<void>;
}

export async function startNetwork(binary: string): Promise<LiveNetwork> {
  const server = spawn(binary, ['--live', '--gateway-port', '0', '--ttl', '900'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const printed = new Map<string, string>();
  for await (const line of createInterface({ input: server.stdout })) {
    const [, name, value] = /^(url|root key|canisters):\s+(.*)$/.exec(line) ?? [];
    if (name && value) printed.set(name, value);
    // This is the last line that the server prints.
    if (/^ {4}network: /.test(line)) break;
  }
  const valueOf = (name: string) => {
    const value = printed.get(name);
    if (value === undefined) throw new Error(`the network did not start: it printed no ${name}`);
    return value;
  };
  return {
    url: valueOf('url'),
    rootKey: valueOf('root key'),
    // The line ends with this id.
    firstCanister: valueOf('canisters').split(' ').at(-1) ?? '',
    async stop() {
      server.kill('SIGTERM');
      await ended;
    },
  };
}

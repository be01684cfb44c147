// A network for agents and tools, for as long as the tests run.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Starts a network with a program and its subcommand; by default, with the embedded server's binary alone. */
export async function startNetwork(command = process.env.POCKET_IC_BIN, ...subcommand) {
  const server = spawn(command, [...subcommand, '--live', '--gateway-port', '0', '--ttl', '600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise(resolve => server.once('exit', resolve));
  const values = {};
  const lines = [];
  for await (const line of createInterface({ input: server.stdout })) {
    lines.push(line);
    const [, name, value] = /^(url|root key|canisters):\s+(.*)$/.exec(line) ?? [];
    if (name) values[name] = value;
    // The last line of the output.
    if (/^ {4}network: /.test(line)) break;
  }
  if (!values.url) throw new Error(`the network did not start: ${lines.join('\n')}`);
  return {
    url: values.url,
    rootKey: values['root key'],
    // The lines after "To use it with icp, add to icp.yaml:".
    icpYaml: lines.slice(lines.findIndex(line => line.startsWith('networks:'))).join('\n'),
    // The line ends with a canister id of the subnet on which canisters are created.
    effectiveId: values.canisters.split(' ').at(-1),
    async stop() {
      server.kill('SIGTERM');
      await ended;
    },
  };
}

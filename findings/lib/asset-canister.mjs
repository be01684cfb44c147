// AssetManager of @icp-sdk/canisters on a network with one asset canister, whose logic is that of the crate
// ic-certified-assets: the program of asset-canister.rs.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { agentOf } from './network.mjs';

export { outcome } from './network.mjs';

// The package's module calls `require`, which modules of Node.js lack.
globalThis.require = createRequire(import.meta.url);
const { AssetManager } = await import('@icp-sdk/canisters/assets');

const canister = spawn('./probe', { stdio: ['pipe', 'pipe', 'inherit'] });
const waiting = [];
createInterface({ input: canister.stdout }).on('line', (line) => waiting.shift()(line));
const execute = (method, arg) => new Promise((resolve) => {
  waiting.push(resolve);
  canister.stdin.write(`${method} ${Buffer.from(arg).toString('hex')}\n`);
});

const agent = agentOf(async ({ method_name, arg }) => {
  const line = await execute(method_name, arg), value = line.replace(/^(ok|err) ?/, '');
  if (!line.startsWith('ok ')) throw new Error(value);
  return Buffer.from(value, 'hex');
});

/** An AssetManager whose user may change everything. */
export const manager = (options) => new AssetManager({ canisterId: 'rrkah-fqaaa-aaaaa-aaaaq-cai', agent, ...options });

/** Ends the canister. */
export const end = () => canister.stdin.end();

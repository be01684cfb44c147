// The published icp-cli, connected to the network: build, install, call, settings, logs, snapshots.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { HttpAgent } from '@icp-sdk/core/agent';
import { Principal } from '@icp-sdk/core/principal';
import { createCounter } from './agent.mjs';

const require = createRequire(import.meta.url);

/** The path of the program of icp-cli; undefined if no package for this platform is installed. */
export function program() {
  const name = `@icp-sdk/icp-cli-${process.platform}-${process.arch}/package.json`;
  try {
    return join(dirname(require.resolve(name)), 'bin', 'icp');
  } catch {
    return undefined;
  }
}

/** What is missing for these tests on this machine, if anything. */
export const missing = () => (program() ? undefined : `icp-cli for ${process.platform} on ${process.arch}`);

/** Returns the id of a snapshot from the output of icp. */
export const snapshotIn = output => /\b[0-9a-f]{20,}\b/.exec(output)[0];

export async function icpTests(network, test) {
  const project = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'icp-'));
  const home = join(project, 'home');
  mkdirSync(home);
  writeFileSync(
    join(project, 'icp.yaml'),
    `canisters:
  - name: counter
    build:
      steps:
        - type: pre-built
          path: counter.wasm
${network.icpYaml}
`,
  );
  const wasm = readFileSync(process.env.COUNTER_WASM);
  writeFileSync(join(project, 'counter.wasm'), wasm);
  const environment = { ...process.env, DO_NOT_TRACK: '1', ICP_HOME: home, NO_COLOR: '1' };
  const run = promisify(execFile);
  const icp = async (...args) => {
    const { stdout, stderr } = await run(program(), args, { cwd: project, env: environment, timeout: 120_000 });
    return stdout + stderr;
  };
  const here = ['-e', 'embedded'];
  // The counter ignores its argument: the tests send the byte 00, in hexadecimal digits.
  const call = (method, arg, ...more) => icp('canister', 'call', 'counter', method, arg, ...more, ...here);

  let id;
  await test('a canister is created by an agent and linked', async () => {
    const pem = await icp('identity', 'new', 'tester', '--storage', 'plaintext');
    assert.ok(pem);
    await icp('identity', 'default', 'tester');
    const owner = (await icp('identity', 'principal')).trim();
    const rootKey = new Uint8Array(Buffer.from(network.rootKey, 'hex'));
    const agent = await HttpAgent.create({ host: network.url, rootKey });
    id = await createCounter(agent, Principal.fromText(network.effectiveId));
    await icp('canister', 'settings', 'update', id.toText(), '--add-controller', owner, '-f', '--identity', 'anonymous', ...here);
    await icp('canister', 'link', 'counter', id.toText(), ...here);
  });

  await test('the network answers', async () => {
    const ping = await icp('network', 'ping', 'embedded');
    assert.match(ping, /healthy/);
  });

  await test('a canister can be created by hand', async () => {
    const created = await icp(
      'canister', 'call', 'aaaaa-aa', 'provisional_create_canister_with_cycles',
      '(record { amount = null; settings = null; specified_id = null; sender_canister_version = null })',
      ...here,
    );
    assert.match(created, /principal "[a-z0-9-]+-cai"/);
  });

  await test('build and install', async () => {
    const arg = ['00', '--args-format', 'hex', '-o', 'hex'];
    await icp('build', 'counter');
    assert.match(await call('stable_inc', ...arg), /01000000/);
    await icp('canister', 'install', 'counter', '--mode', 'reinstall', '-y', ...here);
    const hash = createHash('sha256').update(wasm).digest('hex');
    assert.match(await icp('canister', 'status', 'counter', ...here), new RegExp(`Module hash: (0x)?${hash}`));
    assert.match(await call('stable_read', ...arg, '--query'), /00000000/, 'a reinstallation empties stable memory');
  });

  await test('deploy upgrades', async () => {
    await icp('deploy', 'counter', '--mode', 'upgrade', '-y', ...here);
    assert.match(await icp('canister', 'status', 'counter', ...here), /Running/);
  });

  await test('calls and queries', async () => {
    const arg = '00';
    const incremented = await call('stable_inc', arg, '--args-format', 'hex', '-o', 'hex');
    assert.match(incremented, /01000000/);
    const read = await call('stable_read', arg, '--args-format', 'hex', '-o', 'hex', '--query');
    assert.match(read, /01000000/);
    await assert.rejects(call('missing', arg, '--args-format', 'hex'), /IC0536/);
  });

  await test('settings', async () => {
    await icp('canister', 'settings', 'update', 'counter', '--freezing-threshold', '40d', '--log-visibility', 'public', '-f', ...here);
    const shown = await icp('canister', 'settings', 'show', 'counter', ...here);
    // 40 days in seconds.
    assert.match(shown, /3[_,]?456[_,]?000/);
    assert.match(shown, /[Pp]ublic/);
  });

  await test('logs', async () => {
    await call('print', Buffer.from('hello from the canister').toString('hex'), '--args-format', 'hex', '-o', 'hex');
    assert.match(await icp('canister', 'logs', 'counter', ...here), /hello from the canister/);
  });

  await test('snapshots are downloaded, uploaded and restored', async () => {
    await call('stable_inc', '00', '--args-format', 'hex', '-o', 'hex');
    await icp('canister', 'stop', 'counter', ...here);
    const taken = await icp('canister', 'snapshot', 'create', 'counter', ...here);
    const snapshot = snapshotIn(taken);
    assert.match(await icp('canister', 'snapshot', 'list', 'counter', ...here), new RegExp(snapshot));
    const folder = join(project, 'snapshot');
    await icp('canister', 'snapshot', 'download', 'counter', snapshot, '--output', folder, ...here);
    assert.ok(existsSync(join(folder, 'metadata.json')));
    assert.deepEqual(readFileSync(join(folder, 'wasm_module.bin')), wasm);
    const uploaded = await icp('canister', 'snapshot', 'upload', 'counter', '--input', folder, ...here);
    const copy = snapshotIn(uploaded);
    assert.notEqual(copy, snapshot);
    await icp('canister', 'start', 'counter', ...here);
    await call('stable_inc', '00', '--args-format', 'hex', '-o', 'hex');
    await icp('canister', 'stop', 'counter', ...here);
    await icp('canister', 'snapshot', 'restore', 'counter', copy, ...here);
    await icp('canister', 'start', 'counter', ...here);
    const value = await call('stable_read', '00', '--args-format', 'hex', '-o', 'hex', '--query');
    assert.match(value, /02000000/);
  });
}

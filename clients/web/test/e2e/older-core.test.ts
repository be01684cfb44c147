// The package with the oldest `@icp-sdk/core` that it accepts, which the newest `@icp-sdk/auth` needs.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';
import type * as Agents from '@icp-sdk/core/agent';
import type * as Identities from '@icp-sdk/core/identity';
import { accepted } from '../../src/canister.js';
import type * as Package from '../../src/index.js';
import { fileOf } from '../support/scene.js';
import { startNetwork } from './live-network.js';
import { lacking, needs } from './needs.js';
import { Operator } from './operator.js';
import { readBack } from './read-back.js';

const skip = lacking('binary', 'modules');

type Bundle = typeof Agents & typeof Identities & typeof Package;

/** The package and the parts of the older core that a page uses, in one bundle. */
async function bundled(folder: string): Promise<Bundle> {
  const outfile = join(folder, 'bundle.mjs');
  const sources = ['@icp-sdk/core/agent', '@icp-sdk/core/identity', '../../src/index.js'];
  const contents = sources.map((source) => `export * from '${source}';`).join('\n');
  await esbuild.build({
    stdin: { contents, resolveDir: import.meta.dirname },
    alias: { '@icp-sdk/core': 'icp-sdk-core-5' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    outfile,
  });
  return import(pathToFileURL(outfile).href);
}

test('the oldest core uploads while the canister is stopped', { skip, timeout: 200_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'upload-client-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { HttpAgent, Ed25519KeyIdentity, Uploader, inlineHasher, memoryStore, uploadActor } = await bundled(folder);
  const network = await startNetwork(needs.binary);
  t.after(() => network.stop());
  const operator = await Operator.install(network, needs.modules);
  const rootKey = new Uint8Array(Buffer.from(network.rootKey, 'hex'));
  const agent = await HttpAgent.create({ host: network.url, rootKey, identity: Ed25519KeyIdentity.generate() });
  const canister = uploadActor(agent, operator.canisterId.toText());
  const capsule = accepted('capsules_create', await canister.capsules_create([])).id;
  const settings = { hasher: inlineHasher, store: memoryStore() };
  const uploader = await Uploader.connect(agent, operator.canisterId.toText(), settings);

  const file = fileOf(4_000_000);
  let retried = () => {};
  const rejected = new Promise<void>((resolve) => (retried = resolve));
  const errors: string[] = [];
  let uploaded: ReturnType<typeof uploader.upload> | undefined;
  await operator.upgradeStopped('legacy', async () => {
    uploaded = uploader.upload(file, {
      capsule,
      onProgress({ retry }) {
        if (retry === undefined) return;
        errors.push(String(retry.error));
        retried();
      },
    });
    await Promise.race([rejected, uploaded]);
  });
  const { memory_id } = await uploaded!;
  assert.match(errors.join(), /IC0508/);
  assert.equal(Buffer.compare(await readBack(canister, memory_id), Buffer.from(await file.arrayBuffer())), 0);
  const named = uploader.upload(file, { capsule, name: 'n'.repeat(2_000) });
  await assert.rejects(named, { code: 'refused', resumable: false });
});

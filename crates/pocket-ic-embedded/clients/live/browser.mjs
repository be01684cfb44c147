// The asset canister in headless Chromium, through the gateway; the page verifies the certificates itself.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { HttpAgent } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Principal } from '@icp-sdk/core/principal';
import { chromium } from 'playwright-core';
import { startNetwork } from './network.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
const here = import.meta.dirname;
const library = dirname(
  createRequire(import.meta.url).resolve('@dfinity/response-verification/package.json'),
);
const photo = randomBytes(1_500_000);
const files = new Map([
  ['index.html', readFileSync(join(here, 'site', 'index.html'))],
  ['verify.js', readFileSync(join(here, 'site', 'verify.js'))],
  ['web.js', readFileSync(join(library, 'dist', 'web', 'web.js'))],
  ['web_bg.wasm', readFileSync(join(library, 'dist', 'web', 'web_bg.wasm'))],
  ['photo.bin', photo],
]);

const management = Principal.managementCanister();
const Created = IDL.Record({ canister_id: IDL.Principal });
const Install = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});
const Store = IDL.Record({
  key: IDL.Text,
  content_type: IDL.Text,
  content_encoding: IDL.Text,
  content: IDL.Vec(IDL.Nat8),
});

/** Installs the asset canister with the files and returns its id. */
async function publish(network) {
  const agent = await HttpAgent.create({
    host: network.url,
    rootKey: Buffer.from(network.rootKey, 'hex'),
    identity: Ed25519KeyIdentity.generate(),
  });
  const update = (canister, effectiveCanisterId, methodName, arg) =>
    agent.update(canister, { methodName, arg, effectiveCanisterId });
  const created = await update(
    management,
    Principal.fromText(network.effectiveId),
    'provisional_create_canister_with_cycles',
    IDL.encode([IDL.Record({})], [{}]),
  );
  const [{ canister_id: id }] = IDL.decode([Created], created.reply);
  const module = readFileSync(process.env.ASSETS_WASM);
  const arg = IDL.encode([IDL.Opt(IDL.Null)], [[]]);
  await update(management, id, 'install_code', IDL.encode([Install], [{ mode: { install: null }, canister_id: id, wasm_module: module, arg }]));
  for (const [name, content] of files) {
    const content_type = TYPES[extname(name)] ?? 'application/octet-stream';
    await update(id, id, 'store', IDL.encode([Store], [{ key: `/${name}`, content_type, content_encoding: 'identity', content }]));
  }
  return id;
}

const network = await startNetwork();
let browser;
try {
  const id = await publish(network);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  const problems = [];
  page.on('pageerror', error => problems.push(error.message));
  const site = new URL(network.url);
  site.hostname = `${id.toText()}.localhost`;
  const opened = await page.goto(site.href);
  assert.equal(opened.status(), 200, await opened.text());
  await page.waitForFunction(() => 'verified' in window);
  const asked = { path: '/photo.bin', canister: Buffer.from(id.toUint8Array()).toString('hex'), rootKey: network.rootKey };
  const verified = changes => page.evaluate(options => window.verified(options), { ...asked, ...changes });
  const refused = (reason, changes) => assert.rejects(verified(changes), new RegExp(reason));

  const { version, sha256 } = await verified({});
  assert.equal(version, 2);
  assert.equal(sha256, createHash('sha256').update(photo).digest('hex'));
  for (const path of ['/', '/verify.js', '/web_bg.wasm']) {
    assert.equal((await verified({ path })).version, 2, path);
  }
  await refused('InvalidRequestAndResponseHashes', { flip: true });
  await refused('CertificateVerificationFailed', { later: 3600 });
  await refused('CertificateVerificationFailed', { canister: Buffer.from(Principal.fromText('ryjl3-tyaaa-aaaaa-aaaba-cai').toUint8Array()).toString('hex') });
  await refused('CertificateVerificationFailed', { rootKey: asked.rootKey.replace(/..$/, last => (last === '00' ? '01' : '00')) });
  assert.deepEqual(problems, []);
  console.log('browser: the asset canister is served to Chromium, 4 responses verified in the page, 4 wrong ones refused');
} finally {
  await browser?.close();
  await network.stop();
}

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { chromium, type Page } from 'playwright-core';
import { accepted, uploadActor } from '../../src/canister.js';
import { startNetwork } from './live-network.js';
import { lacking, needs } from './needs.js';
import { agentOf, Operator } from './operator.js';
import { readBack } from './read-back.js';
import { startSite } from './site.js';
import { Wire } from './wire.js';

const SIZES = [20_000_001, 12_345_678, 9_000_000];
/** One of this many messages is never answered: all replies to it are lost. */
const LOSE_EVERY = 9;
/** Number of calls forwarded during each of the operator's steps. The files need more calls than all steps together. */
const CALLS_PER_STEP = 4;
const PATIENCE_MS = 400_000;

const skip = lacking('binary', 'modules', 'chromium');

async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => !document.querySelector<HTMLInputElement>('#files')?.disabled);
}

test('three files are uploaded while the canister is upgraded', { skip, timeout: PATIENCE_MS }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'upload-client-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const contents = SIZES.map((size) => randomBytes(size));
  const files = contents.map((content, index) => {
    const file = join(folder, `file-${index}.bin`);
    writeFileSync(file, content);
    return file;
  });
  const network = await startNetwork(needs.binary);
  t.after(() => network.stop());
  const operator = await Operator.install(network, needs.modules);
  const wire = new Wire(network.url, LOSE_EVERY);
  await wire.start();
  t.after(() => wire.stop());
  const site = await startSite(join(import.meta.dirname, '..', '..', 'example', 'dist'));
  t.after(() => site.stop());

  const browser = await chromium.launch({ executablePath: needs.chromium, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('pageerror', (error) => t.diagnostic(`page: ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && t.diagnostic(`console: ${message.text()}`));
  const address = new URLSearchParams({
    canister: operator.canisterId.toText(),
    network: wire.url,
    rootKey: network.rootKey,
  });
  // Which file's calls pass is a matter of chance, so all files are begun before the first step, and none is finished
  // before the last one.
  wire.allow(Infinity);
  wire.hold('uploads_put_chunk', 'uploads_finish');
  const allBegun = wire.passed('uploads_begin', SIZES.length);
  await page.goto(`${site.url}?${address}`);
  await ready(page);
  await page.setInputFiles('#files', files);

  await allBegun;
  const before = wire.calls;
  wire.allow(before + CALLS_PER_STEP);
  wire.hold('uploads_finish');
  let step = 0;
  // The page continues during a step, but never so far that no calls are left for the later steps.
  const during = async (name: string, act: () => Promise<void>) => {
    await wire.reached(before + (step += 1) * CALLS_PER_STEP);
    wire.allow(before + (step + 1) * CALLS_PER_STEP);
    await act();
    t.diagnostic(`${name}: after ${wire.calls} calls`);
  };
  await during('staged', () => operator.upgrade('staged'));
  await during('converted', () => operator.waitFor('Converted'));
  await during('reloaded', async () => {
    await page.reload();
    await ready(page);
    for (const [index] of SIZES.entries()) {
      assert.match((await page.textContent('#unfinished')) ?? '', new RegExp(`file-${index}`));
    }
    await page.setInputFiles('#files', files);
  });
  await during('rolled back', async () => {
    await operator.rollBack();
    await operator.upgrade('legacy');
  });
  await during('staged again', async () => {
    await operator.upgrade('staged');
    await operator.waitFor('Converted');
  });
  await wire.reached(before + (step + 1) * CALLS_PER_STEP);
  assert.equal(await page.locator('li[data-state]').count(), 0, 'all uploads are still in flight');
  await operator.upgradeStopped('direct', async () => {
    wire.release();
    await wire.sawStopped();
  });
  t.diagnostic(`direct: after ${wire.calls} calls, ${wire.stopped} rejected while the canister was stopped`);

  await page.locator('li[data-state]').nth(SIZES.length - 1).waitFor();
  const rows = await page.locator('li').evaluateAll((items) =>
    items.map((item) => {
      const { state, memory } = (item as HTMLElement).dataset;
      return { state, memory, text: item.textContent };
    }),
  );
  t.diagnostic(`${wire.calls} calls, ${wire.lost} replies lost`);
  assert.deepEqual(rows.map(({ state }) => state), ['done', 'done', 'done'], JSON.stringify(rows));
  assert.equal(await page.textContent('#unfinished'), '');

  const kept = await page.evaluate(() => localStorage.getItem('upload-example-identity'));
  const owner = await agentOf(network, Ed25519KeyIdentity.fromJSON(kept ?? ''));
  const canister = uploadActor(owner, operator.canisterId);
  for (const [index, { memory }] of rows.entries()) {
    assert.equal(Buffer.compare(await readBack(canister, memory ?? ''), contents[index]!), 0, `file ${index} differs`);
  }
  const stats = accepted('admin_stats', await operator.canister.admin_stats());
  assert.equal(stats.memories, 3n);
  assert.equal(stats.sessions, 0n, 'no session is left');
  const { direct, compat, no_path } = stats.counts;
  const begun = [direct, compat, no_path].reduce((sum, { sessions_begun }) => sum + sessions_begun, 0n);
  assert.equal(begun, 3n, 'a session for each file, across the reload and the upgrades');
});

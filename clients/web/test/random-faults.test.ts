import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idlFactory as direct } from './declarations/direct.did.js';
import { idlFactory as legacy } from './declarations/legacy.did.js';
import { idlFactory as staged } from './declarations/staged.did.js';
import type { Fault } from './support/network.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

const CASES = Number(process.env['UPLOAD_CASES'] ?? 60);
const FAULTS: Fault[] = ['lose-request', 'lose-reply', 'late', { status: 503 }, { reject: 5, errorCode: 'IC0508' }];
const BUILDS = [legacy, staged, legacy, staged, direct];

function randomOf(seed: number): (below: number) => number {
  let state = seed * 747_796_405 + 1;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function oneCase(seed: number): Promise<void> {
  const random = randomOf(seed);
  const scene = new Scene({ parallel: 1 + random(6) });
  scene.network.canister.hashPerCall = 1 + random(5);
  let reload = new AbortController();
  let build = 0;
  scene.network.fault = () => (random(5) === 0 ? FAULTS[random(FAULTS.length)] : undefined);
  scene.network.before = async () => {
    if (random(30) === 0) await scene.network.deliverLate();
    if (random(60) === 0) scene.network.canister.endAll('has expired');
    if (random(25) === 0) reload.abort(new Error('reload'));
    if (random(20) === 0) {
      const { hashPerCall } = scene.network.canister;
      scene.network.canister = Object.assign(scene.network.canister.upgraded(), { hashPerCall });
      build += 1;
      scene.network.served = BUILDS[build % BUILDS.length]!;
    }
  };
  const files = Array.from({ length: 3 }, (_, index) => fileOf(random(15_000), seed * 3 + index));
  for (let pages = 0; ; pages += 1) {
    assert.ok(pages < 100, 'the uploads never end');
    const page = scene.page();
    const uploads = files.map((file) => page.upload(file, { capsule: CAPSULE, signal: reload.signal }));
    const ends = await Promise.allSettled(uploads);
    const failed = ends.find((end) => end.status === 'rejected');
    if (!failed) {
      for (const [index, end] of ends.entries()) {
        if (end.status === 'fulfilled') await scene.assertStored(end.value, files[index]!);
      }
      return;
    }
    const { reason } = failed as PromiseRejectedResult;
    // An upload whose session is ended repeatedly fails eventually, and the user starts it again.
    assert.ok(reload.signal.aborted || reason.code === 'refused', String(reason));
    reload = new AbortController();
  }
}

test('files arrive complete despite faults in transit', async () => {
  for (let seed = 1; seed <= CASES; seed += 1) {
    await oneCase(seed).catch((error: unknown) => {
      throw new Error(`case ${seed}`, { cause: error });
    });
  }
});

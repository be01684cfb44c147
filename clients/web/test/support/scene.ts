// The setup of a test: an uploader, a network, a fake canister, and files.

import assert from 'node:assert/strict';
import { memoryStore } from '../../src/store/memory.js';
import { inlineHasher } from '../../src/hash/hasher.js';
import { Uploader, type Settings } from '../../src/uploader.js';
import type { UploadFinishResult } from '../../src/canister.js';
import { Clock } from './clock.js';
import { FakeCanister } from './fake-canister.js';
import { Network } from './network.js';

export const CAPSULE = 'capsule_1';

export class Scene {
  readonly clock = new Clock();
  readonly network: Network;
  readonly store: NonNullable<Settings['store']>;

  constructor(
    private readonly settings: Settings = {},
    canister = new FakeCanister(),
  ) {
    this.network = new Network(canister);
    this.store = settings.store ?? memoryStore();
  }

  /** An uploader as on a page that was just loaded: everything except the store is new. */
  page(): Uploader {
    const given: Settings = { hasher: inlineHasher, timing: this.clock, ...this.settings, store: this.store };
    return new Uploader(this.network.actor(), 'canister caller', given);
  }

  count(method: string): number {
    return this.network.calls.filter((called) => called === method).length;
  }

  async assertStored({ memory_id }: UploadFinishResult, file: Blob): Promise<void> {
    const stored = this.network.canister.memory(memory_id);
    assert.ok(stored, `memory ${memory_id} does not exist`);
    assert.equal(Buffer.compare(stored, Buffer.from(await file.arrayBuffer())), 0, 'the bytes differ');
  }
}

/** A file of this many bytes; each seed gives a different file. The chunks of the fake canister have 1,000 bytes. */
export function fileOf(bytes: number, seed = 1, name = `file-${seed}.bin`): File {
  const content = new Uint8Array(bytes);
  let state = seed * 2_654_435_761;
  for (let i = 0; i < bytes; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    content[i] = state >>> 24;
  }
  return new File([content], name, { type: 'application/pdf', lastModified: 1_700_000_000_000 });
}

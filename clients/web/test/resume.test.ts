import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Principal } from '@icp-sdk/core/principal';
import { forceCloseDatabase } from 'fake-indexeddb';
import { indexedDbStore } from '../src/store/indexed-db.js';
import { memoryStore } from '../src/store/memory.js';
import { fileOf, CAPSULE, Scene } from './support/scene.js';

let databases = 0;

/** Closes a page during an upload, after this many calls. Returns the scene and the file. */
async function interruptedUpload(after: number, bytes = 9_999) {
  const scene = new Scene({ store: indexedDbStore(`database-${(databases += 1)}`), parallel: 2 });
  const closed = new AbortController();
  scene.network.before = ({ number }) => {
    if (number === after) closed.abort(new Error('closed'));
  };
  const file = fileOf(bytes);
  const upload = scene.page().upload(file, { capsule: CAPSULE, signal: closed.signal });
  await assert.rejects(upload, { message: 'closed' });
  scene.network.before = () => undefined;
  // Calls in flight still arrive.
  await scene.network.idle();
  return { scene, file };
}

test('after a reload only the missing chunks are sent', async () => {
  const { scene, file } = await interruptedUpload(7);
  const stored = [...scene.network.canister.state.sessions.values()][0]!.chunks.size;
  assert.ok(stored > 0);
  const before = scene.count('uploads_put_chunk');
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.equal(scene.count('uploads_put_chunk') - before, 10 - stored);
  assert.deepEqual(await scene.page().unfinished(), []);
});

test('a reload at any call gives one memory of one session', async () => {
  for (let after = 1; after <= 12; after += 1) {
    const { scene, file } = await interruptedUpload(after);
    await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
    assert.equal(scene.network.canister.state.memories.size, 1, `after call ${after}`);
    assert.equal(scene.network.canister.state.nextId, 2n, `after call ${after}`);
  }
});

test('a reload in the only call of a small file gives one memory', async () => {
  const { scene, file } = await interruptedUpload(1, 500);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
  assert.equal(scene.network.canister.state.memories.size, 1);
});

test('a page can list unfinished uploads', async () => {
  const { scene } = await interruptedUpload(7);
  const [record] = await scene.page().unfinished();
  assert.equal(record?.name, 'file-1.bin');
  assert.equal(record?.bytes, 9_999);
  assert.equal(record?.capsule, CAPSULE);
});

test('another file of the same name and size begins from scratch', async () => {
  const { scene } = await interruptedUpload(7);
  const other = fileOf(9_999, 2, 'file-1.bin');
  await scene.assertStored(await scene.page().upload(other, { capsule: CAPSULE }), other);
  assert.equal(scene.network.canister.state.nextId, 3n, 'two sessions');
  assert.equal((await scene.page().unfinished()).length, 1);
});

test('two tabs that begin at once share one upload', async () => {
  const scene = new Scene({ store: indexedDbStore(`database-${(databases += 1)}`) });
  const file = fileOf(9_999);
  const [one, other] = await Promise.all([1, 2].map(() => scene.page().upload(file, { capsule: CAPSULE })));
  assert.deepEqual(one, other);
  await scene.assertStored(one!, file);
});

test('chunks already sent are kept if the metadata differ', async () => {
  const { scene, file } = await interruptedUpload(7);
  const result = await scene.page().upload(file, { capsule: CAPSULE, description: 'said only now' });
  await scene.assertStored(result, file);
  assert.equal(scene.network.canister.state.nextId, 2n, 'one session');
});

test('a discarded upload is aborted and its record deleted', async () => {
  const { scene, file } = await interruptedUpload(7);
  const [record] = await scene.page().unfinished();
  await scene.page().discard(record!);
  assert.equal(scene.network.canister.state.sessions.size, 0);
  assert.deepEqual(await scene.page().unfinished(), []);
  await scene.page().discard(record!);
  await scene.assertStored(await scene.page().upload(file, { capsule: CAPSULE }), file);
});

test('an upload is discarded even if the page did not get the answer to begin', async () => {
  const { scene } = await interruptedUpload(1);
  const [record] = await scene.page().unfinished();
  assert.equal(record!.session, undefined);
  assert.equal(scene.network.canister.state.sessions.size, 1);
  await scene.page().discard(record!);
  assert.equal(scene.network.canister.state.sessions.size, 0);
  assert.deepEqual(await scene.page().unfinished(), []);
  // A canister that refuses to begin it has nothing to discard.
  const refusal = { Unauthorized: { needs: 'write access', caller: Principal.anonymous() } };
  scene.network.canister.refusals.set('uploads_begin', refusal);
  await scene.page().discard(record!);
});

test('a file that is sent in one call is discarded without an update call', async () => {
  const { scene } = await interruptedUpload(1, 500);
  const [record] = await scene.page().unfinished();
  await scene.page().discard(record!);
  assert.deepEqual(scene.network.calls.slice(-1), ['upload_config']);
  assert.deepEqual(await scene.page().unfinished(), []);
});

for (const [name, store] of [
  ['memory', memoryStore()],
  ['IndexedDB', indexedDbStore('of-the-store-test')],
] as const) {
  test(`the store in ${name} keeps records as they are`, async () => {
    const { scene } = await interruptedUpload(7);
    const [record] = await scene.page().unfinished();
    const other = { ...record!, idem: 'of another tab' };
    assert.deepEqual(await Promise.all([store.claim(record!), store.claim(other)]), [record, record]);
    assert.deepEqual(await store.list(record!.scope), [record]);
    assert.deepEqual(await store.list('another'), []);
    await store.put({ ...record!, session: 9n });
    assert.equal((await store.claim(record!)).session, 9n);
    await store.delete(record!.key);
    assert.deepEqual(await store.list(record!.scope), []);
  });
}

/** Deletes a database, and fails if a connection that stays open prevents it. */
function deleteDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onblocked = () => reject(new Error('an open connection prevents it'));
  });
}

test('the store does not prevent a page from deleting its database, and continues with a new one', async () => {
  const { scene } = await interruptedUpload(7);
  const [record] = await scene.page().unfinished();
  const store = indexedDbStore('of-a-page-that-deletes');
  await store.put(record!);
  await deleteDatabase('of-a-page-that-deletes');
  assert.deepEqual(await store.list(record!.scope), []);
  await store.put(record!);
  assert.deepEqual(await store.list(record!.scope), [record]);
});

test('after the browser has closed its connection, the store opens another', async (t) => {
  const { scene } = await interruptedUpload(7);
  const [record] = await scene.page().unfinished();
  const open = t.mock.method(indexedDB, 'open');
  const store = indexedDbStore('of-a-closed-connection');
  await store.put(record!);
  const connection = (open.mock.calls[0]!.result as IDBOpenDBRequest).result;
  forceCloseDatabase(connection as unknown as Parameters<typeof forceCloseDatabase>[0]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await store.list(record!.scope), [record]);
});

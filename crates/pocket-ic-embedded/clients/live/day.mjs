// An operator's whole day: the published icp-cli and session-migrate on a canister with uploads in flight, from the
// legacy to the direct build. The commands are those of docs/runbook.md, as written there, and all of them are run.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Principal } from '@icp-sdk/core/principal';
import { snapshotIn } from './icp.mjs';
import { startNetwork } from './network.mjs';
import { createCanister, prepare, root } from './operator.mjs';
import { User } from './user.mjs';

const CHUNK = 1_800_000;

export async function dayTests(test) {
  const migrate = process.env.SESSION_MIGRATE;
  const network = await startNetwork(migrate, 'serve');
  const { project, env, notRun, shell, operator } = prepare(network, 'runbook.md');
  // Several commands of the page write into `snapshot`, so they run in different folders.
  for (const folder of ['morning', 'dry', 'evening']) mkdirSync(join(project, folder));
  const builds = {};
  const expectRunning = async build => {
    const status = await operator('icp canister status $CANISTER -n ic');
    assert.ok(status.includes(builds[build]), `${build} ${builds[build]}: ${status}`);
    assert.match(status, /Running/);
  };

  const [alice, bob] = ['alice', 'bob'].map(name => new User(project, name));
  const uploader = (user, file, ...options) => {
    const args = ['upload', file, '--network', network.url, '-k', network.rootKey, '--canister', env.CANISTER];
    return spawn(migrate, [...args, '--identity', user.pem, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const upload = async (user, name, content) => {
    writeFileSync(join(project, name), content);
    const child = uploader(user, join(project, name));
    const messages = child.stderr.toArray();
    const [code] = await once(child, 'exit');
    assert.equal(code, 0, Buffer.concat(await messages).toString());
  };
  const large = randomBytes(12 * CHUNK + 5);
  const small = new Map();
  let isOver = false;
  let bobsUploads;

  try {
    await test('the operator deploys the legacy build', async () => {
      env.CANISTER = await createCanister(shell);
      await operator('icp identity export $IDENTITY > identity.pem');
      await operator('icp canister link upload $CANISTER -e ic');
      await shell('UPLOAD_BUILD=legacy icp deploy upload --no-create --mode install -e embedded');
      await shell('cargo migrate build');
      for (const build of ['legacy', 'staged', 'direct']) {
        const module = readFileSync(join(root, 'dist', `${build}.wasm.gz`));
        builds[build] = createHash('sha256').update(module).digest('hex');
      }
      for (const user of [alice, bob]) await user.connect(network, Principal.fromText(env.CANISTER));
    });

    await test('an upload is in flight, and others are begun and finished all day', async () => {
      writeFileSync(join(project, 'large.bin'), large);
      const child = uploader(alice, join(project, 'large.bin'), '--parallel', '1');
      const exited = once(child, 'exit');
      while (!(await alice.inFlight()).some(bytes => bytes > CHUNK)) {
        assert.equal(child.exitCode, null, 'the upload ended before it was killed');
      }
      child.kill('SIGKILL');
      await exited;
      bobsUploads = (async () => {
        for (let number = 0; !isOver; number += 1) {
          const name = `${number}.txt`;
          const content = randomBytes(40_000 + number);
          await upload(bob, name, content);
          small.set(name, content);
          // The clients pause, so that the machine has time for the operator.
          await setTimeout(500);
        }
      })();
      // A rejection must not end the process: the promise is awaited later.
      bobsUploads.catch(() => {});
    });

    await test('a snapshot is taken, restored and downloaded', async () => {
      await expectRunning('legacy');
      await operator('icp canister stop $CANISTER -n ic');
      const taken = await operator('icp canister snapshot create $CANISTER -n ic');
      env.SNAPSHOT = snapshotIn(taken);
      await operator('icp canister snapshot restore $CANISTER $SNAPSHOT -n ic');
      await operator('icp canister start $CANISTER -n ic');
      assert.ok((await operator('icp canister snapshot list $CANISTER -n ic')).includes(env.SNAPSHOT));
      await operator('icp canister snapshot download $CANISTER $SNAPSHOT --output snapshot -n ic', 'morning');
    });

    await test('inspect, plan and rehearse on the snapshot of icp', async () => {
      const inspected = await operator('cargo migrate inspect snapshot', 'morning');
      assert.match(inspected, /legacy/);
      assert.match(await operator('cargo migrate plan snapshot --html plan.html', 'morning'), /verdict: go/);
      const rehearsed = await operator('cargo migrate rehearse --snapshot snapshot --html rehearsal.html', 'morning');
      assert.match(rehearsed, /verdict: pass/);
    });

    await test('snapshots are downloaded and uploaded with a manifest', async () => {
      const identity = readFileSync(join(project, 'identity.pem'));
      for (const folder of ['dry', 'evening']) writeFileSync(join(project, folder, 'identity.pem'), identity);
      await operator('cargo migrate snapshot download $CANISTER --snapshot $SNAPSHOT --out snapshot --identity identity.pem', 'dry');
      await operator('cargo migrate snapshot verify snapshot', 'dry');
      await operator('cargo migrate snapshot upload snapshot --canister $CANISTER --identity identity.pem', 'dry');
    });

    await test('upgrade to the staged build, rehearsed', async () => {
      const planned = await operator('cargo migrate upgrade $CANISTER --to staged --identity identity.pem --dry-run');
      assert.match(planned, /nothing was sent/);
      const upgraded = await operator('cargo migrate upgrade $CANISTER --to staged --identity identity.pem --rehearse');
      assert.match(upgraded, /upgraded to the staged build/);
      await expectRunning('staged');
      assert.match(await operator("icp canister call $CANISTER migration_status '()' -n ic"), /Converted/);
      assert.equal((await alice.inFlight()).length, 1);
    });

    await test('the same by hand', async () => {
      await operator('icp canister install $CANISTER --mode upgrade --wasm dist/staged.wasm.gz -n ic');
      await operator('UPLOAD_BUILD=staged icp deploy upload --no-create --mode upgrade -e ic');
      await expectRunning('staged');
    });

    await test('inspect again, on a snapshot of the running canister', async () => {
      await operator('cargo migrate snapshot download $CANISTER --take --out snapshot --identity identity.pem', 'evening');
      assert.match(await operator('cargo migrate inspect snapshot', 'evening'), /staged/);
    });

    await test('finalize, and upgrade to the direct build', async () => {
      const call = (method) => shell(`icp canister call $CANISTER ${method} -n embedded`);
      const verifying = await call("migration_verify '()'");
      assert.match(verifying, /Ok = /, verifying);
      // The verification takes place in later messages. A minute is the interval of the watchdog.
      const since = Date.now();
      while (!/Converted/.test(await call("migration_status '()'"))) {
        assert.ok(Date.now() - since < 60_000, 'the verification does not end');
      }
      const finalized = await call("migration_finalize '(null)'");
      assert.match(finalized, /Ok = /, finalized);
      const upgraded = await operator('cargo migrate upgrade $CANISTER --to direct --identity identity.pem');
      assert.match(upgraded, /upgraded to the direct build/);
      await expectRunning('direct');
      assert.equal((await alice.inFlight()).length, 1);
    });

    await test('the upload continues where it stopped, and every byte is read back', async () => {
      isOver = true;
      await bobsUploads;
      await upload(alice, 'large.bin', large);
      assert.deepEqual([...(await alice.stored()).keys()], ['large.bin']);
      assert.ok((await alice.stored()).get('large.bin').equals(large));
      const stored = await bob.stored();
      assert.equal(stored.size, small.size);
      for (const [name, content] of small) assert.ok(stored.get(name)?.equals(content), name);
      assert.ok(small.size > 10, `${small.size} files were uploaded`);
      assert.equal((await alice.inFlight()).length, 0);
    });

    await test('every command of the runbook was run', () => assert.deepEqual([...notRun], []));
  } finally {
    isOver = true;
    await bobsUploads?.catch(() => {});
    await network.stop();
  }
}

// An operator's whole day: the published icp-cli and session-migrate on a canister with uploads in flight, from the
// legacy to the direct build. The commands are those of docs/runbook.md, as written there, and all of them are run.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { HttpAgent } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Principal } from '@icp-sdk/core/principal';
import { program } from './icp.mjs';
import { startNetwork } from './network.mjs';

const CHUNK = 1_800_000;
const root = process.env.SOURCE_TREE;

/** The commands of icp and session-migrate in a text of Markdown: in blocks, and in the text if they have options. */
function commandsIn(markdown) {
  const block = /```sh\n(.*?)```/gs;
  const lines = [...markdown.matchAll(block)].flatMap(([, text]) => text.split('\n'));
  const spans = [...markdown.replace(/```.*?```/gs, '').matchAll(/`([^`]+)`/g)].map(([, text]) => text);
  return new Set(
    [...lines, ...spans.filter(span => /[$]| -/.test(span))]
      .map(line => line.replace(/\s+#.*$/, '').replace(/\s+/g, ' ').trim())
      .filter(line => /^([A-Z_]+=\S+ )?(icp|cargo migrate) /.test(line)),
  );
}

/** A user with a file of their key, and with everything that they have stored. */
class User {
  constructor(folder, name) {
    const { privateKey } = generateKeyPairSync('ed25519');
    this.pem = join(folder, `${name}.pem`);
    writeFileSync(this.pem, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const seed = privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32);
    this.identity = Ed25519KeyIdentity.fromSecretKey(new Uint8Array(seed));
  }

  async connect(network, canister) {
    const rootKey = new Uint8Array(Buffer.from(network.rootKey, 'hex'));
    this.agent = await HttpAgent.create({ host: network.url, rootKey, identity: this.identity });
    this.canister = canister;
  }

  async query(methodName, types, args, result) {
    const answer = await this.agent.query(this.canister, { methodName, arg: IDL.encode(types, args) });
    assert.equal(answer.status, 'replied', answer.reject_message);
    const [reply] = IDL.decode([IDL.Variant({ Ok: result, Err: IDL.Reserved })], answer.reply.arg);
    assert.ok('Ok' in reply, `${methodName} is refused`);
    return reply.Ok;
  }

  /** Bytes that have arrived of each upload in flight. */
  async inFlight() {
    const Status = IDL.Record({ bytes_received: IDL.Nat64 });
    const all = await this.query('uploads_list', [IDL.Opt(IDL.Nat64), IDL.Opt(IDL.Nat32)], [[], []], IDL.Vec(Status));
    return all.map(status => Number(status.bytes_received));
  }

  /** Every file in the user's capsules, by name. */
  async stored() {
    const Base = IDL.Record({ base: IDL.Record({ name: IDL.Text }) });
    const kinds = ['Note', 'Image', 'Document', 'Audio', 'Video'].map(kind => [kind, Base]);
    const Memory = IDL.Record({
      id: IDL.Text,
      asset_metadata: IDL.Variant(Object.fromEntries(kinds)),
      blob: IDL.Record({ locator: IDL.Text }),
    });
    const page = [IDL.Opt(IDL.Text), IDL.Opt(IDL.Nat32)];
    const files = new Map();
    const capsules = await this.query('capsules_list', page, [[], []], IDL.Vec(IDL.Record({ id: IDL.Text })));
    for (const { id } of capsules) {
      let after = [];
      for (;;) {
        const memories = await this.query('memories_list', [IDL.Text, ...page], [id, after, []], IDL.Vec(Memory));
        if (memories.length === 0) break;
        for (const { asset_metadata, blob } of memories) {
          const [{ base }] = Object.values(asset_metadata);
          files.set(base.name, await this.content(blob.locator));
        }
        after = [memories.at(-1).id];
      }
    }
    return files;
  }

  async content(locator) {
    const id = locator.split('/').at(-1);
    const Meta = IDL.Record({ chunk_count: IDL.Nat32 });
    const { chunk_count: count } = await this.query('blob_get_meta', [IDL.Text], [id], Meta);
    const chunks = [];
    for (let index = 0; index < count; index += 1) {
      chunks.push(await this.query('blob_read_chunk', [IDL.Text, IDL.Nat32], [id, index], IDL.Vec(IDL.Nat8)));
    }
    return Buffer.concat(chunks);
  }
}

export async function dayTests(test) {
  const project = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'day-'));
  const migrate = process.env.SESSION_MIGRATE;
  const network = await startNetwork(migrate, 'serve', '--live', '--gateway-port', '0', '--ttl', '600');
  const runbook = readFileSync(join(root, 'docs', 'runbook.md'), 'utf8');
  const open = commandsIn(runbook);
  const done = new Set();
  const env = {
    ...process.env,
    DO_NOT_TRACK: '1',
    NO_COLOR: '1',
    ICP_HOME: join(project, 'home'),
    IDENTITY: 'operator',
    PATH: [join(project, 'bin'), dirname(program()), process.env.PATH].join(delimiter),
  };
  for (const folder of ['bin', 'home', 'morning', 'dry', 'evening']) mkdirSync(join(project, folder));
  symlinkSync(join(root, 'dist'), join(project, 'dist'));
  writeFileSync(join(project, 'icp.yaml'), `${readFileSync(join(root, 'icp.yaml'), 'utf8')}\n${network.icpYaml}\n`);
  // `cargo migrate` and the build of icp.yaml, with the program that is compiled already.
  writeFileSync(
    join(project, 'bin', 'cargo'),
    `#!/usr/bin/env bash
export PATH=\${PATH#*:}
case "$1 $2 $3 $4" in
  "migrate "*) shift ;;
  "run --package session-migrate --") shift 4 ;;
  *) exec cargo "$@" ;;
esac
exec "${migrate}" "$@"
`,
    { mode: 0o755 },
  );

  const run = promisify(execFile);
  const shell = async (command, folder = '') => {
    const options = { cwd: join(project, folder), env, timeout: 900_000, maxBuffer: 1 << 26 };
    const { stdout, stderr } = await run('bash', ['-euc', command], options);
    return stdout + stderr;
  };
  const here = [' --network', network.url, '-k', network.rootKey].join(' ');
  /** Runs a command of the runbook, on this network, and returns what it prints. */
  const operator = async (command, folder) => {
    assert.ok(open.has(command) || done.has(command), `docs/runbook.md does not have: ${command}`);
    open.delete(command);
    done.add(command);
    const there = command.replace(/ -([ne]) ic$/, ' -$1 embedded');
    const isOnline = /^cargo migrate (upgrade|snapshot (download|upload)) /.test(command);
    return shell(isOnline ? there + here : there, folder);
  };
  const builds = {};
  const isRunning = async build => {
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
    const said = child.stderr.toArray();
    const [code] = await once(child, 'exit');
    assert.equal(code, 0, Buffer.concat(await said).toString());
  };
  const large = randomBytes(12 * CHUNK + 5);
  const small = new Map();
  let isOver = false;
  let bobs;

  try {
    await test('the operator deploys the legacy build', async () => {
      await shell('icp identity new operator --storage plaintext && icp identity default operator');
      await operator('icp identity export $IDENTITY > identity.pem');
      const created = await shell(
        "icp canister call aaaaa-aa provisional_create_canister_with_cycles '(record { amount = opt 100_000_000_000_000; " +
          "settings = null; specified_id = null; sender_canister_version = null })' -e embedded",
      );
      env.CANISTER = /principal "([a-z0-9-]+-cai)"/.exec(created)[1];
      await operator('icp canister link upload $CANISTER -e ic');
      await shell('UPLOAD_BUILD=legacy icp deploy upload --no-create --mode install -e embedded');
      await shell('cargo migrate build');
      for (const build of ['legacy', 'staged', 'direct']) {
        const module = readFileSync(join(root, 'dist', `${build}.wasm.gz`));
        builds[build] = createHash('sha256').update(module).digest('hex');
      }
      for (const user of [alice, bob]) await user.connect(network, Principal.fromText(env.CANISTER));
    });

    await test('an upload is in flight, and others are made all day', async () => {
      writeFileSync(join(project, 'large.bin'), large);
      const child = uploader(alice, join(project, 'large.bin'), '--parallel', '1');
      const exited = once(child, 'exit');
      while (!(await alice.inFlight()).some(bytes => bytes > CHUNK)) {
        assert.equal(child.exitCode, null, 'it is to be killed on its way');
      }
      child.kill('SIGKILL');
      await exited;
      bobs = (async () => {
        for (let number = 0; !isOver; number += 1) {
          const name = `${number}.txt`;
          const content = randomBytes(40_000 + number);
          await upload(bob, name, content);
          small.set(name, content);
          // They make a break, so that the machine has time for the operator.
          await setTimeout(500);
        }
      })();
      // Awaited at the end.
      bobs.catch(() => {});
    });

    await test('a snapshot is taken, restored and downloaded', async () => {
      await isRunning('legacy');
      await operator('icp canister stop $CANISTER -n ic');
      const taken = await operator('icp canister snapshot create $CANISTER -n ic');
      env.SNAPSHOT = /\b[0-9a-f]{20,}\b/.exec(taken)[0];
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

    await test('snapshots go out and in with a manifest', async () => {
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
      await isRunning('staged');
      assert.match(await operator("icp canister call $CANISTER migration_status '()' -n ic"), /Converted/);
      assert.equal((await alice.inFlight()).length, 1);
    });

    await test('the same by hand', async () => {
      await operator('icp canister install $CANISTER --mode upgrade --wasm dist/staged.wasm.gz -n ic');
      await operator('UPLOAD_BUILD=staged icp deploy upload --no-create --mode upgrade -e ic');
      await isRunning('staged');
    });

    await test('inspect again, on a snapshot of the running canister', async () => {
      await operator('cargo migrate snapshot download $CANISTER --take --out snapshot --identity identity.pem', 'evening');
      assert.match(await operator('cargo migrate inspect snapshot', 'evening'), /staged/);
    });

    await test('finalize, and upgrade to the direct build', async () => {
      for (const call of ["migration_verify '()'", "migration_finalize '(null)'"]) {
        const answer = await shell(`icp canister call $CANISTER ${call} -n embedded`);
        assert.match(answer, /Ok = /, answer);
      }
      const upgraded = await operator('cargo migrate upgrade $CANISTER --to direct --identity identity.pem');
      assert.match(upgraded, /upgraded to the direct build/);
      await isRunning('direct');
      assert.equal((await alice.inFlight()).length, 1);
    });

    await test('the upload goes on where it was, and every byte is read back', async () => {
      isOver = true;
      await bobs;
      await upload(alice, 'large.bin', large);
      assert.deepEqual([...(await alice.stored()).keys()], ['large.bin']);
      assert.ok((await alice.stored()).get('large.bin').equals(large));
      const stored = await bob.stored();
      assert.equal(stored.size, small.size);
      for (const [name, content] of small) assert.ok(stored.get(name)?.equals(content), name);
      assert.ok(small.size > 10, `${small.size} files were uploaded`);
      assert.equal((await alice.inFlight()).length, 0);
    });

    await test('every command of the runbook was run', () => assert.deepEqual([...open], []));
  } finally {
    isOver = true;
    await bobs?.catch(() => {});
    await network.stop();
  }
}

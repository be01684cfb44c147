// An operator: a folder with the tools on its path, and the commands of a page of the documentation, run as
// written there, on a network of the embedded server.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { program } from './icp.mjs';

export const root = process.env.SOURCE_TREE;

/** The commands of icp and session-migrate in a Markdown text: in code blocks, and elsewhere if they have variables or options. */
export function commandsIn(markdown) {
  const block = /```sh\n(.*?)```/gs;
  const lines = [...markdown.matchAll(block)].flatMap(([, text]) => text.split('\n'));
  const spans = [...markdown.replace(/```.*?```/gs, '').matchAll(/`([^`]+)`/g)].map(([, text]) => text);
  return new Set(
    [...lines, ...spans.filter(span => /[$]| -/.test(span))]
      .map(line => line.replace(/\s+#.*$/, '').replace(/\s+/g, ' ').trim())
      .filter(line => /^([A-Z_]+=\S+ )?(icp|cargo migrate) /.test(line)),
  );
}

/** Prepares a folder for the commands of a page in docs/; `notRun` has the commands that were not run yet. */
export function prepare(network, page) {
  const migrate = process.env.SESSION_MIGRATE;
  const project = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'operator-'));
  const notRun = commandsIn(readFileSync(join(root, 'docs', page), 'utf8'));
  const done = new Set();
  const env = {
    ...process.env,
    DO_NOT_TRACK: '1',
    NO_COLOR: '1',
    ICP_HOME: join(project, 'home'),
    IDENTITY: 'operator',
    PATH: [join(project, 'bin'), dirname(program()), process.env.PATH].join(delimiter),
  };
  for (const folder of ['bin', 'home']) mkdirSync(join(project, folder));
  symlinkSync(join(root, 'dist'), join(project, 'dist'));
  writeFileSync(join(project, 'icp.yaml'), `${readFileSync(join(root, 'icp.yaml'), 'utf8')}\n${network.icpYaml}\n`);
  // For `cargo migrate` and the build in icp.yaml, this `cargo` runs the program that is already compiled.
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
  /** Runs a command that need not be on the page, and returns its output. */
  const shell = async (command, folder = '') => {
    const options = { cwd: join(project, folder), env, timeout: 900_000, maxBuffer: 1 << 26 };
    const { stdout, stderr } = await run('bash', ['-euc', command], options);
    return stdout + stderr;
  };
  const networkOptions = [' --network', network.url, '-k', network.rootKey].join(' ');
  /** Runs a command of the page on this network, and returns its output. */
  const operator = async (command, folder) => {
    assert.ok(notRun.has(command) || done.has(command), `docs/${page} does not have: ${command}`);
    notRun.delete(command);
    done.add(command);
    const onEmbedded = command.replace(/ -([ne]) ic(?= |$)/g, ' -$1 embedded');
    const isOnline = /^cargo migrate (upgrade|snapshot (download|upload)) /.test(command);
    return shell(isOnline ? onEmbedded + networkOptions : onEmbedded, folder);
  };
  return { project, env, notRun, shell, operator };
}

/** Creates an identity and, as its controller, an empty canister; returns the canister's id. */
export async function createCanister(shell) {
  await shell('icp identity new operator --storage plaintext && icp identity default operator');
  const created = await shell(
    "icp canister call aaaaa-aa provisional_create_canister_with_cycles '(record { amount = opt 100_000_000_000_000; " +
      "settings = null; specified_id = null; sender_canister_version = null })' -e embedded",
  );
  return /principal "([a-z0-9-]+-cai)"/.exec(created)[1];
}

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { IDL } from '@icp-sdk/core/candid';
import { AGENT_CODES, ERROR_CODES, HTTP_STATUS, REJECT_CODES, type Verdict } from '../src/verdict.js';
import { idlFactory as direct } from './declarations/direct.did.js';
import { functionsOf } from './support/network.js';

const rows = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| '));

test('the README has the answer to every code', () => {
  const tables: Array<Record<string, Verdict>> = [REJECT_CODES, ERROR_CODES, HTTP_STATUS, AGENT_CODES];
  for (const [code, verdict] of tables.flatMap((table) => Object.entries(table))) {
    const documented = rows.some((row) => row.includes(`\`${code}\``) && row.includes(`| ${verdict} |`));
    assert.ok(documented, `${code}: ${verdict}`);
  }
});

test('the README has the answer to every variant of Error', () => {
  const [, finish] = functionsOf(direct).find(([name]) => name === 'uploads_finish')!;
  const result = finish.retTypes[0] as unknown as { _fields: Array<[string, IDL.Type]> };
  const error = result._fields.find(([name]) => name === 'Err')![1] as unknown as typeof result;
  assert.ok(error._fields.length >= 9);
  for (const [variant] of error._fields) {
    assert.ok(rows.some((row) => row.startsWith(`| \`${variant}\``)), variant);
  }
});

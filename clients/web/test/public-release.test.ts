// A JavaScript client of the first public release decodes the replies of this canister that docs/adopting.md lists as
// decodable, and no others. The table there is derived from Candid's rules. Its column about arguments is not tested
// here, since only the canister decodes arguments.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { IDL } from '@icp-sdk/core/candid';
import { idlFactory as direct } from './declarations/direct.did.js';
import { idlFactory as legacy } from './declarations/legacy.did.js';
import { idlFactory as publicRelease } from './declarations/public-release.did.js';
import { idlFactory as staged } from './declarations/staged.did.js';
import { functionsOf } from './support/network.js';
import { problems } from './support/specimens.js';

/** The rows of the table, by function: whether its `Ok` and its `Err` decode. */
const TABLE = new Map(
  readFileSync(new URL('../../../docs/adopting.md', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => /^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$/.exec(line))
    .filter((row) => row !== null)
    .map(([, method, , ok, err]) => [method!, [ok!.trim(), err!.trim()]] as const),
);

/** The type of a result that has only this case. A reply that is not a result counts as `Ok`. */
function only(type: IDL.Type, name: 'Ok' | 'Err'): IDL.Type | undefined {
  const found = type instanceof IDL.VariantClass && type._fields.find(([label]) => label === name);
  if (found) return IDL.Variant({ [name]: found[1] });
  return name === 'Ok' ? type : undefined;
}

function reply(served: IDL.Type, known: IDL.Type, name: 'Ok' | 'Err'): string {
  const written = only(served, name);
  if (written === undefined) return 'none';
  return problems([written], [known]).length === 0 ? 'decodes' : '**does not decode**';
}

const BUILDS: Array<[string, IDL.InterfaceFactory]> = [
  ['legacy', legacy],
  ['staged', staged],
  ['direct', direct],
];

for (const [build, factory] of BUILDS) {
  test(`JavaScript decodes the replies that the table says: ${build}`, () => {
    const served = new Map(functionsOf(factory));
    const seen = functionsOf(publicRelease)
      .filter(([method]) => served.has(method))
      .map(([method, old]) => {
        const [[now], [known]] = [served.get(method)!.retTypes, old.retTypes];
        return [method, [reply(now!, known!, 'Ok'), reply(now!, known!, 'Err')]];
      });
    assert.ok(seen.length > 10);
    assert.deepEqual(seen, seen.map(([method]) => [method, TABLE.get(method as string)]));
  });
}

// A client that is generated from an older build's interface understands the newer builds. Candid's subtyping rules are
// not enough for that: JavaScript may fail to read a value of one type as the other, although the rules permit it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IDL } from '@icp-sdk/core/candid';
import { idlFactory as released } from './declarations/2026-11-24.did.js';
import { idlFactory as direct } from './declarations/direct.did.js';
import { idlFactory as legacy } from './declarations/legacy.did.js';
import { idlFactory as staged } from './declarations/staged.did.js';
import { functionsOf } from './support/network.js';
import { problems } from './support/specimens.js';

const PAIRS: Array<[string, IDL.InterfaceFactory, IDL.InterfaceFactory]> = [
  ['2026-11-24 on legacy', released, legacy],
  ['2026-11-24 on staged', released, staged],
  ['2026-11-24 on direct', released, direct],
  ['legacy on staged', legacy, staged],
  ['legacy on direct', legacy, direct],
  ['staged on direct', staged, direct],
];

for (const [name, older, newer] of PAIRS) {
  test(`every function of the client: ${name}`, () => {
    const served = new Map(functionsOf(newer));
    const wrong = functionsOf(older).flatMap(([method, { argTypes, retTypes }]) => {
      const type = served.get(method);
      if (type === undefined) return [`${method} is gone`];
      const known = type.argTypes.slice(0, argTypes.length);
      const replies = problems(type.retTypes, retTypes).map((problem) => `${method}, reply: ${problem}`);
      return replies.concat(problems(argTypes, known).map((problem) => `${method}, arguments: ${problem}`));
    });
    assert.deepEqual(wrong, []);
  });
}

test('new arguments of a function may be omitted', () => {
  const served = new Map(functionsOf(direct));
  let added = 0;
  for (const [method, { argTypes }] of [released, legacy, staged].flatMap(functionsOf)) {
    const types = served.get(method)!.argTypes.slice(argTypes.length);
    assert.ok(types.every((type) => type instanceof IDL.OptClass), method);
    added += types.length;
  }
  assert.ok(added > 0, 'since 2026-11-24 there are some');
});

test('values that JavaScript does not read as Candid defines are detected', () => {
  const { Record, Opt, Nat, Int, Text, Bool, Variant, Null, Vec } = IDL;
  const found = (written: IDL.Type, read: IDL.Type) => problems([written], [read]).length > 0;
  assert.ok(found(Record({ a: Opt(Nat) }), Record({ a: Opt(Int) })), 'a nat in an option, read as int, is lost');
  assert.ok(found(Nat, Int), 'a nat read as int is an error');
  assert.ok(found(Variant({ A: Null, B: Text }), Variant({ A: Null })), 'a new case is an error');
  assert.ok(found(Record({ a: Text }), Record({ a: Text, b: Bool })), 'a field that is gone is an error');
  assert.ok(!found(Record({ a: Text, b: Opt(Bool) }), Record({ a: Text })), 'a new field is skipped');
  assert.ok(!found(Record({ a: Vec(Nat) }), Record({ a: Vec(Nat), b: Opt(Bool) })), 'an absent option is null');
});

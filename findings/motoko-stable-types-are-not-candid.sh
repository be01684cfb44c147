#!/usr/bin/env bash
# motoko 4.10.0 (moc, stableCompatible) and @icp-sdk/core 6.1.0 (npm): the same change of a type, stored and sent
#
# Expected: Motoko keeps stable variables in an extension of Candid, and its types map to Candid's, so that an upgrade
#   keeps a value that Candid can read at the new type (Motoko documentation, Stable variables; Candid specification,
#   Coercion).
# Actual: only some of the rules are the same. A new optional field, a value that becomes optional and a removed field
#   are all fine for callers, but refused by the upgrade, and so is every change between types that are the same in
#   Candid: Blob and [Nat8], with var and without.
# Affected: the advice "add it as opt, then nothing breaks" is right for the interface, but wrong for the state: the
#   upgrade is refused or, if nobody compares the .most files, traps. Write a migration function for it.
. "$(dirname "$0")/lib/common.sh"

npm_packages motoko@4.10.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
import motoko from 'motoko';
const { compiler } = motoko;
const stable = (before, after) => {
  for (const [file, type] of [['before.most', before], ['after.most', after]]) compiler.saveFile(file, `// Version: 1.0.0\nactor {\n  stable var a : ${type}\n};\n`);
  const said = compiler.stableCompatible('before.most', 'after.most').diagnostics;
  return said.length ? 'refused' : 'taken';
};
const text = (value) => JSON.stringify(value, (_, v) => typeof v === 'bigint' ? Number(v) : ArrayBuffer.isView(v) ? [...v] : v);
const sent = (value, before, after) => {
  try { return `reads ${text(IDL.decode([after], IDL.encode([before], [value]))[0])}`; } catch { return 'has no such subtype'; }
};
const change = (value, [moBefore, moAfter], [before, after]) =>
  console.log(`${moBefore} to ${moAfter}: Candid ${sent(value, before, after)}; stable variable ${stable(moBefore, moAfter)}`);
const { Nat, Nat8, Null, Opt, Record, Text, Variant, Vec } = IDL;
change({ a: null }, ['{ #a }', '{ #a; #b }'], [Variant({ a: Null }), Variant({ a: Null, b: Null })]);
change('x', ['Text', 'Nat'], [Text, Nat]);
change({ a: 1 }, ['{ a : Nat }', '{ a : Nat; b : ?Text }'], [Record({ a: Nat }), Record({ a: Nat, b: Opt(Text) })]);
change(1, ['Nat', '?Nat'], [Nat, Opt(Nat)]);
change({ a: 1, b: 'x' }, ['{ a : Nat; b : Text }', '{ a : Nat }'], [Record({ a: Nat, b: Text }), Record({ a: Nat })]);
change(Uint8Array.of(1), ['Blob', '[Nat8]'], [Vec(Nat8), Vec(Nat8)]);
change([1], ['[var Nat]', '[Nat]'], [Vec(Nat), Vec(Nat)]);
change({ a: 1 }, ['{ var a : Nat }', '{ a : Nat }'], [Record({ a: Nat }), Record({ a: Nat })]);
EOF
node probe.mjs > seen
expect_seen <<'EOF'
{ #a } to { #a; #b }: Candid reads {"a":null}; stable variable taken
Text to Nat: Candid has no such subtype; stable variable refused
{ a : Nat } to { a : Nat; b : ?Text }: Candid reads {"a":1,"b":[]}; stable variable refused
Nat to ?Nat: Candid reads [1]; stable variable refused
{ a : Nat; b : Text } to { a : Nat }: Candid reads {"a":1}; stable variable refused
Blob to [Nat8]: Candid reads [1]; stable variable refused
[var Nat] to [Nat]: Candid reads [1]; stable variable refused
{ var a : Nat } to { a : Nat }: Candid reads {"a":1}; stable variable refused
EOF

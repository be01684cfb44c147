#!/usr/bin/env bash
# @junobuild/schema 1.2.4 with zod 4.6.7 and @icp-sdk/core 6.1.0 (npm), schemaToIdl and schemaFromIdl
#
# Expected: with a Zod schema, values are converted to Candid and back: "Optional and nullable fields are converted from
#   undefined or null to []", variants "match the Candid variant shape" (documentation of both). What was converted and
#   back is valid for its schema, and a variant without a value, as in variant { closed }, is null in JavaScript.
# Actual: null of a nullable field, and of a nullable element of an array, comes back as undefined (which is
#   documented), and the schema refuses that. A variant without a value is sent as an empty record, which the encoder
#   refuses, and null in a reply is an error. Only records as values of variants, and optional and nullish fields, come
#   back.
# Affected: serverless functions and clients that call canisters in Rust or Motoko, where variants without values are
#   common: a good reply fails in the conversion or in the validation. Write nullish for nullable, and convert such
#   variants yourself.
. "$(dirname "$0")/lib/common.sh"

npm_packages @junobuild/schema@1.2.4 zod@4.6.7 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
import { j } from '@junobuild/schema';
import { schemaFromIdl, schemaToIdl } from '@junobuild/schema/utils';

const show = (value) => JSON.stringify(value, (_, inner) => (inner === undefined ? 'undefined' : inner));
const state = j.discriminatedUnion('type', [
  j.strictObject({ type: j.literal('active'), owner: j.string() }), j.strictObject({ type: j.literal('closed') }),
]);
const withRecords = IDL.Variant({ active: IDL.Record({ owner: IDL.Text }), closed: IDL.Record({}) });
const withNull = IDL.Variant({ active: IDL.Record({ owner: IDL.Text }), closed: IDL.Null });
const note = (field) => [j.strictObject({ note: field }), IDL.Record({ note: IDL.Opt(IDL.Text) })];
const notes = [j.strictObject({ notes: j.array(j.nullable(j.string())) }), IDL.Record({ notes: IDL.Vec(IDL.Opt(IDL.Text)) })];

const attempt = (convert) => {
  try {
    return convert();
  } catch (error) {
    return `error, ${error.message.split(/[:,] /)[0]}`;
  }
};
for (const [name, [schema, type], value, reply] of [
  ['optional', note(j.optional(j.string())), {}, { note: [] }],
  ['nullish', note(j.nullish(j.string())), { note: null }, { note: [] }],
  ['nullable', note(j.nullable(j.string())), { note: 'a' }, { note: ['a'] }],
  ['nullable', note(j.nullable(j.string())), { note: null }, { note: [] }],
  ['nullable elements', notes, { notes: ['a', null] }, { notes: [['a'], []] }],
  ['variant', [state, withRecords], { type: 'closed' }, { closed: {} }],
  ['variant without a value', [state, withNull], { type: 'closed' }, { closed: null }],
]) {
  schema.parse(value);
  const sent = attempt(() => show(IDL.decode([type], IDL.encode([type], [schemaToIdl({ schema, value })]))[0]));
  const read = attempt(() => {
    const back = schemaFromIdl({ schema, value: IDL.decode([type], IDL.encode([type], [reply]))[0] });
    return `${show(back)}, ${schema.safeParse(back).success ? 'valid' : 'refused by the schema'}`;
  });
  console.log(`${name}: ${show(value)} sent as ${sent}; ${show(reply)} read as ${read}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
optional: {} sent as {"note":[]}; {"note":[]} read as {"note":"undefined"}, valid
nullish: {"note":null} sent as {"note":[]}; {"note":[]} read as {"note":"undefined"}, valid
nullable: {"note":"a"} sent as {"note":["a"]}; {"note":["a"]} read as {"note":"a"}, valid
nullable: {"note":null} sent as {"note":[]}; {"note":[]} read as {"note":"undefined"}, refused by the schema
nullable elements: {"notes":["a",null]} sent as {"notes":[["a"],[]]}; {"notes":[["a"],[]]} read as {"notes":["a","undefined"]}, refused by the schema
variant: {"type":"closed"} sent as {"closed":{}}; {"closed":{}} read as {"type":"closed"}, valid
variant without a value: {"type":"closed"} sent as error, Invalid variant {closed; active:record {owner:text}} argument; {"closed":null} read as error, Expected variant value for "closed" to be an object
EOF

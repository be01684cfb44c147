#!/usr/bin/env bash
# azle 0.33.0 with @icp-sdk/core 6.1.0 (npm), the keys of a StableBTreeMap
#
# Expected: a record may be a key: a value that is stored under { owner, id } is found by a call whose record has the
#   same owner and id. Candid records have no order (Candid specification, Records).
# Actual: a key is stored as JSON, in the order of its properties. A decoded argument has its properties in the order of
#   the names' hashes, an object in the source in the order in which they are written: equal records are two different
#   keys. A Date in a value is returned as a text, although bigint, Principal, Map and others are returned unchanged.
# Affected: containsKey is false for an entry that is stored, a second insert makes a second entry, and remove removes
#   nothing. After an upgrade that renames a field or builds its keys elsewhere, everything stored before seems to be
#   gone. Make keys of texts or tuples, and store times as bigint.
. "$(dirname "$0")/lib/common.sh"

npm_packages --legacy-peer-deps azle@0.33.0 @icp-sdk/core@6.1.0 @dfinity/principal@3.4.3 @sinonjs/text-encoding@0.7.3 esbuild@0.25.10
node_modules/.bin/esbuild node_modules/azle/src/stable/lib/stable_structures/stable_json.ts --bundle --format=esm --platform=node \
  --outfile=stable_json.mjs > esbuild.log 2>&1 || give_up esbuild.log
cat > probe.mjs <<'JS'
import { IDL } from '@icp-sdk/core/candid';
import { Principal } from '@icp-sdk/core/principal';
import { stableJson } from './stable_json.mjs';

const owner = Principal.fromText('aaaaa-aa'), Key = IDL.Record({ owner: IDL.Principal, id: IDL.Nat });
const inSource = { owner, id: 7n };
const [ofCall] = IDL.decode([Key], IDL.encode([Key], [inSource]));
const text = (key) => Buffer.from(stableJson.toBytes(key)).toString();
console.log('in the source:', text(inSource));
console.log('of a call:    ', text(ofCall));
console.log('the same key:', text(inSource) === text(ofCall));
const kind = (value) => Object.prototype.toString.call(value).slice(8, -1);
const values = { bigint: 7n, 'a Map': new Map([[1, 2]]), 'a Uint8Array': Uint8Array.of(1), 'a Date': new Date(0) };
for (const [name, value] of Object.entries(values))
  console.log(`${name}: stored as ${text(value)}, read as ${kind(stableJson.fromBytes(stableJson.toBytes(value)))}`);
JS
node probe.mjs > seen
expect_seen <<'EXPECTED'
in the source: {"owner":{"__principal__":"aaaaa-aa"},"id":{"__bigint__":"7"}}
of a call:     {"id":{"__bigint__":"7"},"owner":{"__principal__":"aaaaa-aa"}}
the same key: false
bigint: stored as {"__bigint__":"7"}, read as BigInt
a Map: stored as {"__map__":[[1,2]]}, read as Map
a Uint8Array: stored as {"__uint8array__":[1]}, read as Uint8Array
a Date: stored as "1970-01-01T00:00:00.000Z", read as String
EXPECTED

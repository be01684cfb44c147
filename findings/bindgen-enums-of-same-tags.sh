#!/usr/bin/env bash
# @icp-sdk/bindgen 0.3.0 with @icp-sdk/core 6.1.0 and typescript 5.9.3 (npm), two variants with the same tags
#
# Expected: each type definition of the .did is a type of the generated module; two records, or two variants with
#   values, that have the same structure are both generated.
# Actual: of two variants without values that have the same tags, only one is exported. The generated interface mentions
#   the other one, too, and compiles because the file contains @ts-nocheck; importing the other one is error TS2305. If
#   either variant has one more tag, both are exported.
# Affected: interfaces with two such states, for example `Open` and `Closed` of a session and of a migration: the front
#   end does not build.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/bindgen@0.3.0 @icp-sdk/core@6.1.0 typescript@5.9.3
for also in '' '; Paused'; do
  mkdir -p out
  cat > files.did <<EOF
type SessionState = variant { Open; Closed };
type MigrationState = variant { Open; Closed$also };
service : {
  session : (SessionState) -> () query;
  migration : () -> (MigrationState) query;
}
EOF
  npx --no-install icp-bindgen --did-file files.did --out-dir out --force > bindgen.log
  echo "import { SessionState, MigrationState } from './out/files'; console.log(SessionState.Open, MigrationState.Open);" > page.ts
  npx --no-install tsc --noEmit --skipLibCheck --target es2022 --module es2022 --moduleResolution bundler page.ts > errors && compiled=passes || compiled="fails, $(grep -o 'TS[0-9]*' errors | head -1)"
  echo "MigrationState = variant { Open; Closed$also }: $(grep -o 'export enum [A-Za-z]*' out/files.ts | sort | paste -sd ',' | sed 's/,/, /g'); tsc $compiled"
done > seen
expect_seen <<'EOF'
MigrationState = variant { Open; Closed }: export enum MigrationState; tsc fails, TS2305
MigrationState = variant { Open; Closed; Paused }: export enum MigrationState, export enum SessionState; tsc passes
EOF

#!/usr/bin/env bash
# @icp-sdk/bindgen 0.3.0 (npm), names in quotes
#
# Expected: a field may have any text as its name (Candid specification, Names); the code that is generated from a valid
#   `.did` compiles.
# Actual: the class around the actor quotes the name in one place and not in the other: `a b: … value.a b`,
#   `content-type: value.content-type`. The file is no longer valid TypeScript; `// @ts-nocheck` does not help. The
#   generated `declarations/` are correct. The generator reports nothing and exits with 0.
# Affected: interfaces with fields such as "content-type": the front end does not build.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/bindgen@0.3.0 @icp-sdk/core@6.1.0 typescript@5.9.3
cat > files.did <<'EOF'
service : { put : (record { "content-type" : opt text; size : nat }) -> () };
EOF
npx --no-install icp-bindgen --did-file files.did --out-dir out > bindgen.log
{
  echo "bindgen: exit $?"
  npx --no-install tsc --noEmit --skipLibCheck --target es2022 --module es2022 --moduleResolution bundler out/files.ts > errors && echo 'tsc: passes' ||
    echo "tsc: fails, $(grep -o 'TS1[0-9]*' errors | head -1)"
  node --input-type=module -e "
    import { IDL } from '@icp-sdk/core/candid';
    import { idlFactory } from './out/declarations/files.did.js';
    console.log('declarations:', idlFactory({ IDL })._fields[0][1].argTypes[0].display());"
} > seen
expect_seen <<'EOF'
bindgen: exit 0
tsc: fails, TS1131
declarations: record {size:nat; content-type:opt text}
EOF

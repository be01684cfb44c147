#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), settings of a canister in icp.yaml and in one of its environments
#
# Expected: "Settings cascade with environment overrides taking precedence" (icp-cli documentation, Environments): an
#   environment that sets one setting keeps the others of the canister, and `icp deploy` and `icp canister settings sync`
#   apply the same settings.
# Actual: neither command merges them. `icp deploy` applies the settings of the environment only, also within
#   environment_variables: the freezing threshold and the memory limit of the canister are not set. `icp canister
#   settings sync` applies the settings of the canister only, and so sets the variable back to its default value. Both
#   commands end with success, without a warning.
# Affected: projects whose production environment overrides one setting: what should protect the canister is in force
#   everywhere but there, and a sync replaces production's values by the defaults. Repeat all settings in each
#   environment that has any, and use `icp deploy` only.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages
touch nothing
module_of uploads.wasm note nothing
# A canister whose settings are kept in a file. Variables that icp adds, with the ids of canisters, are left out.
cat > network-of-one.mjs <<'EOD'
import fs from 'node:fs';
import { Principal } from '@icp-sdk/core/principal';
import { manage, serve } from './icp-network.mjs';
const load = () => JSON.parse(fs.readFileSync('settings.json', 'utf8'));
const management = {
  canister_status: () => ({
    controllers: [Principal.fromText('2vxsx-fae')],
    environment_variables: Object.entries(load().environment_variables ?? {}).map(([name, value]) => ({ name, value })),
  }),
  update_settings: ({ settings }) => {
    const set = load();
    for (const [name, [value]] of Object.entries(settings)) if (typeof value === 'bigint') set[name] = Number(value);
    for (const { name, value } of settings.environment_variables[0] ?? []) {
      if (!name.includes(':')) (set.environment_variables ??= {})[name] = value;
    }
    fs.writeFileSync('settings.json', JSON.stringify(set));
  },
};
serve(({ method_name, arg }) => manage(management, method_name, arg));
EOD
start_network network-of-one.mjs
cat > icp.yaml <<EOD
canisters:
  - name: uploads
    build: { steps: [{ type: pre-built, path: uploads.wasm }] }
    settings:
      freezing_threshold: 90d
      wasm_memory_limit: 3gib
      environment_variables: { REGION: eu, MAX_FILES: "100" }
networks:
  - { name: one, mode: connected, url: "$(cat address)", root-key: $(cat root-key) }
environments:
  - { name: staging, network: one }
  - name: production
    network: one
    settings:
      uploads:
        compute_allocation: 20
        environment_variables: { MAX_FILES: "5000" }
EOD
cat > print.mjs <<'EOD'
import fs from 'node:fs';
const { environment_variables, ...set } = JSON.parse(fs.readFileSync('settings.json', 'utf8'));
const line = (values) => Object.entries(values ?? {}).sort().map(([name, value]) => `${name}=${value}`).join(' ');
console.log(`  ${line(set)}, variables ${line(environment_variables)}`);
EOD
{
  for environment in staging production; do
    icp canister link uploads rrkah-fqaaa-aaaaa-aaaaq-cai -e $environment > icp.log 2>&1 || give_up icp.log
    for command in 'deploy --yes' 'canister settings sync uploads'; do
      echo '{}' > settings.json
      icp $command -e $environment > icp.log 2>&1 || give_up icp.log
      echo "icp $command -e $environment:"
      node print.mjs
    done
  done
} > seen
expect_seen <<'EOD'
icp deploy --yes -e staging:
  freezing_threshold=7776000 wasm_memory_limit=3221225472, variables MAX_FILES=100 REGION=eu
icp canister settings sync uploads -e staging:
  freezing_threshold=7776000 wasm_memory_limit=3221225472, variables MAX_FILES=100 REGION=eu
icp deploy --yes -e production:
  compute_allocation=20, variables MAX_FILES=5000
icp canister settings sync uploads -e production:
  freezing_threshold=7776000 wasm_memory_limit=3221225472, variables MAX_FILES=100 REGION=eu
EOD

#!/usr/bin/env bash
# @junobuild/admin 4.0.0 (npm), checkUpgradeVersion
#
# Expected: the function tells whether one version can be upgraded to another (its documentation), and refuses an
#   upgrade that skips a release: 1.4.0 to 1.6.0. Versions are ordered by major, then minor, then patch (Semantic
#   Versioning 2.0.0, 11).
# Actual: each of the three numbers is compared on its own, and only a step of two or more is refused. Allowed are
#   upgrades from 0.9.9 to every release up to 1.10.10, from 1.9.0 to 2.8.0, and from any version to every older one.
#   After a minor release, the first patch releases are allowed and later ones are not: 1.4.0 to 1.5.1, but not to
#   1.5.2.
# Affected: upgrade scripts that rely on it: a canister skips the releases that convert its data, or a permitted upgrade
#   is refused. Compare with a list of the releases.
. "$(dirname "$0")/lib/common.sh"
. "$lib/juno-admin.sh"

cat > probe.mjs <<'EOF'
import { checkUpgradeVersion } from '@junobuild/admin';
for (const [currentVersion, selectedVersion] of [['1.4.0', '1.5.0'], ['1.4.0', '1.6.0'], ['0.9.9', '1.0.0'], ['0.9.9', '1.10.10'], ['1.9.0', '2.8.0'],
  ['1.4.0', '1.5.1'], ['1.4.0', '1.5.2'], ['2.0.0', '1.0.0']]) {
  console.log(`${currentVersion} to ${selectedVersion}: ${checkUpgradeVersion({ currentVersion, selectedVersion }).canUpgrade ? 'allowed' : 'refused'}`);
}
EOF
node probe.mjs > seen
expect_seen <<'EOF'
1.4.0 to 1.5.0: allowed
1.4.0 to 1.6.0: refused
0.9.9 to 1.0.0: allowed
0.9.9 to 1.10.10: allowed
1.9.0 to 2.8.0: allowed
1.4.0 to 1.5.1: allowed
1.4.0 to 1.5.2: refused
2.0.0 to 1.0.0: allowed
EOF

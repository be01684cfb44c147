#!/usr/bin/env bash
# ic-mops 2.9.0 (npm), commands that change mops.toml
#
# Expected: `mops bump` changes the version of the package ("Bump current package version", its help). Comments are a
#   part of TOML (TOML 1.0.0, Comment).
# Actual: the file is parsed and written again: every comment is gone, and blank lines and the layout of lists have
#   changed. The commands add, remove and toolchain do the same, without a warning.
# Affected: teams who write into mops.toml why a dependency must stay at its version: the next release, or the next
#   added package, removes the comment, and a changed version number appears as a diff of the whole file. Look at
#   `git diff` before the commit.
. "$(dirname "$0")/lib/common.sh"

npm_packages ic-mops@2.9.0
mkdir home
export HOME=$scratch/home XDG_CONFIG_HOME=$scratch/home
cat > mops.toml <<'EOF'
# Ask the team before you publish.
[package]
name = "upload" # the name on mops
version = "1.9.0"

[moc]
args = [
  "--default-persistent-actors",
  # "--enhanced-orthogonal-persistence": after the migration of the old canisters only
]

[dependencies]
# Stable memory is read with the layout of 1.x: do not update.
regions = "1.2.0"
EOF
node_modules/.bin/mops bump minor
cat mops.toml > seen
expect_seen <<'EOF'
[package]
name = "upload"
version = "1.10.0"

[moc]
args = [ "--default-persistent-actors" ]

[dependencies]
regions = "1.2.0"
EOF

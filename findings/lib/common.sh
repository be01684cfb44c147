# Shared by all findings: a scratch folder that is removed at the end, packages in it, and the comparison at the end.
# Sourced, not run. A finding exits with 0 while the behaviour is as described, 1 once it has changed, 2 if it could not
# be tested.

set -euo pipefail

# Prints the comment at the head of the finding: what is expected, and who is affected.
sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
echo

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR="$scratch/target"
cd "$scratch"

# Ends with the output of a client: the packages could not be installed, which says nothing about the behaviour.
give_up() {
  cat "$1" >&2
  exit 2
}

# Installs npm packages with exact versions, without running their scripts.
npm_packages() {
  echo '{"private":true,"type":"module"}' > package.json
  npm install --silent --no-audit --no-fund --no-save --ignore-scripts "$@" > npm.log 2>&1 || give_up npm.log
}

# Installs PyPI packages with exact versions into a virtual environment of the given name.
python_packages() {
  local name=$1
  shift
  python3 -m venv "$name"
  "$name/bin/pip" install --quiet --disable-pip-version-check "$@" > pip.log 2>&1 || give_up pip.log
}

# Builds a program of one file, src/main.rs, with the dependencies on standard input, as the file `probe`.
rust_binary() {
  { printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n\n[profile.dev]\ndebug = false\n\n[dependencies]\n'; cat; } > Cargo.toml
  nice -n 10 cargo build --quiet > cargo.log 2>&1 || give_up cargo.log
  ln -sf "$CARGO_TARGET_DIR/debug/probe" probe
}

# Builds and runs such a program.
rust_program() {
  rust_binary
  ./probe
}

# Compares the observed output (the file `seen`) with standard input.
expect_seen() {
  cat > expected
  cat seen
  if diff -u expected seen > difference; then
    echo '-- as described'
  else
    echo '-- CHANGED'
    cat difference
    exit 1
  fi
}

#!/usr/bin/env bash
# Measures what a build from nothing and a run of the tests cost at two commits, and prints the table of
# docs/build-times.md.
#
#   docs/build-times.sh FOLDER BEFORE AFTER
#
# Each commit is measured in a clone of its own in FOLDER, with an empty target folder and without incremental state. A
# figure that FOLDER already has is not measured again, so that an interrupted run can be continued. The machine must be
# idle: about an hour for each commit on two cores, and 15 GB of disk.
set -euo pipefail

usage="usage: $0 FOLDER BEFORE AFTER"
folder=$(realpath -m "${1:?$usage}")
before=$(git rev-parse --short=8 --verify "${2:?$usage}^{commit}")
after=$(git rev-parse --short=8 --verify "${3:?$usage}^{commit}")
repository=$(git rev-parse --show-toplevel)
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never

# Runs a command in the clone of a commit, unless that was done before. Writes its exit status, seconds, CPU seconds and
# the KiB of its largest process to FOLDER/COMMIT/NAME.time, and its output to NAME.log.
measure() {
  local commit=$1 name=$2 results=$folder/$1
  shift 2
  [ -s "$results/$name.time" ] && return
  echo "measuring $name of $commit" >&2
  (cd "$results/clone" && /usr/bin/time -q -f '%x %e %U %S %M' -o "$results/$name.tmp" "$@" >"$results/$name.log" 2>&1) ||
    echo "$name of $commit: exit status $?, see $results/$name.log" >&2
  mv "$results/$name.tmp" "$results/$name.time"
}

measure_all() {
  local commit=$1 results=$folder/$1
  mkdir -p "$results"
  [ -d "$results/clone" ] || git clone --quiet "$repository" "$results/clone"
  git -C "$results/clone" checkout --quiet "$commit"
  # Folders of the user's that hold what an earlier build compiled.
  export XDG_CACHE_HOME=$results/cache
  measure "$commit" rehearse cargo rehearse
  measure "$commit" compile cargo test --no-run
  measure "$commit" test cargo test --no-fail-fast
}

# Installs the direct build on servers of both commits, with the program of the later one.
install() {
  local target=$folder/$after/clone/target
  local program=$target/debug/examples/first_install module=$target/session-migrate/direct.wasm.gz
  measure "$after" example cargo build --package pocket-ic-embedded --example first_install
  for commit in "$before" "$after"; do
    measure "$commit" install "$program" "$folder/$commit/clone/target/debug/pocket-ic-embedded" "$module"
  done
}

# Prints one row: the figures of both commits, and their ratio.
row() {
  awk -v what="$1" -v before="$2" -v after="$3" \
    'BEGIN { printf "| %s | %s | %s | %.2f |\n", what, before, after, after / before }'
}

seconds() { awk '{ printf "%.0f", $(NF - 3) }' "$folder/$1/$2.time"; }
cpu_seconds() { awk '{ printf "%.0f", $(NF - 2) + $(NF - 1) }' "$folder/$1/$2.time"; }
megabytes() { awk '{ printf "%.0f", $NF * 1024 / 1e6 }' "$folder/$1/$2.time"; }
tests() { awk '/^test result:/ { sum += $4 + $6 } END { print sum }' "$folder/$1/test.log"; }
executables() { grep -c '^     Running ' "$folder/$1/test.log"; }
packages() {
  (cd "$folder/$1/clone" && cargo tree --locked --package upload-canister --no-default-features --features direct \
    --edges normal,build,dev --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
}
# Prints a column of the table that the installation printed: 3 is seconds, 5 the resident megabytes.
installed() { awk -F' *[|] *' -v row="$2" -v column="$3" '$2 == row { print $column }' "$folder/$1/install.log"; }

measure_all "$before"
measure_all "$after"
install

echo "| figure | $before | $after | ratio |"
echo "|---|---|---|---|"
for figure in rehearse:'cold `cargo rehearse`' compile:'`cargo test --no-run` after it' test:'`cargo test` after both'; do
  name=${figure%%:*} what=${figure#*:}
  row "$what, seconds" "$(seconds "$before" "$name")" "$(seconds "$after" "$name")"
  row "$what, CPU seconds" "$(cpu_seconds "$before" "$name")" "$(cpu_seconds "$after" "$name")"
  row "$what, largest process, MB" "$(megabytes "$before" "$name")" "$(megabytes "$after" "$name")"
done
row 'tests' "$(tests "$before")" "$(tests "$after")"
row 'test executables' "$(executables "$before")" "$(executables "$after")"
row 'packages of the unit tests of the direct build' "$(packages "$before")" "$(packages "$after")"
# The server of the earlier commit has no cache of compiled modules on disk.
row 'first installation of the direct build in a new process, seconds' \
  "$(installed "$before" off 3)" "$(installed "$after" 'on, cached module' 3)"
row 'memory of the server after it, MB' "$(installed "$before" off 5)" "$(installed "$after" 'on, cached module' 5)"

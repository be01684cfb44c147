#!/usr/bin/env bash
# ic-file-uploader 0.1.4 (crates.io)
#
# Expected: an upload that was interrupted continues "from where [it] left off", by the command that the tool prints,
#   and the canister, whose method appends each piece (README, Features and Canister Integration), ends up with the
#   file.
# Actual: the printed command has the number of the piece, but not the --offset from which the pieces were counted, so
#   it begins elsewhere, and some bytes are stored twice. And a piece whose answer was lost is sent again, also without
#   --autoresume ("Enable autoresume with retry attempts"): the canister appends it a second time. Both report success.
# Affected: whoever uploads large files over a network that fails at times: the stored file is too long and wrong from
#   some byte on. Use --parallel, which numbers the pieces, or compare a digest of the stored file.
. "$(dirname "$0")/lib/common.sh"

nice -n 10 cargo install --quiet --root . --version =0.1.4 ic-file-uploader > cargo.log 2>&1 || give_up cargo.log
# A dfx whose canister appends what it gets; the call with the number in `refuse` fails before it is executed, and so do
# the next two, and the answer to the call with the number in `lose` gets lost.
cat > bin/dfx <<'EOF'
#!/usr/bin/env python3
import os, re, sys
calls = open('calls').read() if os.path.exists('calls') else ''
open('calls', 'w').write(calls + '.')
number = len(calls) + 1
if number - int(os.environ.get('refuse', '-9')) in (0, 1, 2):
    sys.exit('no connection')
argument = open(sys.argv[sys.argv.index('--argument-file') + 1]).read()
open('stored', 'ab').write(bytes.fromhex(re.sub(r'[^0-9A-F]', '', argument.split('"')[1])))
if number == int(os.environ.get('lose', '0')):
    sys.exit('timed out')
EOF
chmod +x bin/dfx
export PATH="$PWD/bin:$PATH"
python3 -c 'open("film", "wb").write(b"".join(i.to_bytes(4, "little") for i in range(1_250_000)))'

compare() {
  python3 - <<'EOF'
film, stored = open('film', 'rb').read(), open('stored', 'rb').read()
same = next((i for i in range(min(len(film), len(stored))) if film[i] != stored[i]), min(len(film), len(stored)))
print('the file has %d bytes, stored are %d, the first %d of them right' % (len(film), len(stored), same))
EOF
}

{
  echo '== the first 500,000 bytes are stored, and the second piece fails'
  head -c 500000 film > stored
  refuse=2 ic-file-uploader canister append_chunk film --offset 500000 --autoresume > log 2>&1 || true
  command=$(grep '^ic-file-uploader' log)
  echo "$command"
  rm calls
  $command | tail -n 1
  compare
  echo '== the answer to the second piece gets lost'
  rm stored calls
  lose=2 ic-file-uploader canister append_chunk film 2> log | tail -n 1
  compare
} > seen
expect_seen <<'EOF'
== the first 500,000 bytes are stored, and the second piece fails
ic-file-uploader canister append_chunk film --chunk-offset 1 --autoresume
✓ Upload completed successfully!
the file has 5000000 bytes, stored are 5500000, the first 2500000 of them right
== the answer to the second piece gets lost
✓ Upload completed successfully!
the file has 5000000 bytes, stored are 7000000, the first 4000000 of them right
EOF

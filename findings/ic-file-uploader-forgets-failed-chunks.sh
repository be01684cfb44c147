#!/usr/bin/env bash
# ic-file-uploader 0.1.4 (crates.io), uploads with --parallel
#
# Expected: if some chunks of a parallel upload fail, their numbers are written to FILE.failed_chunks, and the command
#   to retry them is printed (README: "Retry specific failed chunks", --retry-chunks-file). upload_chunks_parallel
#   returns "A ParallelUploadResult indicating the outcome", with the failed chunks (documentation of the crate).
# Actual: upload_chunks_parallel ends the process itself, with exit code 0 or 1, and returns only if there is nothing to
#   do. So the file is never written, and which chunks failed is not said.
# Affected: whoever uploads large files in parallel: after one failed chunk of many, all must be sent again, unless the
#   numbers of those that are missing in the progress output are put into the file by hand; and programs that use the
#   crate, whose code after the upload never runs. Give a progress callback, and note the chunks that it reports.
. "$(dirname "$0")/lib/common.sh"

nice -n 10 cargo install --quiet --root . --version =0.1.4 ic-file-uploader > cargo.log 2>&1 || give_up cargo.log
# A dfx that fails for chunk 1.
cat > bin/dfx <<'EOF'
#!/usr/bin/env python3
import sys, time
time.sleep(3)
sys.exit('no connection' if open(sys.argv[sys.argv.index('--argument-file') + 1]).read(3) == '(1 ' else 0)
EOF
chmod +x bin/dfx
export PATH="$PWD/bin:$PATH"
head -c 5000000 /dev/zero > film
{
  ic-file-uploader canister append_parallel_chunk film --parallel --max-retries 1 > log 2>&1 && code=0 || code=$?
  echo "exit code $code; $(grep -o 'completed with.*' log)"
  echo "lines that tell how to retry: $(grep -c -e '--retry-chunks-file' log)"
  echo "files: $(ls -d film*)"
} > seen
expect_seen <<'EOF'
exit code 1; completed with 2 successes and 1 failures
lines that tell how to retry: 0
files: film
EOF

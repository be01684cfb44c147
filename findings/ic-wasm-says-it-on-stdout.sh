#!/usr/bin/env bash
# ic-wasm 0.11.1 (npm @icp-sdk/ic-wasm-linux-x64)
#
# Expected: for a missing section there is an error, and nothing on standard output; an output named .gz is a gzip
#   stream, as the input was (the IC accepts a module plain or as gzip: interface specification, install_code).
# Actual: "Cannot find metadata …" goes to standard output with exit code 0, so that
#   `ic-wasm x.wasm metadata candid:service > x.did` leaves a file with that sentence. A gzip module is read, and
#   written unpacked under the name that ends in .gz.
# Affected: release scripts: the interface file contains that sentence, or the "compressed" module no longer fits into
#   one message.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/ic-wasm-linux-x64@0.11.1
tool=node_modules/@icp-sdk/ic-wasm-linux-x64/bin/ic-wasm
printf '\0asm\1\0\0\0' > empty.wasm
{
  said=$($tool empty.wasm metadata candid:service 2> /dev/null) && code=0 || code=$?
  echo "absent section: exit $code, standard output: $said"
  gzip -n -k empty.wasm
  $tool empty.wasm.gz -o named.wasm.gz metadata candid:service -d 'service : {}' -v public
  echo "input: $(od -An -tx1 -N4 empty.wasm.gz), output: $(od -An -tx1 -N4 named.wasm.gz)"
} > seen
expect_seen <<'EOF'
absent section: exit 0, standard output: Cannot find metadata candid:service
input:  1f 8b 08 00, output:  00 61 73 6d
EOF

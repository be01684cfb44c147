#!/usr/bin/env bash
# icp-cli 1.5.0 (npm @icp-sdk/icp-cli-linux-x64), `icp canister snapshot download --resume`
#
# Expected: --resume continues the download of the snapshot with the given id ("Resume a previously interrupted
#   download"); if the folder has another snapshot, it is refused, as it is without --resume.
# Actual: neither the progress nor metadata.json tells which snapshot it is of. After an interrupted download the rest is
#   read from the snapshot that is named now: the file is the beginning of one and the end of the other. In a folder
#   with a complete download everything is read again, but with the sizes, globals and time of the old metadata, so the
#   end of a memory that has grown is missing. Both end with "Snapshot downloaded", exit code 0.
# Affected: backups into one folder, by a script that passes --resume if the folder exists, after `snapshot create
#   --replace`: what would be restored is a state that the canister never had. Use a folder per snapshot id.
. "$(dirname "$0")/lib/common.sh"
. "$lib/icp-network.sh"

icp_packages
# Snapshot 01 is all A and 5,000,000 bytes of stable memory, snapshot 02 all B and 6,000,000. While the file `interrupted`
# exists, reads from byte 2,000,000 on fail.
cat > network-of-one.mjs <<'EOD'
import fs from 'node:fs';
import { manage, serve } from './icp-network.mjs';
const snapshots = { 1: { letter: 'A', size: 5_000_000 }, 2: { letter: 'B', size: 6_000_000 } };
const management = {
  read_canister_snapshot_metadata: ({ snapshot_id: [id] }) => ({
    source: { taken_from_canister: null }, taken_at_timestamp: BigInt(id), wasm_module_size: 8n, globals: [], wasm_memory_size: 0n,
    stable_memory_size: BigInt(snapshots[id].size), wasm_chunk_store: [], canister_version: BigInt(id), certified_data: new Uint8Array(),
    global_timer: [], on_low_wasm_memory_hook_status: [],
  }),
  read_canister_snapshot_data: ({ snapshot_id: [id], kind }) => {
    const { offset, size } = Object.values(kind)[0];
    if (offset > 0n && fs.existsSync('interrupted')) throw new Error('the subnet is busy');
    return { chunk: new Uint8Array(Number(size)).fill(snapshots[id].letter.charCodeAt()) };
  },
};
serve(({ method_name, arg }) => manage(management, method_name, arg));
EOD
start_network network-of-one.mjs
download() {
  local id=$1 folder=$2
  shift 2
  echo -n "download of $id into $folder${1:+, $*}: "
  if icp canister snapshot download rrkah-fqaaa-aaaaa-aaaaq-cai "$id" -o "$folder" "$@" -n "$(cat address)" -k "$(cat root-key)" > icp.log 2>&1; then
    echo -n 'success, metadata of snapshot '
    echo -n "0$(sed -n 's/.*"taken_at_timestamp": *\([0-9]*\).*/\1/p' "$folder/metadata.json"), stable memory "
    fold -b -w 1000000 "$folder/stable_memory.bin" | cut -c 1 | tr -d '\n'
    echo ' (a letter per 1,000,000 bytes)'
  else
    grep -o -m 1 'the subnet is busy\|is not empty' icp.log
  fi
}
{
  touch interrupted
  download 01 first
  rm interrupted
  download 02 first
  download 02 first --resume
  download 01 second
  download 02 second --resume
  download 02 third
} > seen
expect_seen <<'EOD'
download of 01 into first: the subnet is busy
download of 02 into first: is not empty
download of 02 into first, --resume: success, metadata of snapshot 01, stable memory AABBB (a letter per 1,000,000 bytes)
download of 01 into second: success, metadata of snapshot 01, stable memory AAAAA (a letter per 1,000,000 bytes)
download of 02 into second, --resume: success, metadata of snapshot 01, stable memory BBBBB (a letter per 1,000,000 bytes)
download of 02 into third: success, metadata of snapshot 02, stable memory BBBBBB (a letter per 1,000,000 bytes)
EOD

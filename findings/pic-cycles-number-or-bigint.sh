#!/usr/bin/env bash
# @dfinity/pic 0.23.0 (npm), getCyclesBalance and addCycles
#
# Expected: both return Promise<bigint>, as the types say, whatever the balance.
# Actual: up to 2^53 - 1, which is 9,007 trillion cycles, the value is a number. A canister that is created with the
#   default has 10^18 cycles and gives a bigint; one with a realistic balance gives a number: subtracting from it or
#   from another balance is a TypeError, and a comparison with 2_000_000_000_000n is false. If the server takes longer
#   to add cycles and is polled, 10^18 + 1 is a number, too, rounded to 10^18.
# Affected: tests that measure the cost of an upload by the difference of two balances. Use BigInt(await
#   pic.getCyclesBalance(id)).
. "$(dirname "$0")/lib/common.sh"

npm_packages @dfinity/pic@0.23.0 @icp-sdk/core@6.1.0
cat > probe.mjs <<'EOF'
import http from 'http';
import { Principal } from '@icp-sdk/core/principal';
import { PocketIc } from '@dfinity/pic';
// Answers as a PocketIC server does, at once or, for the last balance, after it was polled.
let cycles, busy = false;
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    let status = 200, body = `{"cycles":${cycles}}`;
    if (request.url === '/instances') body = '{"Created":{"instance_id":0,"topology":{"subnet_configs":{}}}}';
    else if (request.method === 'DELETE') body = '';
    else if (busy && request.url.endsWith('/add_cycles')) { status = 202; body = '{"state_label":"a","op_id":"b"}'; }
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
}).listen(0, '127.0.0.1', async () => {
  const id = Principal.fromText('rrkah-fqaaa-aaaaa-aaaaq-cai');
  const pic = await PocketIc.create(`http://127.0.0.1:${server.address().port}`);
  const show = (name, value) => console.log(`${name}, the server says ${cycles}: ${typeof value} ${value}`);
  for (cycles of ['2000000000000', '9007199254740991', '9007199254740992', '1000000000000000000']) show('getCyclesBalance', await pic.getCyclesBalance(id));
  cycles = '2000000000000';
  const before = await pic.getCyclesBalance(id);
  console.log('before === 2_000_000_000_000n:', before === 2_000_000_000_000n);
  try { console.log(before - 1n); } catch (e) { console.log(`before - 1n: ${e.name}`); }
  cycles = '1000000000000000001';
  show('addCycles', await pic.addCycles(id, 1n));
  busy = true;
  show('addCycles, polled', await pic.addCycles(id, 1n));
  await pic.tearDown();
  server.close(); server.closeAllConnections();
});
EOF
node probe.mjs > seen
expect_seen <<'EOF'
getCyclesBalance, the server says 2000000000000: number 2000000000000
getCyclesBalance, the server says 9007199254740991: number 9007199254740991
getCyclesBalance, the server says 9007199254740992: bigint 9007199254740992
getCyclesBalance, the server says 1000000000000000000: bigint 1000000000000000000
before === 2_000_000_000_000n: false
before - 1n: TypeError
addCycles, the server says 1000000000000000001: bigint 1000000000000000001
addCycles, polled, the server says 1000000000000000001: number 1000000000000000000
EOF

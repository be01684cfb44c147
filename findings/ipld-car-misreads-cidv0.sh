#!/usr/bin/env bash
# ipld-car 0.0.1 with dag-cbor 0.3.3 and multiformats 0.3.1.post4, libipld 3.5.0 (PyPI); @ipld/car 5.4.7 (npm): CAR
#   files
#
# Expected: a CAR file has blocks of any codec, named by CIDs of version 0 or 1, and possibly no root (IPLD, CARv1
#   specification; its CIDv0 section says how to distinguish the two).
# Actual: ipld-car reads blocks with a CIDv0 off by one: the digest is wrong, and the last byte of the real digest
#   becomes the first byte of the data. There is no error, and the next block is read correctly again. libipld reads
#   only blocks of DAG-CBOR, so it can read no file from IPFS at all, and no CAR without a root.
# Affected: anyone who unpacks in Python what JavaScript or `ipfs dag export` has packed: files get an additional first
#   byte. Hash each block, and compare the result with its CID.
. "$(dirname "$0")/lib/common.sh"

npm_packages @ipld/car@5.4.7 @ipld/dag-cbor@10.0.2 @ipld/dag-pb@4.2.0 multiformats@14.0.5
python_packages env ipld-car==0.0.1 dag-cbor==0.3.3 multiformats==0.3.1.post4 libipld==3.5.0
cat > write.mjs <<'EOF'
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CarWriter } from '@ipld/car';
import * as dagCbor from '@ipld/dag-cbor';
import * as dagPb from '@ipld/dag-pb';
import { CID } from 'multiformats/cid';
import * as raw from 'multiformats/codecs/raw';
import { sha256 } from 'multiformats/hashes/sha2';
const block = async (version, codec, value) => {
  const bytes = codec.encode(value);
  return { bytes, cid: CID.create(version, codec.code, await sha256.digest(bytes)) };
};
const write = async (name, roots, blocks) => {
  const { writer, out } = CarWriter.create(roots);
  const written = pipeline(Readable.from(out), createWriteStream(name));
  for (const block of blocks) await writer.put(block);
  await writer.close();
  await written;
};
const node = { Data: Buffer.from('hello'), Links: [] };
const [v0, v1, plain, record] = [await block(0, dagPb, node), await block(1, dagPb, node), await block(1, raw, Buffer.from('hello')), await block(1, dagCbor, 'hello')];
await write('cbor.car', [record.cid], [record]);
await write('raw.car', [plain.cid], [plain]);
await write('no-root.car', [], [record]);
await write('v1.car', [v1.cid], [v1]);
await write('v0.car', [v0.cid], [v0, record]);
EOF
cat > read.py <<'EOF'
import hashlib
import ipld_car, libipld
for name in ['cbor', 'raw', 'no-root', 'v1', 'v0']:
    content = open(name + '.car', 'rb').read()
    roots, blocks = ipld_car.decode(content)
    print('ipld-car, %s: %s' % (name, '; '.join('%s, its digest %s' % (
        data.hex(), 'is right' if hashlib.sha256(data).digest() == cid.raw_digest else 'is not that of the data') for cid, data in blocks)))
    try:
        said = '%d blocks' % len(libipld.decode_car(content)[1])
    except ValueError as error:
        said = 'error, %s' % error
    print('libipld, %s: %s' % (name, said))
EOF
node write.mjs
env/bin/python read.py > seen
expect_seen <<'EOF'
ipld-car, cbor: 6568656c6c6f, its digest is right
libipld, cbor: 1 blocks
ipld-car, raw: 68656c6c6f, its digest is right
libipld, raw: error, Failed to read CAR block. Unsupported codec. For now we support only DAG-CBOR (0x71)
ipld-car, no-root: 6568656c6c6f, its digest is right
libipld, no-root: error, Failed to read CAR header. Roots is empty. Must be at least one
ipld-car, v1: 0a0568656c6c6f, its digest is right
libipld, v1: error, Failed to read CAR block. Unsupported codec. For now we support only DAG-CBOR (0x71)
ipld-car, v0: e30a0568656c6c6f, its digest is not that of the data; 6568656c6c6f, its digest is right
libipld, v0: error, Failed to read CAR block. Unsupported codec. For now we support only DAG-CBOR (0x71)
EOF

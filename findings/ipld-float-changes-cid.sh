#!/usr/bin/env bash
# @ipld/dag-cbor 10.0.2 (npm), libipld 3.5.0, dag-cbor 0.3.3 and cbrrr 1.1.0 (PyPI): a block that is read and written
#   again
#
# Expected: DAG-CBOR has one encoding for each value, so that what is read and written again has the same CID (IPLD,
#   DAG-CBOR specification, Strictness): integers are integers, and all floats have eight bytes.
# Actual: JavaScript reads 1.0 as a number and writes the integer 1: this is another block with another CID, and another
#   kind of value for typed readers. Above 2^53 the opposite happens: a Number is written as a float. libipld refuses to
#   read -0.0, which both other Python libraries write, and writes it without its sign.
# Affected: prices, ratings and coordinates in signed or linked records that pass through two languages: the link to the
#   copy leads nowhere, but only for values without a fraction.
. "$(dirname "$0")/lib/common.sh"

npm_packages @ipld/dag-cbor@10.0.2
python_packages env libipld==3.5.0 dag-cbor==0.3.3 cbrrr==1.1.0
cat > probe.mjs <<'EOF'
import * as dagCbor from '@ipld/dag-cbor';
const hex = (bytes) => Buffer.from(bytes).toString('hex');
for (const block of process.argv.slice(2)) console.log(`@ipld/dag-cbor: ${block} -> ${hex(dagCbor.encode(dagCbor.decode(Buffer.from(block, 'hex'))))}`);
console.log(`@ipld/dag-cbor: 2**53 is written as ${hex(dagCbor.encode(2 ** 53))}, 2n**53n as ${hex(dagCbor.encode(2n ** 53n))}`);
EOF
cat > probe.py <<'EOF'
import sys
import cbrrr, dag_cbor, libipld
for name, decode, encode in [('libipld', libipld.decode_dag_cbor, libipld.encode_dag_cbor), ('dag-cbor', dag_cbor.decode, dag_cbor.encode),
                             ('cbrrr', cbrrr.decode_dag_cbor, cbrrr.encode_dag_cbor)]:
    for block in sys.argv[1:]:
        try:
            again = encode(decode(bytes.fromhex(block))).hex()
        except ValueError as error:
            again = 'error, %s' % error
        print('%s: %s -> %s' % (name, block, again))
print('libipld: -0.0 is written as %s' % libipld.encode_dag_cbor(-0.0).hex())
EOF
# 1.5, 1.0, -0.0 and 2^53 as an integer.
blocks="fb3ff8000000000000 fb3ff0000000000000 fb8000000000000000 1b0020000000000000"
{ node probe.mjs $blocks; env/bin/python probe.py $blocks; } > seen
expect_seen <<'EOF'
@ipld/dag-cbor: fb3ff8000000000000 -> fb3ff8000000000000
@ipld/dag-cbor: fb3ff0000000000000 -> 01
@ipld/dag-cbor: fb8000000000000000 -> 00
@ipld/dag-cbor: 1b0020000000000000 -> 1b0020000000000000
@ipld/dag-cbor: 2**53 is written as fb4340000000000000, 2n**53n as 1b0020000000000000
libipld: fb3ff8000000000000 -> fb3ff8000000000000
libipld: fb3ff0000000000000 -> fb3ff0000000000000
libipld: fb8000000000000000 -> error, Failed to decode DAG-CBOR. Negative zero is forbidden for f64
libipld: 1b0020000000000000 -> 1b0020000000000000
dag-cbor: fb3ff8000000000000 -> fb3ff8000000000000
dag-cbor: fb3ff0000000000000 -> fb3ff0000000000000
dag-cbor: fb8000000000000000 -> fb8000000000000000
dag-cbor: 1b0020000000000000 -> 1b0020000000000000
cbrrr: fb3ff8000000000000 -> fb3ff8000000000000
cbrrr: fb3ff0000000000000 -> fb3ff0000000000000
cbrrr: fb8000000000000000 -> fb8000000000000000
cbrrr: 1b0020000000000000 -> 1b0020000000000000
libipld: -0.0 is written as fb0000000000000000
EOF

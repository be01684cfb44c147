#!/usr/bin/env bash
# @junobuild/cli-tools 0.10.0 (npm), deploy
#
# Expected: Content-Encoding says how a file was compressed for the transfer, in addition to its type: a client
#   decompresses the file (RFC 9110, 8.4). An archive has the type application/gzip, and no encoding. The extension
#   determines which files get an encoding (@junobuild/config, HostingConfig.encoding). Every file of the folder is
#   sent.
# Actual: every file that begins like gzip gets the encoding gzip, under any name, even with the type application/gzip:
#   a browser that downloads backup.tar.gz saves a tar under this name, and a module.wasm.gz has another SHA-256 than
#   the file that was deployed. An empty file is left out, without an error.
# Affected: sites with archives or modules to download; sites with an empty file that must exist. Name them in
#   `encoding` as "identity", and write a byte into empty files.
. "$(dirname "$0")/lib/common.sh"
. "$lib/juno-deploy.sh"

cat > probe.mjs <<'EOF'
import { gzipSync } from 'node:zlib';
import { deployed, write } from './juno-deploy.mjs';

write('backup.tar.gz', gzipSync('tar'));
write('module.wasm.gz', gzipSync('\0asm'));
write('model.bin', gzipSync('weights'));
write('archive.zip', Buffer.from('504b0506000000000000000000000000000000000000', 'hex'));
write('empty.txt', '');
write('text.txt', 'text');
const show = (name, uploaded) => uploaded.forEach(({ path, encoding, type }) => console.log(`${name}: ${path}, ${type}, ${encoding}`));
show('as it is', await deployed({}));
show('with encoding', await deployed({ encoding: [['**/*.gz', 'identity'], ['**/*.bin', 'identity']] }));
EOF
node probe.mjs 2> progress | grep -a '^as it is\|^with encoding' > seen
expect_seen <<'EOF'
as it is: /archive.zip, application/zip, identity
as it is: /backup.tar.gz, application/gzip, gzip
as it is: /model.bin, application/octet-stream, gzip
as it is: /module.wasm.gz, application/gzip, gzip
as it is: /text.txt, text/plain, identity
with encoding: /archive.zip, application/zip, identity
with encoding: /backup.tar.gz, application/gzip, identity
with encoding: /model.bin, application/octet-stream, identity
with encoding: /module.wasm.gz, application/gzip, identity
with encoding: /text.txt, text/plain, identity
EOF

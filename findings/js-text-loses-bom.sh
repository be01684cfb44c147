#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm) and icp-py-core 2.3.1 (PyPI), Candid `text`
#
# Expected: a text is a sequence of Unicode scalar values; U+FEFF is one of them and stays
#   (Candid specification, Text and Memory: M(t : text) = leb128(|utf8(t)|) utf8(t)).
# Happens: the JavaScript decoder drops U+FEFF at the beginning of every text; Python keeps it.
# Hurt: text files made by Windows programs begin with it. A content or a name kept as `text` comes back three
#   bytes shorter, without an error, and no longer has the SHA-256 it was sent with. Keep content as `blob`.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages venv icp-py-core==2.3.1
cat > probe.mjs <<'EOF'
import { IDL } from '@icp-sdk/core/candid';
const sent = '\ufeffname,size';
const message = IDL.encode([IDL.Text], [sent]);
const [read] = IDL.decode([IDL.Text], message);
console.log(`JavaScript: sent ${sent.length} characters, read ${read.length}: ${JSON.stringify(read)}`);
console.error(Buffer.from(message).toString('hex'));
EOF
node probe.mjs > seen 2> message
venv/bin/python - >> seen <<'EOF'
from icp_candid.candid import decode, Types
text = decode(bytes.fromhex(open('message').read().strip()), [Types.Text])[0]['value']
print('Python: read %d characters' % len(text))
EOF
expect_seen <<'EOF'
JavaScript: sent 10 characters, read 9: "name,size"
Python: read 10 characters
EOF

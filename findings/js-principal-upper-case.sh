#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), ic_principal 0.1.5 (crates.io), icp-py-core 2.3.1 (PyPI): a principal in capitals
#
# Expected: principals are printed in lower case and parsed case-insensitively (Internet Computer interface
#   specification, Textual representation of principals), so that they fit the compact alphabet of QR codes.
# Actual: Principal.fromText of JavaScript makes the text lower case, decodes it, and then compares the result with the
#   text as it was given: "does not have a valid checksum", although the checksum is valid. Rust and Python accept such
#   a text.
# Affected: anyone who scans or types an address: the command line accepts an address for which the page reports a wrong
#   checksum. Convert it to lower case first.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages env icp-py-core==2.3.1
cat > probe.mjs <<'EOF'
import { Principal } from '@icp-sdk/core/principal';
let said;
try { said = Principal.fromText(process.argv[2]).toText(); } catch (error) { said = error.message; }
console.log('JavaScript:', said);
EOF
cat > probe.py <<'EOF'
import sys
from icp_principal.principal import Principal
print('icp-py-core:', Principal.from_str(sys.argv[1]))
EOF
mkdir src
cat > src/main.rs <<'EOF'
fn main() {
    let text = std::env::args().nth(1).unwrap();
    println!("Rust: {}", ic_principal::Principal::from_text(text).map_or_else(|e| e.to_string(), |p| p.to_text()));
}
EOF
rust_binary <<'EOF'
ic_principal = "=0.1.5"
EOF
for text in rrkah-fqaaa-aaaaa-aaaaq-cai RRKAH-FQAAA-AAAAA-AAAAQ-CAI; do
  echo "$text"
  ./probe $text
  env/bin/python probe.py $text
  node probe.mjs $text
done > seen
expect_seen <<'EOF'
rrkah-fqaaa-aaaaa-aaaaq-cai
Rust: rrkah-fqaaa-aaaaa-aaaaq-cai
icp-py-core: rrkah-fqaaa-aaaaa-aaaaq-cai
JavaScript: rrkah-fqaaa-aaaaa-aaaaq-cai
RRKAH-FQAAA-AAAAA-AAAAQ-CAI
Rust: rrkah-fqaaa-aaaaa-aaaaq-cai
icp-py-core: rrkah-fqaaa-aaaaa-aaaaq-cai
JavaScript: Principal "rrkah-fqaaa-aaaaa-aaaaq-cai" does not have a valid checksum (original value "RRKAH-FQAAA-AAAAA-AAAAQ-CAI" may not be a valid Principal ID).
EOF

#!/usr/bin/env bash
# @icp-sdk/core 6.1.0 (npm), lookup_path and lookup_subtree in a hash tree
#
# Expected: labels are ordered as bytes, a prefix comes first; looking up a label that is in the tree finds it, and
#   "absent" means that the tree proves that it is not there (Internet Computer interface specification, Lookup).
# Actual: a label counts as greater than another only if one of its bytes is greater. A label that continues another, as
#   blob_17 continues blob_1, is not, so the search ends at its left neighbor with "Absent", although the tree has the
#   label. Other labels are found. icp-py-core 2.3.1 finds all of them.
# Affected: certified values of a canister whose names are numbered, or of which one extends the other: metadata and
#   metadata_v2. The state tree itself has such a pair, canister and canister_ranges.
. "$(dirname "$0")/lib/common.sh"

npm_packages @icp-sdk/core@6.1.0
python_packages venv icp-py-core==2.3.1 cbor2==5.9.0
cat > probe.mjs <<'EOF'
import { lookup_path } from '@icp-sdk/core/agent';
const bytes = (text) => new TextEncoder().encode(text);
// Hash trees: 1 is a fork, 2 a label, 3 a leaf.
const fork = (left, right) => [1, left, right], entry = (label) => [2, bytes(label), [3, bytes(`value of ${label}`)]];
for (const labels of [['blob_1', 'blob_2'], ['blob_1', 'blob_17'], ['canister', 'canister_ranges']]) {
  const tree = fork(...labels.map(entry));
  for (const label of labels) {
    const found = lookup_path([bytes(label)], tree);
    console.log(`@icp-sdk/core, ${labels.join(' and ')}, look up ${label}:`, found.status, new TextDecoder().decode(found.value));
  }
}
EOF
cat > probe.py <<'EOF'
from icp_certificate.certificate import Certificate
entry = lambda label: [2, label, [3, b'value of ' + label]]
tree = [1, entry(b'blob_1'), entry(b'blob_17')]
print('icp-py-core, blob_1 and blob_17, look up blob_17:', Certificate({'tree': tree, 'signature': b''}).lookup([b'blob_17']).decode())
EOF
{ node probe.mjs; venv/bin/python probe.py; } | sed 's/ *$//' > seen
expect_seen <<'EOF'
@icp-sdk/core, blob_1 and blob_2, look up blob_1: Found value of blob_1
@icp-sdk/core, blob_1 and blob_2, look up blob_2: Found value of blob_2
@icp-sdk/core, blob_1 and blob_17, look up blob_1: Found value of blob_1
@icp-sdk/core, blob_1 and blob_17, look up blob_17: Absent
@icp-sdk/core, canister and canister_ranges, look up canister: Found value of canister
@icp-sdk/core, canister and canister_ranges, look up canister_ranges: Absent
icp-py-core, blob_1 and blob_17, look up blob_17: value of blob_17
EOF

#!/usr/bin/env bash
# prometheus-client 0.23.1 (PyPI), reading the text format
#
# Expected: a counter is found under the name that its TYPE line and its sample have (Prometheus, Exposition formats,
#   Text format details: no rule about endings).
# Happens: the family of `upload_bytes_total` is called `upload_bytes`, and the sample of a counter `uploads` is called
#   `uploads_total`, a name that the page does not contain. Gauges keep their names.
# Hurt: scripts and tests that look a canister's counter up by the name on the page and find nothing, or the nought that
#   they take for missing ones. Compare samples, not families, and let counters end in `_total`.
. "$(dirname "$0")/lib/common.sh"

python_packages venv prometheus-client==0.23.1
cat > probe.py <<'EOF'
from prometheus_client.parser import text_string_to_metric_families as read
page = '''# TYPE upload_bytes_total counter
upload_bytes_total 7
# TYPE uploads counter
uploads 3
# TYPE upload_sessions gauge
upload_sessions 2
'''
for family in read(page):
    print('family %s, samples %s' % (family.name, [sample.name for sample in family.samples]))
EOF
venv/bin/python probe.py > seen
expect_seen <<'EOF'
family upload_bytes, samples ['upload_bytes_total']
family uploads, samples ['uploads_total']
family upload_sessions, samples ['upload_sessions']
EOF

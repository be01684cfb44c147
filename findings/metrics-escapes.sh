#!/usr/bin/env bash
# ic-metrics-encoder 1.1.2 and prometheus-parse 0.2.5 (crates.io), prometheus-client 0.23.1 (PyPI)
#
# Expected: in the help of a metric a backslash and a line break are escaped; in the value of a label a quote is
#   escaped, too, and a reader removes the escapes again (Prometheus, Exposition formats, Text format details).
# Actual: ic-metrics-encoder escapes labels but not the help: if a help text has two lines, prometheus-client refuses
#   the whole page. prometheus-parse leaves the escapes in the labels, and drops an escaped quote at the end of a label.
# Affected: a canister that puts a version or an error into a help text loses its monitoring at that release; tests that
#   compare labels with prometheus-parse see a text that differs from the written one.
. "$(dirname "$0")/lib/common.sh"

python_packages venv prometheus-client==0.23.1
mkdir src
cat > src/main.rs <<'EOF'
use ic_metrics_encoder::MetricsEncoder;

fn main() {
    for help in ["Uploads by kind", "Uploads\nby kind"] {
        let mut page = MetricsEncoder::new(vec![], 1_700_000_000_000);
        page.counter_vec("errors_total", help).unwrap().value(&[("kind", "path \"C:\\x\"")], 1.0).unwrap();
        let page = String::from_utf8(page.into_inner()).unwrap();
        std::fs::write(if help.contains('\n') { "two-lines" } else { "one-line" }, &page).unwrap();
        let lines = page.lines().map(|line| Ok(line.to_string()));
        if !help.contains('\n') {
            let read = prometheus_parse::Scrape::parse(lines).unwrap();
            println!("prometheus-parse, label: {}", read.samples[0].labels.get("kind").unwrap());
        }
    }
}
EOF
rust_program > seen <<'EOF'
ic-metrics-encoder = "=1.1.2"
prometheus-parse = "=0.2.5"
EOF
venv/bin/python - >> seen <<'EOF'
from prometheus_client.parser import text_string_to_metric_families as read
for page in 'one-line', 'two-lines':
    try:
        print('prometheus-client, %s, label: %s' % (page, list(read(open(page).read()))[0].samples[0].labels['kind']))
    except ValueError as e:
        print('prometheus-client, %s: %s' % (page, e))
EOF
cat two-lines >> seen
expect_seen <<'EOF'
prometheus-parse, label: path \"C:\\x\
prometheus-client, one-line, label: path "C:\x"
prometheus-client, two-lines: could not convert string to float: 'kind'
# HELP errors_total Uploads
by kind
# TYPE errors_total counter
errors_total{kind="path \"C:\\x\""} 1 1700000000000
EOF

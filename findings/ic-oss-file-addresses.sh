#!/usr/bin/env bash
# ic-oss-types 1.3.3 (crates.io), which reads the addresses of files in buckets of IC-OSS
#
# Expected: the parameters of an address have no order, and a name means the same in the path and as a parameter
#   (WHATWG URL: both are percent-encoded).
# Actual: UrlFileParam::from_url stops at `token`: `filename` and `inline` count only in front of it. A name at the end of
#   the path is taken over as it is written: `holiday%20film.mp4`.
# Affected: pages that add `inline` or a name to an address that they got with its token: films are downloaded instead of
#   played, and called by their number, or with %20 for each space. Put the token last, and the name into `filename`.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_oss_types::file::UrlFileParam;

fn main() {
    for url in [
        "/f/5?inline&filename=holiday%20film.mp4&token=AAEC", "/f/5?inline&token=AAEC&filename=holiday%20film.mp4",
        "/f/5?token=AAEC&filename=holiday%20film.mp4&inline", "/f/5/holiday%20film.mp4?inline&token=AAEC",
    ] {
        let UrlFileParam { file, token, name, inline, .. } = UrlFileParam::from_url(url).unwrap();
        println!("{url}\n  file {file}, token {:?}, name {name:?}, inline {inline}", token.map(|token| token.into_vec()));
    }
}
EOF
rust_program > seen <<'EOF'
ic-oss-types = "=1.3.3"
EOF
expect_seen <<'EOF'
/f/5?inline&filename=holiday%20film.mp4&token=AAEC
  file 5, token Some([0, 1, 2]), name Some("holiday film.mp4"), inline true
/f/5?inline&token=AAEC&filename=holiday%20film.mp4
  file 5, token Some([0, 1, 2]), name None, inline true
/f/5?token=AAEC&filename=holiday%20film.mp4&inline
  file 5, token Some([0, 1, 2]), name None, inline false
/f/5/holiday%20film.mp4?inline&token=AAEC
  file 5, token Some([0, 1, 2]), name Some("holiday%20film.mp4"), inline true
EOF

#!/usr/bin/env bash
# ic-oss-types 1.3.3 (crates.io), the types and checks of the buckets of IC-OSS
#
# Expected: the limit of a bucket for the size of a file, `max_file_size`, can be any number up to MAX_FILE_SIZE, 384 GiB
#   (ic_oss_types::file: "pub const MAX_FILE_SIZE: u64 = …; // 384GB").
# Actual: UpdateBucketInput::validate compares the wrong way round: every limit below 384 GiB is refused, and every one
#   above it accepted.
# Affected: owners of a bucket who want to set what their users may store: a limit of 10 MiB cannot be set. Limit the
#   size in front of the bucket, where the tokens for uploads are signed.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_oss_types::{bucket::UpdateBucketInput, file::MAX_FILE_SIZE};

fn main() {
    println!("MAX_FILE_SIZE: {MAX_FILE_SIZE}");
    for (name, size) in [("10 MiB", 10 << 20), ("1 GiB", 1 << 30), ("384 GiB - 1", MAX_FILE_SIZE - 1), ("384 GiB", MAX_FILE_SIZE), ("384 GiB + 1", MAX_FILE_SIZE + 1), ("1 EiB", 1 << 60)] {
        println!("max_file_size {name}: {:?}", UpdateBucketInput { max_file_size: Some(size), ..Default::default() }.validate());
    }
}
EOF
rust_program > seen <<'EOF'
ic-oss-types = "=1.3.3"
EOF
expect_seen <<'EOF'
MAX_FILE_SIZE: 412316860416
max_file_size 10 MiB: Err("max_file_size should be greater than or equal to 412316860416")
max_file_size 1 GiB: Err("max_file_size should be greater than or equal to 412316860416")
max_file_size 384 GiB - 1: Err("max_file_size should be greater than or equal to 412316860416")
max_file_size 384 GiB: Ok(())
max_file_size 384 GiB + 1: Ok(())
max_file_size 1 EiB: Ok(())
EOF

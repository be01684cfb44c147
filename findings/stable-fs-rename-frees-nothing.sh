#!/usr/bin/env bash
# stable-fs 0.13.1 and ic-stable-structures 0.7.2 (crates.io)
#
# Expected: a file that is renamed to the name of another replaces it, and the space of the other becomes free, as it
#   does after an unlink (POSIX, rename and unlink: "the space occupied by the file shall be freed and the file shall no
#   longer be accessible"; the crate calls itself WASI-compatible).
# Actual: rename removes only the directory entry of the other file. Its chunks and metadata stay in stable memory, and
#   nothing refers to them, so they are never used again. remove_file and OpenFlags::TRUNCATE do free them.
# Affected: whoever saves safely, to a temporary file that then gets its final name: each time costs stable memory in
#   the size of the file, until the canister can neither grow nor pay. Remove the old file before renaming, or write in
#   place.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_stable_structures::{Memory, VectorMemory};
use stable_fs::{fs::*, storage::stable::StableStorage};

fn write(fs: &mut FileSystem, name: &str) {
    let fd = fs.open(fs.root_fd(), name, FdStat::default(), OpenFlags::CREATE | OpenFlags::TRUNCATE, 0).unwrap();
    fs.write(fd, &[7; 8 << 20]).unwrap();
    fs.close(fd).unwrap();
}

fn rename(fs: &mut FileSystem, from: &str, to: &str) {
    let fd = fs.rename(fs.root_fd(), from, fs.root_fd(), to).unwrap();
    fs.close(fd).unwrap();
}

fn main() {
    let ways: [(&str, fn(&mut FileSystem)); 3] = [
        ("write in place", |fs| write(fs, "state")),
        ("write elsewhere, remove, rename", |fs| {
            write(fs, "state.new");
            fs.remove_file(fs.root_fd(), "state").unwrap();
            rename(fs, "state.new", "state")
        }),
        ("write elsewhere, rename", |fs| {
            write(fs, "state.new");
            rename(fs, "state.new", "state")
        }),
    ];
    for (way, save) in ways {
        let memory = VectorMemory::default();
        let mut fs = FileSystem::new(Box::new(StableStorage::new(memory.clone()))).unwrap();
        write(&mut fs, "state");
        print!("{way}: MiB after 1, 11 and 21 times:");
        for times in [1, 10, 10] {
            (0..times).for_each(|_| save(&mut fs));
            print!(" {}", memory.size() / 16);
        }
        println!("; files {}", fs.metadata(fs.root_fd()).unwrap().size);
    }
}
EOF
rust_program > seen <<'EOF'
ic-stable-structures = "=0.7.2"
stable-fs = "=0.13.1"
EOF
expect_seen <<'EOF'
write in place: MiB after 1, 11 and 21 times: 80 80 80; files 1
write elsewhere, remove, rename: MiB after 1, 11 and 21 times: 88 88 88; files 1
write elsewhere, rename: MiB after 1, 11 and 21 times: 88 168 248; files 1
EOF

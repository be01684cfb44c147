#!/usr/bin/env bash
# stable-fs 0.13.1 (crates.io)
#
# Expected: a file that is renamed to its own name, or to that of another link to it, stays as it is: rename "shall
#   return successfully and perform no other action" (POSIX, rename; the crate calls itself WASI-compatible, and WASI's
#   path_rename refers to renameat).
# Actual: renamed to its own name a file is gone, and rename reports success and returns an open descriptor of it. Of
#   two links to one file the first is gone.
# Affected: programs that compute the new name (without spaces, in lower case, with a fixed extension): files whose name
#   was right already are lost. Compare the names first.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_stable_structures::VectorMemory;
use stable_fs::{fs::*, storage::stable::StableStorage};

fn read(fs: &mut FileSystem, name: &str) -> String {
    let fd = match fs.open(fs.root_fd(), name, FdStat::default(), OpenFlags::empty(), 0) {
        Ok(fd) => fd,
        Err(e) => return format!("{e:?}"),
    };
    let mut bytes = [0; 16];
    let length = fs.read(fd, &mut bytes).unwrap() as usize;
    fs.close(fd).unwrap();
    format!("{:?}", std::str::from_utf8(&bytes[..length]).unwrap())
}

fn main() {
    let mut fs = FileSystem::new(Box::new(StableStorage::new(VectorMemory::default()))).unwrap();
    let root = fs.root_fd();
    for name in ["Report 1.txt", "report-2.txt", "report-3.txt"] {
        let fd = fs.open(root, name, FdStat::default(), OpenFlags::CREATE, 0).unwrap();
        fs.write(fd, b"contents").unwrap();
        fs.close(fd).unwrap();
    }
    for name in ["Report 1.txt", "report-2.txt"] {
        let wanted = name.to_lowercase().replace(' ', "-");
        let renamed = fs.rename(root, name, root, &wanted).map(|fd| fs.close(fd));
        println!("{name} to {wanted}: {renamed:?}, now {}", read(&mut fs, &wanted));
    }
    let fd = fs.create_hard_link(root, "report-3.txt", root, "latest.txt").unwrap();
    fs.close(fd).unwrap();
    let renamed = fs.rename(root, "report-3.txt", root, "latest.txt").map(|fd| fs.close(fd));
    println!("report-3.txt to its link latest.txt: {renamed:?}, now {} and {}", read(&mut fs, "report-3.txt"), read(&mut fs, "latest.txt"));
    println!("files: {}", fs.metadata(root).unwrap().size);
}
EOF
rust_program > seen <<'EOF'
ic-stable-structures = "=0.7.2"
stable-fs = "=0.13.1"
EOF
expect_seen <<'EOF'
Report 1.txt to report-1.txt: Ok(Ok(())), now "contents"
report-2.txt to report-2.txt: Ok(Ok(())), now NoSuchFileOrDirectory
report-3.txt to its link latest.txt: Ok(Ok(())), now NoSuchFileOrDirectory and "contents"
files: 2
EOF

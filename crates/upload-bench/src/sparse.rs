//! Stable memory in files with holes for zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use session_migrate::snapshot::PAGE_BYTES;
use upload_canister::stable::RawMemory;

/// Writes stable memory to a new file, which has at least `min_bytes`, in whole pages.
pub fn write(memory: &RawMemory, min_bytes: u64, path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    let bytes = memory.borrow();
    file.set_len(min_bytes.max(bytes.len() as u64).next_multiple_of(PAGE_BYTES))?;
    for (index, page) in bytes.chunks(PAGE_BYTES as usize).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, index as u64 * PAGE_BYTES)?;
        }
    }
    Ok(file)
}

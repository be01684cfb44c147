//! The parts of a sparse file that are not holes.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Returns, in ascending order, the ranges within the first `len` bytes of a file that may contain bytes other than
/// zero. On a file system that does not report holes, the result is one range of `len` bytes. Moves the file's cursor.
///
/// # Errors
/// If the file is not seekable.
pub fn data_ranges(file: &File, len: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match seek(file, SeekFrom::Data(at)) {
            // The rest of the file is a hole.
            Err(Errno::NXIO) => break,
            // The file system does not report holes, so all of the file counts as data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            start => start?,
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Err(Errno::INVAL | Errno::OPNOTSUPP) => len,
            end => end?,
        };
        if start >= len {
            break;
        }
        ranges.push(start..end.min(len));
        at = end;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn data_is_returned_and_holes_are_not() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"x", 20 << 20).unwrap();
        file.write_all_at(b"y", 40 << 20).unwrap();
        let ranges = data_ranges(&file, 64 << 20).unwrap();
        for place in [20 << 20, 40 << 20] {
            assert!(ranges.iter().any(|range| range.contains(&place)), "{ranges:?}");
        }
        assert!(ranges.is_sorted_by(|one, next| one.end < next.start), "{ranges:?}");
        // Beyond the given length, nothing is returned.
        let ranges = data_ranges(&file, 30 << 20).unwrap();
        assert!(ranges.iter().all(|range| range.end <= 30 << 20), "{ranges:?}");
        assert!(data_ranges(&tempfile::tempfile().unwrap(), 0).unwrap().is_empty());
    }
}

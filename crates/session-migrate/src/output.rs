//! Files that a command writes for its user. The user's path may also be a pipe, a device or a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{folder_of, temporary_next_to};

/// Maximum number of symbolic links that are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// Streams that this process, or the one that started it, may also write by other means. If such a stream is redirected
/// to a regular file, replacing this file would lose what they write.
const STREAMS: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];

/// A file that is being written. A regular file gets its name once it is complete, so that a reader never sees half a
/// file; if it never is, it is deleted. To a pipe or a device, the bytes are written directly.
#[derive(Debug)]
pub struct OutputFile(Destination);

#[derive(Debug)]
enum Destination {
    /// The file, which has a temporary name, and its final path.
    Regular(NamedTempFile, PathBuf),
    Stream(File),
}

impl OutputFile {
    /// Begins the file that will be at `path`. If `path` is a symbolic link, the file will be at its target. Waits for
    /// a reader if `path` is a pipe.
    ///
    /// # Errors
    /// If `path` is a folder, or cannot be written.
    pub fn create(path: &Path) -> io::Result<OutputFile> {
        let destination = match regular_file_at(path)? {
            Some(path) => Destination::Regular(temporary_next_to(&path)?, path),
            None => Destination::Stream(OpenOptions::new().append(true).open(path)?),
        };
        Ok(OutputFile(destination))
    }

    /// Completes the file: gives a regular file its name.
    ///
    /// # Errors
    /// If the file cannot get its name.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Destination::Regular(file, path) => file.persist(path).map(drop).map_err(io::Error::from),
            Destination::Stream(mut file) => file.flush(),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Destination::Regular(file, _) => file.write(bytes),
            Destination::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Destination::Regular(file, _) => file.flush(),
            Destination::Stream(file) => file.flush(),
        }
    }
}

/// Returns the path at which a file for `path` is created or replaced: the target if `path` is a symbolic link, and
/// otherwise `path` itself. `None` if `path` is a pipe or a device, which must not be replaced by a file.
///
/// # Errors
/// If there are too many links, for example in a cycle.
pub(crate) fn regular_file_at(path: &Path) -> io::Result<Option<PathBuf>> {
    let is_stream = STREAMS.iter().any(|stream| path.starts_with(stream))
        || path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    if is_stream { Ok(None) } else { follow_links(path).map(Some) }
}

/// Returns whether two paths that a command would write are the same file, which need not exist. Pipes and devices are
/// the same only if their paths are equal.
pub fn is_same_output(one: &Path, other: &Path) -> bool {
    let final_path = |path: &Path| {
        let Ok(Some(file)) = regular_file_at(path) else { return path.to_path_buf() };
        match (folder_of(&file).canonicalize(), file.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            // Nothing can be written there.
            _ => file,
        }
    };
    final_path(one) == final_path(other)
}

/// Returns the target of a symbolic link, which need not exist; any other path is returned unchanged.
///
/// # Errors
/// If there are too many links, for example in a cycle.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..=MAX_LINKS {
        match path.read_link() {
            Ok(target) => path = folder_of(&path).join(target),
            // It is not a link, or does not exist.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_a_file_that_need_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("below")).unwrap();
        symlink("below/second", at("first")).unwrap();
        symlink(at("file"), at("below/second")).unwrap();
        for text in ["one", "two"] {
            let mut file = OutputFile::create(&at("first")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(std::fs::read_to_string(at("file")).unwrap(), text);
            assert!(at("first").is_symlink() && at("below/second").is_symlink());
        }
        drop(OutputFile::create(&at("first")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "a file that is dropped is deleted");
    }

    #[test]
    fn paths_of_the_same_file_are_recognized() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("below")).unwrap();
        symlink("file", at("link")).unwrap();
        for same in ["file", "./file", "below/../file", "link"] {
            assert!(is_same_output(&at("file"), &at(same)), "{same}");
        }
        for other in ["below/file", "file.html", "absent/../file"] {
            assert!(!is_same_output(&at("file"), &at(other)), "{other}");
        }
        assert!(is_same_output(Path::new("/dev/stdout"), Path::new("/dev/stdout")));
        assert!(!is_same_output(Path::new("/dev/stdout"), Path::new("/dev/stderr")));
    }

    #[test]
    fn links_in_a_cycle_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        symlink("link", &path).unwrap();
        assert_eq!(OutputFile::create(&path).unwrap_err().to_string(), "too many symbolic links");
    }

    #[test]
    fn standard_streams_are_not_replaced_whatever_they_are() {
        for path in ["/dev/stdout", "/dev/stderr", "/dev/fd/3", "/proc/self/fd/1"] {
            assert_eq!(regular_file_at(Path::new(path)).unwrap(), None, "{path}");
        }
        let file = Path::new("/dev/stdout-of-a-test");
        assert_eq!(regular_file_at(file).unwrap().as_deref(), Some(file));
    }
}

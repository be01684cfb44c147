//! Files that are written with `--json` and the like.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A report file that comes into being when it is complete.
pub(super) struct ReportFile {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl ReportFile {
    pub fn create(path: &Path) -> Result<ReportFile, String> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if path.is_dir() {
            return Err(format!("cannot write {}: it is a folder", path.display()));
        }
        let file = tempfile::Builder::new()
            .prefix(".report-")
            .tempfile_in(folder)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(ReportFile { path: path.to_path_buf(), file })
    }

    pub fn write(mut self, report: &impl Serialize) -> Result<(), String> {
        let place = self.path.display().to_string();
        let mut write = || -> std::io::Result<()> {
            serde_json::to_writer_pretty(&mut self.file, report)?;
            self.file.write_all(b"\n")
        };
        write().map_err(|error| format!("cannot write {place}: {error}"))?;
        self.file.persist(&self.path).map(drop).map_err(|error| format!("cannot write {place}: {error}"))
    }
}

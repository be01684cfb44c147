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

    /// The report as JSON.
    pub fn write(self, report: &impl Serialize) -> Result<(), String> {
        self.write_with(|file| {
            serde_json::to_writer_pretty(&mut *file, report)?;
            file.write_all(b"\n")
        })
    }

    /// The report as text that it has made of itself.
    pub fn write_text(self, text: &str) -> Result<(), String> {
        self.write_with(|file| file.write_all(text.as_bytes()))
    }

    fn write_with(
        mut self,
        write: impl FnOnce(&mut tempfile::NamedTempFile) -> std::io::Result<()>,
    ) -> Result<(), String> {
        let place = self.path.display().to_string();
        write(&mut self.file).map_err(|error| format!("cannot write {place}: {error}"))?;
        self.file.persist(&self.path).map(drop).map_err(|error| format!("cannot write {place}: {error}"))
    }
}

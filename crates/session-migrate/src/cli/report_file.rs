//! Files that are written with `--json`, `--html` and `--markdown`.

use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use session_migrate::file_beside;
use tempfile::NamedTempFile;

/// The files that a report goes to.
pub(super) struct ReportFiles {
    json: Option<ReportFile>,
    html: Option<ReportFile>,
}

impl ReportFiles {
    /// Opens the files before the long work, so that a path that cannot be written is reported at once.
    pub fn create(json: Option<&Path>, html: Option<&Path>) -> Result<Self, String> {
        let create = |path: Option<&Path>| path.map(ReportFile::create).transpose();
        Ok(ReportFiles { json: create(json)?, html: create(html)? })
    }

    /// Writes the report into each file.
    pub fn write(self, report: &impl Serialize, page: impl FnOnce() -> String) -> Result<(), String> {
        if let Some(json) = self.json {
            json.write(|file| {
                serde_json::to_writer_pretty(&mut *file, report)?;
                file.write_all(b"\n")
            })?;
        }
        if let Some(html) = self.html {
            html.write_text(&page())?;
        }
        Ok(())
    }
}

/// A report file that appears under its name once it is complete.
pub(super) struct ReportFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl ReportFile {
    /// Opens it; it appears under its name when it is written.
    pub fn create(path: &Path) -> Result<ReportFile, String> {
        let file = file_beside(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(ReportFile { path: path.to_path_buf(), file })
    }

    /// Writes the whole text.
    pub fn write_text(self, text: &str) -> Result<(), String> {
        self.write(|file| file.write_all(text.as_bytes()))
    }

    fn write(mut self, write: impl FnOnce(&mut NamedTempFile) -> Result<(), Error>) -> Result<(), String> {
        let place = self.path.display().to_string();
        write(&mut self.file).map_err(|error| format!("cannot write {place}: {error}"))?;
        self.file.persist(&self.path).map(drop).map_err(|error| format!("cannot write {place}: {error}"))
    }
}

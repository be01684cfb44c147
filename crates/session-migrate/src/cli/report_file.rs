//! Files that are written with `--json` and `--html`, and with `--markdown` of `ab`.

use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use session_migrate::{OutputFile, is_same_output};

use super::failure::Failure;

// The files to which a report is written in addition to the terminal. A doc comment here would become the help text of
// the command.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as an HTML page with plots to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgs {
    /// Creates the files that the options name, under temporary names, and opens pipes and devices. A command calls
    /// this before its long-running work, so that a path that cannot be written is reported immediately. `others` are
    /// the files that the command's other options name.
    pub fn create_files(&self, others: &[(&str, Option<&Path>)]) -> Result<ReportFiles, Failure> {
        let own = [("--json", self.json.as_deref()), ("--html", self.html.as_deref())];
        check_distinct(&[&own[..], others].concat())?;
        let create = |path: &Option<PathBuf>| path.as_deref().map(ReportFile::create).transpose();
        Ok(ReportFiles { json: create(&self.json)?, html: create(&self.html)? })
    }
}

/// Checks that no two options name the same file: the one that is written last would replace the other. Each option has
/// its name in errors, and its path, if it is given.
pub(super) fn check_distinct(options: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
    let given: Vec<(&str, &Path)> =
        options.iter().filter_map(|(option, path)| path.map(|path| (*option, path))).collect();
    for (index, (option, path)) in given.iter().enumerate() {
        let same = given.iter().take(index).find(|(_, earlier)| is_same_output(earlier, path));
        if let Some((earlier, _)) = same {
            return Err(Failure::usage(format_args!(
                "{earlier} and {option} name the same file, {}: give each a path of its own",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The files of [`ReportArgs`]; `None` for an option that is not given.
pub(super) struct ReportFiles {
    json: Option<ReportFile>,
    html: Option<ReportFile>,
}

impl ReportFiles {
    pub fn write(self, report: &impl Serialize, page: impl FnOnce() -> String) -> Result<(), Failure> {
        if let Some(json) = self.json {
            json.write_json(report)?;
        }
        if let Some(html) = self.html {
            html.write_text(&page())?;
        }
        Ok(())
    }
}

/// A report file, and its path as the user has given it.
pub(super) struct ReportFile {
    path: PathBuf,
    file: OutputFile,
}

impl ReportFile {
    /// Creates the file of an option; a path that cannot be written is a wrong option.
    pub fn create(path: &Path) -> Result<ReportFile, Failure> {
        let file = OutputFile::create(path).map_err(|error| Failure::usage(cannot_write(path, &error)))?;
        Ok(ReportFile { path: path.to_path_buf(), file })
    }

    pub fn write_text(self, text: &str) -> Result<(), Failure> {
        self.write(|file| file.write_all(text.as_bytes()))
    }

    pub fn write_json(self, report: &impl Serialize) -> Result<(), Failure> {
        self.write(|file| {
            serde_json::to_writer_pretty(&mut *file, report)?;
            file.write_all(b"\n")
        })
    }

    fn write(self, write: impl FnOnce(&mut OutputFile) -> Result<(), Error>) -> Result<(), Failure> {
        let ReportFile { path, mut file } = self;
        let written = write(&mut file).and_then(|()| file.finish());
        written.map_err(|error| Failure::environment(cannot_write(&path, &error)))
    }
}

fn cannot_write(path: &Path, error: &Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

//! Chooses and starts the PocketIC server.
//!
//! The first of these rules that applies decides:
//!
//! - `POCKET_IC_BIN` is set: the server binary at this path.
//! - `POCKET_IC_SERVER=official`: the official server, which the `pocket-ic` crate downloads if
//!   necessary.
//! - Otherwise: the project's own server, in this process.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// This project's own server.
    Embedded,
    /// DFINITY's server.
    Official,
}

impl ServerKind {
    /// Returns the kind as a word.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Embedded => "embedded",
            ServerKind::Official => "official",
        }
    }
}

/// The server of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whose server it is.
    pub kind: ServerKind,
    /// Name and version.
    pub version: String,
    /// The binary that `POCKET_IC_BIN` names; `None` if the server runs in this process, or is downloaded.
    pub binary: Option<PathBuf>,
}

/// A server that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerError {
    /// `POCKET_IC_BIN` does not name a server.
    #[error("POCKET_IC_BIN: {path} is not a PocketIC server: {detail}")]
    Binary {
        /// The file.
        path: PathBuf,
        /// The output of `--version`, or the error of running the file.
        detail: String,
    },
    /// `POCKET_IC_SERVER` has an unknown value.
    #[error("POCKET_IC_SERVER: expected `official` or `embedded`, got `{got}`")]
    Choice {
        /// The value.
        got: String,
    },
    /// The embedded server did not start.
    #[error("the embedded server did not start: {0}")]
    Embedded(String),
}

/// The server that the environment variables choose. (`ServerError::Choice` is the error if they choose none.)
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Binary(PathBuf),
    Download,
    InProcess,
}

fn parse_choice(binary: Option<PathBuf>, server: Option<&str>) -> Result<Choice, ServerError> {
    if let Some(path) = binary.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(Choice::Binary(path));
    }
    match server {
        Some("official") => Ok(Choice::Download),
        None | Some("" | "embedded") => Ok(Choice::InProcess),
        Some(got) => Err(ServerError::Choice { got: got.to_owned() }),
    }
}

/// Returns the server that this process uses. The first call chooses the server, and prints it on stderr.
pub fn chosen() -> Result<&'static Server, ServerError> {
    static CHOSEN: OnceLock<Result<Server, ServerError>> = OnceLock::new();
    CHOSEN
        .get_or_init(|| {
            let server = choose()?;
            // Not `eprintln!`: the test harness hides its output if a test passes, and the server of a test run
            // must always be visible. If stderr is closed, nothing can be done.
            let _ = writeln!(std::io::stderr(), "PocketIC server: {server}");
            Ok(server)
        })
        .as_ref()
        .map_err(Clone::clone)
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.kind.name(), self.version)?;
        match &self.binary {
            Some(binary) => write!(f, " ({})", binary.display()),
            None => Ok(()),
        }
    }
}

fn choose() -> Result<Server, ServerError> {
    let choice = parse_choice(
        std::env::var_os("POCKET_IC_BIN").map(PathBuf::from),
        std::env::var("POCKET_IC_SERVER").ok().as_deref(),
    )?;
    Ok(match choice {
        Choice::Binary(path) => {
            let version = version_of(&path)?;
            Server { kind: kind_of(&version), version, binary: Some(path) }
        }
        Choice::Download => Server {
            kind: ServerKind::Official,
            version: format!("pocket-ic-server {}", pocket_ic::LATEST_SERVER_VERSION),
            binary: None,
        },
        Choice::InProcess => Server {
            kind: ServerKind::Embedded,
            version: pocket_ic_embedded::VERSION_LINE.to_owned(),
            binary: None,
        },
    })
}

fn version_of(path: &PathBuf) -> Result<String, ServerError> {
    let binary_error = |detail: String| ServerError::Binary { path: path.clone(), detail };
    let output =
        Command::new(path).arg("--version").output().map_err(|error| binary_error(error.to_string()))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().next().unwrap_or_default().to_owned();
    if !output.status.success() || !line.starts_with("pocket-ic-server ") {
        return Err(binary_error(format!("--version says `{line}` ({})", output.status)));
    }
    Ok(line)
}

/// This project's own server has the build metadata `embedded` in its version.
fn kind_of(version: &str) -> ServerKind {
    if version.ends_with("+embedded") { ServerKind::Embedded } else { ServerKind::Official }
}

/// Creates an instance with one application subnet on the chosen server.
pub fn pocket_ic() -> Result<PocketIc, ServerError> {
    build_instance(PocketIcBuilder::new().with_application_subnet())
}

/// Creates an instance like [`pocket_ic()`], but with instruction limits above those of the IC.
pub fn with_higher_instruction_limits() -> Result<PocketIc, ServerError> {
    build_instance(PocketIcBuilder::new().with_benchmarking_application_subnet())
}

fn build_instance(builder: PocketIcBuilder) -> Result<PocketIc, ServerError> {
    let server = chosen()?;
    // If `POCKET_IC_BIN` names our own server, the `pocket-ic` crate starts it like the official one.
    let in_process = server.kind == ServerKind::Embedded && server.binary.is_none();
    let builder = if in_process { builder.with_server_url(embedded_url()?) } else { builder };
    Ok(builder.build())
}

/// Returns the address of the embedded server. The first call starts the server, which runs until the process ends.
fn embedded_url() -> Result<Url, ServerError> {
    static RUNNING: OnceLock<Result<EmbeddedServer, String>> = OnceLock::new();
    RUNNING
        .get_or_init(|| EmbeddedServer::start().map_err(|error| error.to_string()))
        .as_ref()
        .map(EmbeddedServer::url)
        .map_err(|error| ServerError::Embedded(error.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        let bin = || Some(PathBuf::from("/opt/pocket-ic"));
        assert_eq!(parse_choice(bin(), None).unwrap(), Choice::Binary("/opt/pocket-ic".into()));
        assert_eq!(parse_choice(bin(), Some("official")).unwrap(), Choice::Binary("/opt/pocket-ic".into()));
        assert_eq!(parse_choice(None, Some("official")).unwrap(), Choice::Download);
        assert_eq!(parse_choice(None, None).unwrap(), Choice::InProcess);
        assert_eq!(parse_choice(Some(PathBuf::new()), Some("")).unwrap(), Choice::InProcess);
        let error = parse_choice(None, Some("oficial")).unwrap_err().to_string();
        assert!(error.contains("oficial"), "{error}");
    }

    #[test]
    fn our_own_binary_is_distinguished_from_the_official_one() {
        assert_eq!(kind_of("pocket-ic-server 16.1.0+embedded"), ServerKind::Embedded);
        assert_eq!(kind_of("pocket-ic-server 16.1.0"), ServerKind::Official);
    }

    #[test]
    fn a_program_that_is_not_a_server_is_refused_with_its_path() {
        for path in ["/bin/true", "/nonexistent/pocket-ic"] {
            let error = version_of(&PathBuf::from(path)).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }
}

//! The file from which clients read the port. The process that creates the file, or takes over a stale one, becomes the
//! server; processes that find the file of a running server exit.

use crate::stderr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take from creating the file to writing its port; after that, others use what the file holds.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which the file of a server that is starting is read again.
const START_CHECK: Duration = Duration::from_millis(20);
/// How long to wait for a connection to a port of this machine, and for an answer there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of attempts to claim the file: each fails if the file is removed or changed during the attempt.
const ATTEMPTS: usize = 8;

/// A port file of this process. It is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct PortFile {
    path: PathBuf,
    /// The open file if it was taken over; `None` if this process created it. A file that was taken over is locked as
    /// long as the server runs, so that only one of several processes that find the same stale file takes it over.
    _locked: Option<File>,
}

/// The result of trying to become the server of a port file.
#[derive(Debug)]
pub(crate) enum Claim {
    /// This process owns the file, and is the server.
    Ours(PortFile),
    /// Another process is the server, or is about to become it: this one must exit.
    Running,
    /// The file stayed empty: another server may be starting, or may have ended early. This process exits, too.
    Unclear(PortFileError),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PortFileError {
    #[error("cannot create the port file {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write the port file {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the port file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "the port file {} is empty: another server is starting, or ended before it had a port. Remove the \
        file if no server is running",
        .0.display()
    )]
    Empty(PathBuf),
    #[error("{} exists and is not a port file: it contains no port. Remove it, or name another file", .0.display())]
    NoPort(PathBuf),
    #[error(
        "port {port} of the port file {} is in use, but no PocketIC server answers there. Remove the file \
        if no server is running",
        path.display()
    )]
    OtherProgram { path: PathBuf, port: u16 },
    #[error(
        "the port file {} was removed or changed during each of {} attempts to claim it, or is a link to a file \
        that does not exist. Remove it if no server is running, or name another file",
        .0.display(),
        ATTEMPTS
    )]
    Changing(PathBuf),
}

/// What uses the port in the file.
#[derive(Debug, PartialEq, Eq)]
enum PortUse {
    // Nothing listens there, so the file is stale.
    Unused,
    // A PocketIC server answers.
    Server,
    // Something listens that does not answer like a PocketIC server, or it is not known whether anything listens.
    OtherProgram,
}

impl PortFile {
    /// Creates the file, or takes it over if nothing listens on its port: the server that wrote it no longer exists.
    pub(crate) fn claim(path: &Path, ip_addr: IpAddr) -> Result<Claim, PortFileError> {
        for _ in 0..ATTEMPTS {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(_) => return Ok(Claim::Ours(Self { path: path.to_owned(), _locked: None })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(PortFileError::Create { path: path.to_owned(), source }),
            }
            if let Some(claim) = Self::claim_existing(path, ip_addr)? {
                return Ok(claim);
            }
        }
        // Other servers may be starting, but none of them was seen to answer.
        Err(PortFileError::Changing(path.to_owned()))
    }

    /// Checks whether the server of an existing file is running, and takes over a stale file. Returns `None` if the
    /// file was removed or changed in the meantime, so that the claim must start again.
    fn claim_existing(path: &Path, ip_addr: IpAddr) -> Result<Option<Claim>, PortFileError> {
        let failed = |source| PortFileError::Read { path: path.to_owned(), source };
        let Some(text) = if_exists(wait_for_port(path)).map_err(failed)? else { return Ok(None) };
        let Some(port) = port_in(&text) else {
            return if text.is_empty() {
                Ok(Some(Claim::Unclear(PortFileError::Empty(path.to_owned()))))
            } else {
                Err(PortFileError::NoPort(path.to_owned()))
            };
        };
        match port_use(ip_addr, port) {
            PortUse::Server => Ok(Some(Claim::Running)),
            PortUse::OtherProgram => Err(PortFileError::OtherProgram { path: path.to_owned(), port }),
            PortUse::Unused => Self::take_over(path, &text, port),
        }
    }

    /// Takes over a stale file, if it still contains the text `stale`; otherwise returns `None`: the claim starts
    /// again.
    fn take_over(path: &Path, stale: &str, port: u16) -> Result<Option<Claim>, PortFileError> {
        let failed = |source| PortFileError::Write { path: path.to_owned(), source };
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let Some(mut file) = if_exists(opened).map_err(failed)? else { return Ok(None) };
        if file.try_lock().is_err() {
            return Ok(Some(Claim::Running));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let Some(file_at_path) = if_exists(fs::metadata(path)).map_err(failed)? else { return Ok(None) };
        // Another process may have rewritten or replaced the file before this one locked it.
        if text != stale || file_at_path.ino() != file.metadata().map_err(failed)?.ino() {
            return Ok(None);
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        stderr::print_line(format_args!(
            "pocket-ic-embedded: nothing listens on port {port} of the port file {}: its server has ended, \
            and this one takes its place",
            path.display()
        ));
        Ok(Some(Claim::Ours(Self { path: path.to_owned(), _locked: Some(file) })))
    }

    /// Writes the port and a line end, which clients wait for.
    pub(crate) fn write(&self, port: u16) -> Result<(), PortFileError> {
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.write_all(format!("{port}\n").as_bytes())?;
            file.flush()
        };
        write().map_err(|source| PortFileError::Write { path: self.path.clone(), source })
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        // The file may have been removed already, which is fine.
        let _ = fs::remove_file(&self.path);
    }
}

/// Maps the error `NotFound` to `None`.
fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the contents of the file. While they are empty or only digits, the port may be incomplete: waits for the
/// line end, at most [`START_TIMEOUT`].
fn wait_for_port(path: &Path) -> io::Result<String> {
    let started = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let may_be_incomplete = text.bytes().all(|byte| byte.is_ascii_digit());
        if !may_be_incomplete || started.elapsed() >= START_TIMEOUT {
            return Ok(text);
        }
        thread::sleep(START_CHECK);
    }
}

/// Returns the port in the contents of a port file; `None` if they are not a port number.
fn port_in(text: &str) -> Option<u16> {
    text.trim().parse().ok()
}

/// Checks what uses the port, at the address on which this server will listen and at the loopback addresses.
fn port_use(ip_addr: IpAddr, port: u16) -> PortUse {
    let mut found = PortUse::Unused;
    for address in addresses_to_check(ip_addr) {
        match TcpStream::connect_timeout(&SocketAddr::from((address, port)), ANSWER_TIMEOUT) {
            Ok(stream) if is_server(&stream).unwrap_or(false) => return PortUse::Server,
            Ok(_) => found = PortUse::OtherProgram,
            Err(error) if means_unused(&error) => {}
            Err(_) => found = PortUse::OtherProgram,
        }
    }
    found
}

/// Returns the address of this server and the loopback addresses, each once: every check of a silent program takes
/// [`ANSWER_TIMEOUT`].
fn addresses_to_check(ip_addr: IpAddr) -> Vec<IpAddr> {
    let mut addresses = vec![ip_addr];
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    addresses.extend(loopback.into_iter().filter(|address| *address != ip_addr));
    addresses
}

/// Returns whether a failed connection means that nothing listens, or that the machine has no such address.
fn means_unused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
        || error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::NetworkUnreachable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Returns whether the peer answers `/status` like a PocketIC server.
fn is_server(mut stream: &TcpStream) -> io::Result<bool> {
    const OK: &[u8] = b"HTTP/1.0 200";
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut response_start = [0; OK.len()];
    stream.read_exact(&mut response_start)?;
    // The minor version of the protocol is the server's choice.
    Ok(response_start.starts_with(b"HTTP/1.") && response_start.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn create_file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    /// Returns a port that nothing listened on a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn every_address_is_checked_once() {
        let [v4, v6, other]: [IpAddr; 3] =
            ["127.0.0.1", "::1", "127.0.0.2"].map(|text| text.parse().unwrap());
        assert_eq!(addresses_to_check(v4), [v4, v6]);
        assert_eq!(addresses_to_check(v6), [v6, v4]);
        assert_eq!(addresses_to_check(other), [other, v4, v6]);
    }

    #[test]
    fn a_stale_file_is_taken_over_by_one_server() {
        let (_dir, path) = create_file(&format!("{}\n", free_port()));
        let Claim::Ours(first) = PortFile::claim(&path, HERE).unwrap() else { panic!("not taken over") };
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "clients do not find the old port");
        // While the first server starts, its file is empty; later ones wait for its port and exit.
        let second = thread::scope(|scope| {
            let second = scope.spawn(|| PortFile::claim(&path, HERE).unwrap());
            first.write(free_port()).unwrap();
            second.join().unwrap()
        });
        assert!(matches!(second, Claim::Running), "{second:?}");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_port_used_by_another_program_is_not_taken_over() {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_dir, path) = create_file(&format!("{port}\n"));
        let other_program = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        });
        let error = PortFile::claim(&path, HERE).unwrap_err();
        assert!(matches!(error, PortFileError::OtherProgram { port: found, .. } if found == port), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{port}\n"));
        other_program.join().unwrap();
    }

    /// A link to a file that does not exist can neither be created nor read, in no attempt.
    #[test]
    fn a_file_that_no_attempt_can_claim_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        std::os::unix::fs::symlink(dir.path().join("missing"), &path).unwrap();
        let error = PortFile::claim(&path, HERE).unwrap_err();
        assert!(matches!(error, PortFileError::Changing(_)), "{error}");
    }

    #[test]
    fn a_file_without_a_port_is_not_changed() {
        for text in ["export PATH=$PATH:~/bin\n", "70000\n", "-1\n"] {
            let (_dir, path) = create_file(text);
            let error = PortFile::claim(&path, HERE).unwrap_err();
            assert!(matches!(error, PortFileError::NoPort(_)), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}

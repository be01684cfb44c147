//! Settings of the controllers: defaults, bounds and stored form.

use crate::api::{AdminConfig, Error, Result};
use crate::stable::Record;
use crate::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use crate::upload::path::{BUILD, FEATURES};

/// Shortest time to live that makes sense: a client must be able to send one chunk, seconds.
const MIN_TTL_SECONDS: u64 = 60;

/// Longest time to live, seconds: 30 days.
const MAX_TTL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The stored form of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config(pub AdminConfig);

impl Default for Config {
    fn default() -> Self {
        Self(AdminConfig { compat_share_percent: 0, session_ttl_seconds: DEFAULT_SESSION_TTL_SECONDS })
    }
}

impl Config {
    /// Settings that this build can follow.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the bounds.
    pub fn checked(config: AdminConfig) -> Result<Self> {
        let (lowest, highest) = (lowest_share(), highest_share());
        if !(lowest..=highest).contains(&config.compat_share_percent) {
            let expected = format!("{lowest} to {highest} in the {BUILD} build");
            return Err(Error::invalid("compat_share_percent", expected, config.compat_share_percent));
        }
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&config.session_ttl_seconds) {
            let expected = format!("{MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}");
            return Err(Error::invalid("session_ttl_seconds", expected, config.session_ttl_seconds));
        }
        // A share that the build leaves no choice of is not stored: the next build starts at its own default.
        let compat_share_percent = if lowest == highest { 0 } else { config.compat_share_percent };
        Ok(Self(AdminConfig { compat_share_percent, ..config }))
    }

    /// The settings as this build follows them.
    pub fn in_force(self) -> AdminConfig {
        let compat_share_percent = self.0.compat_share_percent.clamp(lowest_share(), highest_share());
        AdminConfig { compat_share_percent, ..self.0 }
    }
}

/// A build without the direct path serves everything on the compat path, and the other way round.
fn lowest_share() -> u8 {
    if FEATURES.contains(&"direct") { 0 } else { 100 }
}

fn highest_share() -> u8 {
    if FEATURES.contains(&"compat") { 100 } else { 0 }
}

/// ```text
/// byte 0      1      version
/// byte 1      u8     compat share, percent
/// byte 2..10  u64    session time to live in seconds, big-endian
/// ```
impl Record for Config {
    const NAME: &'static str = "settings";

    fn encode(&self) -> Vec<u8> {
        [&[1, self.0.compat_share_percent][..], &self.0.session_ttl_seconds.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let [1, compat_share_percent, ttl @ ..] = bytes else {
            return Err(format!("expected version 1, found {:02x?}", bytes.first()));
        };
        let session_ttl_seconds = <[u8; 8]>::try_from(ttl)
            .map(u64::from_be_bytes)
            .map_err(|_| format!("{} bytes, expected 10", bytes.len()))?;
        Ok(Self(AdminConfig { compat_share_percent: *compat_share_percent, session_ttl_seconds }))
    }
}

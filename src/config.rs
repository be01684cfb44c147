//! Settings of the controllers: defaults, bounds and stored form.

use minicbor::{Decode, Encode};

use crate::api::{AdminConfig, Error, Result};
use crate::build_profile::{BUILD, COMPAT_SHARE_PERCENT};
use crate::stable::{Record, codec};
use crate::upload::limits::{
    DEFAULT_MAX_BYTES, DEFAULT_MAX_BYTES_PER_CALLER, DEFAULT_MAX_BYTES_PER_CAPSULE,
    DEFAULT_MAX_CAPSULES_PER_CALLER, DEFAULT_MAX_MEMORIES_PER_CAPSULE, DEFAULT_MAX_SESSIONS_PER_CALLER,
    DEFAULT_SESSION_TTL_SECONDS,
};

/// Shortest time to live that makes sense: a client must be able to send one chunk, seconds.
const MIN_TTL_SECONDS: u64 = 60;

/// Longest time to live, seconds: 30 days.
const MAX_TTL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The stored form of the settings. An absent field has its default.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    #[n(0)]
    compat_share_percent: Option<u8>,
    #[n(1)]
    session_ttl_seconds: Option<u64>,
    #[n(2)]
    max_sessions_per_caller: Option<u64>,
    #[n(3)]
    max_bytes_per_caller: Option<u64>,
    #[n(4)]
    max_bytes_per_capsule: Option<u64>,
    #[n(5)]
    max_bytes: Option<u64>,
    #[n(6)]
    max_capsules_per_caller: Option<u64>,
    #[n(7)]
    max_memories_per_capsule: Option<u64>,
}

impl AdminConfig {
    /// The same, with what it leaves open as it is in `before`: a client of an older interface does not know of
    /// the newer settings, and must not reset them.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            max_capsules_per_caller: self.max_capsules_per_caller.or(before.max_capsules_per_caller),
            max_memories_per_capsule: self.max_memories_per_capsule.or(before.max_memories_per_capsule),
            ..self
        }
    }

    /// Capsules that one caller may have made.
    pub fn capsules_per_caller(&self) -> u64 {
        self.max_capsules_per_caller.unwrap_or(DEFAULT_MAX_CAPSULES_PER_CALLER)
    }

    /// Memories that one capsule may hold.
    pub fn memories_per_capsule(&self) -> u64 {
        self.max_memories_per_capsule.unwrap_or(DEFAULT_MAX_MEMORIES_PER_CAPSULE)
    }
}

impl Config {
    /// Settings that this build can follow.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the bounds.
    pub fn checked(config: AdminConfig) -> Result<Self> {
        let (lowest, highest) = COMPAT_SHARE_PERCENT.into_inner();
        if !(lowest..=highest).contains(&config.compat_share_percent) {
            let expected = format!("{lowest} to {highest} in the {BUILD} build");
            return Err(Error::invalid("compat_share_percent", expected, config.compat_share_percent));
        }
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&config.session_ttl_seconds) {
            let expected = format!("{MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}");
            return Err(Error::invalid("session_ttl_seconds", expected, config.session_ttl_seconds));
        }
        Ok(Self {
            // A share that the build leaves no choice of is not stored: the next build starts at its own default.
            compat_share_percent: (lowest != highest).then_some(config.compat_share_percent),
            ..Self::unchecked(config)
        })
    }

    /// The settings as this build follows them.
    pub fn in_force(self) -> AdminConfig {
        let share = self.compat_share_percent.unwrap_or(0);
        let capsules = self.max_capsules_per_caller.unwrap_or(DEFAULT_MAX_CAPSULES_PER_CALLER);
        let memories = self.max_memories_per_capsule.unwrap_or(DEFAULT_MAX_MEMORIES_PER_CAPSULE);
        AdminConfig {
            compat_share_percent: share.clamp(*COMPAT_SHARE_PERCENT.start(), *COMPAT_SHARE_PERCENT.end()),
            session_ttl_seconds: self.session_ttl_seconds.unwrap_or(DEFAULT_SESSION_TTL_SECONDS),
            max_sessions_per_caller: self.max_sessions_per_caller.unwrap_or(DEFAULT_MAX_SESSIONS_PER_CALLER),
            max_bytes_per_caller: self.max_bytes_per_caller.unwrap_or(DEFAULT_MAX_BYTES_PER_CALLER),
            max_bytes_per_capsule: self.max_bytes_per_capsule.unwrap_or(DEFAULT_MAX_BYTES_PER_CAPSULE),
            max_bytes: self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES),
            max_capsules_per_caller: Some(capsules),
            max_memories_per_capsule: Some(memories),
        }
    }

    fn unchecked(config: AdminConfig) -> Self {
        let AdminConfig {
            compat_share_percent,
            session_ttl_seconds,
            max_sessions_per_caller,
            max_bytes_per_caller,
            max_bytes_per_capsule,
            max_bytes,
            max_capsules_per_caller,
            max_memories_per_capsule,
        } = config;
        Self {
            compat_share_percent: Some(compat_share_percent),
            session_ttl_seconds: Some(session_ttl_seconds),
            max_sessions_per_caller: Some(max_sessions_per_caller),
            max_bytes_per_caller: Some(max_bytes_per_caller),
            max_bytes_per_capsule: Some(max_bytes_per_capsule),
            max_bytes: Some(max_bytes),
            max_capsules_per_caller,
            max_memories_per_capsule,
        }
    }
}

const VERSION: u8 = 1;

impl Record for Config {
    const NAME: &'static str = "settings";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

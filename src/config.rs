//! Settings for controllers: defaults, bounds and the stored record.

use minicbor::{Decode, Encode};

use crate::api::{AdminConfig, CapsuleMakers, Error, Result};
use crate::build_profile::{BUILD, COMPAT_SHARE_PERCENT};
use crate::stable::codec;
use crate::upload::limits::{
    DEFAULT_MAX_BYTES, DEFAULT_MAX_BYTES_PER_CALLER, DEFAULT_MAX_BYTES_PER_CAPSULE,
    DEFAULT_MAX_CAPSULES_PER_CALLER, DEFAULT_MAX_MEMORIES_PER_CAPSULE, DEFAULT_MAX_PROMISED_PERCENT,
    DEFAULT_MAX_SESSION_AGE_SECONDS, DEFAULT_MAX_SESSIONS_PER_CALLER, DEFAULT_SESSION_TTL_SECONDS,
};

/// Minimum time to live, seconds: a client must be able to send one chunk in that time.
const MIN_TTL_SECONDS: u64 = 60;

/// Maximum time to live that controllers can set, seconds: 30 days.
const MAX_TTL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Highest maximum age of a session that controllers can set, seconds: one year.
const MAX_AGE_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Returns the default for the maximum session age: never less than the time to live.
fn default_max_age(ttl_seconds: u64) -> u64 {
    ttl_seconds.max(DEFAULT_MAX_SESSION_AGE_SECONDS)
}

/// The stored settings, of which [`AdminConfig`] is the type in the interface. An absent field has its default.
#[derive(Encode, Decode, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
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
    #[n(8)]
    max_promised_percent: Option<u8>,
    #[n(9)]
    max_session_age_seconds: Option<u64>,
    #[n(10)]
    capsule_makers: Option<CapsuleMakers>,
}

impl AdminConfig {
    /// Fills in the settings that a call leaves out with the stored ones: a client of an older interface does not know
    /// newer settings, and must not reset them. A setting that was never set keeps its default.
    #[must_use]
    pub fn or(self, stored: Config) -> Self {
        Self {
            max_capsules_per_caller: self.max_capsules_per_caller.or(stored.max_capsules_per_caller),
            max_memories_per_capsule: self.max_memories_per_capsule.or(stored.max_memories_per_capsule),
            max_promised_percent: self.max_promised_percent.or(stored.max_promised_percent),
            max_session_age_seconds: self.max_session_age_seconds.or(stored.max_session_age_seconds),
            capsule_makers: self.capsule_makers.or(stored.capsule_makers),
            ..self
        }
    }

    /// Returns `Ok(())` if no setting that has changed since `before` would refuse every upload or every new capsule.
    /// `self` are the new settings; `in_use` bytes are stored or reserved in the canister.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the first setting that refuses everything, and how to force it.
    pub fn check_admits_uploads(&self, before: &Self, in_use: u64) -> Result<()> {
        type Value = fn(&AdminConfig) -> u64;
        const UPLOAD: &str = "upload";
        let are_in_use = if in_use > 0 { ", which are in use," } else { "" };
        // A field, its value, the largest value that refuses everything, a note on that value, and what is refused.
        let limits: [(&str, Value, u64, &str, &str); 7] = [
            ("max_sessions_per_caller", |config| config.max_sessions_per_caller, 0, "", UPLOAD),
            ("max_bytes_per_caller", |config| config.max_bytes_per_caller, 0, "", UPLOAD),
            ("max_bytes_per_capsule", |config| config.max_bytes_per_capsule, 0, "", UPLOAD),
            ("max_bytes", |config| config.max_bytes, in_use, are_in_use, UPLOAD),
            ("max_capsules_per_caller", Self::capsules_per_caller, 0, "", "new capsule"),
            ("max_memories_per_capsule", Self::memories_per_capsule, 0, "", UPLOAD),
            // A percentage of few bytes is rounded down, maybe to 0.
            ("max_promised_percent", Self::max_promised_bytes, 0, " bytes of `max_bytes`", UPLOAD),
        ];
        for (field, value_in, too_low, note, refused) in limits {
            let got = value_in(self);
            if got <= too_low && got != value_in(before) {
                let expected =
                    format!("more than {too_low}{note} or `force`: this would refuse every {refused}");
                return Err(Error::invalid(field, expected, got));
            }
        }
        Ok(())
    }

    /// Returns the share of `max_bytes` that may be promised, percent.
    pub fn promised_percent(&self) -> u8 {
        self.max_promised_percent.unwrap_or(DEFAULT_MAX_PROMISED_PERCENT)
    }

    /// Returns the bytes that sessions may have promised (reserved but not filled yet), the share of
    /// [`Self::promised_percent`] in bytes.
    pub fn max_promised_bytes(&self) -> u64 {
        let share = u128::from(self.max_bytes).saturating_mul(self.promised_percent().into()).div_euclid(100);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Returns the maximum age of a session, seconds.
    pub fn session_age_seconds(&self) -> u64 {
        self.max_session_age_seconds.unwrap_or_else(|| default_max_age(self.session_ttl_seconds))
    }

    /// Returns the number of capsules that one caller may have created.
    pub fn capsules_per_caller(&self) -> u64 {
        self.max_capsules_per_caller.unwrap_or(DEFAULT_MAX_CAPSULES_PER_CALLER)
    }

    /// Returns the number of memories that one capsule may hold.
    pub fn memories_per_capsule(&self) -> u64 {
        self.max_memories_per_capsule.unwrap_or(DEFAULT_MAX_MEMORIES_PER_CAPSULE)
    }
}

impl Config {
    /// Returns the settings to be stored, if each is within the bounds of this build. Does not check whether they admit
    /// uploads.
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
        if let Some(percent) = config.max_promised_percent.filter(|percent| *percent > 100) {
            return Err(Error::invalid("max_promised_percent", "0 to 100", percent));
        }
        let allowed_ages = config.session_ttl_seconds..=MAX_AGE_SECONDS;
        if let Some(age) = config.max_session_age_seconds.filter(|age| !allowed_ages.contains(age)) {
            let expected =
                format!("session_ttl_seconds, {}, to {MAX_AGE_SECONDS}", config.session_ttl_seconds);
            return Err(Error::invalid("max_session_age_seconds", expected, age));
        }
        Ok(Self {
            // If the build leaves no choice, the share is not stored: the next build starts with its own default.
            compat_share_percent: (lowest != highest).then_some(config.compat_share_percent),
            ..Self::unchecked(config)
        })
    }

    /// Returns the settings that apply in this build, with the defaults for absent ones, and the nearest compat share
    /// that this build allows.
    pub fn effective(self) -> AdminConfig {
        let share = self.compat_share_percent.unwrap_or(0);
        let capsules = self.max_capsules_per_caller.unwrap_or(DEFAULT_MAX_CAPSULES_PER_CALLER);
        let memories = self.max_memories_per_capsule.unwrap_or(DEFAULT_MAX_MEMORIES_PER_CAPSULE);
        let ttl = self.session_ttl_seconds.unwrap_or(DEFAULT_SESSION_TTL_SECONDS);
        AdminConfig {
            compat_share_percent: share.clamp(*COMPAT_SHARE_PERCENT.start(), *COMPAT_SHARE_PERCENT.end()),
            session_ttl_seconds: ttl,
            max_sessions_per_caller: self.max_sessions_per_caller.unwrap_or(DEFAULT_MAX_SESSIONS_PER_CALLER),
            max_bytes_per_caller: self.max_bytes_per_caller.unwrap_or(DEFAULT_MAX_BYTES_PER_CALLER),
            max_bytes_per_capsule: self.max_bytes_per_capsule.unwrap_or(DEFAULT_MAX_BYTES_PER_CAPSULE),
            max_bytes: self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES),
            max_capsules_per_caller: Some(capsules),
            max_memories_per_capsule: Some(memories),
            max_promised_percent: Some(self.max_promised_percent.unwrap_or(DEFAULT_MAX_PROMISED_PERCENT)),
            max_session_age_seconds: Some(
                self.max_session_age_seconds.unwrap_or_else(|| default_max_age(ttl)),
            ),
            capsule_makers: Some(self.capsule_makers.unwrap_or_default()),
        }
    }

    /// Converts all settings as they are.
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
            max_promised_percent,
            max_session_age_seconds,
            capsule_makers,
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
            max_promised_percent,
            max_session_age_seconds,
            capsule_makers,
        }
    }
}

const VERSION: u8 = 1;

codec::cbor_record!(Config, "settings", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(Config, cbor VERSION);

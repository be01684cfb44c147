//! The keys with which tokens are authenticated (HMAC), the current and the previous one: one CBOR record in memory id
//! 48.

use minicbor::{Decode, Encode};

use crate::session::Time;
use crate::stable::{Memories, Register, StableError, codec, memory_ids};

/// Age at which a key is replaced, seconds: 30 days.
pub(super) const KEY_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The keys that authenticate tokens, in stable memory; [`Keys`] is the record.
pub struct AccessKeys {
    keys: Register<Keys>,
}

/// The stored record of [`AccessKeys`]: the current and the previous key.
#[derive(Encode, Decode, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Keys {
    /// Authenticates new tokens.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) current: [u8; 32],
    /// When the current key was stored, nanoseconds.
    #[n(1)]
    made_at: u64,
    /// The key before the current one, whose tokens are still accepted; absent before the first replacement.
    #[cbor(n(2), with = "codec::opt_digest")]
    pub(super) previous: Option<[u8; 32]>,
}

const VERSION: u8 = 1;

codec::cbor_record!(Keys, "keys of access tokens", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(Keys, cbor VERSION);

impl AccessKeys {
    /// Opens the keys.
    pub fn open(memories: &Memories) -> Self {
        Self { keys: Register::open(memories, memory_ids::ACCESS_KEYS) }
    }

    /// Returns the keys; `None` if none was stored yet.
    pub(super) fn get(&self) -> Result<Option<Keys>, StableError> {
        self.keys.get()
    }

    /// Returns whether a new key is needed: there is none, the current one is too old, or the record of the keys is
    /// damaged.
    pub fn needs_renewal(&self, now: Time) -> bool {
        let Ok(Some(keys)) = self.keys.get() else { return true };
        Time::from_nanos(keys.made_at).plus_seconds(KEY_SECONDS) <= now
    }

    /// Replaces the current key, which becomes the previous one. Tokens of that key stay valid until they expire or
    /// the key is replaced a second time.
    pub fn renew(&mut self, key: [u8; 32], now: Time) {
        let previous = self.keys.get().ok().flatten().map(|keys| keys.current);
        let keys = Keys { current: key, made_at: now.as_nanos(), previous };
        self.keys.set(&keys);
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.register(memory_ids::numbers::ACCESS_KEYS, &self.keys);
    }
}

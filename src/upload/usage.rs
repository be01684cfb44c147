//! Bytes in use, counted as they are promised: by caller, by capsule, and in all.
//!
//! ```text
//! id 30   (text, text) -> u64     (kind of account, name) -> bytes
//! ```
//! A session reserves the whole declared size when it begins. What a caller has reserved counts until the
//! session ends; what a capsule and the canister hold counts until the blob is freed.

use candid::Principal;

use crate::api::{AdminConfig, Error, Result};
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, StableError, Table, memory_ids};

/// The accounts.
pub struct Usage {
    bytes: Table<TwoTexts, u64>,
}

/// Whose bytes.
#[derive(Clone, Copy, Debug)]
enum Account<'a> {
    /// Reserved by a caller's sessions in flight.
    Caller(Principal),
    /// Reserved or stored in a capsule.
    Capsule(&'a str),
    /// Reserved or stored in the canister.
    Canister,
}

impl Account<'_> {
    fn key(self) -> TwoTexts {
        match self {
            Self::Caller(caller) => TwoTexts("caller".into(), caller.to_text()),
            Self::Capsule(id) => TwoTexts("capsule".into(), id.to_owned()),
            Self::Canister => TwoTexts("canister".into(), String::new()),
        }
    }
}

impl Usage {
    /// Opens the accounts, or makes an empty set.
    pub fn open(memories: &Memories) -> Self {
        Self { bytes: Table::open(memories, memory_ids::USAGE) }
    }

    /// Reserves bytes for a session, if every limit allows them.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] with the limit and what the session would make of it.
    pub fn reserve(
        &mut self,
        caller: Principal,
        capsule: &str,
        bytes: u64,
        limits: &AdminConfig,
    ) -> Result<()> {
        let after = self.allowed(caller, capsule, bytes, limits)?;
        self.set(&after);
        Ok(())
    }

    /// Takes bytes for a file that is stored in the same call: its caller has nothing in flight afterwards.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn store(
        &mut self,
        caller: Principal,
        capsule: &str,
        bytes: u64,
        limits: &AdminConfig,
    ) -> Result<()> {
        let [_, stored @ ..] = self.allowed(caller, capsule, bytes, limits)?;
        self.set(&stored);
        Ok(())
    }

    /// What the accounts of a caller, a capsule and the canister come to with these bytes, if every limit allows it.
    fn allowed<'a>(
        &self,
        caller: Principal,
        capsule: &'a str,
        bytes: u64,
        limits: &AdminConfig,
    ) -> Result<[(Account<'a>, u64); 3]> {
        let after = self.with(caller, capsule, bytes)?;
        let limits = [
            ("bytes in flight per caller", limits.max_bytes_per_caller),
            ("bytes per capsule", limits.max_bytes_per_capsule),
            ("bytes in the canister", limits.max_bytes),
        ];
        for ((limit, allowed), (_, bytes)) in limits.into_iter().zip(after) {
            if bytes > allowed {
                return Err(Error::exhausted(limit, allowed, bytes));
            }
        }
        Ok(after)
    }

    /// What the accounts of a caller, a capsule and the canister come to with these bytes.
    fn with<'a>(
        &self,
        caller: Principal,
        capsule: &'a str,
        bytes: u64,
    ) -> std::result::Result<[(Account<'a>, u64); 3], StableError> {
        let accounts = [Account::Caller(caller), Account::Capsule(capsule), Account::Canister];
        let mut after = accounts.map(|account| (account, 0));
        for (account, now) in &mut after {
            *now = self.of(*account)?.saturating_add(bytes);
        }
        Ok(after)
    }

    fn set(&mut self, accounts: &[(Account<'_>, u64)]) {
        for (account, bytes) in accounts {
            self.bytes.insert(account.key(), bytes);
        }
    }

    /// Reserves bytes for a session that exists already.
    ///
    /// # Errors
    /// A damaged account; nothing was changed.
    pub fn reserve_unlimited(
        &mut self,
        caller: Principal,
        capsule: &str,
        bytes: u64,
    ) -> std::result::Result<(), StableError> {
        let after = self.with(caller, capsule, bytes)?;
        self.set(&after);
        Ok(())
    }

    /// The session has ended; what it stored, if anything, is the capsule's.
    ///
    /// # Errors
    /// A damaged account.
    pub fn end(&mut self, caller: Principal, bytes: u64) -> std::result::Result<(), StableError> {
        self.subtract(Account::Caller(caller), bytes)
    }

    /// Bytes of a capsule were freed.
    ///
    /// # Errors
    /// A damaged account.
    pub fn free(&mut self, capsule: &str, bytes: u64) -> std::result::Result<(), StableError> {
        self.subtract(Account::Capsule(capsule), bytes)?;
        self.subtract(Account::Canister, bytes)
    }

    /// Bytes reserved or stored in the canister.
    ///
    /// # Errors
    /// A damaged account.
    pub fn total(&self) -> std::result::Result<u64, StableError> {
        self.of(Account::Canister)
    }

    /// Number of accounts that are not empty, for the invariant that ended sessions leave none.
    pub fn accounts(&self) -> u64 {
        self.bytes.len()
    }

    fn of(&self, account: Account<'_>) -> std::result::Result<u64, StableError> {
        Ok(self.bytes.get(&account.key())?.unwrap_or(0))
    }

    fn subtract(&mut self, account: Account<'_>, bytes: u64) -> std::result::Result<(), StableError> {
        match self.of(account)?.saturating_sub(bytes) {
            0 => {
                self.bytes.remove(&account.key());
            }
            left => self.bytes.insert(account.key(), &left),
        }
        Ok(())
    }
}

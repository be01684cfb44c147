//! Usage: bytes in use, counted from their reservation on, per caller, per capsule, and in total.
//!
//! ```text
//! id 30   (text, text) -> u64     (kind of account, name) -> bytes
//! ```
//! A session reserves its whole declared size when it begins. On the account of its caller, the bytes count until
//! the session ends; on the accounts of the capsule and the canister, until they are freed.

use candid::Principal;

use crate::api::{AdminConfig, Error, Result};
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, StableError, Table, memory_ids};

/// The accounts of bytes reserved or stored.
pub struct Usage {
    bytes: Table<TwoTexts, u64>,
}

#[derive(Clone, Copy, Debug)]
enum Account<'a> {
    /// Bytes reserved by the caller's sessions in flight.
    Caller(Principal),
    /// Bytes reserved or stored in a capsule.
    Capsule(&'a str),
    /// All bytes reserved or stored.
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

/// The bytes that the accounts of a caller, a capsule and the canister would have after a reservation.
/// ([`SessionAccounts`] has the same accounts with what they have now.)
pub struct Reservation<'a>([(Account<'a>, u64); 3]);

impl Reservation<'_> {
    /// Returns an error if the caller's account would exceed its limit. This limit is checked before any eviction.
    pub fn check_caller(&self, limits: &AdminConfig) -> Result<()> {
        let Self([(_, requested), ..]) = *self;
        let allowed = limits.max_bytes_per_caller;
        if requested > allowed {
            return Err(Error::exhausted("bytes in flight per caller", allowed, requested));
        }
        Ok(())
    }

    /// Returns the demands on the capsule and on the canister.
    pub fn demands(&self, limits: &AdminConfig) -> [Demand; 2] {
        let Self([_, (_, in_capsule), (_, in_canister)]) = *self;
        [
            Demand {
                limit: "bytes per capsule",
                allowed: limits.max_bytes_per_capsule,
                requested: in_capsule,
            },
            Demand { limit: "bytes in the canister", allowed: limits.max_bytes, requested: in_canister },
        ]
    }
}

/// The accounts on which the bytes of a session are reserved: those of its caller, its capsule and the canister, each
/// with its current total.
pub struct SessionAccounts<'a>([(Account<'a>, u64); 3]);

/// The accounts on which stored bytes are: those of their capsule and the canister, each with its current
/// total.
pub struct StoredAccounts<'a>([(Account<'a>, u64); 2]);

/// A limit in bytes, and the total that a call would need, which may or may not exceed the limit.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub limit: &'static str,
    pub allowed: u64,
    pub requested: u64,
}

impl Demand {
    /// Returns by how many bytes the limit is exceeded, 0 if it is not.
    pub const fn excess(&self) -> u64 {
        self.requested.saturating_sub(self.allowed)
    }
}

impl Usage {
    /// Opens the accounts, or creates an empty set.
    pub fn open(memories: &Memories) -> Self {
        Self { bytes: Table::open(memories, memory_ids::USAGE) }
    }

    /// Returns the accounts of a caller, a capsule and the canister with these bytes added, without storing them.
    pub fn after_adding<'a>(
        &self,
        caller: Principal,
        capsule: &'a str,
        bytes: u64,
    ) -> std::result::Result<Reservation<'a>, StableError> {
        let SessionAccounts(before) = self.session_accounts(caller, capsule)?;
        Ok(Reservation(before.map(|(account, current)| (account, current.saturating_add(bytes)))))
    }

    /// Reserves bytes for a session: stores the accounts that [`Self::after_adding`] has calculated. Checks no limit.
    pub fn reserve(&mut self, Reservation(after): &Reservation<'_>) {
        self.set_accounts(after);
    }

    /// Charges the capsule and the canister for a file that is stored in the same call. The caller's account is
    /// unchanged, since no bytes of the file remain in flight.
    pub fn charge_file(&mut self, Reservation([_, stored @ ..]): &Reservation<'_>) {
        self.set_accounts(stored);
    }

    fn set_accounts(&mut self, accounts: &[(Account<'_>, u64)]) {
        for (account, bytes) in accounts {
            self.set_bytes(*account, *bytes);
        }
    }

    /// Reserves bytes regardless of the limits.
    ///
    /// # Errors
    /// If an account is damaged. No account is changed.
    pub fn reserve_unlimited(
        &mut self,
        caller: Principal,
        capsule: &str,
        bytes: u64,
    ) -> std::result::Result<(), StableError> {
        let after = self.after_adding(caller, capsule, bytes)?;
        self.reserve(&after);
        Ok(())
    }

    /// Subtracts bytes that a session had reserved from all three accounts. ([`Self::free`] is for stored bytes, which
    /// are not on the account of a caller.)
    ///
    /// # Errors
    /// If an account is damaged. No account is changed.
    pub fn release_reserved(
        &mut self,
        caller: Principal,
        capsule: &str,
        bytes: u64,
    ) -> std::result::Result<(), StableError> {
        let accounts = self.session_accounts(caller, capsule)?;
        self.subtract_reserved(&accounts, bytes);
        Ok(())
    }

    /// Reads the accounts of a caller, a capsule and the canister, for [`Self::subtract_reserved`].
    pub fn session_accounts<'a>(
        &self,
        caller: Principal,
        capsule: &'a str,
    ) -> std::result::Result<SessionAccounts<'a>, StableError> {
        let accounts = [Account::Caller(caller), Account::Capsule(capsule), Account::Canister];
        Ok(SessionAccounts(self.read_accounts(accounts)?))
    }

    /// Subtracts reserved bytes from accounts that were read before the call's first change, so that a damaged account
    /// cannot stop the call in the middle.
    pub fn subtract_reserved(&mut self, SessionAccounts(before): &SessionAccounts<'_>, bytes: u64) {
        self.subtract(before, bytes);
    }

    /// Sets the bytes that a caller has in flight; the accounts of capsule and canister stay as they are.
    pub fn set_in_flight(&mut self, caller: Principal, bytes: u64) {
        self.set_bytes(Account::Caller(caller), bytes);
    }

    fn set_bytes(&mut self, account: Account<'_>, bytes: u64) {
        if bytes == 0 {
            self.bytes.remove(&account.key());
        } else {
            self.bytes.insert(account.key(), &bytes);
        }
    }

    /// Returns the bytes (not the number) of a caller's sessions in flight.
    pub fn in_flight(&self, caller: Principal) -> std::result::Result<u64, StableError> {
        self.bytes_of(Account::Caller(caller))
    }

    /// Reads the accounts of a capsule and of the canister, for [`Self::subtract_freed`].
    pub fn stored_accounts<'a>(
        &self,
        capsule: &'a str,
    ) -> std::result::Result<StoredAccounts<'a>, StableError> {
        Ok(StoredAccounts(self.read_accounts([Account::Capsule(capsule), Account::Canister])?))
    }

    /// Subtracts freed bytes from accounts that were read before the call's first change, so that a damaged account
    /// cannot stop the call in the middle.
    pub fn subtract_freed(&mut self, StoredAccounts(before): &StoredAccounts<'_>, bytes: u64) {
        self.subtract(before, bytes);
    }

    /// Subtracts freed bytes from the accounts of a capsule and of the canister.
    ///
    /// # Errors
    /// If an account is damaged. No account is changed.
    pub fn free(&mut self, capsule: &str, bytes: u64) -> std::result::Result<(), StableError> {
        let accounts = self.stored_accounts(capsule)?;
        self.subtract_freed(&accounts, bytes);
        Ok(())
    }

    /// Returns the bytes reserved or stored in the canister.
    pub fn total(&self) -> std::result::Result<u64, StableError> {
        self.bytes_of(Account::Canister)
    }

    /// Returns the number of accounts that are not at 0.
    pub fn account_count(&self) -> u64 {
        self.bytes.len()
    }

    fn read_accounts<'a, const N: usize>(
        &self,
        accounts: [Account<'a>; N],
    ) -> std::result::Result<[(Account<'a>, u64); N], StableError> {
        let mut before = accounts.map(|account| (account, 0));
        for (account, current) in &mut before {
            *current = self.bytes_of(*account)?;
        }
        Ok(before)
    }

    fn subtract(&mut self, before: &[(Account<'_>, u64)], bytes: u64) {
        for (account, current) in before {
            self.set_bytes(*account, current.saturating_sub(bytes));
        }
    }

    fn bytes_of(&self, account: Account<'_>) -> std::result::Result<u64, StableError> {
        Ok(self.bytes.get(&account.key())?.unwrap_or(0))
    }

    /// Describes the stored table.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.table(memory_ids::numbers::USAGE, &self.bytes);
    }
}

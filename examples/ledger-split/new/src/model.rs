//! Accounts in both layouts.
//!
//! ```text
//! id 0   Principal -> OldAccount     layout 1: as the old release has left them
//! id 1   Layout                      header; absent in layout 1
//! id 2   Principal -> balance        layout 2
//! id 3   Principal -> Profile        layout 2
//! id 4   (name, zero, principal)     layout 2: accounts by name; no values
//! id 5   states, 6 journal, 7 quarantine: the engine's
//! ```

use candid::{CandidType, Principal};
use ic_stable_migrate::{
    Build, Engine, Error, Host, Layout, Ledger, LedgerMemories, Record, Register, StableError, Table, Time,
};
use ic_stable_structures::DefaultMemoryImpl;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};

use crate::migration::{OldAccount, SplitAccounts};

pub type Memory = VirtualMemory<DefaultMemoryImpl>;

/// All memory ids. An id is never reused for another memory.
pub mod memories {
    pub const ACCOUNTS: u8 = 0;
    pub const LAYOUT: u8 = 1;
    pub const BALANCES: u8 = 2;
    pub const PROFILES: u8 = 3;
    pub const NAMES: u8 = 4;
    pub const MIGRATION_STATES: u8 = 5;
    pub const MIGRATION_JOURNAL: u8 = 6;
    pub const MIGRATION_QUARANTINE: u8 = 7;
}

pub const OLD: Layout = Layout(1);
pub const SPLIT: Layout = Layout(2);

/// An account as clients see it.
#[derive(CandidType, Clone, Debug, PartialEq)]
pub struct Account {
    pub name: String,
    pub balance: u64,
    pub opened_at: u64,
}

/// The part of an account that does not change with every transfer.
#[derive(minicbor::Encode, minicbor::Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Profile {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub opened_at: u64,
}

impl Record for Profile {
    const NAME: &'static str = "profile";

    fn encode(&self) -> Vec<u8> {
        ic_stable_migrate::codec::encode(1, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        ic_stable_migrate::codec::decode(1, bytes)
    }
}

/// Everything in stable memory.
pub struct Accounts {
    pub old: Table<Principal, OldAccount, Memory>,
    pub layout: Register<Layout, Memory>,
    pub balances: Table<Principal, u64, Memory>,
    pub profiles: Table<Principal, Profile, Memory>,
    pub names: Table<Vec<u8>, (), Memory>,
    ledger: Ledger<Principal, Memory>,
}

impl Host for Accounts {
    type Memory = Memory;
    type Key = Principal;
    type Error = Error;

    fn layout(&self) -> Result<Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(OLD))
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout.set(&layout);
    }

    fn ledger(&self) -> &Ledger<Principal, Memory> {
        &self.ledger
    }

    fn ledger_mut(&mut self) -> &mut Ledger<Principal, Memory> {
        &mut self.ledger
    }
}

impl Accounts {
    pub fn open(stable: DefaultMemoryImpl) -> Self {
        let manager = MemoryManager::init(stable);
        let memory = |id| manager.get(MemoryId::new(id));
        let tables = LedgerMemories {
            states: memory(memories::MIGRATION_STATES),
            journal: memory(memories::MIGRATION_JOURNAL),
            quarantine: memory(memories::MIGRATION_QUARANTINE),
            first: None,
        };
        Self {
            old: Table::over(memory(memories::ACCOUNTS)),
            layout: Register::over(memory(memories::LAYOUT)),
            balances: Table::over(memory(memories::BALANCES)),
            profiles: Table::over(memory(memories::PROFILES)),
            names: Table::over(memory(memories::NAMES)),
            ledger: Ledger::open(tables, Build { name: env!("CARGO_PKG_VERSION"), features: &[] }),
        }
    }

    /// Creates the accounts of a fresh installation, which starts in the newest layout.
    pub fn create(stable: DefaultMemoryImpl) -> Self {
        let mut accounts = Self::open(stable);
        accounts.set_layout(SPLIT);
        accounts
    }

    /// Converts an account that the migration has not reached yet, and refuses a quarantined one. During a rollback,
    /// and while the migration is deferred, accounts stay in their layout.
    pub fn touch(&mut self, who: Principal, now: u64) -> Result<(), String> {
        let waits = self.ledger.state_of(1).map(|state| state.is_going_back() || state.is_deferred());
        if self.old.contains(&who) && !waits.map_err(|error| error.to_string())? {
            let now = Time::from_nanos(now);
            Engine::touch(&SplitAccounts, self, who, now).map_err(|error| error.to_string())?;
        }
        match self.ledger.quarantine.get_or_damaged(1, who) {
            Some(quarantined) => Err(format!("the account of {who} is quarantined: {}", quarantined.reason)),
            None => Ok(()),
        }
    }

    /// Returns an account, converted or not.
    pub fn get(&self, who: Principal) -> Result<Option<Account>, String> {
        let to_text = |error: StableError| error.to_string();
        if let Some(OldAccount { name, balance, opened_at }) = self.old.get(&who).map_err(to_text)? {
            return Ok(Some(Account { name, balance, opened_at }));
        }
        self.get_split(who)
    }

    pub fn get_split(&self, who: Principal) -> Result<Option<Account>, String> {
        let to_text = |error: StableError| error.to_string();
        let profile = self.profiles.get(&who).map_err(to_text)?;
        let balance = self.balances.get(&who).map_err(to_text)?;
        let join = |(Profile { name, opened_at }, balance)| Account { name, balance, opened_at };
        Ok(profile.zip(balance).map(join))
    }

    /// Replaces an account, in the layout in which it is stored.
    pub fn put(&mut self, who: Principal, account: &Account) {
        if self.old.contains(&who) {
            self.old.insert(who, &OldAccount::from(account.clone()));
        } else {
            self.put_split(who, account);
        }
    }

    /// Adds an account: in layout 2, or in layout 1 during a rollback and while the migration is deferred.
    pub fn put_new(&mut self, who: Principal, account: Account, now: u64) -> Result<(), String> {
        let to_text = |error: StableError| error.to_string();
        let state = self.ledger.state_of(1).map_err(to_text)?;
        if state.is_going_back() || state.is_deferred() {
            self.old.insert(who, &OldAccount::from(account));
            return Ok(());
        }
        let entered = Engine::enter_layout(&SplitAccounts, self, Time::from_nanos(now));
        entered.map_err(|error| error.to_string())?;
        self.put_split(who, &account);
        Ok(())
    }

    pub fn put_split(&mut self, who: Principal, account: &Account) {
        let Account { name, balance, opened_at } = account;
        self.balances.insert(who, balance);
        self.profiles.insert(who, &Profile { name: name.clone(), opened_at: *opened_at });
        self.names.insert(name_key(name, who), &());
    }

    pub fn remove_split(&mut self, who: Principal, name: &str) {
        self.balances.remove(&who);
        self.profiles.remove(&who);
        self.names.remove(&name_key(name, who));
    }

    /// Returns whether the index lists an account under this name.
    pub fn is_indexed(&self, who: Principal, name: &str) -> bool {
        self.names.contains(&name_key(name, who))
    }

    pub fn find_by_name(&self, name: &str) -> Vec<Principal> {
        let prefix = [name.as_bytes(), &[0]].concat();
        let keys = self.names.keys(prefix.clone()..).take_while(|key| key.starts_with(&prefix));
        keys.filter_map(|key| Principal::try_from_slice(key.get(prefix.len()..)?).ok())
            // Names may contain zero bytes, so the key can be that of a longer name.
            .filter(|who| matches!(self.get_split(*who), Ok(Some(account)) if account.name == name))
            .collect()
    }
}

fn name_key(name: &str, who: Principal) -> Vec<u8> {
    [name.as_bytes(), &[0], who.as_slice()].concat()
}

//! The release before the migration: just one map from principal to account. It has neither migrations nor layouts.

mod account;

use std::cell::RefCell;

use candid::Principal;
use ic_cdk::api::{msg_caller, time};
use ic_cdk::{query, update};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{DefaultMemoryImpl, StableBTreeMap};

use account::Account;

type Accounts = StableBTreeMap<Principal, Account, VirtualMemory<DefaultMemoryImpl>>;

thread_local! {
    static ACCOUNTS: RefCell<Accounts> = {
        let memories = MemoryManager::init(DefaultMemoryImpl::default());
        RefCell::new(StableBTreeMap::init(memories.get(MemoryId::new(0))))
    };
}

fn change_account(who: Principal, change: impl FnOnce(&mut Account)) -> Result<u64, String> {
    ACCOUNTS.with_borrow_mut(|accounts| {
        let mut account = accounts.get(&who).ok_or_else(|| format!("{who} has no account"))?;
        change(&mut account);
        let balance = account.balance;
        accounts.insert(who, account);
        Ok(balance)
    })
}

/// Opens an account for the caller.
#[update]
fn open(name: String) -> Result<(), String> {
    ACCOUNTS.with_borrow_mut(|accounts| {
        if accounts.contains_key(&msg_caller()) {
            return Err("there is an account already".into());
        }
        accounts.insert(msg_caller(), Account { name, balance: 0, opened_at: time() });
        Ok(())
    })
}

/// Adds to the caller's balance, and returns it.
#[update]
fn deposit(amount: u64) -> Result<u64, String> {
    change_account(msg_caller(), |account| account.balance = account.balance.saturating_add(amount))
}

/// Returns an account.
#[query]
fn account(who: Principal) -> Option<Account> {
    ACCOUNTS.with_borrow(|accounts| accounts.get(&who))
}

// Puts the interface into a section of the wasm, for tools that read the wasm.
ic_cdk::export_candid!();

// The schema of stable memory, for tools that read the wasm: `session-migrate check` compares it with the schema of
// another release.
#[cfg(target_family = "wasm")]
#[unsafe(link_section = "icp:public stable:schema")]
#[used]
static SCHEMA: [u8; include_bytes!("../../schemas/old.json").len()] =
    *include_bytes!("../../schemas/old.json");

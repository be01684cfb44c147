//! The release that migrates: an account now consists of a balance and a profile, and can be found by its name.

mod migration;
mod model;

use std::cell::RefCell;

use candid::Principal;
use ic_cdk::api::{msg_caller, time};
use ic_cdk::{init, post_upgrade, query, update};
use ic_stable_migrate::cdk::Driver;
use ic_stable_structures::DefaultMemoryImpl;

use migration::SplitAccounts;
use model::{Account, Accounts};

/// Instructions per message of the migration: few, so that even the few accounts of an example take several messages.
const MESSAGE_INSTRUCTIONS: u64 = 4_000_000;

thread_local!(static ACCOUNTS: RefCell<Option<Accounts>> = const { RefCell::new(None) });

fn with_accounts(f: &mut dyn FnMut(&mut Accounts)) {
    ACCOUNTS.with_borrow_mut(|accounts| accounts.as_mut().map(f));
}

const MIGRATIONS: Driver<Accounts> =
    Driver::new(&[&SplitAccounts], with_accounts).with_budget(MESSAGE_INSTRUCTIONS);

ic_stable_migrate::migration_endpoints!(MIGRATIONS, Principal);

#[init]
fn init() {
    ACCOUNTS.set(Some(Accounts::create(DefaultMemoryImpl::default())));
    MIGRATIONS.init();
}

#[post_upgrade]
fn post_upgrade() {
    ACCOUNTS.set(Some(Accounts::open(DefaultMemoryImpl::default())));
    MIGRATIONS.post_upgrade();
}

/// Runs a call on the accounts, after [`Accounts::touch`] for the caller's account.
fn call_after_touch<T>(f: impl FnOnce(&mut Accounts) -> Result<T, String>) -> Result<T, String> {
    MIGRATIONS.ensure_timers();
    ACCOUNTS.with_borrow_mut(|accounts| {
        let accounts = accounts.as_mut().ok_or("the canister is not open")?;
        accounts.touch(msg_caller(), time())?;
        f(accounts)
    })
}

/// Opens an account for the caller.
#[update]
fn open(name: String) -> Result<(), String> {
    call_after_touch(|accounts| {
        if accounts.get(msg_caller())?.is_some() {
            return Err("there is an account already".into());
        }
        accounts.put_new(msg_caller(), Account { name, balance: 0, opened_at: time() }, time())
    })
}

/// Adds to the caller's balance, and returns it.
#[update]
fn deposit(amount: u64) -> Result<u64, String> {
    call_after_touch(|accounts| {
        let who = msg_caller();
        let mut account = accounts.get(who)?.ok_or_else(|| format!("{who} has no account"))?;
        account.balance = account.balance.saturating_add(amount);
        accounts.put(who, &account);
        Ok(account.balance)
    })
}

/// Returns an account, converted or not.
#[query]
fn account(who: Principal) -> Option<Account> {
    ACCOUNTS.with_borrow(|accounts| accounts.as_ref()?.get(who).ok()?)
}

/// Returns the principals whose account has this name. Only converted accounts are found.
#[query]
fn find(name: String) -> Vec<Principal> {
    ACCOUNTS
        .with_borrow(|accounts| accounts.as_ref().map(|accounts| accounts.find_by_name(&name)).unwrap_or_default())
}

// Puts the interface into a section of the wasm, for tools that read the wasm.
ic_cdk::export_candid!();

// The schema of stable memory, for tools that read the wasm: `session-migrate check` compares it with the schema of
// another release.
#[cfg(target_family = "wasm")]
#[unsafe(link_section = "icp:public stable:schema")]
#[used]
static SCHEMA: [u8; include_bytes!("../../schemas/new.json").len()] =
    *include_bytes!("../../schemas/new.json");

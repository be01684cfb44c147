//! Migration 1 splits an account into balance and profile, and adds it to the index by name. A unit is an account.

use candid::Principal;
use ic_stable_migrate::{
    Advance, ClassPlan, Classified, Digest, Error, Fate, Migration, Plan, QuarantineRecord, Record, Reversal,
    Reverted, Time, Treatment, Work, after, digest_of, digest_of_record,
};

use crate::model::{Account, Accounts, OLD, SPLIT};

/// An account as the old release stores it. Frozen: later changes to accounts do not change this type.
#[derive(minicbor::Encode, minicbor::Decode, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct OldAccount {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub balance: u64,
    #[n(2)]
    pub opened_at: u64,
}

impl From<Account> for OldAccount {
    fn from(Account { name, balance, opened_at }: Account) -> Self {
        Self { name, balance, opened_at }
    }
}

impl Record for OldAccount {
    const NAME: &'static str = "account";

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a Vec is infallible.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        minicbor::decode(bytes).map_err(|error| error.to_string())
    }
}

pub struct SplitAccounts;

pub static PLAN: Plan = Plan {
    number: 1,
    name: "split accounts",
    from: OLD,
    to: SPLIT,
    classes: &[
        ClassPlan { name: "account", treatment: Treatment::Convert, what: "the record decodes" },
        ClassPlan { name: "damaged", treatment: Treatment::Quarantine, what: "the record does not decode" },
        ClassPlan { name: "trapped", treatment: Treatment::Quarantine, what: "its conversion trapped" },
    ],
    fields: &[
        ("Account.name", "Profile.name, and the index by name"),
        ("Account.balance", "balance"),
        ("Account.opened_at", "Profile.opened_at"),
    ],
};

impl Migration<Accounts> for SplitAccounts {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn sources(
        &self,
        accounts: &Accounts,
        last: Option<Principal>,
        limit: usize,
    ) -> Result<Vec<Principal>, Error> {
        Ok(accounts.old.keys(after(last)).take(limit).collect())
    }

    fn digest(&self, accounts: &Accounts, who: Principal) -> Result<Option<Digest>, Error> {
        Ok(accounts.old.get_raw(&who).map(|raw| self.digest_of_quarantined(&raw)))
    }

    // Earlier releases may have written other bytes for the same account, so its content is digested.
    fn digest_of_quarantined(&self, raw: &[u8]) -> Digest {
        digest_of_record::<OldAccount>(raw)
    }

    fn classify(&self, accounts: &Accounts, who: Principal, _: Time) -> Result<Classified, Error> {
        let damage = accounts.old.get(&who).err();
        Ok(Classified { class: usize::from(damage.is_some()), reason: damage.map(|damage| damage.reason) })
    }

    fn convert(&self, accounts: &mut Accounts, who: Principal, _: &mut Work<'_>) -> Result<Advance, Error> {
        let Some(raw) = accounts.old.get_raw(&who) else { return Ok(Advance::Gone) };
        let OldAccount { name, balance, opened_at } = match OldAccount::decode(&raw) {
            Ok(account) => account,
            Err(reason) => {
                let fate = Fate::Quarantined(self.take_out(accounts, who, reason)?);
                return Ok(Advance::Done { class: 1, fate });
            }
        };
        accounts.put_split(who, &Account { name, balance, opened_at });
        // The account is read back, and encoded as the old release would have stored it.
        let back = accounts.get_split(who).ok().flatten().map(|account| OldAccount::from(account).encode());
        accounts.old.remove(&who);
        Ok(Advance::Done { class: 0, fate: Fate::Converted(digest_of(&back.unwrap_or_default())) })
    }

    fn take_out(
        &self,
        accounts: &mut Accounts,
        who: Principal,
        reason: String,
    ) -> Result<QuarantineRecord, Error> {
        Ok(QuarantineRecord::new(reason, accounts.old.take_raw(&who).unwrap_or_default()))
    }

    fn restore(
        &self,
        accounts: &mut Accounts,
        who: Principal,
        quarantined: QuarantineRecord,
    ) -> Result<(), Error> {
        accounts.old.insert_raw(who, quarantined.raw);
        Ok(())
    }

    fn targets(&self, accounts: &Accounts, last: Option<Principal>, limit: usize) -> Vec<Principal> {
        accounts.profiles.keys(after(last)).take(limit).collect()
    }

    fn check(&self, accounts: &Accounts, who: Principal) -> Result<Option<String>, Error> {
        Ok(match accounts.get_split(who) {
            Err(damage) => Some(damage),
            Ok(None) => Some(format!("{who} has a profile or a balance, but not both")),
            Ok(Some(account)) if !accounts.is_indexed(who, &account.name) => {
                Some(format!("{who} is not found under {:?}", account.name))
            }
            Ok(Some(_)) => None,
        })
    }

    fn reversal(&self) -> Option<&dyn Reversal<Accounts>> {
        Some(self)
    }
}

impl Reversal<Accounts> for SplitAccounts {
    fn allowed(&self) -> Result<(), String> {
        Ok(())
    }

    fn left(&self, accounts: &Accounts) -> u64 {
        accounts.profiles.len()
    }

    fn revert(&self, accounts: &mut Accounts, who: Principal, _: &mut Work<'_>) -> Result<Reverted, Error> {
        let account = match accounts.get_split(who) {
            Ok(Some(account)) => account,
            Ok(None) => return Ok(Reverted::Refused(format!("{who} has no balance"))),
            Err(damage) => return Ok(Reverted::Refused(damage)),
        };
        accounts.old.insert(who, &account.clone().into());
        accounts.remove_split(who, &account.name);
        Ok(Reverted::Done)
    }
}

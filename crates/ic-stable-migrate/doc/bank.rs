// The canister of the README, for the examples of the documentation: those include this file, and a test compares it
// with the README.

use ic_stable_migrate::api::*;
use ic_stable_migrate::*;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{DefaultMemoryImpl, StableBTreeMap};

type Memory = VirtualMemory<DefaultMemoryImpl>;

struct Bank {
    layout: Register<Layout, Memory>,
    cents: StableBTreeMap<u64, u64, Memory>,
    millionths: StableBTreeMap<u64, u128, Memory>,
    ledger: Ledger<u64, Memory>,
}

impl Bank {
    fn open(stable: DefaultMemoryImpl) -> Self {
        let memories = MemoryManager::init(stable);
        let memory = |id| memories.get(MemoryId::new(id));
        let ledger =
            LedgerMemories { states: memory(3), journal: memory(4), quarantine: memory(5), first: None };
        Self {
            layout: Register::over(memory(0)),
            cents: StableBTreeMap::init(memory(1)),
            millionths: StableBTreeMap::init(memory(2)),
            ledger: Ledger::open(ledger, Build { name: "bank 2.0", features: &[] }),
        }
    }
}

impl Host for Bank {
    type Memory = Memory;
    type Key = u64;
    type Error = Error;

    // The old release wrote no header.
    fn layout(&self) -> Result<Layout, StableError> {
        Ok(self.layout.get()?.unwrap_or(Layout(1)))
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout.set(&layout);
    }

    fn ledger(&self) -> &Ledger<u64, Memory> {
        &self.ledger
    }

    fn ledger_mut(&mut self) -> &mut Ledger<u64, Memory> {
        &mut self.ledger
    }
}

struct CentsToMillionths;

static PLAN: Plan = Plan {
    number: 1,
    name: "cents to millionths",
    from: Layout(1),
    to: Layout(2),
    classes: &[
        ClassPlan { name: "balance", treatment: Treatment::Convert, what: "every balance" },
        ClassPlan { name: "trapped", treatment: Treatment::Quarantine, what: "its conversion trapped" },
    ],
    fields: &[("balance", "millionths: ten thousand times as many")],
};

/// Returns a balance in millionths as cents, if it is a whole number of cents.
fn to_cents(millionths: u128) -> Option<u64> {
    (millionths % 10_000 == 0).then(|| u64::try_from(millionths / 10_000).ok()).flatten()
}

impl Migration<Bank> for CentsToMillionths {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn sources(&self, bank: &Bank, last: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        Ok(bank.cents.keys_range(after(last)).take(limit).collect())
    }

    fn digest(&self, bank: &Bank, key: u64) -> Result<Option<[u8; 32]>, Error> {
        Ok(bank.cents.get(&key).map(|cents| digest_of(&cents.to_be_bytes())))
    }

    fn classify(&self, _: &Bank, _: u64, _: Time) -> Result<Classified, Error> {
        Ok(Classified { class: 0, reason: None })
    }

    fn convert(&self, bank: &mut Bank, key: u64, _: &mut Work<'_>) -> Result<Advance, Error> {
        let Some(cents) = bank.cents.get(&key) else { return Ok(Advance::Gone) };
        bank.millionths.insert(key, u128::from(cents) * 10_000);
        // Digests what is read back, not what should have been written.
        let back = bank.millionths.get(&key).and_then(to_cents).unwrap_or_default();
        bank.cents.remove(&key);
        Ok(Advance::Done { class: 0, fate: Fate::Converted(digest_of(&back.to_be_bytes())) })
    }

    fn take_out(&self, bank: &mut Bank, key: u64, reason: String) -> Result<QuarantineRecord, Error> {
        let cents = bank.cents.remove(&key).unwrap_or_default();
        Ok(QuarantineRecord::new(reason, cents.to_be_bytes().to_vec()))
    }

    fn restore(&self, bank: &mut Bank, key: u64, quarantined: QuarantineRecord) -> Result<(), Error> {
        // A deposit refuses accounts in quarantine, since a new balance would be overwritten here.
        let refused = |why: &str| StableError { name: "balance", key: key.to_string(), reason: why.into() };
        if bank.cents.contains_key(&key) || bank.millionths.contains_key(&key) {
            return Err(refused("the account has a new balance").into());
        }
        let raw = quarantined.raw.try_into().map_err(|_| refused("it does not have 8 bytes"))?;
        bank.cents.insert(key, u64::from_be_bytes(raw));
        Ok(())
    }

    fn targets(&self, bank: &Bank, last: Option<u64>, limit: usize) -> Vec<u64> {
        bank.millionths.keys_range(after(last)).take(limit).collect()
    }

    fn check(&self, _: &Bank, _: u64) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn reversal(&self) -> Option<&dyn Reversal<Bank>> {
        Some(self)
    }
}

impl Reversal<Bank> for CentsToMillionths {
    fn allowed(&self) -> Result<(), String> {
        Ok(())
    }

    fn left(&self, bank: &Bank) -> u64 {
        bank.millionths.len()
    }

    fn revert(&self, bank: &mut Bank, key: u64, _: &mut Work<'_>) -> Result<Reverted, Error> {
        let millionths = bank.millionths.get(&key).unwrap_or_default();
        let Some(cents) = to_cents(millionths) else {
            return Ok(Reverted::Refused(format!(
                "balance {key} has {millionths} millionths, a fraction of a cent"
            )));
        };
        bank.millionths.remove(&key);
        bank.cents.insert(key, cents);
        Ok(Reverted::Done)
    }
}

const ENGINE: Engine<'static, Bank> = Engine::new(&[&CentsToMillionths]);

const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);

/// A message with budget for everything: the meter always reads zero.
const MESSAGE: MessageBudget<'static> = MessageBudget { now: NOW, meter: &Unmetered, budget: 1_500_000_000 };

/// Always reports one used instruction.
struct Used;

impl Meter for Used {
    fn used(&self) -> u64 {
        1
    }
}

/// A message whose budget is used up after its first step.
const STEP: MessageBudget<'static> = MessageBudget { now: NOW, meter: &Used, budget: 0 };

impl Bank {
    /// Returns a bank with these balances in cents, by account, not yet converted.
    fn of(cents: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut bank = Self::open(DefaultMemoryImpl::default());
        for (account, cents) in cents {
            bank.cents.insert(account, cents);
        }
        bank
    }

    /// Returns the bank of [`Self::of`] after everything is converted.
    fn converted(cents: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut bank = Self::of(cents);
        let _ = ENGINE.run(&mut bank, MESSAGE);
        bank
    }
}

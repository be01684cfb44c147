//! A canister that a test damages, and what `inspect` must report of it.

use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;
use session_migrate::Verdict;
use session_migrate::inspect::{Finding, FindingKind, Severity};
use upload_canister::stable::layout::Layout;
use upload_canister::stable::{Memories, RawMemory, Register, Table};
use upload_canister::upload::RawRecord;

use super::inspection::{inspected, lines, sound_memory};

pub struct DamagedCanister {
    pub raw: RawMemory,
}

impl DamagedCanister {
    pub fn new(layout: Layout) -> DamagedCanister {
        let raw = RawMemory::default();
        raw.borrow_mut().extend_from_slice(sound_memory(layout));
        DamagedCanister { raw }
    }

    pub fn memories(&self) -> Memories {
        Memories::init(self.raw.clone())
    }

    pub fn memory(&self, id: u8) -> upload_canister::stable::Memory {
        self.memories().get(MemoryId::new(id))
    }

    pub fn table<K, V>(&self, id: MemoryId) -> Table<K, V>
    where
        K: ic_stable_structures::Storable + Ord + Clone + std::fmt::Debug,
        V: upload_canister::stable::Record,
    {
        Table::open(&self.memories(), id)
    }

    pub fn register<V: upload_canister::stable::Record + Clone>(&self, id: MemoryId) -> Register<V> {
        Register::open(&self.memories(), id)
    }

    /// Returns the first entry of a table for which `fits` is true.
    pub fn first<K, V>(&self, id: MemoryId, fits: impl Fn(&K, &V) -> bool) -> (K, V)
    where
        K: ic_stable_structures::Storable + Ord + Clone + std::fmt::Debug,
        V: upload_canister::stable::Record,
    {
        let table: Table<K, V> = self.table(id);
        table.range(..).map(Result::unwrap).find(|(key, value)| fits(key, value)).unwrap()
    }

    /// Removes the first entry of a table; returns its key as text.
    pub fn remove_first<K>(&self, id: MemoryId) -> String
    where
        K: ic_stable_structures::Storable + Ord + Clone + std::fmt::Debug,
    {
        let mut table: Table<K, RawRecord> = self.table(id);
        let key = table.keys(..).next().unwrap();
        assert!(table.remove(&key));
        format!("{key:?}")
    }

    /// Overwrites all occurrences of `bytes` in a memory with zeros, since any of them may be in a page that was freed.
    pub fn overwrite(&self, id: u8, bytes: &[u8; 3]) {
        let memory = self.memory(id);
        let mut all = vec![0; memory.size() as usize * 65_536];
        memory.read(0, &mut all);
        let found: Vec<usize> =
            all.windows(3).enumerate().filter(|(_, window)| window == bytes).map(|(at, _)| at).collect();
        assert!(!found.is_empty());
        found.into_iter().for_each(|at| memory.write(at as u64, &[0; 3]));
    }
}

/// Damages a canister in this layout; `inspect` must report the damage as `kind`, in the table with this memory id.
#[track_caller]
pub fn expect_finding(
    layout: Layout,
    kind: FindingKind,
    memory_id: u8,
    damage: impl FnOnce(&DamagedCanister),
) -> Finding {
    let canister = DamagedCanister::new(layout);
    damage(&canister);
    let report = inspected(&canister.raw.borrow(), true).unwrap();
    let found = report.findings.iter().find(|found| found.kind == kind && found.memory_id == Some(memory_id));
    let found = found.unwrap_or_else(|| panic!("{kind:?} in memory id {memory_id}: {:#?}", lines(&report)));
    if kind.severity() == Severity::Damage {
        assert_eq!(report.verdict, Verdict::Fail);
    }
    let line = found.to_string();
    assert!(line.starts_with(kind.name()) && !line.contains('\n'), "{line}");
    found.clone()
}

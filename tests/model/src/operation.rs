//! The operations of clients, time and controllers, and their frequencies.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{ALL_EXPIRED_SECONDS, CHUNK};

/// The builds, in the order of the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The compat path alone.
    Legacy,
    /// Both paths.
    Staged,
    /// The direct path alone.
    Direct,
}

/// One operation. People, places of capsules, keys, contents and versions of metadata are numbers from 0. Sessions and
/// memories are counted back from the last one, modulo their number, so that a list of operations stays meaningful when
/// shrinking removes some.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Begin an upload of `bytes` bytes of `content`, with the right number of chunks or a wrong one.
    Begin { who: u8, capsule: u8, key: u8, bytes: u64, content: u8, wrong_count: bool },
    /// Begin a session again with the same parameters, like a client that has lost the reply.
    BeginAgain { session: u8 },
    /// Send a chunk.
    Put { who: Who, session: u8, idx: u32, kind: PutKind },
    /// Send the first or the last missing chunk, so that uploads make progress.
    PutMissing { session: u8, last: bool },
    /// Finish.
    Finish { who: Who, session: u8, kind: FinishKind },
    /// Send all missing chunks and finish, so that there are memories.
    Complete { session: u8 },
    /// Send all missing chunks.
    PutAll { session: u8 },
    /// Abort the upload.
    Abort { who: Who, session: u8 },
    /// Ask for the status.
    Status { who: Who, session: u8 },
    /// Time passes, and the timers run.
    Pass { seconds: u64 },
    /// Time passes, and the timers do not run.
    PassWithoutTimers { seconds: u64 },
    /// A person tries to change what the guest, who does not own the capsule, may do in it.
    Share { who: u8, capsule: u8, guest: Guest },
    /// A memory is created without an upload.
    CreateMemory { who: u8, capsule: u8, key: u8, kind: MemoryKind, version: u8 },
    /// A memory gets other metadata, with the right size or a wrong one.
    UpdateMemory { who: u8, memory: u8, version: u8, right_size: bool },
    /// The blob of a memory is deleted by its locator.
    DeleteBlob { who: u8, memory: u8 },
    /// A memory is deleted.
    DeleteMemory { who: u8, memory: u8 },
    /// A capsule is deleted, and its place stays empty.
    DeleteCapsule { who: u8, capsule: u8 },
    /// A new capsule takes an empty place.
    CreateCapsule { capsule: u8 },
    /// Upgrade to the next build; to the running build, if that is the last one, or if a rollback is in progress or
    /// complete. `share` is the percentage of new sessions on the compat path, if the build has both paths.
    Upgrade { share: u8 },
    /// Wait until all sessions in flight have expired, and upgrade like `Upgrade` before a timer has run; then run the
    /// migration.
    UpgradeLate,
    /// Upgrade to the same build.
    Restart { share: u8 },
    /// Run the migration for this many steps.
    Migrate { steps: u8 },
    /// A controller operates the migration.
    Control { control: Control },
    /// Return to the legacy build, if the migration has been rolled back.
    GoBack,
    /// Layout 1 gets a complete session as the first public release left it, in no index and on no account. Its client
    /// finishes the session, or aborts it if finish is refused.
    EndForeign { who: u8, capsule: u8, bytes: u64, content: u8, kind: FinishKind },
    /// Layout 1 gets records that no build can read and that belong to no client.
    UnreadableRecords { records: u8 },
    /// The quarantine record of an unreadable record is damaged, too.
    DamageQuarantined { record: u8 },
    /// A snapshot is taken, and replaces the previous one.
    TakeSnapshot,
    /// The snapshot, if one was taken, is loaded.
    LoadSnapshot,
    /// All of stable memory but `left` MiB is taken, so that additions may be refused. Only the first
    /// `FillMemory` has an effect.
    FillMemory { left: u16 },
}

/// What the person who does not own a capsule may do in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guest {
    Nothing,
    Read,
    Write,
}

/// Content of a memory that is not uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// This many bytes in the record.
    Inline { bytes: u64 },
    /// The blob of an existing memory, with the right size or a wrong one.
    Blob { memory: u8, right_size: bool },
    /// An external asset.
    Elsewhere { bytes: u64 },
    /// None of these.
    Nothing,
}

/// A controller's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Pause,
    Resume,
    Rollback,
    /// `migration_finalize`, which leaves quarantined records in quarantine.
    Finalize,
    /// `migration_retry` of all quarantined records.
    Retry,
}

/// Who makes a call about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Owner,
    Other,
}

/// The bytes and the digest that are sent as a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutKind {
    /// The bytes of the file.
    Right,
    /// The bytes of the file, with their digest.
    WithDigest,
    /// The bytes of the file, with another digest.
    WrongDigest,
    /// Other bytes of the same length.
    OtherBytes,
    /// A byte too many.
    TooLong,
    Empty,
}

/// The digest and the length that are sent with finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishKind {
    /// The right digest and length.
    Right,
    /// The right digest and length, in a message that has no budget for hashing.
    WithoutBudget,
    /// A digest of other bytes.
    WrongDigest,
    /// A digest of the wrong length.
    ShortDigest,
    /// The right digest with a wrong length.
    WrongLength,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![9 => Just(Who::Owner), 1 => Just(Who::Other)]
}

fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0),
        4 => Just(1),
        4 => Just(700),
        3 => Just(CHUNK),
        3 => Just(CHUNK + 1),
        1 => Just(2 * CHUNK),
        1 => Just(2 * CHUNK + 1),
    ]
}

fn put_kind() -> impl Strategy<Value = PutKind> {
    prop_oneof![
        8 => Just(PutKind::Right),
        3 => Just(PutKind::WithDigest),
        2 => Just(PutKind::WrongDigest),
        2 => Just(PutKind::OtherBytes),
        1 => Just(PutKind::TooLong),
        1 => Just(PutKind::Empty),
    ]
}

fn idx() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(0), 5 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(u32::MAX)]
}

fn finish_kind() -> impl Strategy<Value = FinishKind> {
    prop_oneof![
        6 => Just(FinishKind::Right),
        1 => Just(FinishKind::WithoutBudget),
        2 => Just(FinishKind::WrongDigest),
        1 => Just(FinishKind::ShortDigest),
        1 => Just(FinishKind::WrongLength),
    ]
}

/// Generates times relative to the sweep's interval of a minute, and to the time to live of a thousand seconds.
fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(61), 3 => Just(488), 1 => Just(999), 1 => Just(1), 3 => Just(ALL_EXPIRED_SECONDS)]
}

fn share() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(50), Just(100)]
}

fn guest() -> impl Strategy<Value = Guest> {
    prop_oneof![2 => Just(Guest::Nothing), 2 => Just(Guest::Read), 3 => Just(Guest::Write)]
}

fn memory_kind() -> impl Strategy<Value = MemoryKind> {
    prop_oneof![
        4 => prop_oneof![Just(0), Just(5), Just(20_000), Just(32 * 1024), Just(32 * 1024 + 1)]
            .prop_map(|bytes| MemoryKind::Inline { bytes }),
        5 => (0..6u8, prop::bool::weighted(0.8))
            .prop_map(|(memory, right_size)| MemoryKind::Blob { memory, right_size }),
        2 => prop_oneof![Just(0), Just(u64::MAX)].prop_map(|bytes| MemoryKind::Elsewhere { bytes }),
        1 => Just(MemoryKind::Nothing),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        3 => Just(Control::Pause),
        5 => Just(Control::Resume),
        6 => Just(Control::Rollback),
        1 => Just(Control::Finalize),
        3 => Just(Control::Retry),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        16 => (0..2u8, 0..2u8, 0..3u8, bytes(), 0..2u8, prop::bool::weighted(0.05)).prop_map(
            |(who, capsule, key, bytes, content, wrong_count)| {
                Operation::Begin { who, capsule, key, bytes, content, wrong_count }
            }
        ),
        4 => (0..6u8).prop_map(|session| Operation::BeginAgain { session }),
        12 => (who(), 0..6u8, idx(), put_kind())
            .prop_map(|(who, session, idx, kind)| Operation::Put { who, session, idx, kind }),
        10 => (0..6u8, any::<bool>())
            .prop_map(|(session, last)| Operation::PutMissing { session, last }),
        8 => (who(), 0..6u8, finish_kind())
            .prop_map(|(who, session, kind)| Operation::Finish { who, session, kind }),
        7 => (0..6u8).prop_map(|session| Operation::Complete { session }),
        5 => (who(), 0..6u8).prop_map(|(who, session)| Operation::Abort { who, session }),
        3 => (who(), 0..6u8).prop_map(|(who, session)| Operation::Status { who, session }),
        3 => seconds().prop_map(|seconds| Operation::Pass { seconds }),
        2 => seconds().prop_map(|seconds| Operation::PassWithoutTimers { seconds }),
        4 => (0..2u8, 0..2u8, guest())
            .prop_map(|(who, capsule, guest)| Operation::Share { who, capsule, guest }),
        6 => (0..2u8, 0..2u8, 0..3u8, memory_kind(), 0..2u8).prop_map(
            |(who, capsule, key, kind, version)| {
                Operation::CreateMemory { who, capsule, key, kind, version }
            }
        ),
        3 => (0..2u8, 0..6u8, 0..2u8, prop::bool::weighted(0.8)).prop_map(
            |(who, memory, version, right_size)| {
                Operation::UpdateMemory { who, memory, version, right_size }
            }
        ),
        2 => (0..2u8, 0..6u8).prop_map(|(who, memory)| Operation::DeleteBlob { who, memory }),
        4 => (0..2u8, 0..6u8).prop_map(|(who, memory)| Operation::DeleteMemory { who, memory }),
        1 => (0..2u8, 0..2u8).prop_map(|(who, capsule)| Operation::DeleteCapsule { who, capsule }),
        2 => (0..2u8).prop_map(|capsule| Operation::CreateCapsule { capsule }),
        3 => share().prop_map(|share| Operation::Upgrade { share }),
        2 => Just(Operation::UpgradeLate),
        3 => share().prop_map(|share| Operation::Restart { share }),
        6 => (1..12u8).prop_map(|steps| Operation::Migrate { steps }),
        4 => control().prop_map(|control| Operation::Control { control }),
        2 => Just(Operation::GoBack),
        2 => (0..2u8, 0..2u8, bytes(), 0..2u8, finish_kind()).prop_map(
            |(who, capsule, bytes, content, kind)| {
                Operation::EndForeign { who, capsule, bytes, content, kind }
            }
        ),
        1 => (1..4u8).prop_map(|records| Operation::UnreadableRecords { records }),
        2 => (0..4u8).prop_map(|record| Operation::DamageQuarantined { record }),
        2 => Just(Operation::TakeSnapshot),
        2 => Just(Operation::LoadSnapshot),
    ]
}

/// Generates an operation for a sequence in which stable memory fills up: large uploads, the operations that end them,
/// and the migration and its rollback.
fn operation_in_little_room() -> impl Strategy<Value = Operation> {
    let bytes = prop_oneof![Just(10 * CHUNK), Just(9 * CHUNK + 1), Just(4 * CHUNK), Just(CHUNK), Just(1)];
    // MiB that are left: enough to promise a share of them, too little for new sessions, or too little even for some
    // removals.
    let left = prop_oneof![60..120u16, 14..45u16, 1..13u16];
    prop_oneof![
        8 => begin_in_little_room(bytes),
        4 => (0..3u8).prop_map(|session| Operation::PutAll { session }),
        2 => (0..9u8, any::<bool>()).prop_map(|(session, last)| Operation::PutMissing { session, last }),
        3 => (0..9u8).prop_map(|session| Operation::Complete { session }),
        5 => (0..9u8).prop_map(|session| Operation::Abort { who: Who::Owner, session }),
        3 => (0..2u8, 0..6u8).prop_map(|(who, memory)| Operation::DeleteMemory { who, memory }),
        1 => (0..2u8, 0..2u8).prop_map(|(who, capsule)| Operation::DeleteCapsule { who, capsule }),
        1 => (0..2u8).prop_map(|capsule| Operation::CreateCapsule { capsule }),
        1 => (0..2u8, 0..2u8, 0..3u8).prop_map(|(who, capsule, key)| {
            let kind = MemoryKind::Inline { bytes: 5 };
            Operation::CreateMemory { who, capsule, key, kind, version: 0 }
        }),
        2 => seconds().prop_map(|seconds| Operation::Pass { seconds }),
        2 => share().prop_map(|share| Operation::Upgrade { share }),
        1 => share().prop_map(|share| Operation::Restart { share }),
        4 => (1..12u8).prop_map(|steps| Operation::Migrate { steps }),
        1 => Just(Operation::Control { control: Control::Resume }),
        2 => Just(Operation::Control { control: Control::Rollback }),
        1 => Just(Operation::GoBack),
        1 => left.prop_map(|left| Operation::FillMemory { left }),
    ]
}

fn begin_in_little_room(bytes: impl Strategy<Value = u64>) -> impl Strategy<Value = Operation> {
    (0..2u8, 0..2u8, 0..9u8, bytes, 0..2u8).prop_map(|(who, capsule, key, bytes, content)| Operation::Begin {
        who,
        capsule,
        key,
        bytes,
        content,
        wrong_count: false,
    })
}

/// Generates large uploads, some of which are aborted when there is too little room for merging two nodes of the chunk
/// map. While the other uploads are in use, the map cannot be emptied in one step.
fn aborted_in_full_memory() -> impl Strategy<Value = Vec<Operation>> {
    (vec(uploaded_in_little_room(), 2..4), 1..8u16, vec(0..4u8, 1..4)).prop_map(
        |(uploaded, left, sessions)| {
            let aborts = sessions.into_iter().map(|session| Operation::Abort { who: Who::Owner, session });
            uploaded.into_iter().flatten().chain([Operation::FillMemory { left }]).chain(aborts).collect()
        },
    )
}

fn uploaded_in_little_room() -> impl Strategy<Value = Vec<Operation>> {
    begin_in_little_room(Just(10 * CHUNK)).prop_map(|begin| vec![begin, Operation::PutAll { session: 0 }])
}

/// Generates a sequence of operations, some of which fill stable memory; `len` counts a short fixed sequence as one.
/// Migration 1 is never finalized, so that nothing is migrated to layout 3.
pub fn operations_in_little_room(
    len: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        20 => operation_in_little_room().prop_map(|operation| vec![operation]),
        6 => uploaded_in_little_room(),
        3 => aborted_in_full_memory(),
    ];
    vec(one, len).prop_map(|sequences| sequences.concat())
}

/// Generates an upload that takes longer than the maximum age of a session, though it is never idle for long.
fn slow_upload() -> impl Strategy<Value = Vec<Operation>> {
    (0..2u8, 0..2u8, 0..3u8).prop_map(|(who, capsule, key)| {
        let bytes = 2 * CHUNK + 1;
        let begin = Operation::Begin { who, capsule, key, bytes, content: 0, wrong_count: false };
        let put = Operation::PutMissing { session: 0, last: false };
        let wait = Operation::PassWithoutTimers { seconds: 900 };
        vec![begin, wait.clone(), put.clone(), wait.clone(), put.clone(), wait, put]
    })
}

/// Generates a short upload with a bad chunk, which is replaced after a finish has failed.
fn bad_chunk_replaced() -> impl Strategy<Value = Vec<Operation>> {
    (0..2u8, 0..2u8, 0..3u8).prop_map(|(who, capsule, key)| {
        let begin = Operation::Begin { who, capsule, key, bytes: 700, content: 0, wrong_count: false };
        let put = |kind| Operation::Put { who: Who::Owner, session: 0, idx: 0, kind };
        let finish = Operation::Finish { who: Who::Owner, session: 0, kind: FinishKind::Right };
        vec![begin, put(PutKind::OtherBytes), finish.clone(), put(PutKind::Right), finish]
    })
}

/// Generates records that cannot be converted, damages the quarantine record of one of them, and then retries them.
fn rubbish_retried() -> impl Strategy<Value = Vec<Operation>> {
    (2..4u8, 0..4u8).prop_map(|(records, record)| {
        vec![
            Operation::UnreadableRecords { records },
            Operation::Upgrade { share: 0 },
            Operation::Migrate { steps: 11 },
            Operation::DamageQuarantined { record },
            Operation::Control { control: Control::Retry },
        ]
    })
}

/// Generates a sequence of operations. It includes short fixed sequences, each counted as one in `len`, that are
/// unlikely to occur by chance.
pub fn operations(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        60 => operation().prop_map(|operation| vec![operation]),
        1 => slow_upload(),
        1 => bad_chunk_replaced(),
        1 => rubbish_retried(),
    ];
    vec(one, len).prop_map(|sequences| sequences.concat())
}

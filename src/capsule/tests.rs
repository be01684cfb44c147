//! Tests of access to capsules and the memories in them.

use candid::Principal;
use serde_bytes::ByteBuf;

use super::*;
use crate::api::{AssetMetadata, AssetMetadataBase, AssetType, CapsuleAccess, PersonRef};
use crate::session::Time;
use crate::stable::{Memories, RawMemory, StableRoom};

const NOW: Time = Time::from_nanos(9);

fn person(n: u8) -> Principal {
    Principal::self_authenticating([n])
}

fn store() -> CapsuleStore {
    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    CapsuleStore::open(&memories, &StableRoom::of(&memories, raw))
}

fn memory(capsule: &str) -> MemoryRecord {
    let base = AssetMetadataBase::new("a.jpg", "image/jpeg", AssetType::Original, 3, 1);
    MemoryRecord {
        capsule_id: capsule.into(),
        asset_metadata: AssetMetadata::image(base),
        content: Content::Blob { id: 1, checksum: [1; 32], size: 3, algorithm: None },
        created_at: 9,
        created_by: person(1),
        request: None,
    }
}

#[test]
fn each_right_includes_the_lower_ones_and_strangers_have_none() {
    let mut capsules = store();
    let [owner, writer, reader, stranger] = [1, 2, 3, 4].map(person);
    let id = capsules.create(owner, None, NOW).unwrap().id;
    let access = CapsuleAccess {
        owners: vec![owner],
        writers: vec![writer, Principal::anonymous()],
        readers: vec![reader],
    };
    capsules.set_access(owner, &id, access.clone()).unwrap();
    let rights = |who| {
        [Access::Read, Access::Write, Access::Own].map(|needs| capsules.authorize(who, needs, &id).is_ok())
    };
    assert_eq!(rights(owner), [true, true, true]);
    assert_eq!(rights(writer), [true, true, false]);
    assert_eq!(rights(reader), [true, false, false]);
    assert_eq!(rights(stranger), [false, false, false]);
    assert_eq!(
        rights(Principal::anonymous()),
        [false, false, false],
        "the anonymous principal has no right, even on a list"
    );
    let nowhere = capsules.authorize(owner, Access::Read, "capsule_99");
    assert!(matches!(nowhere, Err(CapsuleError::Unauthorized { .. })), "ids cannot be probed");
    assert!(capsules.set_access(writer, &id, access).is_err());
}

#[test]
fn restored_capsule_keeps_its_id_rights_and_creator() {
    let mut capsules = store();
    let [owner, reader, other] = [1, 2, 3].map(person);
    let record = CapsuleRecord {
        readers: vec![reader],
        ..CapsuleRecord::new(PersonRef::Opaque("grandma".into()), owner, 9)
    };
    assert_eq!(capsules.restore("capsule_7", &record), Ok(true));
    assert_eq!(capsules.authorize(reader, Access::Read, "capsule_7").as_deref(), Ok(&record));
    for member in [owner, reader] {
        let listed = capsules.list_capsules(member, None, 10).unwrap();
        assert_eq!(listed, [record.to_api("capsule_7")], "the index by member has the capsule");
    }
    let full = capsules.create_within(1, owner, None, NOW);
    assert!(matches!(full, Err(CapsuleError::Full { allowed: 1, requested: 2, .. })), "{full:?}");
    // An existing capsule is not replaced, and an id of 33 bytes does not fit the index. A refused capsule is not
    // counted.
    let theirs = CapsuleRecord::new(PersonRef::Principal(other), other, 1);
    for id in ["capsule_7", &"c".repeat(33)] {
        assert_eq!(capsules.restore(id, &theirs), Ok(false), "{id}");
    }
    assert_eq!(capsules.authorize(owner, Access::Own, "capsule_7").as_deref(), Ok(&record));
    assert_eq!((capsules.len(), capsules.list_capsules(other, None, 10)), (1, Ok(vec![])));
    capsules.create_within(1, other, None, NOW).unwrap();
}

#[test]
fn restored_capsule_without_creator_counts_for_nobody() {
    let mut capsules = store();
    let record = CapsuleRecord {
        created_by: None,
        ..CapsuleRecord::new(PersonRef::Principal(person(1)), person(1), 9)
    };
    let longest = "c".repeat(32);
    assert_eq!(capsules.restore(&longest, &record), Ok(true));
    assert_eq!(capsules.authorize(person(1), Access::Own, &longest).as_deref(), Ok(&record));
    capsules.create_within(1, person(1), None, NOW).unwrap();
}

/// Other refused owners, too: too many, and an anonymous creator.
#[test]
fn a_capsule_keeps_an_owner() {
    let mut capsules = store();
    let id = capsules.create(person(1), Some(PersonRef::Opaque("grandma".into())), NOW).unwrap().id;
    let owners_only = |owners| CapsuleAccess { owners, writers: vec![], readers: vec![] };
    for owners in [vec![], vec![Principal::anonymous()]] {
        let refused = capsules.set_access(person(1), &id, owners_only(owners));
        assert_eq!(refused, Err(CapsuleError::NoOwner));
    }
    let too_long = capsules.set_access(person(1), &id, owners_only(vec![person(1); 1_001]));
    assert_eq!(too_long, Err(CapsuleError::ListTooLong { list: "owners", got: 1_001 }));
    assert_eq!(capsules.create(Principal::anonymous(), None, NOW), Err(CapsuleError::Anonymous));
}

#[test]
fn capsules_created_at_the_same_time_have_different_ids() {
    let mut capsules = store();
    let (a, b) = (capsules.create(person(1), None, NOW), capsules.create(person(2), None, NOW));
    assert_ne!(a.unwrap().id, b.unwrap().id);
}

#[test]
fn memories_are_listed_in_pages_and_only_of_one_capsule() {
    let mut capsules = store();
    let [one, two] = [1, 2].map(|_| capsules.create(person(1), None, NOW).unwrap().id);
    for id in ["a", "b", "c"] {
        capsules.attach(person(1), id, &memory(&one)).unwrap();
    }
    capsules.attach(person(1), "d", &memory(&two)).unwrap();
    let page = |after: Option<&str>, limit| {
        let page = capsules.list_memories(person(1), &one, after, limit).unwrap();
        page.into_iter().map(|memory| memory.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2), ["a", "b"]);
    assert_eq!(page(Some("b"), 2), ["c"]);
    assert_eq!(page(Some("c"), 2), Vec::<String>::new());
    assert!(capsules.list_memories(person(2), &one, None, 2).is_err());
    assert_eq!(capsules.authorize(person(1), Access::Own, &one).unwrap().memory_count, 3);
}

#[test]
fn a_memory_is_attached_once_and_read_by_readers_only() {
    let mut capsules = store();
    let id = capsules.create(person(1), None, NOW).unwrap().id;
    assert!(capsules.attach(person(2), "m", &memory(&id)).is_err(), "no write access");
    capsules.attach(person(1), "m", &memory(&id)).unwrap();
    let again = capsules.attach(person(1), "m", &memory(&id));
    assert_eq!(again, Err(CapsuleError::MemoryExists("m".into())));
    assert_eq!(capsules.memory(person(1), "m").unwrap(), memory(&id).to_api("m"));
    assert_eq!(capsules.memory(person(2), "m"), Err(CapsuleError::NoSuchMemory("m".into())));
}

#[test]
fn capsules_are_listed_while_the_caller_is_a_member() {
    let mut capsules = store();
    let ids: Vec<String> = (0..3).map(|_| capsules.create(person(1), None, NOW).unwrap().id).collect();
    let access = |readers| CapsuleAccess { owners: vec![person(1)], writers: vec![], readers };
    capsules.set_access(person(1), &ids[1], access(vec![person(2)])).unwrap();
    let page = |capsules: &CapsuleStore, n, after: Option<&str>, limit| {
        let page = capsules.list_capsules(person(n), after, limit).unwrap();
        page.into_iter().map(|capsule| capsule.id).collect::<Vec<_>>()
    };
    assert_eq!(page(&capsules, 1, None, 2), ids[..2]);
    assert_eq!(page(&capsules, 1, Some(&ids[1]), 2), ids[2..]);
    assert_eq!(page(&capsules, 2, None, 9), ids[1..2]);
    capsules.set_access(person(1), &ids[1], access(vec![])).unwrap();
    assert_eq!(page(&capsules, 2, None, 9), Vec::<String>::new());
}

#[test]
fn capsules_count_for_their_creator_while_they_exist() {
    let mut capsules = store();
    let try_create = |capsules: &mut CapsuleStore, who| capsules.create_within(2, person(who), None, NOW);
    let full = CapsuleError::Full { limit: "capsules per caller", allowed: 2, requested: 3 };
    let first = try_create(&mut capsules, 1).unwrap().id;
    try_create(&mut capsules, 1).unwrap();
    assert_eq!(try_create(&mut capsules, 1), Err(full.clone()));
    assert_eq!(capsules.len(), 2, "a refused call creates nothing");

    let owners = vec![person(1), person(2)];
    capsules
        .set_access(person(1), &first, CapsuleAccess { owners, writers: vec![], readers: vec![] })
        .unwrap();
    try_create(&mut capsules, 2).unwrap();
    try_create(&mut capsules, 2).unwrap();
    capsules.delete(person(2), &first).unwrap();
    assert_eq!(try_create(&mut capsules, 2), Err(full), "the deleted capsule did not count for this owner");
    try_create(&mut capsules, 1).unwrap();
    let anonymous = capsules.create_within(0, Principal::anonymous(), None, NOW);
    assert_eq!(
        anonymous,
        Err(CapsuleError::Anonymous),
        "the anonymous principal is refused before the limit is checked"
    );
}

/// The records of builds that did not count capsules have no creator.
#[test]
fn a_capsule_record_without_a_creator_decodes() {
    use crate::stable::Record;

    let record = CapsuleRecord {
        created_by: None,
        ..CapsuleRecord::new(PersonRef::Principal(person(1)), person(1), 9)
    };
    let stored = record.encode();
    assert_eq!(CapsuleRecord::decode(&stored), Ok(record), "an absent field is not encoded");
    let with_creator = CapsuleRecord::new(PersonRef::Principal(person(1)), person(1), 9);
    assert!(stored.len() < with_creator.encode().len());
    assert_eq!(CapsuleRecord::decode(&with_creator.encode()), Ok(with_creator));
}

const MAX_REPLY_BYTES: usize = 2 << 20;

/// Returns all pages of a list. `key` returns the id of an entry; a page starts after the last id of the previous page.
fn pages<T>(page: impl Fn(Option<&str>) -> Vec<T>, key: impl Fn(&T) -> String) -> Vec<Vec<T>> {
    let mut pages: Vec<Vec<T>> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.last()).map(&key);
        let next = page(after.as_deref());
        if next.is_empty() {
            return pages;
        }
        pages.push(next);
    }
}

/// Owners of large capsules can make anyone a reader, which adds the capsules to that reader's list.
#[test]
fn a_page_of_the_largest_capsules_fits_a_reply() {
    let mut capsules = store();
    let (owner, reader) = (person(1), person(2));
    let many = |list: u8| -> Vec<Principal> {
        (0..MAX_LIST).map(|n| Principal::self_authenticating([list, n as u8, (n >> 8) as u8])).collect()
    };
    let mut readers = many(3);
    readers[0] = reader;
    let mut owners = many(1);
    owners[0] = owner;
    let access = CapsuleAccess { owners, writers: many(2), readers };
    for _ in 0..40 {
        let subject = PersonRef::Opaque("x".repeat(MAX_SUBJECT_BYTES));
        let id = capsules.create(owner, Some(subject), NOW).unwrap().id;
        capsules.set_access(owner, &id, access.clone()).unwrap();
    }
    let list = |after: Option<&str>| capsules.list_capsules(reader, after, 100).unwrap();
    let pages = pages(list, |capsule| capsule.id.clone());
    assert!(pages.len() > 1 && pages[0].len() > 10, "{} pages", pages.len());
    assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 40);
    for page in pages {
        let reply = candid::encode_one(crate::api::Result::Ok(page)).unwrap();
        assert!(reply.len() < MAX_REPLY_BYTES, "{} bytes", reply.len());
    }
}

#[test]
fn a_page_of_the_largest_memories_fits_a_reply() {
    use crate::upload::check_metadata;
    use crate::upload::limits::{MAX_EXTERNAL_TEXT_BYTES, MAX_METADATA_BYTES, upload_config};

    let mut capsules = store();
    let owner = person(1);
    let capsule = capsules.create(owner, None, NOW).unwrap().id;
    let mut large = memory(&capsule);
    if let AssetMetadata::Image(image) = &mut large.asset_metadata {
        image.exif_data = Some("x".repeat(MAX_METADATA_BYTES - 200));
    }
    check_metadata(&large.asset_metadata).unwrap();
    let text = Some("x".repeat(MAX_EXTERNAL_TEXT_BYTES));
    let elsewhere = Content::External {
        backend: crate::api::StorageBackend::S3,
        storage_key: text.clone(),
        url: text,
        size: 3,
        checksum: Some(ByteBuf::from([1; 32])),
    };
    let inline = Content::Inline(vec![1; upload_config().inline_budget_per_capsule as usize]);
    for (n, content) in std::iter::once(inline).chain(std::iter::repeat_n(elsewhere, 119)).enumerate() {
        let record = MemoryRecord { content, ..large.clone() };
        capsules.attach(owner, &format!("mem_{n:020}_{:032}", 0), &record).unwrap();
    }
    let list = |after: Option<&str>| capsules.list_memories(owner, &capsule, after, 100).unwrap();
    let pages = pages(list, |memory| memory.id.clone());
    assert!(pages[0].len() > 50, "{}", pages[0].len());
    assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 120);
    for page in pages {
        let reply = candid::encode_one(crate::api::Result::Ok(page)).unwrap();
        assert!(reply.len() < MAX_REPLY_BYTES, "{} bytes", reply.len());
    }
}

#[test]
fn strangers_learn_nothing_about_damaged_capsules_and_memories() {
    let mut capsules = store();
    let [owner, stranger] = [1, 2].map(person);
    let id = capsules.create(owner, None, NOW).unwrap().id;
    capsules.create(stranger, None, NOW).unwrap();
    capsules.attach(owner, "mem", &memory(&id)).unwrap();
    capsules.memories.insert_raw("mem".into(), b"rubbish".to_vec());
    let read = |capsules: &CapsuleStore, who| capsules.memory(who, "mem").unwrap_err();
    assert_eq!(read(&capsules, stranger), CapsuleError::NoSuchMemory("mem".into()));
    assert!(matches!(read(&capsules, owner), CapsuleError::Stable(_)), "the owner gets the error");

    capsules.records.stored_mut().insert_raw(id.clone(), b"rubbish".to_vec());
    let authorize = |capsules: &CapsuleStore, who| capsules.authorize(who, Access::Read, &id).unwrap_err();
    assert!(matches!(authorize(&capsules, stranger), CapsuleError::Unauthorized { .. }));
    assert!(matches!(authorize(&capsules, owner), CapsuleError::Stable(_)), "the owner gets the error");
}

#[test]
fn a_public_capsule_shows_its_bytes_and_nothing_else() {
    let mut capsules = store();
    let [owner, writer, stranger] = [1, 2, 4].map(person);
    let id = capsules.create(owner, None, NOW).unwrap().id;
    let access = CapsuleAccess { owners: vec![owner], writers: vec![writer], readers: vec![] };
    capsules.set_access(owner, &id, access.clone()).unwrap();
    capsules.attach(owner, "m", &memory(&id)).unwrap();
    let strangers = [stranger, Principal::anonymous()];
    for (is_public, who) in [(false, writer), (true, writer), (true, stranger)] {
        let refused = capsules.set_public(who, &id, is_public);
        assert!(
            matches!(refused, Err(CapsuleError::Unauthorized { .. })),
            "only an owner may make a capsule public or private"
        );
    }
    for is_public in [true, false] {
        assert_eq!(capsules.set_public(owner, &id, is_public).unwrap().is_public, Some(is_public));
        // Older clients, whose interface has no `is_public`, leave it unchanged.
        assert_eq!(capsules.set_access(owner, &id, access.clone()).unwrap().is_public, Some(is_public));
        for who in strangers {
            assert_eq!(capsules.authorize_blobs(who, &id).is_ok(), is_public);
            assert!(capsules.authorize(who, Access::Read, &id).is_err());
            assert!(capsules.memory(who, "m").is_err() && capsules.list_memories(who, &id, None, 9).is_err());
        }
        assert!(capsules.authorize_blobs(writer, &id).is_ok());
    }
}

/// A capsule as stored by releases without public capsules: the fields 0 to 8 of [`CapsuleRecord`].
#[derive(minicbor::Encode)]
struct OlderRecord(
    #[cbor(n(0), with = "crate::stable::codec::principals")] Vec<Principal>,
    #[n(1)] Option<String>,
    #[cbor(n(2), with = "crate::stable::codec::principals")] Vec<Principal>,
    #[cbor(n(3), with = "crate::stable::codec::principals")] Vec<Principal>,
    #[cbor(n(4), with = "crate::stable::codec::principals")] Vec<Principal>,
    #[n(5)] u64,
    #[n(6)] u64,
    #[n(7)] u64,
    #[cbor(n(8), with = "crate::stable::codec::opt_principal")] Option<Principal>,
);

#[test]
fn a_capsule_of_an_older_release_is_private_and_unchanged() {
    use crate::stable::{Record, codec};
    let older = OlderRecord(vec![], None, vec![person(1)], vec![], vec![], 9, 2, 3, Some(person(1)));
    let bytes = codec::encode(1, &older);
    let record = CapsuleRecord::decode(&bytes).unwrap();
    assert!(!record.is_public() && record.memory_count == 2);
    assert_eq!(record.encode(), bytes, "an older release reads a private capsule as before");
}

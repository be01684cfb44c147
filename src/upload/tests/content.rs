//! Content of finished uploads: stored once in a capsule, and released with its last memory.

use super::*;

#[test]
fn the_same_content_is_stored_once_in_a_capsule() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let [one, two] = ["a", "b"].map(|idem| {
            let id = world.begin(file.len(), idem);
            world.put(id, &file, 0).unwrap();
            world.put(id, &file, 1).unwrap();
            world.finish(id, &file).unwrap()
        });
        assert_eq!(one.blob_id, two.blob_id);
        assert_ne!(one.memory_id, two.memory_id);
        assert_eq!(world.live()[3..], world.stored(file.len()), "its bytes once and not twice");
        assert_eq!(world.storage.usage.total(), Ok(file.len() as u64));

        let delete = |world: &mut TestCanister, id: &str| {
            crate::memories::delete(&mut world.storage, person(OWNER), id)
        };
        let stranger = crate::memories::delete(&mut world.storage, person(2), &one.memory_id);
        assert!(matches!(stranger, Err(Error::NotFound { .. })));
        delete(&mut world, &one.memory_id).unwrap();
        assert_eq!(read_back(&world, &two.blob_id), file, "the other memory still has its bytes");
        delete(&mut world, &two.memory_id).unwrap();
        assert_eq!(world.live(), [0; 5]);
        assert_eq!((world.storage.usage.accounts(), world.storage.blobs.blob_total()), (0, 0));
    });
}

#[test]
fn content_is_not_shared_between_capsules() {
    on_every_path(|mut world| {
        let file = file(10);
        let upload = |world: &mut TestCanister| {
            let id = world.begin(file.len(), "a");
            world.put(id, &file, 0).unwrap();
            world.finish(id, &file).unwrap().blob_id
        };
        let first = upload(&mut world);
        world.capsule = world.storage.capsules.create(person(OWNER), None, START).unwrap().id;
        assert_ne!(upload(&mut world), first);
        assert_eq!(world.live()[3..], world.stored(file.len()).map(|once| 2 * once));
    });
}

#[test]
fn a_deleted_upload_can_be_repeated_under_its_key() {
    on_every_path(|mut world| {
        let file = file(10);
        let upload = |world: &mut TestCanister| {
            let id = world.begin(10, "a");
            world.put(id, &file, 0).map(|()| world.finish(id, &file).unwrap().memory_id)
        };
        let first = upload(&mut world).unwrap();
        upload(&mut world).unwrap_err(); // it is finished
        crate::memories::delete(&mut world.storage, person(OWNER), &first).unwrap();
        assert_ne!(upload(&mut world).unwrap(), first);
    });
}

#[test]
fn a_deleted_capsule_vanishes_and_its_bytes_are_swept() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let finished = world.begin(file.len(), "a");
        world.put(finished, &file, 0).unwrap();
        world.put(finished, &file, 1).unwrap();
        let memory = world.finish(finished, &file).unwrap().memory_id;
        let pending = world.begin(file.len(), "b");
        world.put(pending, &file, 0).unwrap();
        let capsule = world.capsule.clone();
        assert!(world.storage.capsules.delete(person(2), &capsule).is_err());
        world.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        assert!(world.storage.capsules.memory(person(OWNER), &memory).is_err());
        assert_eq!(world.storage.capsules.list_capsules(person(OWNER), None, 9), Ok(vec![]));
        let put = world.put(pending, &file, 1).unwrap_err();
        assert!(matches!(put, Error::Unauthorized { .. }), "{put}");
        let finish = world.finish(pending, &file).unwrap_err();
        assert!(matches!(finish, Error::Unauthorized { .. }), "{finish}");
        while !crate::memories::sweep(&mut world.storage, &Unmetered).unwrap() {}
        world.service().abort(pending).unwrap();
        assert_eq!(world.live(), [0; 5]);
        assert_eq!(world.storage.usage.accounts(), 0);
    });
}

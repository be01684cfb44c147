//! What a stranger learns about a session: that it does not exist, whatever its state.

use super::*;
use crate::session::SessionId;

/// Returns the answer of every call about a session.
fn answers(world: &mut TestCanister, who: u8, id: u64) -> Vec<Error> {
    let digest = sha256(b"");
    let mut service = world.as_person(who);
    vec![
        service.put_chunk(id, 0, &mut &b"x"[..], None).unwrap_err(),
        service.finish(id, &digest, 1).unwrap_err(),
        service.abort(id).unwrap_err(),
        service.status(id).unwrap_err(),
        service.chunk_digests(id, 0, 9).unwrap_err(),
    ]
}

#[test]
fn a_stranger_learns_nothing_of_a_damaged_session() {
    on_every_path(|mut world| {
        let damaged = world.begin(1, "a");
        expiry::damage(&mut world, damaged);
        world.upgrade();
        let unknown = Error::not_found("session", damaged);
        assert!(answers(&mut world, 2, damaged).iter().all(|answer| *answer == unknown));
        for answer in answers(&mut world, OWNER, damaged) {
            assert!(matches!(answer, Error::Internal(_)), "its owner is told: {answer}");
        }
    });
}

#[cfg(feature = "direct")]
#[test]
fn a_stranger_learns_nothing_of_a_session_without_its_meta() {
    for mut world in [TestCanister::direct(), TestCanister::extents()] {
        let halved = world.begin(1, "a");
        world.storage.sessions.metas.remove(&halved);
        let unknown = Error::not_found("session", halved);
        assert!(answers(&mut world, 2, halved).iter().all(|answer| *answer == unknown));
        assert!(answers(&mut world, OWNER, halved).iter().all(|answer| matches!(answer, Error::Internal(_))));
    }
}

#[test]
fn a_damaged_receipt_belongs_to_nobody() {
    on_every_path(|mut world| {
        let id = world.begin(0, "a");
        world.finish(id, b"").unwrap();
        world.storage.receipts.insert_raw(SessionId(id), b"rubbish".to_vec());
        let unknown = Error::not_found("session", id);
        for who in [OWNER, 2] {
            assert!(answers(&mut world, who, id).iter().all(|answer| *answer == unknown), "{who}");
        }
        let again = world.try_begin(0, "a").unwrap_err();
        assert!(matches!(again, Error::Internal(_)), "who knows the key is told: {again}");
    });
}

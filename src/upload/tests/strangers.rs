//! A stranger learns only that a session does not exist, regardless of its state.

use super::*;
use crate::session::SessionId;

/// Returns the answer of every call about a session.
fn answers(canister: &mut TestCanister, who: u8, id: u64) -> Vec<Error> {
    let digest = sha256(b"");
    let mut service = canister.as_person(who);
    vec![
        service.put_chunk(id, 0, &mut &b"x"[..], None).unwrap_err(),
        service.finish(id, &digest, 1).unwrap_err(),
        service.abort(id).unwrap_err(),
        service.status(id).unwrap_err(),
        service.chunk_digests(id, 0, 9).unwrap_err(),
    ]
}

#[test]
fn a_stranger_learns_nothing_about_a_damaged_session() {
    on_every_path(|mut canister| {
        let damaged = canister.begin(1, "a");
        expiry::damage(&mut canister, damaged);
        canister.upgrade();
        let unknown = Error::not_found("session", damaged);
        assert!(answers(&mut canister, 2, damaged).iter().all(|answer| *answer == unknown));
        for answer in answers(&mut canister, OWNER, damaged) {
            assert!(matches!(answer, Error::Internal(_)), "its owner gets the error: {answer}");
        }
    });
}

#[cfg(feature = "direct")]
#[test]
fn a_stranger_learns_nothing_about_a_session_without_its_meta() {
    for mut canister in [TestCanister::direct(), TestCanister::extents()] {
        let halved = canister.begin(1, "a");
        canister.storage.sessions.metas.remove(&halved);
        let unknown = Error::not_found("session", halved);
        assert!(answers(&mut canister, 2, halved).iter().all(|answer| *answer == unknown));
        assert!(
            answers(&mut canister, OWNER, halved).iter().all(|answer| matches!(answer, Error::Internal(_)))
        );
    }
}

#[test]
fn a_damaged_receipt_belongs_to_nobody() {
    on_every_path(|mut canister| {
        let id = canister.begin(0, "a");
        canister.finish(id, b"").unwrap();
        canister.storage.receipts.insert_raw(SessionId(id), b"rubbish".to_vec());
        let unknown = Error::not_found("session", id);
        for who in [OWNER, 2] {
            assert!(answers(&mut canister, who, id).iter().all(|answer| *answer == unknown), "{who}");
        }
        let again = canister.try_begin(0, "a").unwrap_err();
        assert!(matches!(again, Error::Internal(_)), "a caller who knows the key gets the error: {again}");
    });
}

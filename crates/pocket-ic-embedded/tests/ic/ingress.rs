//! Submitting calls and awaiting their answers.

use super::common::{ANONYMOUS, install_counter, instance, parse_u64, read_counter, user};
use pocket_ic::IngressStatusResult;

#[test]
fn submitted_calls_run_together_and_keep_their_answers() {
    let pic = instance();
    let id = install_counter(&pic);
    let submit = || pic.submit_call(id, user(1), "now_update", vec![]).unwrap();
    let (first, second) = (submit(), submit());
    assert_ne!(first.message_id, second.message_id);
    assert_eq!(pic.ingress_status(first.clone()), None);
    // The round that the first `await_call` runs executes both calls, so they see the same time.
    let at_first = parse_u64(&pic.await_call(first.clone()).unwrap());
    let at_second = parse_u64(&pic.await_call(second).unwrap());
    assert_eq!(at_first, at_second);
    let later = parse_u64(&pic.await_call(submit()).unwrap());
    assert!(later > at_first);
    assert_eq!(pic.ingress_status(first.clone()), Some(Ok(at_first.to_le_bytes().to_vec())));
    assert!(matches!(
        pic.ingress_status_as(first.clone(), user(2)),
        IngressStatusResult::Forbidden(text) if text.contains("not signed by the caller")
    ));
    assert!(matches!(pic.ingress_status_as(first, user(1)), IngressStatusResult::Success(Ok(_))));
    let failing = pic.submit_call(id, user(1), "unreachable", vec![]).unwrap();
    let error = pic.await_call(failing.clone()).unwrap_err();
    assert_eq!(pic.ingress_status(failing), Some(Err(error)));
}

#[test]
fn a_tick_executes_what_is_submitted() {
    let pic = instance();
    let id = install_counter(&pic);
    let message = pic.submit_call(id, ANONYMOUS, "inc", vec![]).unwrap();
    assert_eq!(read_counter(&pic, id), 0);
    pic.tick();
    assert_eq!(read_counter(&pic, id), 1);
    assert_eq!(pic.await_call_no_ticks(message), Ok(1u32.to_le_bytes().to_vec()));
}

//! Traces as files: what is written can be read again, and errors name the line.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use candid::{Encode, Principal};
use serde_bytes::ByteBuf;
use session_migrate::trace::{
    CallKind, EventKind, Header, PayloadRef, Recorder, SentCall, Tape, Trace, TraceError,
};

/// Writes a trace of five lines. Line 1 is the header, line 2 a begin, line 3 a chunk of 1000 bytes without a known
/// seed, line 4 two rounds without calls, and line 5 the end.
fn record(folder: &Path) -> PathBuf {
    let path = folder.join("one.trace");
    let header = Header::new(1000, "legacy", "a test", vec![Principal::management_canister()]);
    let mut recorder = Recorder::create(&path, &header).unwrap();
    let answer = Encode!(&Ok::<u64, upload_canister::api::Error>(4)).unwrap();
    let put = Encode!(&4u64, &0u32, &ByteBuf::from(payload()), &None::<ByteBuf>).unwrap();
    // For the chunk, any answer will do.
    for (at, method, arg) in [(1000, "uploads_begin", vec![]), (2000, "uploads_put_chunk", put)] {
        let caller = Principal::anonymous();
        let call =
            SentCall { at, kind: CallKind::Update, caller, method: method.into(), arg, together: false };
        recorder.add_call(&call, &Ok(answer.clone())).unwrap();
    }
    recorder.add_event(3000, EventKind::Pass { rounds: 2 }).unwrap();
    recorder.finish().unwrap()
}

fn payload() -> Vec<u8> {
    (0..1000u32).map(|byte| byte as u8).collect()
}

fn payload_file(trace: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(trace.with_file_name("one.trace.payload")).unwrap();
    let only = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    only
}

fn change(trace: &Path, change: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(trace).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    std::fs::write(trace, changed).unwrap();
}

fn error_of(trace: &Path, line: usize) -> String {
    let error = Trace::read(trace).unwrap_err();
    assert!(error.is_usage(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("one.trace:{line}: ")), "{text}");
    text
}

#[test]
fn an_event_comes_after_the_calls_sent_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.trace");
    let header = Header::new(1000, "legacy", "a test", vec![Principal::management_canister()]);
    let tape = Tape::new(Recorder::create(&path, &header).unwrap());
    let send = |at| tape.sent(at, CallKind::Update, Principal::anonymous(), "capsules_list", b"DIDL\0\0");
    // The last call is never answered, so it is not in the trace; the event stays.
    let (first, second, _never_answered) = (send(2000), send(3000), send(4000));
    tape.add_event(5000, EventKind::Stop);
    tape.answered(second, &Ok(b"DIDL\0\0".to_vec()));
    tape.answered(first, &Ok(b"DIDL\0\0".to_vec()));
    tape.finish().unwrap();
    let events = Trace::read(&path).unwrap().events;
    let order: Vec<_> =
        events.iter().map(|event| (event.at, matches!(event.what, EventKind::Stop))).collect();
    assert_eq!(order, [(1000, false), (2000, false), (4000, true)]);
}

#[test]
fn a_recorded_trace_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let trace = Trace::read(&record(folder.path())).unwrap();
    assert_eq!((trace.header.build.as_str(), trace.header.version), ("legacy", 1));
    let times: Vec<u64> = trace.events.iter().map(|event| event.at).collect();
    assert_eq!(times, [0, 1000, 2000]);
    assert_eq!(trace.events[2].what, EventKind::Pass { rounds: 2 });
    assert_eq!(trace.payload(3, &PayloadRef::of(&payload())).unwrap(), payload());
    let text = std::fs::read_to_string(&trace.path).unwrap();
    assert!(text.len() < 2000, "payload is not in the text: {text}");
    assert!(text.contains("(\\\"@session:1\\\", 0 : nat32, \\\"@sha256:"), "{text}");
}

#[test]
fn a_trace_that_was_not_completed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let header = Header::new(0, "legacy", "a test", vec![]);
    let mut writer =
        session_migrate::trace::Writer::create(&folder.path().join("one.trace"), &header).unwrap();
    writer.add_payload(&payload()).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_trace_that_cannot_get_its_name_leaves_no_payload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.trace");
    let header = Header::new(0, "legacy", "a test", vec![]);
    let mut writer = session_migrate::trace::Writer::create(&path, &header).unwrap();
    writer.add_payload(&payload()).unwrap();
    // A file cannot replace a folder.
    std::fs::create_dir(&path).unwrap();
    assert!(writer.finish().is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_truncated_trace_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path());
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 5);
    for lines_left in 1..5 {
        std::fs::write(&path, lines[..lines_left].join("\n") + "\n").unwrap();
        assert!(error_of(&path, lines_left).contains("truncated"));
    }
    // Without the end line, and without the last bytes of line 4.
    std::fs::write(&path, &whole[..whole.len() - lines[4].len() - 10]).unwrap();
    assert!(error_of(&path, 4).contains("truncated"), "the trace ends in the middle of a line");
}

#[test]
fn a_line_that_was_changed_is_named() {
    for (was, is, line) in [
        ("\"at\":0,", "\"at\":1,", 2),
        ("uploads_put_chunk", "uploads_abort", 3),
        ("\"rounds\":2", "\"rounds\":3", 4),
        ("\"end\":3", "\"end\":2", 5),
        ("\"a test\"", "\"another\"", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = record(folder.path());
        change(&path, |text| text.replace(was, is));
        assert!(error_of(&path, line).contains("was changed"), "{was}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path());
    change(&path, |text| {
        text.lines().filter(|line| !line.contains("put_chunk")).map(|line| format!("{line}\n")).collect()
    });
    assert!(error_of(&path, 3).contains("was changed"), "a line was removed");
}

#[test]
fn files_that_are_not_traces_and_newer_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path());
    change(&path, |text| text.replacen("\"version\":1", "\"version\":2", 1));
    assert!(error_of(&path, 1).contains("version 2, this program reads up to 1"));
    for text in ["", "hello\n", "{\"trace\":\"something\",\"version\":1}\n", "{}\n"] {
        std::fs::write(&path, text).unwrap();
        assert!(error_of(&path, 1).contains("not a trace"), "{text}");
    }
}

#[test]
fn missing_or_damaged_payload_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path());
    let file = payload_file(&path);
    std::fs::write(&file, b"something else").unwrap();
    assert!(matches!(Trace::read(&path), Err(TraceError::DamagedPayload { line: 3, bytes: 14, .. })));
    assert!(error_of(&path, 3).contains("expected 1000"));
    std::fs::remove_file(&file).unwrap();
    assert!(error_of(&path, 3).contains("cannot be read"));
}

#[test]
fn an_unwritable_path_is_reported_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let header = Header::new(0, "legacy", "a test", vec![]);
    for path in [folder.path().to_path_buf(), folder.path().join("absent/one.trace")] {
        let error = Recorder::create(&path, &header).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_trace_for_a_link_is_written_to_its_target() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let target = other.path().join("other.trace");
    symlink(&target, folder.path().join("one.trace")).unwrap();
    let link = record(folder.path());
    assert!(link.is_symlink(), "the link was replaced");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    for path in [link, target] {
        let trace = Trace::read(&path).unwrap();
        assert_eq!(trace.payload(3, &PayloadRef::of(&payload())).unwrap(), payload());
    }
}

#[test]
fn a_trace_for_a_pipe_is_refused_and_the_pipe_stays() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("one.trace");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let header = Header::new(0, "legacy", "a test", vec![]);
    let error = Recorder::create(&pipe, &header).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("not a regular file"), "{error}");
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

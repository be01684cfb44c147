//! The clients' calls: many uploads in parallel, each client with one call in flight at a time.

use std::collections::VecDeque;

use upload_canister::api;

use super::stop_points::{self, StopPoint};
use super::upload_run::{Clients, UploadRun};
use crate::client::{Canister, ClientError, StepOutcome, UploadStep};
use crate::progress::Progress;

#[derive(Clone, Copy, Debug)]
struct StepCall {
    step: UploadStep,
    /// Whether the reply is lost before it reaches the client.
    is_reply_lost: bool,
}

fn with_reply(step: UploadStep) -> StepCall {
    StepCall { step, is_reply_lost: false }
}

/// Drives each new upload to its stop point.
pub(super) fn before_upgrade(
    canister: &Canister<'_>,
    clients: &mut Clients,
    progress: &Progress,
) -> Result<(), ClientError> {
    let mut queues = Vec::with_capacity(clients.runs.len());
    for run in &clients.runs {
        if run.is_from_snapshot {
            queues.push(VecDeque::new());
            continue;
        }
        let chunks = run.uploader.chunks();
        let mut calls = VecDeque::from([with_reply(UploadStep::Begin)]);
        match run.stop {
            StopPoint::NotBegun => calls.clear(),
            StopPoint::Begun => {}
            StopPoint::Hole => {
                let sent = stop_points::chunks_with_a_hole(chunks, &mut clients.rng);
                calls.extend(sent.into_iter().map(|index| with_reply(UploadStep::Put(index))));
                // The upgrade follows so soon after the last chunk that the client misses the reply.
                if let Some(last) = calls.back_mut() {
                    last.is_reply_lost = true;
                }
            }
            StopPoint::Complete => {
                let mut order: Vec<u32> = (0..chunks).collect();
                stop_points::shuffle(&mut order, &mut clients.rng);
                calls.extend(order.into_iter().map(|index| with_reply(UploadStep::Put(index))));
            }
            StopPoint::Finished => {
                calls.extend((0..chunks).map(|index| with_reply(UploadStep::Put(index))));
                calls.push_back(with_reply(UploadStep::Finish));
            }
            StopPoint::Aborted => {
                calls.extend((0..chunks.div_ceil(2)).map(|index| with_reply(UploadStep::Put(index))));
                calls.push_back(with_reply(UploadStep::Abort));
            }
        }
        queues.push(calls);
    }
    drive(canister, &mut clients.runs, queues, progress)?;
    for run in &mut clients.runs {
        let stored = match run.stop {
            // An abort releases the chunks.
            StopPoint::Aborted => 0,
            _ => run.must_be_stored().len(),
        };
        run.chunks_before = stored as u32;
    }
    Ok(())
}

/// Finishes uploads, except those that stay ([`UploadRun::stays`]): they get half of their missing chunks.
pub(super) fn between_upgrades(
    canister: &Canister<'_>,
    clients: &mut Clients,
    progress: &Progress,
) -> Result<(), ClientError> {
    continue_uploads(canister, clients, progress, true)
}

/// Finishes every upload that has no problem.
pub(super) fn after_upgrades(
    canister: &Canister<'_>,
    clients: &mut Clients,
    progress: &Progress,
) -> Result<(), ClientError> {
    continue_uploads(canister, clients, progress, false)
}

fn continue_uploads(
    canister: &Canister<'_>,
    clients: &mut Clients,
    progress: &Progress,
    some_stay: bool,
) -> Result<(), ClientError> {
    let mut queues = Vec::with_capacity(clients.runs.len());
    for run in &mut clients.runs {
        let mut calls = VecDeque::new();
        if !run.is_sound() {
            // The upload is not continued; the report explains why.
        } else if run.uploader.aborted() {
            check_gone(canister, run)?;
        } else if run.uploader.result().is_some() {
            // The client calls finish again, as if it had missed the reply.
            calls.push_back(with_reply(UploadStep::Finish));
        } else {
            if run.uploader.session().is_some() {
                calls.extend(reconnect(canister, run)?);
            }
            if run.is_sound() {
                let mut rest = run.uploader.remaining();
                let stays = some_stay && run.stays;
                let finish = rest.pop_if(|step| *step == UploadStep::Finish).filter(|_| !stays);
                let (begin, mut puts): (Vec<UploadStep>, Vec<UploadStep>) =
                    rest.into_iter().partition(|&step| step == UploadStep::Begin);
                stop_points::shuffle(&mut puts, &mut clients.rng);
                if stays {
                    puts.truncate(puts.len() / 2);
                }
                calls.extend(begin.into_iter().chain(puts).chain(finish).map(with_reply));
            }
        }
        queues.push(calls);
    }
    drive(canister, &mut clients.runs, queues, progress)
}

/// Asks the canister which chunks of an open upload have arrived, and compares them with those that the client has
/// sent. Returns the calls that the client repeats as if it did not know their outcome: begin, and the chunk whose
/// reply was lost or, if none was, the last chunk.
fn reconnect(canister: &Canister<'_>, run: &mut UploadRun) -> Result<Vec<StepCall>, ClientError> {
    let expected = run.must_be_stored();
    match run.uploader.ask(canister) {
        Ok(status) => check_status(run, &expected, &status),
        Err(error) => record_error(run, error)?,
    }
    if !run.is_sound() {
        return Ok(Vec::new());
    }
    let mut repeated = Vec::new();
    if run.repeats_begin {
        repeated.push(with_reply(UploadStep::Begin));
    }
    let unsure = run.unseen.pop_first().or(expected.last().copied());
    repeated.extend(unsure.map(|index| with_reply(UploadStep::Put(index))));
    run.unseen.clear();
    Ok(repeated)
}

/// Compares the status, and the chunks that it reports as stored, with what the client has sent.
fn check_status(run: &mut UploadRun, expected: &std::collections::BTreeSet<u32>, status: &api::UploadStatus) {
    let stored = run.uploader.stored().clone();
    let lost: Vec<u32> = expected.difference(&stored).copied().collect();
    if !lost.is_empty() {
        run.record_problem(format!("chunks {lost:?} were stored but are missing now"));
    }
    let unexpected: Vec<u32> = stored.difference(expected).copied().collect();
    if !unexpected.is_empty() {
        run.record_problem(format!("chunks {unexpected:?} are reported as stored but were never sent"));
    }
    let bytes: u64 = stored.iter().map(|&index| run.uploader.chunk_bytes(index)).sum();
    let uploader = &run.uploader;
    let fields = [
        ("idem", uploader.idem.clone(), status.idem.clone()),
        ("capsule", uploader.capsule.clone(), status.capsule_id.clone()),
        ("bytes_expected", uploader.asset.bytes.to_string(), status.bytes_expected.to_string()),
        ("bytes_received", bytes.to_string(), status.bytes_received.to_string()),
        ("expected_chunks", uploader.chunks().to_string(), status.expected_chunks.to_string()),
    ];
    for (field, expected, got) in fields {
        if expected != got {
            run.record_problem(format!("status: {field} is {got}, expected {expected}"));
        }
    }
}

/// Checks that the session of an aborted upload no longer exists.
fn check_gone(canister: &Canister<'_>, run: &mut UploadRun) -> Result<(), ClientError> {
    let uploader = &run.uploader;
    let Some(session) = uploader.session() else {
        return Ok(());
    };
    let client = uploader.client;
    let status = canister.uploads_status(client, session).map(drop);
    let put = canister.uploads_put_chunk(client, session, 0, vec![0], None);
    for (what, answer) in [("has a status", status), ("accepts a chunk", put)] {
        match answer {
            Ok(()) => run.record_problem(format!("it was aborted, but still {what}")),
            Err(error) if is_gone(&error) => {}
            Err(error) => record_error(run, error)?,
        }
    }
    Ok(())
}

fn is_gone(error: &ClientError) -> bool {
    matches!(error.refusal(), Some(api::Error::NotFound { .. } | api::Error::Conflict { .. }))
}

/// Records an error as a problem of the upload, unless the file to upload cannot be read: such an error is returned.
fn record_error(run: &mut UploadRun, error: ClientError) -> Result<(), ClientError> {
    match error {
        ClientError::File { .. } => Err(error),
        error => {
            run.record_problem(error);
            Ok(())
        }
    }
}

/// Makes all calls of `queues`, which has one queue for each upload. In each round, every client sends the next call of
/// one of its uploads, taking its uploads in turn; the next round begins when all replies have arrived. After an error,
/// the upload's further calls are skipped.
fn drive(
    canister: &Canister<'_>,
    runs: &mut [UploadRun],
    mut queues: Vec<VecDeque<StepCall>>,
    progress: &Progress,
) -> Result<(), ClientError> {
    let mut turn = 0;
    loop {
        let chosen = choose(runs, &queues, turn);
        if chosen.is_empty() {
            return Ok(());
        }
        let next = |index: usize| Some((index, queues[index].pop_front()?));
        let planned: Vec<(usize, StepCall)> = chosen.into_iter().filter_map(next).collect();
        let replies = canister.call_together(planned.iter().map(|(index, step_call)| {
            let uploader = &runs[*index].uploader;
            (uploader.client, uploader.call(step_call.step))
        }));
        for ((index, step_call), reply) in planned.into_iter().zip(replies) {
            let run = &mut runs[index];
            let (outcome, uploaded_bytes) = process(run, step_call, reply);
            progress.add_bytes(uploaded_bytes);
            match outcome {
                Ok(StepOutcome::Done) => {}
                Ok(StepOutcome::CallAgain) => queues[index].push_front(step_call),
                Err(error) => {
                    record_error(run, error)?;
                    queues[index].clear();
                }
            }
        }
        turn += 1;
    }
}

/// Chooses one upload for each client: the first that has a call to make, starting at the client's upload number
/// `turn`, modulo their number. The uploads of a client must be adjacent.
fn choose(runs: &[UploadRun], queues: &[VecDeque<StepCall>], turn: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut first = 0;
    while first < runs.len() {
        let client = runs[first].client;
        let end = first + runs[first..].iter().take_while(|run| run.client == client).count();
        let count = end - first;
        chosen.extend(
            (0..count).map(|offset| first + (turn + offset) % count).find(|&index| !queues[index].is_empty()),
        );
        first = end;
    }
    chosen
}

/// Processes the answer to a call. Also returns how many bytes it adds to those that are uploaded: a chunk counts once,
/// when it is first accepted. The uploads that are aborted do not count, as in [`Clients::bytes_to_move`].
fn process(
    run: &mut UploadRun,
    step_call: StepCall,
    answer: Result<Vec<u8>, ClientError>,
) -> (Result<StepOutcome, ClientError>, u64) {
    let stored_before = run.must_be_stored();
    let outcome = answer.and_then(|reply| deliver(run, step_call, &reply));
    if run.stop == StopPoint::Aborted {
        return (outcome, 0);
    }
    let stored = run.must_be_stored();
    let new_chunks = stored.difference(&stored_before);
    (outcome, new_chunks.map(|chunk| run.uploader.chunk_bytes(*chunk)).sum())
}

/// Passes a reply to the client, unless the reply is lost.
fn deliver(run: &mut UploadRun, step_call: StepCall, reply: &[u8]) -> Result<StepOutcome, ClientError> {
    if !step_call.is_reply_lost {
        return run.uploader.accept(step_call.step, reply);
    }
    // The client does not learn whether the chunk was accepted, but the rehearsal does.
    let answer = run.uploader.clone().accept(step_call.step, reply)?;
    if let UploadStep::Put(index) = step_call.step {
        run.unseen.insert(index);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use candid::Principal;

    use super::*;
    use crate::client::{Asset, Uploader};

    /// Returns an upload of 25 bytes in chunks of 10, which has begun.
    fn begun(stop: StopPoint) -> UploadRun {
        let asset = Asset {
            path: "nowhere".into(),
            name: "a.jpg".into(),
            mime_type: "image/jpeg".into(),
            asset_type: api::AssetType::Original,
            bytes: 25,
            sha256: [0; 32],
            metadata: None,
        };
        let uploader = Uploader::new(Principal::anonymous(), "capsule", asset, "key", 10);
        UploadRun { stop, ..UploadRun::new(1, uploader.resumed(7, BTreeSet::new())) }
    }

    fn reply(answer: api::Result<()>) -> Result<Vec<u8>, ClientError> {
        Ok(candid::encode_one(answer).unwrap())
    }

    #[test]
    fn a_chunk_counts_as_uploaded_once_it_is_accepted() {
        let mut run = begun(StopPoint::Complete);
        let put = |index| with_reply(UploadStep::Put(index));
        let refused = reply(Err(api::Error::Internal("full".into())));
        let unanswered = Err(ClientError::Unanswered { method: "uploads_put_chunk", detail: "away".into() });
        for answer in [refused, unanswered] {
            let (outcome, uploaded) = process(&mut run, put(0), answer);
            assert!(outcome.is_err(), "{outcome:?}");
            assert_eq!(uploaded, 0, "{outcome:?}");
        }
        let lost = StepCall { is_reply_lost: true, ..put(2) };
        let calls = [(put(0), 10), (put(0), 0), (lost, 5), (put(2), 0), (put(1), 10)];
        for (step_call, expected) in calls {
            let (outcome, uploaded) = process(&mut run, step_call, reply(Ok(())));
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(uploaded, expected, "{step_call:?}");
        }
    }

    #[test]
    fn an_upload_that_is_aborted_does_not_count() {
        let mut run = begun(StopPoint::Aborted);
        let (outcome, uploaded) = process(&mut run, with_reply(UploadStep::Put(0)), reply(Ok(())));
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(uploaded, 0);
    }
}

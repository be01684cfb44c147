//! A client that uploads one file, according to its habits.

use std::collections::VecDeque;

use candid::Principal;

use super::recorded_canister::{RecordedCanister, ignore_refusal};
use crate::client::{CallInFlight, ClientError, StepOutcome, UploadStep, Uploader};

/// The order in which chunks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    Straight,
    Backwards,
    Shuffled,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub sequence: Sequence,
    /// Whether replies are lost at random, so that the client repeats its calls.
    pub flaky: bool,
    /// Whether the client sends the SHA-256 of every chunk with the chunk.
    pub hashes: bool,
    /// Whether the client aborts the upload after half of the chunks.
    pub aborts: bool,
}

impl Habits {
    /// Chunks in order, without hashes, until the file is finished.
    pub const PLAIN: Habits =
        Habits { sequence: Sequence::Straight, flaky: false, hashes: false, aborts: false };
}

#[derive(Clone, Copy, Debug)]
enum ClientAction {
    /// A step of the upload. `is_reply_lost`: the reply does not reach the client.
    Step { step: UploadStep, is_reply_lost: bool },
    /// A query for the status of the upload.
    Ask,
}

/// A step whose call was sent.
struct SentStep {
    step: UploadStep,
    is_reply_lost: bool,
    call: CallInFlight,
}

/// A client with an upload and its further actions.
pub(super) struct Actor {
    pub uploader: Uploader,
    actions: VecDeque<ClientAction>,
}

fn with_reply(step: UploadStep) -> ClientAction {
    ClientAction::Step { step, is_reply_lost: false }
}

impl Actor {
    pub fn new(
        canister: &mut RecordedCanister<'_>,
        client: Principal,
        capsule: &str,
        bytes: u64,
        habits: Habits,
    ) -> Result<Actor, ClientError> {
        let mut uploader = canister.new_upload(client, capsule, bytes)?;
        uploader.hash_chunks = habits.hashes;
        let mut order: Vec<u32> = (0..uploader.chunks()).collect();
        match habits.sequence {
            Sequence::Straight => {}
            Sequence::Backwards => order.reverse(),
            Sequence::Shuffled => canister.shuffle(&mut order),
        }
        if habits.aborts {
            order.truncate(order.len().div_ceil(2));
        }
        let last = if habits.aborts { UploadStep::Abort } else { UploadStep::Finish };
        let steps =
            [UploadStep::Begin].into_iter().chain(order.into_iter().map(UploadStep::Put)).chain([last]);
        let mut actions = VecDeque::new();
        for step in steps {
            if habits.flaky && canister.one_in(2) {
                actions.push_back(ClientAction::Step { step, is_reply_lost: true });
                // After half of the lost replies, the client reconnects before it repeats the step.
                if canister.one_in(2) && step != UploadStep::Begin {
                    actions.extend([with_reply(UploadStep::Begin), ClientAction::Ask]);
                }
            }
            actions.push_back(with_reply(step));
        }
        Ok(Actor { uploader, actions })
    }

    pub fn is_done(&self) -> bool {
        self.actions.is_empty()
    }

    /// Plans the whole upload again, as a new session with the same idempotency key.
    pub fn start_over(&mut self) {
        self.actions = (0..self.uploader.chunks()).map(|index| with_reply(UploadStep::Put(index))).collect();
        self.actions.push_front(with_reply(UploadStep::Begin));
        self.actions.push_back(with_reply(UploadStep::Finish));
        self.uploader = self.uploader.restarted();
    }

    /// Makes the next call. Returns an update that is in flight; `None` after a query, which is complete, or a refusal.
    fn send(&mut self, canister: &RecordedCanister<'_>) -> Result<Option<SentStep>, ClientError> {
        match self.actions.pop_front() {
            None => Ok(None),
            Some(ClientAction::Ask) => {
                // If the reply to begin was lost, the client does not know its session.
                if self.uploader.session().is_some() {
                    ignore_refusal(self.uploader.ask(&canister.handle))?;
                }
                Ok(None)
            }
            Some(ClientAction::Step { step, is_reply_lost }) => match self.uploader.call(step) {
                Ok(call) => {
                    // A rejection is an answer, which the tape has recorded.
                    let submitted = canister.handle.submit(self.uploader.client, call).ok();
                    Ok(submitted.map(|call| SentStep { step, is_reply_lost, call }))
                }
                // The begin was refused, so the client cannot continue.
                Err(ClientError::NotBegun { .. }) => {
                    self.actions.clear();
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Waits for the answer to a call, and passes it to the uploader, unless the answer is planned to be lost.
    fn await_answer(&mut self, canister: &RecordedCanister<'_>, sent: SentStep) -> Result<(), ClientError> {
        let SentStep { step, is_reply_lost, call } = sent;
        let answer = canister.handle.wait(method(step), call).and_then(|reply| {
            if is_reply_lost { Ok(StepOutcome::Done) } else { self.uploader.accept(step, &reply) }
        });
        if let Ok(StepOutcome::CallAgain) = answer {
            self.actions.push_front(with_reply(step));
        }
        ignore_refusal(answer)
    }
}

fn method(step: UploadStep) -> &'static str {
    match step {
        UploadStep::Begin => "uploads_begin",
        UploadStep::Put(_) => "uploads_put_chunk",
        UploadStep::Finish => "uploads_finish",
        UploadStep::Abort => "uploads_abort",
    }
}

/// Runs the actors to completion, with up to `width` calls in flight at a time.
pub(super) fn drive(
    canister: &mut RecordedCanister<'_>,
    actors: &mut [Actor],
    width: usize,
) -> Result<(), ClientError> {
    while actors.iter().any(|actor| !actor.is_done()) {
        run_round(canister, actors, width)?;
    }
    Ok(())
}

/// Makes one call of each of up to `width` random actors that are not done. These calls are in flight together.
pub(super) fn run_round(
    canister: &mut RecordedCanister<'_>,
    actors: &mut [Actor],
    width: usize,
) -> Result<(), ClientError> {
    let mut chosen: Vec<usize> = (0..actors.len()).filter(|&index| !actors[index].is_done()).collect();
    canister.shuffle(&mut chosen);
    chosen.truncate(width);
    canister.pause_between_calls();
    let mut sent = Vec::new();
    for index in chosen {
        if let Some(step) = actors[index].send(canister)? {
            sent.push((index, step));
        }
    }
    for (index, step) in sent {
        actors[index].await_answer(canister, step)?;
    }
    Ok(())
}

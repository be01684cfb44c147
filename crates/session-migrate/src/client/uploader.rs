//! One upload by a client that behaves like a front end: the client remembers the canister's answers, and when it
//! resumes, it asks the canister which chunks have arrived.

use std::collections::BTreeSet;

use candid::Principal;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};
use upload_canister::api;
use upload_canister::session::Chunking;

use super::canister::decode_result;
use super::{Asset, Canister, ClientError, EncodedCall};

/// One call of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadStep {
    /// Begin, or begin again with the same key.
    Begin,
    /// Store this chunk, or store it again.
    Put(u32),
    /// Finish, or ask for the same answer again.
    Finish,
    /// Abort.
    Abort,
}

/// What the client has to do after a reply that [`Uploader::accept`] accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// The step is done.
    Done,
    /// The canister is still working on the step; call the same step again.
    CallAgain,
}

/// An upload in progress, as seen by the client. A clone represents a client whose state was saved to disk and which
/// returns later.
#[derive(Clone, Debug)]
pub struct Uploader {
    /// The client.
    pub client: Principal,
    /// The capsule that gets the memory.
    pub capsule: String,
    /// The file.
    pub asset: Asset,
    /// The idempotency key.
    pub idem: String,
    /// Whether to send every chunk together with its SHA-256.
    pub hash_chunks: bool,
    chunk_size: u32,
    session: Option<u64>,
    stored: BTreeSet<u32>,
    /// Number of hashed bytes when the canister last asked to repeat finish; `None` if it never has.
    hashed: Option<u64>,
    result: Option<api::UploadFinishResult>,
    aborted: bool,
}

impl Uploader {
    /// Creates an upload that has not begun. `chunk_size` is from the canister's `upload_config`, in bytes.
    pub fn new(
        client: Principal,
        capsule: impl Into<String>,
        asset: Asset,
        idem: impl Into<String>,
        chunk_size: u32,
    ) -> Self {
        Uploader {
            client,
            capsule: capsule.into(),
            asset,
            idem: idem.into(),
            hash_chunks: false,
            chunk_size,
            session: None,
            stored: BTreeSet::new(),
            hashed: None,
            result: None,
            aborted: false,
        }
    }

    /// Returns an upload that its client resumes: begun, with these chunks stored.
    #[must_use]
    pub fn resumed(self, session: u64, stored: BTreeSet<u32>) -> Self {
        Uploader { session: Some(session), stored, ..self }
    }

    /// Returns the same upload by the same client, not begun.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Uploader {
            session: None,
            stored: BTreeSet::new(),
            hashed: None,
            result: None,
            aborted: false,
            ..self.clone()
        }
    }

    fn chunking(&self) -> Chunking {
        Chunking::new(self.asset.bytes, u64::from(self.chunk_size))
    }

    /// Returns the number of chunks, or `u32::MAX` if there are more. The canister refuses a file of so many chunks.
    pub fn chunks(&self) -> u32 {
        self.chunking().count()
    }

    /// Returns the length of every chunk but the last, bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Returns the session, once the upload has begun.
    pub fn session(&self) -> Option<u64> {
        self.session
    }

    /// Returns the chunks that the client knows to be stored.
    pub fn stored(&self) -> &BTreeSet<u32> {
        &self.stored
    }

    /// Returns the result of finish, once the upload is finished.
    pub fn result(&self) -> Option<&api::UploadFinishResult> {
        self.result.as_ref()
    }

    /// Returns whether the client aborted the upload, and the canister accepted that.
    pub fn aborted(&self) -> bool {
        self.aborted
    }

    /// Returns the chunks that the client does not know to be stored, in order.
    pub fn missing(&self) -> Vec<u32> {
        (0..self.chunks()).filter(|index| !self.stored.contains(index)).collect()
    }

    /// Returns the size of chunk `index` in bytes.
    pub fn chunk_bytes(&self, index: u32) -> u64 {
        self.chunking().len(index)
    }

    /// Returns the steps that remain until the upload is finished, chunks in the order of the file; none if it is
    /// aborted.
    pub fn remaining(&self) -> Vec<UploadStep> {
        if self.aborted || self.result.is_some() {
            return Vec::new();
        }
        let begin = self.session.is_none().then_some(UploadStep::Begin);
        begin
            .into_iter()
            .chain(self.missing().into_iter().map(UploadStep::Put))
            .chain([UploadStep::Finish])
            .collect()
    }

    /// Encodes the call of `step`; [`Uploader::step`] also sends it.
    ///
    /// # Errors
    /// If the file cannot be read, or there is no session yet.
    pub fn call(&self, step: UploadStep) -> Result<EncodedCall, ClientError> {
        match step {
            UploadStep::Begin => EncodedCall::new(
                "uploads_begin",
                (&self.capsule, self.asset.metadata(), self.chunks(), &self.idem),
            ),
            UploadStep::Put(index) => {
                let session = self.session_of(step)?;
                let bytes = self.asset.chunk(index, self.chunk_size)?;
                let sha256 = self.hash_chunks.then(|| ByteBuf::from(Sha256::digest(&bytes).to_vec()));
                EncodedCall::new("uploads_put_chunk", (session, index, Bytes::new(&bytes), sha256))
            }
            UploadStep::Finish => EncodedCall::new(
                "uploads_finish",
                (self.session_of(step)?, Bytes::new(&self.asset.sha256), self.asset.bytes),
            ),
            UploadStep::Abort => EncodedCall::new("uploads_abort", (self.session_of(step)?,)),
        }
    }

    fn session_of(&self, step: UploadStep) -> Result<u64, ClientError> {
        self.session.ok_or_else(|| ClientError::NotBegun { step: format!("{step:?}") })
    }

    /// Processes the raw reply to the call of `step`.
    ///
    /// # Errors
    /// A refusal by the canister, a reply that is not the expected Candid, an answer that differs from an earlier one
    /// to the same call, or [`ClientError::NoProgress`].
    pub fn accept(&mut self, step: UploadStep, reply: &[u8]) -> Result<StepOutcome, ClientError> {
        match step {
            UploadStep::Begin => {
                let got: u64 = decode_result("uploads_begin", reply)?;
                match self.session {
                    Some(expected) if expected != got => {
                        return Err(ClientError::OtherSession { expected, got });
                    }
                    _ => self.session = Some(got),
                }
            }
            UploadStep::Put(index) => {
                decode_result::<()>("uploads_put_chunk", reply)?;
                self.stored.insert(index);
            }
            UploadStep::Finish => {
                let result: api::UploadFinishResult = match decode_result("uploads_finish", reply) {
                    Err(ClientError::Refused { error: api::Error::Hashing { hashed, total }, .. }) => {
                        return self.accept_hashed(hashed, total);
                    }
                    other => other?,
                };
                match &self.result {
                    Some(before) if *before != result => {
                        return Err(ClientError::OtherResult {
                            expected: Box::new(before.clone()),
                            got: Box::new(result),
                        });
                    }
                    _ => self.result = Some(result),
                }
            }
            UploadStep::Abort => {
                decode_result::<()>("uploads_abort", reply)?;
                self.aborted = true;
            }
        }
        Ok(StepOutcome::Done)
    }

    /// Processes the number of hashed bytes, which must have grown since the last time.
    fn accept_hashed(&mut self, hashed: u64, total: u64) -> Result<StepOutcome, ClientError> {
        if self.hashed.is_some_and(|before| hashed <= before) {
            let at = format!("{hashed} of {total} bytes hashed");
            return Err(ClientError::NoProgress { method: "uploads_finish", at });
        }
        self.hashed = Some(hashed);
        Ok(StepOutcome::CallAgain)
    }

    /// Performs one step: calls the canister until the step is done.
    ///
    /// # Errors
    /// The errors of [`Uploader::call`] and [`Uploader::accept`], and [`ClientError::Rejected`].
    pub fn step(&mut self, canister: &Canister<'_>, step: UploadStep) -> Result<(), ClientError> {
        loop {
            let reply = canister.call(self.client, self.call(step)?)?;
            if self.accept(step, &reply)? == StepOutcome::Done {
                return Ok(());
            }
        }
    }

    /// Asks the canister which chunks have arrived, and replaces [`Uploader::stored()`] by the answer, as a client does
    /// that returns.
    ///
    /// # Errors
    /// If there is no session, or the call fails.
    pub fn ask(&mut self, canister: &Canister<'_>) -> Result<api::UploadStatus, ClientError> {
        let session = self.session.ok_or_else(|| ClientError::NotBegun { step: "status".into() })?;
        let status = canister.uploads_status(self.client, session)?;
        self.adopt(status.received.iter().flat_map(|range| range.first..=range.last).collect());
        Ok(status)
    }

    /// Replaces the chunks known to be stored by the canister's list, as returned by `uploads_status`.
    pub fn adopt(&mut self, stored: BTreeSet<u32>) {
        self.stored = stored;
    }

    /// Continues the upload from its present state until it is finished, one call after another. Does nothing if it is
    /// finished or aborted.
    pub fn run(&mut self, canister: &Canister<'_>) -> Result<(), ClientError> {
        if self.session.is_some() && self.result.is_none() && !self.aborted {
            self.ask(canister)?;
        }
        for step in self.remaining() {
            self.step(canister, step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploader(bytes: u64) -> Uploader {
        let asset = Asset {
            path: "nowhere".into(),
            name: "a.jpg".into(),
            mime_type: "image/jpeg".into(),
            asset_type: api::AssetType::Original,
            bytes,
            sha256: [0; 32],
            metadata: None,
        };
        Uploader::new(Principal::anonymous(), "capsule", asset, "key", 10)
    }

    fn reply<T: candid::CandidType>(answer: api::Result<T>) -> Vec<u8> {
        candid::encode_one(answer).unwrap()
    }

    #[test]
    fn the_steps_cover_the_file_once() {
        let mut one = uploader(25);
        assert_eq!(
            one.remaining(),
            [
                UploadStep::Begin,
                UploadStep::Put(0),
                UploadStep::Put(1),
                UploadStep::Put(2),
                UploadStep::Finish
            ]
        );
        assert_eq!((0..3).map(|i| one.chunk_bytes(i)).sum::<u64>(), 25);
        one.accept(UploadStep::Begin, &reply(Ok(7u64))).unwrap();
        one.accept(UploadStep::Put(1), &reply(Ok(()))).unwrap();
        assert_eq!(one.remaining(), [UploadStep::Put(0), UploadStep::Put(2), UploadStep::Finish]);
        assert_eq!(one.missing(), [0, 2]);
        one.accept(UploadStep::Abort, &reply(Ok(()))).unwrap();
        assert!(one.remaining().is_empty());
    }

    #[test]
    fn a_restarted_upload_is_not_begun_and_still_hashes_chunks() {
        let mut one = Uploader { hash_chunks: true, ..uploader(25) };
        one.accept(UploadStep::Begin, &reply(Ok(7u64))).unwrap();
        one.accept(UploadStep::Put(1), &reply(Ok(()))).unwrap();
        one.accept(UploadStep::Abort, &reply(Ok(()))).unwrap();
        let again = one.restarted();
        assert_eq!(again.remaining(), Uploader { hash_chunks: true, ..uploader(25) }.remaining());
        assert!(again.hash_chunks && again.session().is_none() && !again.aborted());
    }

    #[test]
    fn a_repeated_begin_must_give_the_same_session() {
        let mut one = uploader(25);
        one.accept(UploadStep::Begin, &reply(Ok(7u64))).unwrap();
        one.accept(UploadStep::Begin, &reply(Ok(7u64))).unwrap();
        let error = one.accept(UploadStep::Begin, &reply(Ok(8u64))).unwrap_err();
        assert!(matches!(error, ClientError::OtherSession { expected: 7, got: 8 }));
    }

    #[test]
    fn a_refused_chunk_is_not_stored() {
        let mut one = uploader(25);
        let refusal = api::Error::Internal("full".into());
        let error = one.accept(UploadStep::Put(0), &reply::<()>(Err(refusal.clone()))).unwrap_err();
        assert_eq!(error.refusal(), Some(&refusal));
        assert!(one.stored().is_empty());
    }

    #[test]
    fn a_canister_that_is_still_hashing_is_called_again() {
        let mut one = uploader(25);
        let mut hashing = |hashed| {
            let still = api::Error::Hashing { hashed, total: 25 };
            one.accept(UploadStep::Finish, &reply::<api::UploadFinishResult>(Err(still)))
        };
        assert_eq!(hashing(10).unwrap(), StepOutcome::CallAgain);
        assert_eq!(hashing(20).unwrap(), StepOutcome::CallAgain);
        let endless = hashing(20).unwrap_err().to_string();
        assert_eq!(endless, "uploads_finish makes no progress: repeated calls return 20 of 25 bytes hashed");
        assert!(one.result().is_none());
    }
}

//! Uploads a file to a canister on a live network: chunks in parallel, with retries while the canister is
//! upgraded or the network is not reachable. An interrupted upload can be resumed.

use std::collections::BTreeSet;
use std::time::Duration;

use candid::Principal;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use upload_canister::api;

use crate::client::{Asset, ClientError, StepOutcome, UploadStep, Uploader};
use crate::network::{LiveCanister, Retry};
use crate::progress::Progress;

/// Number of hexadecimal digits in an idempotency key: 160 bits, so different uploads do not have the same key.
const KEY_DIGITS: usize = 40;

/// How files are uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Maximum number of chunks in flight.
    pub parallel: usize,
    /// How long a call is retried that gets no answer, or finds the canister stopped.
    pub retry_for: Duration,
}

/// Why a file was not uploaded. After [`UploadError::FileChanged`], the session is aborted. After any other error, the
/// chunks that have arrived stay in the canister as long as the session exists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// A call failed, after retries if the error was transient; or the file cannot be read.
    #[error(transparent)]
    Client(ClientError),
    /// The stored bytes do not match the file's digest, although every chunk matches the file; or the file has become
    /// shorter than the upload.
    #[error("{name} changed while it was being uploaded")]
    FileChanged {
        /// The file's name.
        name: String,
    },
    /// The caller has several capsules, and none was specified.
    #[error("{caller} has {count} capsules: choose one with --capsule, such as {first}")]
    WhichCapsule {
        /// The caller.
        caller: Principal,
        /// Number of capsules.
        count: usize,
        /// One of the capsules.
        first: String,
    },
}

impl From<ClientError> for UploadError {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::File { path, source } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                UploadError::FileChanged { name: path.display().to_string() }
            }
            _ => UploadError::Client(error),
        }
    }
}

/// Derives the idempotency key from the capsule and the file's name, type and digest. A second run derives the same
/// key and so resumes the upload, without any state stored between the runs.
pub fn idempotency_key(capsule: &str, asset: &Asset) -> String {
    let mut hasher = Sha256::new();
    for part in [capsule.as_bytes(), asset.name.as_bytes(), asset.mime_type.as_bytes(), &asset.sha256] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut key = hex::encode(hasher.finalize());
    key.truncate(KEY_DIGITS);
    key
}

/// Returns the only capsule that the caller owns. Creates one if the caller owns none.
///
/// # Errors
/// [`UploadError::WhichCapsule`] if there are several; [`UploadError::Client`].
pub async fn own_capsule(
    canister: &LiveCanister,
    caller: Principal,
    retry: Retry<'_>,
) -> Result<String, UploadError> {
    // The canister also lists the capsules that others share with the caller.
    let mut owned: Vec<String> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let list = || canister.query("capsules_list", (&after, None::<u32>));
        let page: Vec<api::Capsule> = retry.again(list).await?;
        let Some(last) = page.last() else { break };
        // A canister that ignores `after` would be asked forever.
        if after.as_ref() == Some(&last.id) {
            let at = last.id.clone();
            return Err(ClientError::NoProgress { method: "capsules_list", at }.into());
        }
        after = Some(last.id.clone());
        owned.extend(
            page.into_iter().filter(|capsule| capsule.owners.contains(&caller)).map(|capsule| capsule.id),
        );
    }
    match owned.as_slice() {
        [] => {
            let create = || canister.update("capsules_create", (None::<api::PersonRef>,));
            let capsule: api::Capsule = retry.once(create).await?;
            Ok(capsule.id)
        }
        [only] => Ok(only.clone()),
        [first, ..] => Err(UploadError::WhichCapsule { caller, count: owned.len(), first: first.clone() }),
    }
}

/// Uploads a file, or resumes its upload; the file's bytes are added to `progress`.
pub async fn upload(
    canister: &LiveCanister,
    mut uploader: Uploader,
    options: Options,
    progress: &Progress,
) -> Result<api::UploadFinishResult, UploadError> {
    let mut live = LiveUpload { canister, options, progress };
    let result = live.upload(&mut uploader).await;
    if let Err(UploadError::FileChanged { .. }) = result {
        live.abort(&uploader).await;
    }
    result
}

fn is_checksum_mismatch(error: &ClientError) -> bool {
    matches!(error.refusal(), Some(api::Error::ChecksumMismatch { .. }))
}

struct LiveUpload<'a> {
    canister: &'a LiveCanister,
    options: Options,
    progress: &'a Progress,
}

impl LiveUpload<'_> {
    async fn retry<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        Retry::new(self.options.retry_for, self.progress).again(call).await
    }

    async fn upload(&mut self, uploader: &mut Uploader) -> Result<api::UploadFinishResult, UploadError> {
        self.make_step(uploader, UploadStep::Begin).await?;
        match self.stored_chunks(uploader).await? {
            Some(stored) => {
                self.progress.add_bytes(stored.iter().map(|index| uploader.chunk_bytes(*index)).sum());
                uploader.adopt(stored);
                let missing = uploader.missing();
                self.put_chunks(uploader, missing, true).await?;
            }
            // The upload has ended. If it was finished, the canister answers finish from the receipt; if not, finish
            // fails.
            None => self.progress.add_bytes(uploader.asset.bytes),
        }
        match self.make_step(uploader, UploadStep::Finish).await {
            Err(UploadError::Client(error)) if is_checksum_mismatch(&error) => {
                let wrong = self.wrong_chunks(uploader).await?;
                if wrong.is_empty() {
                    return Err(UploadError::FileChanged { name: uploader.asset.name.clone() });
                }
                self.put_chunks(uploader, wrong, false).await?;
                self.make_step(uploader, UploadStep::Finish).await?;
            }
            done => done?,
        }
        match uploader.result() {
            Some(result) => Ok(result.clone()),
            // Unreachable: `Uploader::accept` keeps the result of a finish that is done.
            None => Err(ClientError::NotBegun { step: "result".into() }.into()),
        }
    }

    /// Aborts the session of a file that has changed: its idempotency key was derived from the file's earlier digest,
    /// so no run could resume it. If the abort fails, the session stays until it expires.
    async fn abort(&self, uploader: &Uploader) {
        if let Ok(call) = uploader.call(UploadStep::Abort) {
            let _ = self.canister.call(call).await;
        }
    }

    /// Makes the call of a step, and repeats it until the step is done: a finish may take several calls.
    async fn make_step(&mut self, uploader: &mut Uploader, step: UploadStep) -> Result<(), UploadError> {
        loop {
            let reply = self.retry(|| async { self.canister.call(uploader.call(step)?).await }).await?;
            if uploader.accept(step, &reply)? == StepOutcome::Done {
                return Ok(());
            }
        }
    }

    /// Returns the chunks that the canister has; `None` if the upload has ended.
    async fn stored_chunks(&self, uploader: &Uploader) -> Result<Option<BTreeSet<u32>>, UploadError> {
        let Some(session) = uploader.session() else { return Ok(None) };
        let status =
            self.retry(|| self.canister.query::<api::UploadStatus>("uploads_status", (session,))).await;
        match status {
            Ok(status) => {
                Ok(Some(status.received.iter().flat_map(|range| range.first..=range.last).collect()))
            }
            Err(error)
                if matches!(
                    error.refusal(),
                    Some(api::Error::NotFound { .. } | api::Error::Conflict { .. })
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores chunks, [`Options::parallel`] at a time. `counted`: whether to add their bytes to the progress; `false`
    /// for chunks that are sent again, whose bytes have been added before.
    async fn put_chunks(
        &self,
        uploader: &mut Uploader,
        chunks: Vec<u32>,
        counted: bool,
    ) -> Result<(), UploadError> {
        // The answers change the uploader, so the calls are made from a copy of it.
        let before = uploader.clone();
        let calls = chunks.into_iter().map(|index| {
            let before = &before;
            async move {
                let step = UploadStep::Put(index);
                let reply = self.retry(|| async { self.canister.call(before.call(step)?).await }).await?;
                Ok::<_, ClientError>((index, reply))
            }
        });
        let mut answers = stream::iter(calls).buffer_unordered(self.options.parallel);
        while let Some(answer) = answers.next().await {
            let (index, reply) = answer?;
            uploader.accept(UploadStep::Put(index), &reply)?;
            if counted {
                self.progress.add_bytes(before.chunk_bytes(index));
            }
        }
        Ok(())
    }

    /// Returns the indexes of the stored chunks whose bytes differ from the file's.
    async fn wrong_chunks(&self, uploader: &Uploader) -> Result<Vec<u32>, UploadError> {
        let mut wrong = Vec::new();
        let mut from = Some(0);
        while let (Some(first), Some(session)) = (from, uploader.session()) {
            let page: api::ChunkDigests = self
                .retry(|| self.canister.query("uploads_chunk_digests", (session, Some(first), None::<u32>)))
                .await?;
            for digest in page.digests {
                let bytes = uploader.asset.chunk(digest.idx, uploader.chunk_size())?;
                if Sha256::digest(&bytes).as_slice() != digest.sha256.as_slice() {
                    wrong.push(digest.idx);
                }
            }
            from = page.next;
        }
        Ok(wrong)
    }
}

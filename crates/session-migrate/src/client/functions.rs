//! Functions of the canister, each as a method of the same name.

use candid::Principal;
use serde_bytes::ByteBuf;
use upload_canister::api;

use super::canister::decode;
use super::{Canister, ClientError};

impl Canister<'_> {
    /// Returns the running build.
    ///
    /// # Errors
    /// Like every function here: if the call fails. Those that return `variant { Ok; Err }` also fail if the canister
    /// returns an error of its own.
    pub fn build_info(&self) -> Result<api::BuildInfo, ClientError> {
        let reply = self.query_with(Principal::anonymous(), "build_info", ())?;
        Ok(decode::<(api::BuildInfo,)>("build_info", &reply)?.0)
    }

    /// Returns the length of a chunk, and the limits for files that are stored inline.
    pub fn upload_config(&self) -> Result<api::UploadConfig, ClientError> {
        let reply = self.query_with(Principal::anonymous(), "upload_config", ())?;
        Ok(decode::<(api::UploadConfig,)>("upload_config", &reply)?.0)
    }

    /// Sends an HTTP request to the canister, like a gateway.
    pub fn http_request(&self, request: &api::HttpRequest) -> Result<api::HttpResponse, ClientError> {
        let reply = self.query_with(Principal::anonymous(), "http_request", (request,))?;
        Ok(decode::<(api::HttpResponse,)>("http_request", &reply)?.0)
    }

    /// Begins an upload, and returns the id of its session. `idem` is the idempotency key.
    pub fn uploads_begin(
        &self,
        caller: Principal,
        capsule: &str,
        asset: &api::AssetMetadata,
        expected_chunks: u32,
        idem: &str,
    ) -> Result<u64, ClientError> {
        self.update(caller, "uploads_begin", (capsule, asset, expected_chunks, idem))
    }

    /// Stores one chunk. With `sha256`, the canister compares the bytes with this hash.
    pub fn uploads_put_chunk(
        &self,
        caller: Principal,
        session: u64,
        index: u32,
        bytes: Vec<u8>,
        sha256: Option<[u8; 32]>,
    ) -> Result<(), ClientError> {
        let sha256 = sha256.map(ByteBuf::from);
        let args = (session, index, ByteBuf::from(bytes), sha256);
        self.update(caller, "uploads_put_chunk", args)
    }

    /// Finishes an upload of a file of `bytes` bytes with this SHA-256.
    pub fn uploads_finish(
        &self,
        caller: Principal,
        session: u64,
        sha256: [u8; 32],
        bytes: u64,
    ) -> Result<api::UploadFinishResult, ClientError> {
        self.update(caller, "uploads_finish", (session, ByteBuf::from(sha256), bytes))
    }

    /// Aborts an upload.
    pub fn uploads_abort(&self, caller: Principal, session: u64) -> Result<(), ClientError> {
        self.update(caller, "uploads_abort", (session,))
    }

    /// Returns the status of an upload of the caller.
    pub fn uploads_status(&self, caller: Principal, session: u64) -> Result<api::UploadStatus, ClientError> {
        self.query(caller, "uploads_status", (session,))
    }

    /// Returns the size of a blob, and the number of its chunks.
    pub fn blob_get_meta(&self, caller: Principal, blob: &str) -> Result<api::BlobMeta, ClientError> {
        self.query(caller, "blob_get_meta", (blob,))
    }

    /// Reads one chunk of a blob.
    pub fn blob_read_chunk(&self, caller: Principal, blob: &str, index: u32) -> Result<Vec<u8>, ClientError> {
        let bytes: ByteBuf = self.query(caller, "blob_read_chunk", (blob, index))?;
        Ok(bytes.into_vec())
    }

    /// Creates a capsule owned by the caller. Its subject is `subject`, or the caller if there is none.
    pub fn capsules_create(
        &self,
        caller: Principal,
        subject: Option<api::PersonRef>,
    ) -> Result<api::Capsule, ClientError> {
        self.update(caller, "capsules_create", (subject,))
    }

    /// Returns one capsule.
    pub fn capsules_read(&self, caller: Principal, capsule: &str) -> Result<api::Capsule, ClientError> {
        self.query(caller, "capsules_read", (capsule,))
    }

    /// Replaces all access lists of a capsule.
    pub fn capsules_set_access(
        &self,
        caller: Principal,
        capsule: &str,
        access: &api::CapsuleAccess,
    ) -> Result<api::Capsule, ClientError> {
        self.update(caller, "capsules_set_access", (capsule, access))
    }

    /// Returns one memory.
    pub fn memories_read(&self, caller: Principal, memory: &str) -> Result<api::Memory, ClientError> {
        self.query(caller, "memories_read", (memory,))
    }

    /// Lists a page of a capsule's memories, starting after the id `after` (`None`: at the first one). `limit` is the
    /// size of the page; `None`: as the canister chooses.
    pub fn memories_list(
        &self,
        caller: Principal,
        capsule: &str,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<api::Memory>, ClientError> {
        self.query(caller, "memories_list", (capsule, after, limit))
    }

    /// Lists all memories of a capsule, page by page.
    ///
    /// # Errors
    /// See [`Canister::build_info`]. Also fails if a page ends before or where the previous page ended, because
    /// otherwise the list would never end.
    pub fn memories_all(&self, caller: Principal, capsule: &str) -> Result<Vec<api::Memory>, ClientError> {
        let mut all: Vec<api::Memory> = Vec::new();
        loop {
            let after = all.last().map(|memory| memory.id.clone());
            let page = self.memories_list(caller, capsule, after.as_deref(), None)?;
            let Some(last) = page.last() else { return Ok(all) };
            if after.is_some_and(|after| last.id <= after) {
                return Err(ClientError::NoProgress { method: "memories_list", at: last.id.clone() });
            }
            all.extend(page);
        }
    }

    /// Returns the status of the migration.
    pub fn migration_status(&self) -> Result<api::MigrationStatus, ClientError> {
        self.query(Principal::anonymous(), "migration_status", ())
    }

    /// Returns the migration's journal, starting at entry `from`.
    pub fn migration_journal(&self, from: Option<u64>) -> Result<Vec<api::JournalEntry>, ClientError> {
        self.query(Principal::anonymous(), "migration_journal", (from,))
    }

    /// Lists quarantined records after session `after`, for a controller.
    pub fn migration_quarantine(
        &self,
        controller: Principal,
        after: Option<u64>,
    ) -> Result<Vec<api::QuarantinedRecord>, ClientError> {
        self.query(controller, "migration_quarantine", (after,))
    }

    /// Rolls everything back to layout 1, for a controller.
    pub fn migration_rollback(&self, controller: Principal) -> Result<api::MigrationStatus, ClientError> {
        self.update(controller, "migration_rollback", ())
    }

    /// Verifies again everything that was converted, for a controller.
    pub fn migration_verify(&self, controller: Principal) -> Result<api::MigrationStatus, ClientError> {
        self.update(controller, "migration_verify", ())
    }

    /// Ends the possibility of a rollback, for a controller; with `leave_quarantined`, quarantined records stay in
    /// quarantine permanently.
    pub fn migration_finalize(
        &self,
        controller: Principal,
        leave_quarantined: bool,
    ) -> Result<api::MigrationStatus, ClientError> {
        match leave_quarantined {
            true => self.update(controller, "migration_finalize", (Some(true),)),
            false => self.update(controller, "migration_finalize", ()),
        }
    }

    /// Returns the settings, for a controller.
    pub fn admin_config_get(&self, controller: Principal) -> Result<api::AdminConfig, ClientError> {
        self.query(controller, "admin_config_get", ())
    }

    /// Changes the settings, for a controller.
    pub fn admin_config_set(
        &self,
        controller: Principal,
        config: api::AdminConfig,
    ) -> Result<(), ClientError> {
        self.update(controller, "admin_config_set", (config,))
    }
}

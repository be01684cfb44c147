//! The final state of a canister, independent of its layout.
//!
//! Sessions, capsules, memories and the bytes of every blob are queried, as the callers of the trace; counts, stats and
//! settings as the controller. Receipts, sessions by idempotency key, indexes and accounts, which no query returns, are
//! read from stable memory.

mod shown;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::rc::Rc;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use upload_canister::api::{
    self, AdminConfig, AdminStats, BlobMeta, Capsule, Memory, UploadCounts, UploadStatus,
};
use upload_canister::session::SessionId;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;
use upload_canister::upload::{IdemKey, Outcome};

use super::ReplayCanister;
use crate::trace::{Codec, EventKind, Trace};
use shown::{ContentShown, CountsShown, IndexShown, ReceiptShown, SessionOfKey, SumsShown};

/// The entries of a state, as Candid text, by part and name. Parts: session, index, receipt, capsule, memory,
/// blob, sums, counts, stats, settings.
pub type State = BTreeMap<(&'static str, String), String>;

/// Reads the state of a canister on which a trace was replayed. Ids are shown by the names that `codec` has for them;
/// new ids get names.
pub fn final_state(trace: &Trace, subject: &ReplayCanister, codec: &mut Codec) -> Result<State, String> {
    let mut reader = StateReader { subject, codec, state: State::new() };
    let mut live_sessions = Vec::new();
    for caller in callers(trace) {
        live_sessions.extend(reader.read_sessions(caller)?);
        reader.read_capsules(caller)?;
    }
    reader.read_administration()?;
    reader.read_stable(&live_sessions)?;
    Ok(reader.state)
}

/// Returns all callers of the trace except the anonymous principal, who owns nothing.
fn callers(trace: &Trace) -> BTreeSet<Principal> {
    let calls = trace.events.iter().filter_map(|event| match &event.what {
        EventKind::Call(call) => Some(call.caller),
        _ => None,
    });
    calls.filter(|caller| *caller != Principal::anonymous()).collect()
}

struct StateReader<'s> {
    subject: &'s ReplayCanister,
    codec: &'s mut Codec,
    state: State,
}

impl StateReader<'_> {
    fn query<T: CandidType + DeserializeOwned>(
        &self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<T, String> {
        let describe = |error: &dyn std::fmt::Display| format!("{method}: {error}");
        let arg = candid::encode_args(args).map_err(|error| describe(&error))?;
        let reply = self.subject.query(caller, method, arg).map_err(|reject| describe(&reject))?;
        let answer: api::Result<T> = candid::decode_one(&reply).map_err(|error| describe(&error))?;
        answer.map_err(|error| describe(&error))
    }

    /// Reads all pages of a list in the order of `key`. A page that does not advance is an error: reading would never
    /// end.
    fn read_pages<T: CandidType + DeserializeOwned, K: Ord + Debug>(
        &self,
        key: impl Fn(&T) -> K,
        mut page: impl FnMut(&Self, Option<&T>) -> Result<Vec<T>, String>,
    ) -> Result<Vec<T>, String> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let next = page(self, all.last())?;
            let Some(last) = next.last().map(&key) else { return Ok(all) };
            if all.last().is_some_and(|before| last <= key(before)) {
                return Err(format!("a list does not advance past {last:?}"));
            }
            all.extend(next);
        }
    }

    /// Adds an entry called `name`, in which ids are replaced by their names in the trace.
    fn add(&mut self, part: &'static str, name: &str, value: &impl CandidType) -> Result<(), String> {
        let name = self.codec.name_ids(name);
        let text = self.codec.show(value)?;
        self.state.insert((part, name), text);
        Ok(())
    }

    /// Adds the open sessions of a caller; returns each with the caller.
    fn read_sessions(&mut self, caller: Principal) -> Result<Vec<(Principal, UploadStatus)>, String> {
        let sessions: Vec<UploadStatus> = self.read_pages(
            |status: &UploadStatus| status.session,
            |reader, last| {
                reader.query(caller, "uploads_list", (last.map(|status| status.session), None::<u32>))
            },
        )?;
        for status in &sessions {
            let name = self.codec.session_name(status.session);
            self.add("session", &name, status)?;
        }
        Ok(sessions.into_iter().map(|status| (caller, status)).collect())
    }

    fn read_capsules(&mut self, caller: Principal) -> Result<(), String> {
        let capsules = self.read_pages(
            |capsule: &Capsule| capsule.id.clone(),
            |reader, last| {
                reader.query(caller, "capsules_list", (last.map(|capsule| &capsule.id), None::<u32>))
            },
        )?;
        for capsule in &capsules {
            self.add("capsule", &capsule.id, capsule)?;
            let memories = self.read_pages(
                |memory: &Memory| memory.id.clone(),
                |reader, last| {
                    let after = last.map(|memory| &memory.id);
                    reader.query(caller, "memories_list", (&capsule.id, after, None::<u32>))
                },
            )?;
            for memory in &memories {
                self.add("memory", &memory.id, memory)?;
                if memory.blob.locator.starts_with("blob_") {
                    self.read_blob(caller, &memory.blob.locator)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the length and the SHA-256 of a blob's bytes.
    fn read_blob(&mut self, caller: Principal, locator: &str) -> Result<(), String> {
        let meta: BlobMeta = self.query(caller, "blob_get_meta", (locator,))?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        for index in 0..meta.chunk_count {
            let chunk: ByteBuf = self.query(caller, "blob_read_chunk", (locator, index))?;
            hasher.update(&chunk);
            bytes += chunk.len() as u64;
        }
        let content = ContentShown { bytes, sha256: ByteBuf::from(hasher.finalize().to_vec()) };
        self.add("blob", locator, &content)
    }

    fn read_administration(&mut self) -> Result<(), String> {
        let controller = self.subject.controller();
        let stats: AdminStats = self.query(controller, "admin_stats", ())?;
        self.add("counts", "all paths", &CountsShown::of(&stats.counts))?;
        // The counts were added above as sums over all paths, since builds use different paths.
        let stats = AdminStats { counts: UploadCounts::default(), ..stats };
        self.add("stats", "admin_stats", &stats)?;
        let settings: AdminConfig = self.query(controller, "admin_config_get", ())?;
        self.add("settings", "admin_config", &settings)
    }

    /// Adds the entries that are read from stable memory.
    fn read_stable(&mut self, live_sessions: &[(Principal, UploadStatus)]) -> Result<(), String> {
        let memory = self.subject.pic().get_stable_memory(self.subject.id());
        let layouts = [Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];
        let storage = Storage::open_accepting(Rc::new(RefCell::new(memory)), &layouts)
            .map_err(|error| error.to_string())?;
        let to_text = |error: upload_canister::stable::StableError| error.to_string();
        let session_of_key = |key: IdemKey| -> Result<Option<SessionOfKey>, String> {
            Ok(storage.index.find(key).map_err(to_text)?.map(|id| SessionOfKey { session: id.0 }))
        };
        for (owner, status) in live_sessions {
            let id = SessionId(status.session);
            let last_seen = upload_canister::session::Time::from_nanos(status.last_seen);
            let shown = IndexShown {
                by_owner: storage.index.contains(id, *owner),
                by_activity: storage.index.is_active_at(id, last_seen),
                key_leads_to: session_of_key(IdemKey::of(&status.capsule_id, owner, &status.idem))?,
            };
            let name = self.codec.session_name(status.session);
            self.add("index", &name, &shown)?;
        }
        for session in storage.receipts.sessions() {
            let Some(receipt) = storage.receipts.get(SessionId(session)).map_err(to_text)? else { continue };
            let (outcome, finished) = match &receipt.outcome {
                Outcome::Finished(finished) => ("finished", Some(finished)),
                Outcome::Aborted => ("aborted", None),
                Outcome::Expired => ("expired", None),
                Outcome::Evicted => ("evicted", None),
            };
            let shown = ReceiptShown {
                owner: receipt.owner,
                outcome,
                memory_id: finished.map(|finished| finished.memory_id.clone()),
                blob_id: finished.map(|finished| finished.to_api().blob_id),
                size: finished.map(|finished| finished.size),
                digest: finished.map(|finished| ByteBuf::from(finished.checksum)),
                uploaded_at: finished.map(|finished| finished.finished_at),
                expires_at: receipt.expires_at,
                key_leads_to: session_of_key(IdemKey(receipt.idem_key))?,
            };
            let name = self.codec.session_name(session);
            self.add("receipt", &name, &shown)?;
        }
        let sums = SumsShown {
            live_sessions: storage.index.len(),
            receipts: storage.receipts.len(),
            accounts: storage.usage.account_count(),
            bytes_in_use: storage.usage.total().map_err(to_text)?,
        };
        self.add("sums", "all", &sums)
    }
}

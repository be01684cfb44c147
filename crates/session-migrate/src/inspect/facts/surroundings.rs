//! Lets the canister's own examination of legacy records (`examine`) read the tables of a snapshot, by way of
//! [`Facts`].

use candid::Principal;
use upload_canister::api;
use upload_canister::blob::ChunkPrefix;
use upload_canister::migrations::split_sessions::Surroundings;
use upload_canister::session::{ChunkSet, SessionId};
use upload_canister::upload::IdemKey;

use super::Facts;

impl Surroundings for Facts {
    fn session_ttl_seconds(&self) -> api::Result<u64> {
        Ok(self.config.0.session_ttl_seconds)
    }

    fn stored_chunks(&self, prefix: ChunkPrefix) -> ChunkSet {
        self.chunks_under(prefix).map(|(idx, _)| idx).collect()
    }

    fn is_indexed(&self, id: SessionId, owner: Principal) -> bool {
        self.sessions_by_owner.contains(&(owner, id.0))
    }

    fn session_of_key(&self, key: IdemKey) -> api::Result<Option<SessionId>> {
        Ok(self.sessions_by_idem.get(&key.0).copied().map(SessionId))
    }

    fn is_in_flight(&self, id: SessionId) -> bool {
        self.is_live(id.0)
    }
}

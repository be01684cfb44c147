//! A controller's calls about one canister, and the facts about the canister that the network certifies.

use candid::Principal;
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use ic_agent::{Agent, AgentError};
use ic_certification::{Certificate, Label, LookupResult};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterStatusResult, ReadCanisterSnapshotDataArgs, ReadCanisterSnapshotDataResult,
    ReadCanisterSnapshotMetadataArgs, ReadCanisterSnapshotMetadataResult, Snapshot, SnapshotDataKind,
};

use super::canister::to_client_error;
use crate::client::{ClientError, EncodedCall, decode_reply};

/// A canister, as its controller sees it. Every returned value is certified by the network.
#[derive(Clone, Debug)]
pub struct Management {
    agent: Agent,
    canister: Principal,
}

/// What the network certifies about a canister in its state tree, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Time of the certified state, nanoseconds; 0 if the certificate contains none.
    pub at: u64,
    /// SHA-256 of the canister's module; `None` if no module is installed.
    pub module_hash: Option<Vec<u8>>,
    /// When the module was installed or loaded, nanoseconds; `None` if no module is installed, or if the network does
    /// not certify this time.
    pub installed_at: Option<u64>,
}

impl Management {
    pub(super) fn new(agent: Agent, canister: Principal) -> Management {
        Management { agent, canister }
    }

    /// Returns the canister's id.
    pub fn canister(&self) -> Principal {
        self.canister
    }

    async fn call<T: for<'a> ArgumentDecoder<'a>>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ClientError> {
        let EncodedCall { method, arg } = EncodedCall::new(method, args)?;
        let reply = self
            .agent
            .update(&Principal::management_canister(), method)
            .with_effective_canister_id(self.canister)
            .with_arg(arg)
            .call_and_wait()
            .await
            .map_err(|error| to_client_error(method, error))?;
        decode_reply(method, &reply)
    }

    /// Returns the canister's status.
    pub async fn status(&self) -> Result<CanisterStatusResult, ClientError> {
        let args = CanisterIdRecord { canister_id: self.canister };
        Ok(self.call::<(CanisterStatusResult,)>("canister_status", (args,)).await?.0)
    }

    /// Lists the canister's snapshots.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, ClientError> {
        let args = CanisterIdRecord { canister_id: self.canister };
        Ok(self.call::<(Vec<Snapshot>,)>("list_canister_snapshots", (args,)).await?.0)
    }

    /// Returns the metadata of a snapshot.
    pub async fn snapshot_metadata(
        &self,
        snapshot: &[u8],
    ) -> Result<ReadCanisterSnapshotMetadataResult, ClientError> {
        let args =
            ReadCanisterSnapshotMetadataArgs { canister_id: self.canister, snapshot_id: snapshot.to_vec() };
        let method = "read_canister_snapshot_metadata";
        Ok(self.call::<(ReadCanisterSnapshotMetadataResult,)>(method, (args,)).await?.0)
    }

    /// Returns the part of a snapshot's data that `kind` names.
    pub async fn snapshot_data(
        &self,
        snapshot: &[u8],
        kind: SnapshotDataKind,
    ) -> Result<Vec<u8>, ClientError> {
        let args =
            ReadCanisterSnapshotDataArgs { canister_id: self.canister, snapshot_id: snapshot.to_vec(), kind };
        let method = "read_canister_snapshot_data";
        Ok(self.call::<(ReadCanisterSnapshotDataResult,)>(method, (args,)).await?.0.chunk)
    }

    /// Returns what the network certifies about the canister.
    pub async fn certified(&self) -> Result<Certified, ClientError> {
        let paths = ["module_hash", "last_install_timestamp"].map(|name| self.path(name));
        let read = self.agent.read_state_raw(paths.to_vec(), self.canister).await;
        let certificate = match read {
            // Networks before version 0.66 of the interface specification refuse a request for
            // `last_install_timestamp`.
            Err(AgentError::HttpError(payload)) if payload.status == 400 => {
                self.agent.read_state_raw(vec![self.path("module_hash")], self.canister).await
            }
            read => read,
        }
        .map_err(|error| to_client_error("read_state", error))?;
        let look_up = |name| match certificate.tree.lookup_path(self.path(name)) {
            LookupResult::Found(value) => Some(value.to_vec()),
            _ => None,
        };
        Ok(Certified {
            at: certified_time(&certificate).unwrap_or_default(),
            module_hash: look_up("module_hash"),
            installed_at: look_up("last_install_timestamp").and_then(|bytes| decode_natural(&bytes)),
        })
    }

    /// Returns the section `name` of the module's metadata; `None` if the network certifies that there is none.
    pub async fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        match self.agent.read_state_canister_metadata(self.canister, name).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(AgentError::LookupPathAbsent(_)) => Ok(None),
            Err(error) => Err(to_client_error("read_state", error)),
        }
    }

    fn path(&self, name: &str) -> Vec<Label> {
        vec!["canister".into(), Label::from_bytes(self.canister.as_slice()), name.into()]
    }
}

/// Returns the time of the state that a certificate is about, nanoseconds.
pub(super) fn certified_time(certificate: &Certificate) -> Option<u64> {
    match certificate.tree.lookup_path([b"time".as_slice()]) {
        LookupResult::Found(bytes) => decode_natural(bytes),
        _ => None,
    }
}

/// Reads a natural of the state tree; `None` for a natural that is truncated or has more than 64 bits.
fn decode_natural(mut bytes: &[u8]) -> Option<u64> {
    leb128::read::unsigned(&mut bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode_natural;

    #[test]
    fn naturals_of_the_state_tree_are_read() {
        assert_eq!(decode_natural(&[0xe5, 0x8e, 0x26]), Some(624_485));
        assert_eq!(decode_natural(&[0]), Some(0));
        assert_eq!(decode_natural(&[0x80]), None, "truncated");
        assert_eq!(decode_natural(&[0x80; 12]), None, "more than 64 bits");
        let too_large = [[0x80; 9].as_slice(), &[0x7e]].concat();
        assert_eq!(decode_natural(&too_large), None, "more than 64 bits, in as many bytes as 64 bits take");
    }
}

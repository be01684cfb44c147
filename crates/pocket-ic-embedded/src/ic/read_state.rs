//! Reads the state tree: the paths that an agent may request, and the parts of the tree that prove them.

use super::calls::MessageId;
use super::certification::{Path, RangesForm, path_of};
use super::error::OpError;
use super::ingress_record::Effective;
use super::instance::Instance;
use super::subnet::{self, Subnet};
use candid::Principal;

/// Limits of the IC: on the paths of a request, and on the labels of a path.
const MAX_PATHS: usize = 1_000;
const MAX_LABELS: usize = 127;

/// A request to read the state tree.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    pub sender: Principal,
    pub effective: Effective,
    pub ranges_form: RangesForm,
    pub paths: Vec<Path>,
    /// The canisters to which the sender's delegations are limited; `None` for all.
    pub targets: Option<Vec<Principal>>,
}

/// Why a request to read is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefusal {
    /// The request has too many paths, or a path that cannot be read at this endpoint.
    #[error("{0}")]
    Invalid(String),
    /// The sender may not read what the request asks for.
    #[error("{0}")]
    Forbidden(String),
}

/// The tree of one subnet, as far as a request may read it.
struct ReadableTree<'a> {
    instance: &'a Instance,
    read_request: &'a ReadRequest,
    /// The subnet whose tree is read.
    subnet: &'a Subnet,
}

impl Instance {
    /// Returns a certificate that proves the presence or absence of the paths.
    pub fn read_state(&mut self, read_request: &ReadRequest) -> Result<Vec<u8>, ReadRefusal> {
        if read_request.paths.len() > MAX_PATHS {
            return Err(ReadRefusal::Invalid(format!(
                "Too many paths: got {}, at most {MAX_PATHS} can be read at once",
                read_request.paths.len()
            )));
        }
        let (subnet_id, proven_paths) = {
            let subnet = self.subnet_to_read(read_request.effective)?;
            let tree = ReadableTree { instance: self, read_request, subnet };
            let mut proven_paths = Vec::new();
            let mut call_id = None;
            for path in &read_request.paths {
                proven_paths.extend(tree.paths_to_prove(path, &mut call_id)?);
            }
            (subnet.id, proven_paths)
        };
        Ok(self.certificate(subnet_id, read_request.ranges_form, &proven_paths))
    }

    /// Returns the subnet whose tree is read for this effective id.
    fn subnet_to_read(&self, effective: Effective) -> Result<&Subnet, ReadRefusal> {
        let found = match effective {
            Effective::Subnet(id) => self.subnet(id),
            // Agents that create canisters without an effective id read the outcome from the root subnet.
            Effective::Canister(id) if id == Principal::management_canister() => {
                subnet::root(&self.subnets).ok_or(OpError::SubnetNotFound(id))
            }
            Effective::Canister(id) => self.route(id),
        };
        found.map_err(|error| ReadRefusal::Invalid(error.to_string()))
    }
}

impl ReadableTree<'_> {
    /// Returns the paths that prove what is requested. `call_id` is set to the call whose status is read; an error if
    /// it is another call already, since one request can read the status of only one call.
    fn paths_to_prove(&self, path: &Path, call_id: &mut Option<Vec<u8>>) -> Result<Vec<Path>, ReadRefusal> {
        if path.len() > MAX_LABELS {
            return Err(ReadRefusal::Invalid(format!(
                "Path of {} labels: at most {MAX_LABELS} are allowed",
                path.len()
            )));
        }
        let labels: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let as_requested = || Ok(vec![path.clone()]);
        match labels.as_slice() {
            [b"time"] => as_requested(),
            [b"api_boundary_nodes", rest @ ..] if rest.len() <= 2 => as_requested(),
            [b"subnet", rest @ ..] => self.subnet_paths(path, rest),
            [b"canister_ranges", _] if matches!(self.read_request.effective, Effective::Subnet(_)) => {
                as_requested()
            }
            [b"request_status", id, rest @ ..] if is_status_or_part(rest) => {
                if call_id.get_or_insert_with(|| id.to_vec()) != id {
                    return Err(ReadRefusal::Invalid(
                        "Can only read the status of one request at a time: read each separately".into(),
                    ));
                }
                self.check_call(id)?;
                as_requested()
            }
            [b"canister", id, rest @ ..] => {
                self.check_canister(path, id, rest)?;
                as_requested()
            }
            _ => Err(invalid_path(path)),
        }
    }

    /// Returns the paths that prove `path`, which is `subnet` followed by `labels`. They depend on the effective id and
    /// on the form of the ranges.
    fn subnet_paths(&self, path: &Path, labels: &[&[u8]]) -> Result<Vec<Path>, ReadRefusal> {
        let as_requested = || Ok(vec![path.clone()]);
        let is_read_subnet = |id: &[u8]| id == self.subnet.id.as_slice();
        let subnet_ids = || self.instance.subnets.iter().map(|subnet| subnet.id);
        let below = |id: &[u8], label: &str| path_of(&[b"subnet", id, label.as_bytes()]);
        let all_below = |id: &[u8]| -> Vec<Path> {
            let labels = ["public_key", "type", "node", "canister_ranges", "metrics"];
            let readable = labels.into_iter().filter(|label| match *label {
                "canister_ranges" => self.may_read_ranges(id),
                "node" | "metrics" => is_read_subnet(id),
                _ => true,
            });
            readable.map(|label| below(id, label)).collect()
        };
        match labels {
            [] => Ok(subnet_ids().flat_map(|id| all_below(id.as_slice())).collect()),
            [id] if subnet_ids().any(|known| known.as_slice() == *id) => Ok(all_below(id)),
            [_] | [_, b"public_key" | b"type"] => as_requested(),
            [id, b"node", rest @ ..] if rest.len() <= 2 => {
                if is_read_subnet(id) {
                    return as_requested();
                }
                // For another subnet, the certificate shows the subnet's public key instead of its nodes.
                Ok(vec![below(id, "public_key")])
            }
            [id, b"canister_ranges"] if self.may_read_ranges(id) => as_requested(),
            [id, b"metrics"]
                if is_read_subnet(id) && self.read_request.effective == Effective::Subnet(self.subnet.id) =>
            {
                as_requested()
            }
            _ => Err(invalid_path(path)),
        }
    }

    /// Returns whether `canister_ranges` of this subnet can be read: always for the root subnet, and for other subnets
    /// if the request wants ranges in one list.
    fn may_read_ranges(&self, subnet_id: &[u8]) -> bool {
        let root = subnet::root(&self.instance.subnets);
        self.read_request.ranges_form == RangesForm::OneList
            || root.is_some_and(|root| root.id.as_slice() == subnet_id)
    }

    /// Checks that the call, if it is known, was sent to this effective id by the sender of the read request, and to a
    /// canister that the sender's delegations allow.
    fn check_call(&self, id: &[u8]) -> Result<(), ReadRefusal> {
        let id: MessageId = id.try_into().map_err(|_| {
            ReadRefusal::Invalid(format!("Invalid request id: got {} bytes, not 32", id.len()))
        })?;
        let Some(record) = self.instance.ingress.get(&id) else {
            return Ok(());
        };
        let forbidden = |text: &str| Err(ReadRefusal::Forbidden(text.into()));
        let Some(agent_call) = &record.agent_call else {
            // The call was not sent by an agent, and is not in the tree.
            return Ok(());
        };
        if record.sender != self.read_request.sender {
            return forbidden("The user tries to access Request ID not signed by the caller.");
        }
        if agent_call.effective != self.read_request.effective {
            return forbidden("The request was sent to another effective id than the one in the URL.");
        }
        match &self.read_request.targets {
            Some(targets) if !targets.contains(&agent_call.callee) => forbidden(
                "The user tries to access request IDs that are not in the targets of the delegation.",
            ),
            _ => Ok(()),
        }
    }

    /// Checks that the path is about the effective canister and can be read here, and that the sender is a controller
    /// if the path names a private section. `labels` follow the canister's id in `path`.
    fn check_canister(&self, path: &Path, id: &[u8], labels: &[&[u8]]) -> Result<(), ReadRefusal> {
        match self.read_request.effective {
            Effective::Canister(effective) if effective.as_slice() == id => {}
            _ => {
                return Err(ReadRefusal::Invalid(format!(
                    "{} does not match the effective id in the URL",
                    path_text(path)
                )));
            }
        }
        let name = match labels {
            [
                b"module_hash" | b"controllers" | b"canister_creation_timestamp" | b"last_install_timestamp",
            ] => {
                return Ok(());
            }
            [b"metadata", name] => std::str::from_utf8(name)
                .map_err(|error| ReadRefusal::Invalid(format!("Invalid name of metadata: {error}")))?,
            _ => return Err(invalid_path(path)),
        };
        let canister = Principal::try_from_slice(id).ok().and_then(|id| self.instance.canisters.get(&id));
        let Some(canister) = canister else {
            return Ok(());
        };
        let section = canister.state.as_ref().and_then(|state| state.module().custom_section(name));
        let is_private = section.is_some_and(|section| !section.is_public);
        if is_private && !canister.settings.is_controlled_by(self.read_request.sender) {
            return Err(ReadRefusal::Forbidden(format!(
                "Custom section {name:.100} can only be requested by the controllers of the canister."
            )));
        }
        Ok(())
    }
}

/// Returns whether these labels, below the id of a call, name its whole status or one part of it.
fn is_status_or_part(labels: &[&[u8]]) -> bool {
    matches!(labels, [] | [b"status" | b"reply" | b"reject_code" | b"reject_message" | b"error_code"])
}

/// The error for a path that no request to this address can read.
fn invalid_path(path: &Path) -> ReadRefusal {
    ReadRefusal::Invalid(format!("Invalid path requested: {} cannot be read here", path_text(path)))
}

/// Returns the first five labels of a path: as text if they are printable ASCII, otherwise in hex.
fn path_text(path: &Path) -> String {
    let labels = path.iter().map(|label| match std::str::from_utf8(label) {
        Ok(text) if text.chars().all(|char| char.is_ascii_graphic()) => format!("/{text:.100}"),
        _ => format!("/0x{:.80}", hex::encode(label)),
    });
    labels.take(5).collect()
}

//! Reads the state tree: the paths that an agent may request, and the parts of the tree that prove them.

use super::calls::MessageId;
use super::certification::{Path, RangesForm, path_of};
use super::ingress_record::Effective;
use super::instance::Instance;
use super::subnet::{self, Subnet};
use candid::Principal;

const MAX_PATHS: usize = 1_000;
const MAX_LABELS: usize = 127;

/// A request to read the state tree.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    pub sender: Principal,
    pub effective: Effective,
    pub form: RangesForm,
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
    #[error("{0}")]
    Forbidden(String),
}

/// A request to read, and the subnet whose tree is read.
struct Reader<'a> {
    instance: &'a Instance,
    request: &'a ReadRequest,
    subnet: &'a Subnet,
}

impl Instance {
    /// Returns a certificate that proves the presence or absence of the paths.
    pub fn read_state(&mut self, request: &ReadRequest) -> Result<Vec<u8>, ReadRefusal> {
        if request.paths.len() > MAX_PATHS {
            return Err(ReadRefusal::Invalid(format!(
                "Too many paths: got {}, at most {MAX_PATHS} can be read at once",
                request.paths.len()
            )));
        }
        let (id, proven) = {
            let reader = Reader { instance: self, request, subnet: self.subnet_to_read(request.effective)? };
            let mut proven = Vec::new();
            let mut call_id = None;
            for path in &request.paths {
                proven.extend(reader.paths_to_prove(path, &mut call_id)?);
            }
            (reader.subnet.id, proven)
        };
        Ok(self.certificate(id, request.form, &proven))
    }

    fn subnet_to_read(&self, effective: Effective) -> Result<&Subnet, ReadRefusal> {
        let found = match effective {
            Effective::Subnet(id) => self.subnet(id),
            // Agents that create canisters without an effective id read the outcome from the root subnet.
            Effective::Canister(id) if id == Principal::management_canister() => {
                let root = subnet::root(&self.subnets).map(|subnet| subnet.id).unwrap_or(id);
                self.subnet(root)
            }
            Effective::Canister(id) => self.route(id),
        };
        found.map_err(|error| ReadRefusal::Invalid(error.to_string()))
    }
}

impl Reader<'_> {
    /// Returns the paths that prove what is requested. `call_id` is the call whose status is read: one request can read
    /// the status of only one call.
    fn paths_to_prove(&self, path: &Path, call_id: &mut Option<Vec<u8>>) -> Result<Vec<Path>, ReadRefusal> {
        if path.len() > MAX_LABELS {
            return Err(ReadRefusal::Invalid(format!(
                "Path of {} labels: at most {MAX_LABELS} are allowed",
                path.len()
            )));
        }
        let labels: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let whole = || Ok(vec![path.clone()]);
        match labels.as_slice() {
            [b"time"] => whole(),
            [b"api_boundary_nodes", rest @ ..] if rest.len() <= 2 => whole(),
            [b"subnet", rest @ ..] => self.subnet_paths(path, rest),
            [b"canister_ranges", _] if matches!(self.request.effective, Effective::Subnet(_)) => whole(),
            [b"request_status", id, rest @ ..] if is_status(rest) => {
                if call_id.get_or_insert_with(|| id.to_vec()) != id {
                    return Err(ReadRefusal::Invalid(
                        "Can only read the status of one request at a time: read each separately".into(),
                    ));
                }
                self.check_request(id)?;
                whole()
            }
            [b"canister", id, rest @ ..] => {
                self.check_canister(path, id, rest)?;
                whole()
            }
            _ => Err(invalid(path)),
        }
    }

    /// Returns the paths for a subnet, which depend on the effective id and the form of the request.
    fn subnet_paths(&self, path: &Path, labels: &[&[u8]]) -> Result<Vec<Path>, ReadRefusal> {
        let ids = || self.instance.subnets.iter().map(|subnet| subnet.id);
        let below = |id: &[u8], label: &str| path_of(&[b"subnet", id, label.as_bytes()]);
        let all = |id: &[u8]| -> Vec<Path> {
            let own = id == self.subnet.id.as_slice();
            let labels = ["public_key", "type", "node", "canister_ranges", "metrics"];
            let seen = labels.into_iter().filter(|label| match *label {
                "canister_ranges" => self.sees_ranges(id),
                "node" | "metrics" => own,
                _ => true,
            });
            seen.map(|label| below(id, label)).collect()
        };
        match labels {
            [] => Ok(ids().flat_map(|id| all(id.as_slice())).collect()),
            [id] if ids().any(|known| known.as_slice() == *id) => Ok(all(id)),
            [_] | [_, b"public_key" | b"type"] => Ok(vec![path.clone()]),
            [id, b"node", rest @ ..] if rest.len() <= 2 => {
                // For another subnet, the certificate shows the subnet's public key instead of its nodes.
                let own = *id == self.subnet.id.as_slice();
                Ok(vec![if own { path.clone() } else { below(id, "public_key") }])
            }
            [id, b"canister_ranges"] if self.sees_ranges(id) => Ok(vec![path.clone()]),
            [id, b"metrics"] if self.request.effective == Effective::Subnet(self.subnet.id) => {
                match *id == self.subnet.id.as_slice() {
                    true => Ok(vec![path.clone()]),
                    false => Err(invalid(path)),
                }
            }
            _ => Err(invalid(path)),
        }
    }

    fn sees_ranges(&self, id: &[u8]) -> bool {
        let root = subnet::root(&self.instance.subnets);
        self.request.form == RangesForm::OneList || root.is_some_and(|root| root.id.as_slice() == id)
    }

    /// Checks that the call, if it is known, was sent by the reader to this effective id, and to a canister that the
    /// reader's delegations allow.
    fn check_request(&self, id: &[u8]) -> Result<(), ReadRefusal> {
        let id: MessageId = id.try_into().map_err(|_| {
            ReadRefusal::Invalid(format!("Invalid request id: got {} bytes, not 32", id.len()))
        })?;
        let Some(record) = self.instance.ingress.get(&id) else {
            return Ok(());
        };
        let forbidden = |text: &str| Err(ReadRefusal::Forbidden(text.into()));
        let Some(request) = &record.request else {
            // The call was not sent by an agent, and is not in the tree.
            return Ok(());
        };
        if record.sender != self.request.sender {
            return forbidden("The user tries to access Request ID not signed by the caller.");
        }
        if request.effective != self.request.effective {
            return forbidden("The request was sent to another effective id than the one in the URL.");
        }
        match &self.request.targets {
            Some(targets) if !targets.contains(&request.callee) => forbidden(
                "The user tries to access request IDs that are not in the targets of the delegation.",
            ),
            _ => Ok(()),
        }
    }

    fn check_canister(&self, path: &Path, id: &[u8], labels: &[&[u8]]) -> Result<(), ReadRefusal> {
        match self.request.effective {
            Effective::Canister(effective) if effective.as_slice() == id => {}
            _ => {
                return Err(ReadRefusal::Invalid(format!(
                    "{} does not match the effective id in the URL",
                    display(path)
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
            _ => return Err(invalid(path)),
        };
        let canister = Principal::try_from_slice(id).ok().and_then(|id| self.instance.canisters.get(&id));
        let Some(canister) = canister else {
            return Ok(());
        };
        let section = canister.state.as_ref().and_then(|state| state.module().custom_section(name));
        match section {
            Some((_, false)) if !canister.settings.is_controlled_by(self.request.sender) => {
                Err(ReadRefusal::Forbidden(format!(
                    "Custom section {name:.100} can only be requested by the controllers of the canister."
                )))
            }
            _ => Ok(()),
        }
    }
}

fn is_status(labels: &[&[u8]]) -> bool {
    matches!(labels, [] | [b"status" | b"reply" | b"reject_code" | b"reject_message" | b"error_code"])
}

fn invalid(path: &Path) -> ReadRefusal {
    ReadRefusal::Invalid(format!("Invalid path requested: {} cannot be read here", display(path)))
}

/// Returns the first five labels of a path: as text if they are printable ASCII, otherwise in hex.
fn display(path: &Path) -> String {
    let labels = path.iter().map(|label| match std::str::from_utf8(label) {
        Ok(text) if text.chars().all(|char| char.is_ascii_graphic()) => format!("/{text:.100}"),
        _ => format!("/0x{:.80}", hex::encode(label)),
    });
    labels.take(5).collect()
}

//! A client of this server's extensions of the PocketIC protocol.

use std::sync::OnceLock;
use std::time::Duration;

use candid::Principal;
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{RawCanisterSnapshotId, RawCanisterSnapshotUpload};
use reqwest::blocking::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::MessageCost;

/// The extensions for one instance of the embedded server.
///
/// ```no_run
/// # fn test(pic: &pocket_ic::PocketIc, canister: candid::Principal) -> Result<(), pocket_ic_embedded::ExtensionError> {
/// use pocket_ic_embedded::Extensions;
///
/// let extensions = Extensions::of(pic);
/// // The number of costs is the next index as long as the server keeps all of them.
/// let before = extensions.message_costs(canister, 0)?.len() as u64;
/// pic.update_call(canister, candid::Principal::anonymous(), "increment", vec![]).unwrap();
/// for cost in extensions.message_costs(canister, before)? {
///     assert!(cost.instructions < 1_000_000, "{} took {} instructions", cost.method, cost.instructions);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Extensions {
    /// URL of the instance's extensions; ends with a slash.
    base: String,
}

/// Timeout of short requests, the same as the default of reqwest's blocking client.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the HTTP client, which all [`Extensions`] in this process share, since each client runs a thread. The client
/// itself has no timeout: requests that need one set it.
fn client() -> Result<&'static Client, reqwest::Error> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = Client::builder().timeout(None).build()?;
    Ok(CLIENT.get_or_init(|| client))
}

/// Why a request to an extension failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The request could not be sent, or there was no complete answer.
    #[error("{url}: {source}")]
    Http {
        /// The address of the extension.
        url: String,
        /// The client's error.
        source: reqwest::Error,
    },
    /// The server refused the request.
    #[error("{url}: {message} (status {status})")]
    Refused {
        /// The address of the extension.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
    },
    /// The answer is not what this version expects: it comes from another server, or from another version.
    #[error("{url}: not an answer of pocket-ic-embedded {}: {detail}", env!("CARGO_PKG_VERSION"))]
    Unexpected {
        /// The address of the extension.
        url: String,
        /// What is wrong with the answer.
        detail: String,
    },
}

impl Extensions {
    /// Returns the extensions for the instance of this client. The first request shows whether the client's server has
    /// extensions.
    pub fn of(pic: &PocketIc) -> Extensions {
        let server = pic.get_server_url();
        let base =
            format!("{}/instances/{}/embedded/", server.as_str().trim_end_matches('/'), pic.instance_id());
        Extensions { base }
    }

    /// Returns the costs of a canister's executions starting at index `from`, oldest first. The server keeps the
    /// last 10,000 of each canister.
    ///
    /// # Errors
    /// [`ExtensionError`]; refused if there is no such canister.
    pub fn message_costs(&self, canister: Principal, from: u64) -> Result<Vec<MessageCost>, ExtensionError> {
        let url = format!("{}canister_costs/{canister}?from={from}", self.base);
        send_request(url, |client, url| client.get(url).timeout(TIMEOUT))
    }

    /// Limits the instructions of each message of a canister: the usual limit of its kind stays, and the lower one
    /// counts. `None` removes the additional limit.
    ///
    /// # Errors
    /// [`ExtensionError`]; refused if there is no such canister.
    pub fn set_instruction_cap(
        &self,
        canister: Principal,
        instructions: Option<u64>,
    ) -> Result<(), ExtensionError> {
        let url = format!("{}instruction_cap/{canister}", self.base);
        let body = serde_json::json!({ "instructions": instructions });
        send_request::<Value>(url, |client, url| client.post(url).timeout(TIMEOUT).json(&body)).map(drop)
    }

    /// Uploads a snapshot whose `stable_memory.bin` the server uses in place instead of copying it: the file must not
    /// change as long as the canister exists. The server never writes to the file. The request has no timeout, since
    /// the server reads all other files of the folder first, which may take long.
    ///
    /// # Errors
    /// [`ExtensionError`]; refused, for example, if the folder is not a complete snapshot.
    pub fn upload_snapshot_in_place(
        &self,
        request: &RawCanisterSnapshotUpload,
    ) -> Result<RawCanisterSnapshotId, ExtensionError> {
        let url = format!("{}canister_snapshot_in_place", self.base);
        send_request(url, |client, url| client.post(url).json(request))
    }
}

/// Sends a request and parses the JSON of its answer. The `message` of an answer with an error status becomes
/// [`ExtensionError::Refused`]; an error without one is [`ExtensionError::Unexpected`].
fn send_request<T: DeserializeOwned>(
    url: String,
    request: impl FnOnce(&Client, &str) -> RequestBuilder,
) -> Result<T, ExtensionError> {
    let send = || {
        let response = request(client()?, &url).send()?;
        Ok((response.status(), response.bytes()?))
    };
    let (status, body) = match send() {
        Ok(response) => response,
        Err(source) => return Err(ExtensionError::Http { url, source }),
    };
    if status.is_success() {
        let parsed = serde_json::from_slice(&body);
        return parsed.map_err(|error| ExtensionError::Unexpected { url, detail: error.to_string() });
    }
    let refusal: Option<Value> = serde_json::from_slice(&body).ok();
    match refusal.as_ref().and_then(|refusal| refusal["message"].as_str()) {
        Some(message) => {
            Err(ExtensionError::Refused { url, status: status.as_u16(), message: message.to_owned() })
        }
        None => Err(ExtensionError::Unexpected { url, detail: format!("status {status}") }),
    }
}

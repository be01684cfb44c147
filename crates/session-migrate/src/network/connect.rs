//! Connects to a network. Only for the Internet Computer, its root key is known; for every other network, the user
//! specifies it.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use candid::Principal;
use ic_agent::{Agent, Identity};

use super::{LiveCanister, Management};

/// Prefix of a DER-encoded BLS public key, in hex; the 96 bytes of the key itself follow.
const DER_PREFIX: &str = "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100";
/// Number of hexadecimal digits of a root key in DER.
const DER_DIGITS: usize = DER_PREFIX.len() + 2 * 96;

/// Timeout of an HTTP request: the same as in the HTTP client that an agent creates by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(360);

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The URL is invalid, no network answers there, or no HTTP client can be created.
    #[error("cannot use the network at {url}: {detail}")]
    Url {
        /// The given URL.
        url: String,
        /// Why the network cannot be used.
        detail: String,
    },
    /// The given root key is invalid.
    #[error(
        "the root key must be `mainnet`, `fetch` or {DER_DIGITS} hexadecimal digits that begin with {DER_PREFIX}; got {got}"
    )]
    RootKey {
        /// The given key.
        got: String,
    },
    /// No root key was given for a network that is not the Internet Computer.
    #[error(
        "{url} is not the Internet Computer: name the key that its certificates are signed with, --root-key KEY, or \
         --root-key fetch for a test network"
    )]
    NoRootKey {
        /// The network.
        url: String,
    },
    /// The identity cannot be read.
    #[error(
        "{path} has no identity: {detail}; an unencrypted PEM file of an Ed25519, secp256k1 or P-256 key is needed"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why the identity cannot be read.
        detail: String,
    },
}

/// The key that must have signed a network's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKey {
    /// The root key of the Internet Computer.
    Mainnet,
    /// The key that the network itself reports, which proves nothing: only for test networks.
    Fetch,
    /// The given key, in DER.
    Der(Vec<u8>),
}

/// Domains of the Internet Computer, each with its subdomains.
const MAINNET: [&str; 4] = ["icp-api.io", "ic0.app", "icp0.io", "internetcomputer.org"];

impl RootKey {
    /// Parses `given`; if it is `None`, returns [`RootKey::Mainnet`], provided that the URL is the Internet Computer's.
    ///
    /// # Errors
    /// [`NetworkError`] if the given key is invalid. Without a key: if the URL is invalid or another network's.
    pub fn of(url: &str, given: Option<&str>) -> Result<RootKey, NetworkError> {
        if let Some(given) = given {
            return given.parse();
        }
        let parsed = parse_url(url)?;
        let host = parsed.host_str().unwrap_or_default();
        let is_domain_of_url = |domain: &&str| {
            host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match MAINNET.iter().any(is_domain_of_url) {
            true => Ok(RootKey::Mainnet),
            false => Err(NetworkError::NoRootKey { url: url.to_owned() }),
        }
    }
}

fn parse_url(url: &str) -> Result<reqwest::Url, NetworkError> {
    reqwest::Url::parse(url)
        .map_err(|error| NetworkError::Url { url: url.to_owned(), detail: error.to_string() })
}

impl FromStr for RootKey {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<RootKey, NetworkError> {
        match text {
            "mainnet" => Ok(RootKey::Mainnet),
            "fetch" => Ok(RootKey::Fetch),
            digits => {
                let refused = || NetworkError::RootKey { got: text.to_owned() };
                if digits.len() != DER_DIGITS || !digits.to_ascii_lowercase().starts_with(DER_PREFIX) {
                    return Err(refused());
                }
                hex::decode(digits).map(RootKey::Der).map_err(|_| refused())
            }
        }
    }
}

/// A network, used by one identity.
#[derive(Clone)]
pub struct Network {
    pub(super) agent: Agent,
    pub(super) identity: Arc<dyn Identity>,
    /// The HTTP client, which the agent uses, too.
    pub(super) http: reqwest::Client,
    /// The base URL; paths such as `api/v4/...` are resolved against it.
    pub(super) api: reqwest::Url,
    url: String,
}

impl Network {
    /// Connects to a network. Sends a request only if the root key must be fetched.
    pub async fn connect(
        url: &str,
        root_key: &RootKey,
        identity: Arc<dyn Identity>,
    ) -> Result<Network, NetworkError> {
        let agent_error = |error: ic_agent::AgentError| NetworkError::Url {
            url: url.to_owned(),
            detail: error.to_string(),
        };
        // Parsed first, since the agent's builder panics on an invalid URL.
        let api = parse_url(url)?;
        let client_error =
            |error: reqwest::Error| NetworkError::Url { url: url.to_owned(), detail: error.to_string() };
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().map_err(client_error)?;
        let agent = Agent::builder()
            .with_url(url)
            .with_http_client(http.clone())
            .with_arc_identity(identity.clone())
            .build()
            .map_err(agent_error)?;
        match root_key {
            RootKey::Mainnet => {}
            RootKey::Fetch => agent.fetch_root_key().await.map_err(agent_error)?,
            RootKey::Der(key) => agent.set_root_key(key.clone()),
        }
        Ok(Network { agent, identity, http, api, url: url.to_owned() })
    }

    /// Returns the network's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the key that the network's certificates are signed with, in DER.
    pub fn root_key(&self) -> Vec<u8> {
        self.agent.read_root_key()
    }

    /// Returns a handle for calls about the canister `id`, most of which only its controllers may make.
    pub fn management(&self, id: Principal) -> Management {
        Management::new(self.agent.clone(), id)
    }

    /// Returns a handle for calls to the upload canister `id` itself.
    pub fn canister(&self, id: Principal) -> LiveCanister {
        LiveCanister::new(self.agent.clone(), id)
    }

    /// Returns the principal that makes the calls.
    pub fn caller(&self) -> Principal {
        // All supported identities know their principal.
        self.agent.get_principal().unwrap_or(Principal::anonymous())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_key_is_named_fetched_or_der() {
        assert_eq!("mainnet".parse::<RootKey>().unwrap(), RootKey::Mainnet);
        assert_eq!("fetch".parse::<RootKey>().unwrap(), RootKey::Fetch);
        let der = format!("{DER_PREFIX}{}", "ab".repeat(96));
        assert!(matches!(der.parse::<RootKey>().unwrap(), RootKey::Der(key) if key.len() == 133));
        for wrong in [
            "",
            "main",
            &der[2..],
            &format!("{der}00"),
            &der.replace("30818230", "30818231"),
            &der.replace("ab", "xy"),
        ] {
            let error = wrong.parse::<RootKey>().unwrap_err().to_string();
            assert!(error.contains("266 hexadecimal digits") && error.ends_with(wrong), "{error}");
        }
    }

    #[test]
    fn key_is_assumed_for_the_internet_computer_alone() {
        for url in ["https://icp-api.io", "https://ic0.app/", "https://ryjl3-tyaaa-aaaaa-aaaba-cai.icp0.io"] {
            assert_eq!(RootKey::of(url, None).unwrap(), RootKey::Mainnet);
        }
        for url in ["http://127.0.0.1:8000", "https://evil-icp-api.io", "https://icp-api.io.example.org"] {
            let error = RootKey::of(url, None).unwrap_err().to_string();
            assert!(error.starts_with(url) && error.contains("--root-key"), "{error}");
            assert_eq!(RootKey::of(url, Some("fetch")).unwrap(), RootKey::Fetch);
        }
        assert!(matches!(RootKey::of("no url", None), Err(NetworkError::Url { .. })));
    }

    #[tokio::test]
    async fn an_unreachable_network_is_named() {
        let anonymous = || Arc::new(ic_agent::identity::AnonymousIdentity);
        // Port 9 of the loopback address: nothing listens there.
        let error = Network::connect("http://127.0.0.1:9", &RootKey::Fetch, anonymous()).await.err().unwrap();
        assert!(error.to_string().starts_with("cannot use the network at http://127.0.0.1:9: "), "{error}");
        let error = Network::connect("no url", &RootKey::Mainnet, anonymous()).await.err().unwrap();
        assert!(error.to_string().contains("no url"), "{error}");
    }
}

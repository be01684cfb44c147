//! Options that name a live network and the identity that uses it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ic_agent::Identity;
use session_migrate::network::{Network, NetworkError, RootKey, read_identity};

use super::{ENVIRONMENT, Failed, USAGE};

// A doc comment on this struct or on `NetworkArgs` would become the help text of the command.
#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// Address of the network.
    #[arg(long, value_name = "URL", default_value = "https://icp-api.io")]
    network: String,
    /// Root key that signs the network's certificates: `mainnet`, `fetch` (ask the network itself; only for test
    /// networks), or the key in hexadecimal [default: `mainnet`, if the network is mainnet].
    #[arg(long, short = 'k', value_name = "KEY")]
    root_key: Option<String>,
}

impl AddressArgs {
    pub async fn connect(&self, identity: Arc<dyn Identity>) -> Result<Network, Failed> {
        Network::connect(&self.network, &self.root_key()?, identity)
            .await
            .map_err(|error| (ENVIRONMENT, error.to_string()))
    }

    fn root_key(&self) -> Result<RootKey, Failed> {
        RootKey::of(&self.network, self.root_key.as_deref()).map_err(usage_failure)
    }
}

#[derive(Debug, Args)]
pub(super) struct NetworkArgs {
    #[command(flatten)]
    address: AddressArgs,
    /// Unencrypted PEM file of the identity, for example from `icp identity export`.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// For how many seconds to retry a call that gets no answer or finds the canister stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    retry_for: u64,
}

impl NetworkArgs {
    pub fn retry_for(&self) -> Duration {
        Duration::from_secs(self.retry_for)
    }

    pub fn url(&self) -> &str {
        &self.address.network
    }

    /// Checks the options for the root key and the identity file, without a call to the network.
    pub fn check(&self) -> Result<(), Failed> {
        self.address.root_key()?;
        read_identity(&self.identity).map(drop).map_err(usage_failure)
    }

    pub async fn connect(&self) -> Result<Network, Failed> {
        let identity = read_identity(&self.identity).map_err(usage_failure)?;
        self.address.connect(identity).await
    }
}

fn usage_failure(error: NetworkError) -> Failed {
    (USAGE, error.to_string())
}

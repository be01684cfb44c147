//! Options that name a live network and the identity that uses it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ic_agent::Identity;
use session_migrate::network::{Network, RootKey, read_identity};

use super::failure::Failure;

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
    pub async fn connect(&self, identity: Arc<dyn Identity>) -> Result<Network, Failure> {
        Network::connect(&self.network, &self.root_key()?, identity).await.map_err(Failure::environment)
    }

    fn root_key(&self) -> Result<RootKey, Failure> {
        RootKey::of(&self.network, self.root_key.as_deref()).map_err(Failure::usage)
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
    pub fn check(&self) -> Result<(), Failure> {
        self.address.root_key()?;
        read_identity(&self.identity).map(drop).map_err(Failure::usage)
    }

    pub async fn connect(&self) -> Result<Network, Failure> {
        let identity = read_identity(&self.identity).map_err(Failure::usage)?;
        self.address.connect(identity).await
    }
}

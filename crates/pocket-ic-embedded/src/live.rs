//! Starts a network that tools can use like a remote one.

use crate::http::{ServerState, create_instance};
use crate::ic::OpError;
use crate::threads::Work;
use candid::Principal;
use pocket_ic::common::rest::{
    AutoProgressConfig, InitialTime, InstanceConfig, InstanceHttpGatewayConfig, SubnetConfigSet,
};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Why the network of `--live` is not available: it could not be created, or was created and does not answer.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error(
        "cannot start the network: {source}. If another network uses this port, end it, or choose another port with --gateway-port"
    )]
    Create { source: OpError },
    #[error("the network was started, but cannot be used: {0}")]
    Unusable(String),
}

/// What a tool must know to use the network; `Display` prints it for the operator, with the lines for icp.yaml.
pub struct Network {
    gateway: SocketAddr,
    root_key: &'static [u8],
    /// A canister id that the default subnet owns; the canister need not exist. Calls with this effective canister id
    /// create canisters on that subnet.
    default_effective_id: Principal,
}

/// Starts an NNS and an application subnet that follow the host's time, and a gateway. Address and port are the
/// gateway's; port 0 stands for a free one.
///
/// # Errors
/// If the instance or its gateway cannot be created, for example because the port is in use, or if the
/// new instance cannot be used.
pub async fn start(state: &Arc<ServerState>, ip_addr: IpAddr, port: u16) -> Result<Network, LiveError> {
    let subnets = SubnetConfigSet { nns: true, application: 1, ..SubnetConfigSet::default() };
    let config = InstanceConfig {
        subnet_config_set: subnets.into(),
        initial_time: Some(InitialTime::AutoProgress(AutoProgressConfig { artificial_delay_ms: None })),
        http_gateway_config: Some(InstanceHttpGatewayConfig {
            ip_addr: Some(ip_addr.to_string()),
            port: Some(port),
            domains: None,
            https_config: None,
            domain_custom_provider_local_file: None,
        }),
        ..InstanceConfig::default()
    };
    let unusable = |what: &dyn fmt::Display| LiveError::Unusable(what.to_string());
    let created = create_instance(state, &config).await.map_err(|source| LiveError::Create { source })?;
    let slot = state.slot(created.instance_id).map_err(|error| unusable(&error))?;
    let root_key = slot.operate(Work::Brief, |instance| Ok(instance.root_key())).await;
    let root_key = root_key.map_err(|fault| unusable(&fault))?.map_err(|error| unusable(&error))?;
    let gateway = created.gateway.ok_or_else(|| unusable(&"it has no gateway"))?;
    Ok(Network {
        gateway: SocketAddr::from((ip_addr, gateway.port)),
        root_key,
        default_effective_id: Principal::from_slice(
            &created.topology.default_effective_canister_id.canister_id,
        ),
    })
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gateway, effective_id) = (self.gateway, self.default_effective_id);
        let root_key = hex::encode(self.root_key);
        write!(
            f,
            "\
url:       http://{gateway}
root key:  {root_key}
canisters: http://<canister id>.localhost:{port}/, created on the subnet of {effective_id}

A network for tests: its keys are public, and its state is lost when this program exits.
To use it with icp, add to icp.yaml:

networks:
  - name: embedded
    mode: connected
    url: http://{gateway}
    root-key: {root_key}
environments:
  - name: embedded
    network: embedded",
            port = gateway.port()
        )
    }
}

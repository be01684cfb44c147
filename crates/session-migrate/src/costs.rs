//! Costs of messages, if the server reports them: the embedded server keeps a list, the official one does
//! not.

use candid::Principal;
use pocket_ic::PocketIc;
use serde::Deserialize;

use crate::server::{self, ServerKind};

/// One executed message, as the embedded server lists it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MessageCost {
    /// Number of the execution, from 0 on; never reused.
    pub index: u64,
    /// The kind of entry: `init`, `update`, `query`, `global_timer`, …
    pub entry: String,
    /// The method, or empty for entries without one.
    pub method: String,
    /// Instructions, with the charges of the system API.
    pub instructions: u64,
    /// Bytes written to stable memory.
    pub stable_bytes_written: u64,
    /// Bytes read from stable memory.
    pub stable_bytes_read: u64,
    /// 4 KiB pages of stable memory that were written, each counted once.
    pub dirty_stable_pages: u64,
    /// 4 KiB pages of the wasm memory whose contents changed.
    pub dirty_wasm_pages: u64,
    /// Size of the wasm memory afterwards, 64 KiB pages.
    pub wasm_memory_pages: u64,
    /// Size of stable memory afterwards, 64 KiB pages.
    pub stable_memory_pages: u64,
    /// How long the wasm ran, nanoseconds; differs from run to run.
    pub wall_nanos: u64,
    /// Whether it ended without a trap.
    pub ok: bool,
}

impl MessageCost {
    /// Returns whether it is a part of an installation or upgrade.
    pub fn is_install(&self) -> bool {
        ["start", "init", "pre_upgrade", "post_upgrade"].contains(&self.entry.as_str())
    }
}

/// Why the server's list is not available.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// Only the embedded server keeps one.
    #[error("the {0} does not report the costs of messages; the embedded server does")]
    NotEmbedded(server::Server),
    /// There is no server.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The address of the list does not parse.
    #[error("the address of the costs of {canister}: {detail}")]
    Address {
        /// The canister.
        canister: Principal,
        /// The parser's error.
        detail: String,
    },
    /// The request failed.
    #[error("the costs of {canister}: {source}")]
    Http {
        /// The canister.
        canister: Principal,
        /// The client's error.
        source: reqwest::Error,
    },
}

/// Returns the costs of a canister's messages starting at index `from`, oldest first. The server keeps the
/// last 10,000.
pub fn messages(pic: &PocketIc, canister: Principal, from: u64) -> Result<Vec<MessageCost>, CostError> {
    let url = address(pic, canister, &format!("canister_costs/{canister}?from={from}"))?;
    let get = || reqwest::blocking::get(url)?.error_for_status()?.json();
    get().map_err(|source| CostError::Http { canister, source })
}

/// Returns the instructions of the last install, reinstall or upgrade of a canister; `None` if the server
/// does not report costs.
pub fn last_install(pic: &PocketIc, canister: Principal) -> Option<u64> {
    sum_of_last_install(&messages(pic, canister, 0).ok()?)
}

/// Sums the entry points of an install, which run one after the other; later messages do not count.
fn sum_of_last_install(costs: &[MessageCost]) -> Option<u64> {
    let run: Vec<u64> = costs
        .iter()
        .rev()
        .skip_while(|cost| !cost.is_install())
        .take_while(|cost| cost.is_install())
        .map(|cost| cost.instructions)
        .collect();
    (!run.is_empty()).then(|| run.iter().sum())
}

/// Sets the instruction limit of a canister's messages, or restores the default.
pub fn limit_message(
    pic: &PocketIc,
    canister: Principal,
    instructions: Option<u64>,
) -> Result<(), CostError> {
    let url = address(pic, canister, &format!("instruction_cap/{canister}"))?;
    let body = serde_json::json!({ "instructions": instructions }).to_string();
    let post = || reqwest::blocking::Client::new().post(url).body(body).send()?.error_for_status();
    post().map(drop).map_err(|source| CostError::Http { canister, source })
}

/// Returns the address of an extension of the embedded server.
pub(crate) fn address(
    pic: &PocketIc,
    canister: Principal,
    extension: &str,
) -> Result<reqwest::Url, CostError> {
    let server = server::chosen()?;
    if server.kind != ServerKind::Embedded {
        return Err(CostError::NotEmbedded(server.clone()));
    }
    let path = format!("instances/{}/embedded/{extension}", pic.instance_id());
    pic.get_server_url()
        .join(&path)
        .map_err(|error| CostError::Address { canister, detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_install_counts() {
        let cost = |entry: &str, instructions| MessageCost {
            entry: entry.into(),
            instructions,
            ..MessageCost::default()
        };
        assert_eq!(sum_of_last_install(&[cost("update", 1)]), None);
        let all = [
            cost("init", 1000),
            cost("update", 100),
            cost("start", 20),
            cost("post_upgrade", 7),
            cost("global_timer", 1),
        ];
        assert_eq!(sum_of_last_install(&all), Some(27));
    }
}

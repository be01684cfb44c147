//! Costs of messages: the embedded server keeps a list of them, the official server does not.

use candid::Principal;
use pocket_ic::PocketIc;
use pocket_ic_embedded::{ExtensionError, Extensions};

pub use pocket_ic_embedded::MessageCost;

use crate::server::{self, ServerKind};

/// Why the server's list is not available.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// The server does not keep a list: only the embedded server does.
    #[error("the {0} does not report the costs of messages; the embedded server does")]
    NotEmbedded(server::Server),
    /// No server can be used.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The request failed.
    #[error("the costs of messages: {0}")]
    Extension(#[from] ExtensionError),
}

/// Returns the costs of a canister's messages starting at index `from`, oldest first. The server keeps the
/// last 10,000 of each canister.
pub fn messages(pic: &PocketIc, canister: Principal, from: u64) -> Result<Vec<MessageCost>, CostError> {
    Ok(extensions(pic)?.message_costs(canister, from)?)
}

/// Returns the index that a canister's next message will have; 0 if the server does not report costs.
pub fn next_index(pic: &PocketIc, canister: Principal) -> u64 {
    index_after(&messages(pic, canister, 0).unwrap_or_default())
}

/// Returns the index of the message after the last one in `costs`; 0 if there is none.
pub fn index_after(costs: &[MessageCost]) -> u64 {
    costs.last().map_or(0, |last| last.index + 1)
}

/// Returns the instructions of a canister's last install, reinstall or upgrade among its messages from index `from` on.
/// `None` if these messages contain no entry point of one, or the server does not report costs.
pub fn last_install(pic: &PocketIc, canister: Principal, from: u64) -> Option<u64> {
    sum_of_last_install(&messages(pic, canister, from).ok()?)
}

/// Sums the instructions of the last install's entry points, which run directly after one another. Messages after them
/// do not count.
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

/// Sets the instruction limit of a canister's messages; `None` restores the default.
pub fn limit_message(
    pic: &PocketIc,
    canister: Principal,
    instructions: Option<u64>,
) -> Result<(), CostError> {
    Ok(extensions(pic)?.set_instruction_cap(canister, instructions)?)
}

pub(crate) fn extensions(pic: &PocketIc) -> Result<Extensions, CostError> {
    let server = server::chosen()?;
    match server.kind {
        ServerKind::Embedded => Ok(Extensions::of(pic)),
        _ => Err(CostError::NotEmbedded(server.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_install_counts() {
        let cost = |entry: &str, instructions| MessageCost {
            entry: entry.to_owned().into(),
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

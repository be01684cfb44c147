//! Costs of messages: the embedded server keeps a list of them, the official server does not.

use candid::Principal;
use pocket_ic::PocketIc;
use pocket_ic_embedded::{ExtensionError, Extensions};

pub use pocket_ic_embedded::MessageCost;

use crate::server::{self, ServerKind};

/// Why the costs of messages, or another extension of the embedded server, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// The server does not keep a list: only the embedded server does.
    #[error("the {0} does not report the costs of messages; the embedded server does")]
    NotEmbedded(server::Server),
    /// No server can be used.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The request failed.
    #[error("the embedded server refuses a request of its own interface: {0}")]
    Extension(#[from] ExtensionError),
}

/// Returns the costs of a canister's messages oldest first: those numbered `from` and higher, counted from 0 for each
/// canister. Older ones may be missing, since the server keeps only each canister's last 10,000.
pub fn messages(pic: &PocketIc, canister: Principal, from: u64) -> Result<Vec<MessageCost>, CostError> {
    Ok(extensions(pic)?.message_costs(canister, from)?)
}

/// Returns the index that a canister's next message will have; 0 if it had none yet, or if the costs cannot be read.
pub fn next_index(pic: &PocketIc, canister: Principal) -> u64 {
    index_after(&messages(pic, canister, 0).unwrap_or_default())
}

/// Returns the index of the message after the last one in `costs`; 0 if there is none.
pub fn index_after(costs: &[MessageCost]) -> u64 {
    costs.last().map_or(0, |last| last.index + 1)
}

/// Returns the instructions of a canister's last install, reinstall or upgrade among its messages from index `from` on.
/// `None` if no entry point of an install is among these messages, or if the costs cannot be read.
pub fn last_install(pic: &PocketIc, canister: Principal, from: u64) -> Option<u64> {
    sum_of_last_install(&messages(pic, canister, from).ok()?)
}

/// Sums the instructions of the last install (or reinstall, or upgrade): of its entry points, which run directly after
/// one another. Messages after the install do not count.
fn sum_of_last_install(costs: &[MessageCost]) -> Option<u64> {
    let last = costs.iter().rposition(MessageCost::is_install)?;
    let until_last = &costs[..=last];
    let last_of_earlier = until_last.windows(2).rposition(|pair| !is_same_install(&pair[0], &pair[1]));
    let begin = last_of_earlier.map_or(0, |index| index + 1);
    Some(until_last[begin..].iter().map(|cost| cost.instructions).sum())
}

/// Returns whether two messages in a row are entry points of the same install. `start` is the module's start function.
fn is_same_install(earlier: &MessageCost, later: &MessageCost) -> bool {
    let is_next = matches!(
        (&*earlier.entry, &*later.entry),
        ("pre_upgrade", "start" | "post_upgrade") | ("start", "init" | "post_upgrade")
    );
    // An entry point that traps ends the install. All entry points of an install see the same time.
    is_next && earlier.ok && earlier.time_nanos == later.time_nanos
}

/// Sets the instruction limit of each later message of a canister; `None` restores the default.
pub fn limit_message(
    pic: &PocketIc,
    canister: Principal,
    instructions: Option<u64>,
) -> Result<(), CostError> {
    Ok(extensions(pic)?.set_instruction_cap(canister, instructions)?)
}

/// Returns the requests that only the embedded server understands.
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
            ok: true,
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

    #[test]
    fn installs_without_a_message_between_them_are_separate() {
        let cost = |entry: &str, instructions, ok| MessageCost {
            entry: entry.to_owned().into(),
            instructions,
            ok,
            ..MessageCost::default()
        };
        let upgrade =
            [cost("pre_upgrade", 300, true), cost("start", 20, true), cost("post_upgrade", 7, true)];
        let install = [cost("start", 1_000, true), cost("init", 5_000, true)];
        assert_eq!(sum_of_last_install(&[&install[..], &upgrade].concat()), Some(327));
        assert_eq!(sum_of_last_install(&[&upgrade[..], &upgrade].concat()), Some(327));
        assert_eq!(sum_of_last_install(&[&upgrade[..], &install].concat()), Some(6_000));
        let trapped = [cost("pre_upgrade", 300, false)];
        assert_eq!(sum_of_last_install(&[&trapped[..], &upgrade].concat()), Some(327));
        assert_eq!(sum_of_last_install(&[&trapped[..], &upgrade[1..]].concat()), Some(27));
    }
}

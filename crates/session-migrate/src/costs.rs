//! What messages cost, as far as the server tells: the embedded one keeps a list, the official one does not.

use candid::Principal;
use pocket_ic::PocketIc;
use serde::Deserialize;

use crate::server::{self, ServerKind};

/// One executed message, as the embedded server lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Cost {
    /// Number of the message, never reused.
    pub index: u64,
    /// Entry point: `update`, `post_upgrade`, `global_timer` and so on.
    pub entry: String,
    /// Name of the function; empty for an entry point of the system.
    #[serde(default)]
    pub method: String,
    /// Instructions that it took.
    pub instructions: u64,
}

/// The messages of a canister from number `from` on, the last 10,000 at most; none when the server does not tell.
pub fn messages(pic: &PocketIc, canister: Principal, from: u64) -> Option<Vec<Cost>> {
    if server::chosen().ok()?.kind != ServerKind::Embedded {
        return None;
    }
    let path = format!("instances/{}/embedded/canister_costs/{canister}?from={from}", pic.instance_id());
    let url = pic.get_server_url().join(&path).ok()?;
    let answer = reqwest::blocking::get(url).ok()?;
    answer.error_for_status().ok()?.json().ok()
}

/// Instructions of the last install, reinstall or upgrade of a canister; none when the server does not tell.
pub fn last_install(pic: &PocketIc, canister: Principal) -> Option<u64> {
    let costs = messages(pic, canister, 0)?;
    sum_of_last_install(&costs)
}

/// An install runs several entry points one after the other; messages since then do not count.
fn sum_of_last_install(costs: &[Cost]) -> Option<u64> {
    let run: Vec<u64> = costs
        .iter()
        .rev()
        .skip_while(|cost| !is_install(&cost.entry))
        .take_while(|cost| is_install(&cost.entry))
        .map(|cost| cost.instructions)
        .collect();
    (!run.is_empty()).then(|| run.iter().sum())
}

fn is_install(entry: &str) -> bool {
    ["start", "init", "pre_upgrade", "post_upgrade"].contains(&entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_install_counts() {
        let cost = |entry: &str, instructions| Cost {
            index: 0,
            entry: entry.into(),
            method: String::new(),
            instructions,
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

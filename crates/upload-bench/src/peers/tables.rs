//! The tables of the comparison.

use comfy_table::Table;
use session_migrate::build::Build;

use super::jobs::{self, Job, STATES, State};
use super::loads::Load;
use super::work::JobCost;
use super::{CLIENTS, ORIGIN_MB_PER_S, PeerFigures, assets, cost};
use crate::report::{Style, table};

/// By how much a build must differ from the direct one to have a row.
const DIFFERENT: f64 = 0.05;

/// The state of the tables of one state.
pub const USUAL: State = STATES[1];

/// Returns the uploads of several clients.
pub fn loads(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header: Vec<String> =
        ["canister", "M instructions/MiB", "written/byte", "upgrade M", "upgrade written/byte"]
            .map(str::to_owned)
            .into();
    header.extend(
        CLIENTS.map(|clients| format!("MB/s, {clients} client{}", if clients == 1 { "" } else { "s" })),
    );
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = table(style, 1, &header);
    for peer in figures {
        let one = peer.loads.iter().find(|load| load.clients == 1);
        let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
        let mut row = vec![
            peer.name.clone(),
            shown(one.map(Load::instructions_per_mib)),
            shown(one.map(Load::written_per_byte)),
            shown(Some(peer.upgrade.instructions as f64 / 1e6)),
            shown(one.map(|load| peer.upgrade.stable_bytes_written as f64 / load.bytes as f64)),
        ];
        row.extend(CLIENTS.map(|clients| {
            shown(peer.loads.iter().find(|load| load.clients == clients).map(Load::mb_per_s))
        }));
        table.add_row(row);
    }
    let [one, four] = ORIGIN_MB_PER_S.map(|value| format!("{value:.2}"));
    table.add_row(["public release, local replica", "-", "-", "-", "-", &one, &four, "-"]);
    table
}

fn millions(cost: Option<&JobCost>) -> String {
    cost.map_or("-".into(), |cost| format!("{:.3}", cost.instructions as f64 / 1e6))
}

/// Returns the instructions of the direct build over those of the asset canister, for one job.
pub fn ratio(figures: &[PeerFigures], job: &Job, state: State) -> Option<f64> {
    let of = |peer| Some(cost(figures, peer, job, state)?.instructions as f64);
    Some(of(Build::Direct.name())? / of(assets::NAME)?)
}

/// Returns the instructions of every job in every state, of the direct build and of the asset canister.
pub fn jobs(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header = vec!["job".to_owned(), "messages".into()];
    for State { files, members } in STATES {
        let state =
            if members > 1 { format!("{files}, {members} members") } else { format!("{files} files") };
        header.extend([format!("{state}: direct M"), "assets M".into(), "ratio".into()]);
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = table(style, 1, &header);
    for job in jobs::all() {
        let messages = |peer| {
            let cost = cost(figures, peer, &job, USUAL);
            cost.map_or("-".into(), |cost| cost.messages.to_string())
        };
        let peers = [Build::Direct.name(), assets::NAME];
        let mut row = vec![job.to_string(), peers.map(messages).join(" / ")];
        for state in STATES {
            row.extend(peers.map(|peer| millions(cost(figures, peer, &job, state))));
            row.push(ratio(figures, &job, state).map_or("-".into(), |ratio| format!("{ratio:.2}")));
        }
        table.add_row(row);
    }
    table
}

/// Returns the bytes that the jobs which change something write, in the usual state.
pub fn written(style: Style, figures: &[PeerFigures]) -> Table {
    let header = ["job", "direct written", "direct delta", "assets written", "assets delta"];
    let mut table = table(style, 1, &header);
    for job in jobs::all().into_iter().filter(|job| !job.only_reads()) {
        let mut row = vec![job.to_string()];
        for peer in [Build::Direct.name(), assets::NAME] {
            let cost = cost(figures, peer, &job, USUAL);
            let shown = |of: fn(&JobCost) -> u64| cost.map_or("-".into(), |cost| of(cost).to_string());
            row.extend([shown(|cost| cost.stable_bytes_written), shown(|cost| cost.delta_bytes)]);
        }
        table.add_row(row);
    }
    table
}

/// Returns the jobs in which another build differs from the direct one, in the usual state.
pub fn builds(style: Style, figures: &[PeerFigures]) -> Table {
    let mut table = table(style, 1, &["job", "legacy M", "staged M", "direct M", "assets M"]);
    for job in jobs::all() {
        let of = |build: Build| cost(figures, build.name(), &job, USUAL);
        let Some(direct) = of(Build::Direct) else { continue };
        let differs = |build| {
            let other = of(build).map_or(0, |cost| cost.instructions);
            other.abs_diff(direct.instructions) as f64 > DIFFERENT * direct.instructions as f64
        };
        if differs(Build::Legacy) || differs(Build::Staged) {
            let mut row = vec![job.to_string()];
            row.extend(Build::ALL.map(|build| millions(of(build))));
            row.push(millions(cost(figures, assets::NAME, &job, USUAL)));
            table.add_row(row);
        }
    }
    table
}

/// Returns the calls that each kind of canister makes of each kind of job.
pub fn calls(style: Style) -> Table {
    let mut table = table(style, 3, &["job", "upload canister", "asset canister"]);
    let mut kinds: Vec<[&str; 3]> = jobs::all().iter().map(Job::calls).collect();
    kinds.dedup();
    table.add_rows(kinds);
    table
}

//! The tables of the side-by-side comparison.

use comfy_table::Table;
use session_migrate::build::Build;

use super::jobs::{self, CROWDED, FEW, Job, MANY, State};
use super::loads::Load;
use super::work::JobCost;
use super::{CLIENTS, ORIGIN_MB_PER_S, PeerFigures, assets, find_cost};
use crate::report::{Style, table};

/// Share by which the legacy or the staged build must differ from the direct one for a job to have a row in
/// [`build_table`].
const DIFFERENT: f64 = 0.25;

/// The two canisters in most of the tables, by name.
pub const COMPARED: [&str; 2] = ["direct", assets::NAME];

/// Returns the table of the uploads of several clients.
pub fn load_table(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header: Vec<String> =
        ["canister", "M instructions/MiB", "written/byte", "upgrade M", "upgrade written/byte"]
            .map(str::to_owned)
            .into();
    header.extend(
        CLIENTS.map(|clients| format!("MB/s, {clients} client{}", if clients == 1 { "" } else { "s" })),
    );
    let mut table = table(style, 1, header);
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

/// Returns the instructions of the direct build over those of the asset canister, for one job; `None` unless both have
/// been measured.
pub fn ratio(figures: &[PeerFigures], job: &Job, state: State) -> Option<f64> {
    let instructions_on = |peer| Some(find_cost(figures, peer, job, state)?.instructions as f64);
    let [direct, assets] = COMPARED;
    Some(instructions_on(direct)? / instructions_on(assets)?)
}

/// Returns the cells of a job in a state: the instructions of both canisters, and their ratio.
fn compared_cells(figures: &[PeerFigures], job: &Job, state: State) -> Vec<String> {
    let ratio = ratio(figures, job, state).map_or("-".into(), |ratio| format!("{ratio:.2}"));
    COMPARED.iter().map(|peer| millions(find_cost(figures, peer, job, state))).chain([ratio]).collect()
}

/// Returns the table of the instructions of every job, with few and with many files, on the direct build and on the
/// asset canister.
pub fn job_table(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header = vec!["job".to_owned(), "messages".into()];
    for State { files, .. } in [FEW, MANY] {
        header.extend([format!("{files} files: direct M"), "assets M".into(), "ratio".into()]);
    }
    let mut table = table(style, 1, header);
    for job in jobs::all() {
        let messages = COMPARED.map(|peer| {
            let cost = find_cost(figures, peer, &job, MANY);
            cost.map_or("-".into(), |cost| cost.messages.to_string())
        });
        let mut row = vec![job.to_string(), messages.join(" / ")];
        row.extend([FEW, MANY].into_iter().flat_map(|state| compared_cells(figures, &job, state)));
        table.add_row(row);
    }
    table
}

/// Returns the table of the jobs whose instructions could depend on the number of principals.
pub fn member_table(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header = vec!["job".to_owned()];
    for State { members, .. } in [MANY, CROWDED] {
        let plural = if members == 1 { "" } else { "s" };
        header.extend([format!("{members} member{plural}: direct M"), "assets M".into(), "ratio".into()]);
    }
    let mut table = table(style, 1, header);
    for job in jobs::all().into_iter().filter(|job| CROWDED.includes(job)) {
        let mut row = vec![job.to_string()];
        row.extend([MANY, CROWDED].into_iter().flat_map(|state| compared_cells(figures, &job, state)));
        table.add_row(row);
    }
    table
}

/// Returns the table of the bytes that the jobs write or change.
pub fn written_table(style: Style, figures: &[PeerFigures]) -> Table {
    let header = ["job", "direct written", "direct delta", "assets written", "assets delta"];
    let mut table = table(style, 1, header);
    for job in jobs::all().into_iter().filter(|job| !job.only_reads()) {
        let mut row = vec![job.to_string()];
        for peer in COMPARED {
            let cost = find_cost(figures, peer, &job, MANY);
            let shown =
                |figure: fn(&JobCost) -> u64| cost.map_or("-".into(), |cost| figure(cost).to_string());
            row.extend([shown(|cost| cost.stable_bytes_written), shown(|cost| cost.delta_bytes)]);
        }
        table.add_row(row);
    }
    table
}

/// Returns the table of the jobs in which the builds differ.
pub fn build_table(style: Style, figures: &[PeerFigures]) -> Table {
    let mut table = table(style, 1, ["job", "legacy M", "staged M", "direct M", "assets M"]);
    for job in jobs::all() {
        let cost_on = |build: Build| find_cost(figures, build.name(), &job, MANY);
        let Some(direct) = cost_on(Build::Direct) else { continue };
        let differs = |build| {
            let other = cost_on(build).map_or(0, |cost| cost.instructions);
            other.abs_diff(direct.instructions) as f64 > DIFFERENT * direct.instructions as f64
        };
        if differs(Build::Legacy) || differs(Build::Staged) {
            let mut row = vec![job.to_string()];
            row.extend(Build::ALL.map(|build| millions(cost_on(build))));
            row.push(millions(find_cost(figures, assets::NAME, &job, MANY)));
            table.add_row(row);
        }
    }
    table
}

/// Returns the table of the calls that do each kind of job.
pub fn call_table(style: Style) -> Table {
    let mut table = table(style, 3, ["job", "upload canister", "asset canister"]);
    let mut kinds: Vec<[&str; 3]> = jobs::all().iter().map(Job::kind_and_calls).collect();
    kinds.dedup();
    table.add_rows(kinds);
    table
}

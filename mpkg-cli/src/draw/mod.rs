//! Rollouts and the fleet, drawn with characters. Pure: what is known at one moment in, text out.

pub(crate) mod bars;
mod rollout;
pub(crate) mod words;

use mpkg_registry_client::wire::RolloutView;

use crate::ops::remote::watch::Fleet;
use crate::output::Page;

#[cfg(all(feature = "run", feature = "serve"))]
pub(crate) use rollout::waiting_for;
pub(crate) use rollout::{line, rollout};

/// Draws the fleet.
pub(crate) fn fleet(page: &mut Page, fleet: &Fleet) {
    page.headline("Fleet", &format!("{} at {}", fleet.address, fleet.at));
    page.field("registry", &fleet.registry);
    page.field("head", &fleet.head.to_string());
    page.field(
        "listening",
        &crate::text::count(usize::try_from(fleet.listeners).unwrap_or_default(), "host"),
    );
    if let Some(seconds) = fleet.connected_s {
        page.field("stream", &format!("connected for {}", words::span(seconds)));
    }
    page.heading("Kills in force");
    if fleet.kills.is_empty() {
        page.line("  none");
    }
    page.table(fleet.kills.iter().map(words::kill));
    page.heading("Rollouts");
    if fleet.rollouts.is_empty() {
        page.line("  none is running or held");
    }
    for (index, glimpse) in fleet.rollouts.iter().enumerate() {
        if index > 0 {
            page.gap();
        }
        rollout(page, glimpse);
    }
    if !fleet.more.is_empty() {
        page.gap();
        page.line("Further ones; `mpkg rollout status NUMBER` draws one:");
        page.table(fleet.more.iter().map(|it| {
            let phase = it.rollout.phase.name().to_owned();
            [it.id.to_string(), it.rollout.app.to_string(), it.rollout.release.to_string(), phase]
        }));
    }
    drafts(page, &fleet.drafts);
}

/// The rollouts that wait for somebody to start them.
fn drafts(page: &mut Page, drafts: &[RolloutView]) {
    if drafts.is_empty() {
        return;
    }
    page.heading("Drafts");
    page.table(drafts.iter().map(|it| {
        let (app, release) = (it.rollout.app.to_string(), it.rollout.release.to_string());
        [it.id.to_string(), app, release, format!("{} by {}", it.rollout.since, it.author)]
    }));
    page.line("To start one: mpkg rollout start NUMBER");
}

/// The same without drawing: a line for each thing.
pub(crate) fn fleet_lines(fleet: &Fleet) -> Vec<String> {
    let connected = fleet.connected_s.map(|seconds| format!(" connected {seconds} s")).unwrap_or_default();
    let mut lines = vec![format!(
        "{} head {} hosts {} kills {} rollouts {} drafts {}{connected}",
        fleet.at,
        fleet.head,
        fleet.listeners,
        fleet.kills.len(),
        fleet.rollouts.len() + fleet.more.len(),
        fleet.drafts.len()
    )];
    let kills = fleet.kills.iter().map(|kill| format!("{} kill {}", fleet.at, words::kill(kill).join(" ")));
    lines.extend(kills);
    lines.extend(fleet.rollouts.iter().map(line));
    lines
}

#[cfg(test)]
mod tests;

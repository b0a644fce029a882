//! Rollouts and the fleet, drawn with characters. Pure: what is known at one moment in, text out.

pub(crate) mod bars;
mod rollout;
pub(crate) mod words;

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
}

/// The same without drawing: a line for each thing.
pub(crate) fn fleet_lines(fleet: &Fleet) -> Vec<String> {
    let mut lines = vec![format!(
        "{} head {} hosts {} kills {} rollouts {}",
        fleet.at,
        fleet.head,
        fleet.listeners,
        fleet.kills.len(),
        fleet.rollouts.len() + fleet.more.len()
    )];
    let kills = fleet.kills.iter().map(|kill| format!("{} kill {}", fleet.at, words::kill(kill).join(" ")));
    lines.extend(kills);
    lines.extend(fleet.rollouts.iter().map(line));
    lines
}

#[cfg(test)]
mod tests;

//! One rollout: how far it is, what its gates see, what it waits for.

use anstyle::Style;
use mpkg_fleet::{Evidence, Line, Metric, Phase, Tally, Verdict, Waiting};

use super::{bars, words};
use crate::ops::remote::watch::{Glimpse, MINUTES};
use crate::output::Page;
use crate::style;

/// Cells of a likelihood bar: two of them, their figures and the votes fit 80 columns.
const BAR: usize = 10;
/// Cells of the share.
const SHARE: usize = 33;
/// Errors are drawn against at least this share, in hundredths of a percent, so that one error does not look like a
/// fire.
const ERRORS_TOP: u64 = 500;

/// Draws a rollout.
pub(crate) fn rollout(page: &mut Page, it: &Glimpse) {
    let rollout = &it.view.rollout;
    let phase = rollout.phase.name().replace('_', " ");
    let what = format!(" {} {}, rollout {}", rollout.app, rollout.release, it.view.id);
    page.parts(&[(phase_style(&rollout.phase), &phase), (Style::new(), &what)]);

    let steps = rollout.plan.steps();
    let labels: Vec<String> = steps.iter().map(|step| step.percent.to_string()).collect();
    let [line, below] = bars::track(&labels, reached(it));
    page.field("steps", &line);
    page.field("", &below);
    let lasted = u64::try_from(it.at.unix().saturating_sub(rollout.since.unix())).unwrap_or_default();
    let share = i64::from(percent(it));
    let since = format!("{} % for {}", share_text(share), words::span(lasted));
    page.field("share", &format!("{} {since}", bars::bar(share, 10_000, SHARE)));
    for (index, text) in next(it).iter().enumerate() {
        page.field(if index == 0 { "next" } else { "" }, text);
    }
    if let Some(gate) = &it.gate {
        for line in &gate.lines {
            ratios(page, line, tally(gate, line.metric));
        }
    }
    traffic(page, it);
}

/// A rollout on one line.
pub(crate) fn line(it: &Glimpse) -> String {
    let rollout = &it.view.rollout;
    let gates: Vec<String> = it.gate.iter().flat_map(|gate| &gate.lines).map(ratio_words).collect();
    let mut parts = vec![format!(
        "{} rollout {} {} {} {} {} %",
        it.at,
        it.view.id,
        rollout.app,
        rollout.release,
        rollout.phase.name(),
        share_text(i64::from(percent(it)))
    )];
    parts.extend(next(it));
    parts.extend(gates);
    parts.join("; ")
}

fn ratio_words(line: &Line) -> String {
    let percent = |part: i64, whole: i64| (part.max(0) * 100) / whole.max(1);
    format!(
        "{} back {} % on {} %",
        words::metric(line.metric),
        percent(line.rollback, line.rollback_line),
        percent(line.healthy, line.healthy_line)
    )
}

fn phase_style(phase: &Phase) -> Style {
    match phase {
        Phase::Running { .. } | Phase::Completed => style::GOOD,
        Phase::Held { .. } | Phase::Halted { .. } => style::WARNING,
        Phase::RolledBack { .. } => style::ERROR,
        Phase::Draft | Phase::Superseded { .. } => style::BOLD,
    }
}

/// The step that it is on, or was stopped on.
fn reached(it: &Glimpse) -> Option<usize> {
    match it.view.rollout.phase {
        Phase::Running { step } | Phase::Held { step } => Some(step),
        Phase::Halted { step } => step,
        Phase::Completed => Some(it.view.rollout.plan.steps().len()),
        Phase::Draft | Phase::RolledBack { .. } | Phase::Superseded { .. } => None,
    }
}

/// How many get the release, in hundredths of a percent.
fn percent(it: &Glimpse) -> u16 {
    let rollout = &it.view.rollout;
    match rollout.phase {
        Phase::Completed => 10_000,
        _ => reached(it).and_then(|step| rollout.plan.step(step)).map_or(0, |step| step.percent.get()),
    }
}

fn share_text(points: i64) -> String {
    let text = format!("{}.{:02}", points / 100, points % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn tally(gate: &Evidence, metric: Metric) -> Tally {
    let votes = &gate.inputs.treatment;
    match metric {
        Metric::Errors => votes.errors,
        Metric::Slow => votes.slow,
        Metric::Unavailable => votes.unavailable,
    }
}

/// Natural logarithms with one decimal.
fn nats(millionths: i64) -> String {
    format!("{:.1}", millionths as f64 / 1e6)
}

fn ratios(page: &mut Page, line: &Line, tally: Tally) {
    let back = bars::bar(line.rollback, line.rollback_line, BAR);
    let on = bars::bar(line.healthy, line.healthy_line, BAR);
    let alarm = if line.rollback >= line.rollback_line {
        style::ERROR
    } else if line.rollback.saturating_mul(2) >= line.rollback_line {
        style::WARNING
    } else {
        style::DIM
    };
    page.parts(&[
        (style::DIM, &format!("  {:<12} ", words::metric(line.metric))),
        (Style::new(), "back "),
        (alarm, &back),
        (Style::new(), &format!(" {:>5}/{}  on ", nats(line.rollback), nats(line.rollback_line))),
        (style::GOOD, &on),
        (Style::new(), &format!(" {:>5}/{}", nats(line.healthy), nats(line.healthy_line))),
        (style::DIM, &format!("  {} good, {} bad", tally.good, tally.bad)),
    ]);
}

/// What came in, minute by minute, up to now. What came in about no minute is none.
fn cells(it: &Glimpse, of: impl Fn(&mpkg_fleet::Counters) -> u64) -> Vec<Option<u64>> {
    let minutes = i64::from(MINUTES);
    let first = it.at.unix() / 60 - minutes + 1;
    let mut cells = vec![None; usize::try_from(minutes).unwrap_or_default()];
    for minute in &it.minutes {
        let index = usize::try_from(minute.at.unix() / 60 - first).ok();
        if let Some(cell) = index.and_then(|index| cells.get_mut(index)) {
            *cell = Some(of(&minute.counters));
        }
    }
    cells
}

fn traffic(page: &mut Page, it: &Glimpse) {
    if it.minutes.is_empty() {
        page.field("traffic", &format!("nothing came in within {MINUTES} min"));
        return;
    }
    let uses = cells(it, |counters| counters.calls.saturating_add(counters.launches));
    let peak = uses.iter().flatten().copied().max().unwrap_or_default();
    let sum: u64 = uses.iter().flatten().sum();
    page.field("traffic", &format!("{} {sum} in {MINUTES} min, most {peak}/min", bars::spark(&uses, peak)));
    let shares = cells(it, |counters| counters.errors.saturating_mul(10_000) / counters.calls.max(1));
    let top = shares.iter().flatten().copied().max().unwrap_or_default().max(ERRORS_TOP);
    let errors: u64 = it.minutes.iter().map(|minute| minute.counters.errors).sum();
    let calls: u64 = it.minutes.iter().map(|minute| minute.counters.calls).sum();
    let share = i64::try_from(errors.saturating_mul(10_000) / calls.max(1)).unwrap_or_default();
    page.field("errors", &format!("{} {} % of calls", bars::spark(&shares, top), share_text(share)));
}

/// What the rollout waits for, the most important first.
fn next(it: &Glimpse) -> Vec<String> {
    let (rollout, id, app) = (&it.view.rollout, it.view.id, &it.view.rollout.app);
    let step = match &rollout.phase {
        Phase::Running { step } => *step,
        Phase::Held { .. } => return vec![format!("held: mpkg rollout resume {id} --confirm {app}")],
        Phase::Halted { step: Some(_) } => {
            return vec![format!(
                "halted, nobody new gets it: mpkg rollout resume {id} --confirm {app}, or roll it back"
            )];
        }
        Phase::Halted { step: None } => return vec!["halted before it began; draft another one".to_owned()],
        Phase::Draft => return vec![format!("not started: mpkg rollout start {id} --confirm {app}")],
        Phase::RolledBack { to } => return vec![format!("nothing: everybody is back on {to}")],
        Phase::Superseded { by } => return vec![format!("nothing: release {by} took over")],
        Phase::Completed => return vec!["nothing: it is everybody's".to_owned()],
    };
    let goal = match rollout.plan.step(step + 1) {
        Some(next) => next.percent.to_string(),
        None => "complete".to_owned(),
    };
    let verb = if rollout.plan.step(step + 1).is_some() { "advance" } else { "complete" };
    let Some(gate) = &it.gate else { return vec![goal] };
    match &gate.verdict {
        Verdict::RollBack { why } => {
            let why: Vec<&str> = why.iter().map(|why| words::bad(*why)).collect();
            vec![format!("back: the gates have decided, for {}", why.join(", "))]
        }
        Verdict::Healthy if it.view.automatic => vec![format!("{goal}, as soon as the gates look again")],
        Verdict::Healthy => {
            vec![format!("{goal}: healthy, and yours to say: mpkg rollout {verb} {id} --confirm {app}")]
        }
        Verdict::Hold { why } => {
            let mut lines = vec![format!("{goal} {}", when(gate, why))];
            lines.extend(why.iter().map(waiting));
            lines
        }
    }
}

/// When the next step can come, as far as it can be told: bake time, and votes at the rate they came in so far.
fn when(gate: &Evidence, why: &[Waiting]) -> String {
    let looks = |it: &Waiting| matches!(it, Waiting::ControlIsBadToo(_) | Waiting::SampleRatio);
    if why.iter().any(looks) {
        return "when somebody has looked at this".to_owned();
    }
    let bake =
        why.iter().find_map(|it| if let Waiting::Baking { left_s } = it { Some(*left_s) } else { None });
    let missing = why.iter().map(|it| match it {
        Waiting::Votes { good_missing, .. } => *good_missing,
        Waiting::Sample { have, needed } => needed.saturating_sub(*have),
        _ => 0,
    });
    let missing = missing.max().unwrap_or_default();
    let (have, elapsed) = (gate.inputs.treatment.unavailable.votes(), gate.inputs.elapsed_s);
    let votes = match (missing, have) {
        (0, _) => Some(0),
        (_, 0) => None,
        _ => missing.checked_mul(elapsed.max(1)).map(|product| product / have),
    };
    match votes {
        None => "when devices vote: none has so far".to_owned(),
        Some(votes) => {
            format!("in about {}, if all goes well", words::span(votes.max(bake.unwrap_or_default())))
        }
    }
}

/// What a gate waits for, in words.
pub(crate) fn waiting_for(why: &[Waiting]) -> Vec<String> {
    why.iter().map(waiting).collect()
}

fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::ControlIsBadToo(what) => {
            format!("the control arm has {} too: the cause lies elsewhere", words::bad(*what))
        }
        Waiting::SampleRatio => {
            "the arms have other sizes than they should: do not trust what they say".to_owned()
        }
        Waiting::Votes { metric, have, good_missing } => {
            format!("{}: {have} votes, {good_missing} more good ones to be sure", words::metric(*metric))
        }
        Waiting::Sample { have, needed } => format!("{have} of {needed} devices have voted"),
        Waiting::Baking { left_s } => format!("bakes for {} more", words::span(*left_s)),
    }
}

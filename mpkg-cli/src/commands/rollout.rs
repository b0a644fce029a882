//! `mpkg rollout`

use mpkg_fleet::{Event, Forecast, Phase, Targeting, Verdict, forecast, replay};
use mpkg_registry_client::wire::{Commanded, EvidenceView, NewRollout, RolloutView};
use serde::Serialize;

use crate::cli::values::RolloutName;
use crate::cli::{
    GoVerb, RolloutAdvance, RolloutCommand, RolloutEvidence, RolloutGo, RolloutPlan, RolloutReplay,
    RolloutStart, RolloutStatus, RolloutStop, Startable, Steps,
};
use crate::commands::watch;
use crate::draw::{self, words};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::remote::rollouts::{self, Seen, Stop};
use crate::ops::remote::watch::{self as look, Glimpse};
use crate::ops::remote::{Remote, confirm, plan};
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: RolloutCommand, printer: Printer) -> Outcome {
    match command {
        RolloutCommand::Start(args) => start(*args, printer),
        RolloutCommand::Plan(args) => tell(&args, printer),
        RolloutCommand::Status(args) => status(&args, printer),
        RolloutCommand::Advance(args) => advance(&args, printer),
        RolloutCommand::Hold(args) => stop(&args.stop, Stop::Hold, printer),
        RolloutCommand::Halt(args) => stop(&args.stop, Stop::Halt, printer),
        RolloutCommand::Rollback(args) => {
            let remote = Remote::open(&args.connection, printer)?;
            let back = Stop::RollBack { to: args.to };
            let commanded = rollouts::stop(&remote, &args.rollout, back, &args.reason)?;
            // What never began is halted: there is nobody to take back.
            let never = commanded.rollout.rollout.never_began();
            done(if never { "Halted" } else { "Rolled back" }, commanded, printer)
        }
        RolloutCommand::Resume(args) => go(&args.go, GoVerb::Resume, printer),
        RolloutCommand::Complete(args) => go(&args.go, GoVerb::Complete, printer),
        RolloutCommand::Evidence(args) => evidence(&args, printer),
        RolloutCommand::Replay(args) => replay_all(&args, printer),
    }
}

#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    commanded: Commanded,
    #[serde(skip)]
    verb: &'static str,
}

/// A phase for people.
fn phase(view: &RolloutView) -> String {
    let plan = &view.rollout.plan;
    let at = |step: usize| {
        let percent = plan.step(step).map_or_else(String::new, |step| step.percent.to_string());
        format!("{percent} (step {} of {})", step + 1, plan.steps().len())
    };
    match &view.rollout.phase {
        Phase::Running { step } => format!("running, {}", at(*step)),
        Phase::Held { step } => format!("held, {}: nobody further gets it", at(*step)),
        Phase::Halted { step: Some(step) } => {
            format!("halted, {}: nobody new gets it, who has it keeps it", at(*step))
        }
        Phase::Halted { step: None } => "halted before it began".to_owned(),
        Phase::RolledBack { to } => format!("rolled back: everybody to {to}"),
        Phase::Superseded { by } => format!("superseded by release {by}"),
        Phase::Completed => "completed: it is everybody's".to_owned(),
        Phase::Draft => "drafted: nobody gets it yet".to_owned(),
    }
}

impl View for Done {
    fn human(&self, page: &mut Page) {
        let view = &self.commanded.rollout;
        let what = format!("rollout {} of {} {}", view.id, view.rollout.app, view.rollout.release);
        // A stop that found nothing left to stop did not do what its name says.
        let already = self.commanded.events.iter().any(|event| matches!(event, Event::Already { .. }));
        page.headline(if already { "Nothing changed:" } else { self.verb }, &what);
        page.field("now", &phase(view));
        page.field("hosts", &format!("were told with head {}", self.commanded.head));
    }
}

fn done(verb: &'static str, commanded: Commanded, printer: Printer) -> Outcome {
    printer.result(&Done { commanded, verb })
}

fn show(seen: &Seen, printer: Printer) {
    let it = &seen.value;
    printer.note(
        "Seen",
        &format!("rollout {} of {} {}: {}", it.id, it.rollout.app, it.rollout.release, phase(it)),
    );
}

/// Shows a rollout, has it confirmed, and lets it go on from just that.
fn go_on(
    remote: &Remote,
    seen: &Seen,
    verb: GoVerb,
    skip_bake: bool,
    confirmed: Option<&str>,
    printer: Printer,
) -> Outcome {
    show(seen, printer);
    let app = seen.value.rollout.app.as_str();
    let doing = format!("{} the rollout", rollouts::word(verb));
    confirm::confirm(confirmed, app, &doing, printer)?;
    let word = match verb {
        GoVerb::Start => "Started",
        GoVerb::Advance => "Advanced",
        GoVerb::Resume => "Resumed",
        GoVerb::Complete => "Completed",
    };
    done(word, rollouts::go(remote, seen, verb, skip_bake)?, printer)
}

fn go(args: &RolloutGo, verb: GoVerb, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let seen = rollouts::find(&remote, &args.rollout)?;
    go_on(&remote, &seen, verb, false, args.confirm.as_deref(), printer)
}

fn advance(args: &RolloutAdvance, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let seen = rollouts::find(&remote, &args.rollout)?;
    go_on(&remote, &seen, GoVerb::Advance, args.skip_bake, args.confirm.as_deref(), printer)
}

fn stop(args: &RolloutStop, stop: Stop, printer: Printer) -> Outcome {
    let word = if matches!(stop, Stop::Hold) { "Held" } else { "Halted" };
    let remote = Remote::open(&args.connection, printer)?;
    done(word, rollouts::stop(&remote, &args.rollout, stop, &args.reason)?, printer)
}

#[derive(Debug, Serialize)]
struct Drafted {
    #[serde(flatten)]
    rollout: RolloutView,
}

impl View for Drafted {
    fn human(&self, page: &mut Page) {
        let (id, app) = (self.rollout.id, &self.rollout.rollout.app);
        page.headline("Drafted", &format!("rollout {id} of {app} {}", self.rollout.rollout.release));
        page.heading("Next steps");
        page.command(&format!("mpkg rollout plan {id}"));
        page.command(&format!("mpkg rollout start {id} --confirm {app}"));
    }
}

fn start(args: RolloutStart, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let confirmed = args.confirm.as_deref();
    let named = match &args.what {
        Startable::Release(named) => named.clone(),
        Startable::Draft(id) => {
            if args.draft || is_described(&args) {
                return Err(Failure::usage(format!(
                    "rollout {id} is drafted, so its steps and targets stand"
                ))
                .hint("Leave the other flags out, or name an app to draft another rollout."));
            }
            let seen = rollouts::newest(&remote, &RolloutName::Number(*id))?;
            return go_on(&remote, &seen, GoVerb::Start, false, confirmed, printer);
        }
    };
    // Before anything is made: a draft that nobody asked for would be left behind.
    if !args.draft {
        confirm::confirm(confirmed, named.app.as_str(), "start a rollout", printer)?;
    }
    let hosts = ("--min-host", "--below-host");
    let host_versions = plan::versions(hosts, args.min_host.as_deref(), args.below_host.as_deref())?;
    let targeting = Targeting {
        platforms: args.platform.into_iter().collect(),
        regions: args.region.into_iter().collect(),
        segments: args.segment.into_iter().collect(),
        host_versions: host_versions.unwrap_or_default(),
        allow: Default::default(),
    };
    let (plan, automatic, allow) = (plan::plan(&args.steps)?, !args.manual, args.allow);
    let new = |release_seq| NewRollout { release_seq, plan, targeting, allow, automatic };
    let seen = rollouts::draft(&remote, &named, new)?;
    if args.draft {
        return printer.result(&Drafted { rollout: seen.value });
    }
    go_on(&remote, &seen, GoVerb::Start, false, Some(named.app.as_str()), printer)
}

/// Whether flags say what a draft has been told before.
fn is_described(args: &RolloutStart) -> bool {
    let Steps { steps, bake, votes } = &args.steps;
    args.manual
        || !steps.is_empty()
        || !bake.is_empty()
        || !votes.is_empty()
        || !args.platform.is_empty()
        || !args.region.is_empty()
        || !args.segment.is_empty()
        || !args.allow.is_empty()
        || args.min_host.is_some()
        || args.below_host.is_some()
}

#[derive(Debug, Serialize)]
struct Told {
    devices_per_day: u64,
    devices: u64,
    percents: Vec<u16>,
    #[serde(flatten)]
    forecast: Forecast,
}

impl View for Told {
    fn human(&self, page: &mut Page) {
        page.headline("Plan", &format!("at {} devices a day, {} in all", self.devices_per_day, self.devices));
        for step in &self.forecast.steps {
            let percent = f64::from(self.percents.get(step.step).copied().unwrap_or_default()) / 100.0;
            let takes = step
                .takes_s
                .map_or("never ends by itself".to_owned(), |takes| format!("takes {}", words::span(takes)));
            page.heading(&format!("Step {}: {percent} %, {takes}", step.step + 1));
            page.field("votes", &format!("{} at its end, {} a day", step.votes, step.votes_per_day));
            for effect in &step.effects {
                let shows = match effect.detectable_ppm {
                    Some(share) => format!("rolls back from about {} bad devices", words::ppm(share)),
                    None => "too few votes to roll anything back".to_owned(),
                };
                let healthy = match effect.votes_to_healthy {
                    Some(votes) => format!("healthy after about {votes} votes"),
                    None => "never healthy".to_owned(),
                };
                page.field(words::metric(effect.metric), &format!("{shows}; {healthy}"));
            }
        }
        page.gap();
        match self.forecast.takes_s {
            Some(takes) => page.field("in all", &words::span(takes)),
            None => page.field(
                "in all",
                "it does not end by itself: fewer --votes, larger steps, or advance by hand",
            ),
        }
    }
}

fn tell(args: &RolloutPlan, printer: Printer) -> Outcome {
    let (per_day, devices) = (args.devices_per_day, args.devices);
    let told = match &args.rollout {
        None => {
            let nobody = || Err(Failure::usage("--devices-per-day is missing"));
            let (plan, traffic) = (plan::plan(&args.steps)?, rollouts::traffic(per_day, devices, nobody)?);
            (plan.clone(), traffic, forecast(&plan, traffic, &Default::default()))
        }
        Some(name) => {
            let remote = Remote::open(&args.connection, printer)?;
            let seen = rollouts::newest(&remote, name)?.value;
            let known = || rollouts::devices_of_a_day(&remote, &seen.rollout.app);
            let traffic = rollouts::traffic(per_day, devices, known)?;
            let query = mpkg_registry_client::wire::TrafficQuery {
                devices_per_day: traffic.devices_per_day,
                devices: traffic.devices,
            };
            let forecast = remote.ask(remote.client.plan(seen.id, query))?;
            (seen.rollout.plan, traffic, forecast)
        }
    };
    let (plan, traffic, forecast) = told;
    printer.result(&Told {
        devices_per_day: traffic.devices_per_day,
        devices: traffic.devices,
        percents: plan.steps().iter().map(|step| step.percent.get()).collect(),
        forecast,
    })
}

impl View for Glimpse {
    fn human(&self, page: &mut Page) {
        draw::rollout(page, self);
    }
}

fn status(args: &RolloutStatus, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let look = || look::rollout(&remote, rollouts::find(&remote, &args.rollout)?.value);
    watch::run(&args.watch, printer, look, |glimpse| vec![draw::line(glimpse)])
}

#[derive(Debug, Serialize)]
struct Decisions {
    rollout: i64,
    evidence: Vec<EvidenceView>,
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::RollBack { why } => {
            let why: Vec<&str> = why.iter().map(|why| words::bad(*why)).collect();
            format!("roll back: {}", why.join(", "))
        }
        Verdict::Hold { why } => format!("hold: {} to wait for", crate::text::count(why.len(), "thing")),
        Verdict::Healthy => "healthy".to_owned(),
    }
}

impl View for Decisions {
    fn human(&self, page: &mut Page) {
        if self.evidence.is_empty() {
            page.line("The gates have not decided anything yet.");
        }
        page.table(self.evidence.iter().map(|it| {
            let inputs = &it.evidence.inputs;
            [
                it.id.to_string(),
                it.at.to_string(),
                format!("step {}", inputs.step + 1),
                format!("{} votes", inputs.treatment.unavailable.votes()),
                verdict(&it.evidence.verdict),
                if it.action == "none" { "nothing done".to_owned() } else { it.action.replace('_', " ") },
            ]
        }));
    }
}

fn evidence(args: &RolloutEvidence, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let rollout = rollouts::find(&remote, &args.rollout)?.value.id;
    printer.result(&Decisions { rollout, evidence: rollouts::evidence(&remote, rollout)? })
}

#[derive(Debug, Serialize)]
struct Replayed {
    rollout: i64,
    decisions: usize,
    same: bool,
}

impl View for Replayed {
    fn human(&self, page: &mut Page) {
        let decisions = crate::text::count(self.decisions, "decision");
        page.headline(
            "Replayed",
            &format!("{decisions} of rollout {}, here: the same to the last digit", self.rollout),
        );
    }
}

/// Decides everything again with this program; the registry's own word that it replays is not asked for.
fn replay_all(args: &RolloutReplay, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let rollout = rollouts::find(&remote, &args.rollout)?.value.id;
    let all = rollouts::evidence(&remote, rollout)?;
    for it in &all {
        replay(&it.evidence).map_err(|error| {
            let message = format!("decision {} of rollout {rollout}, made at {}: {error}", it.id, it.at);
            Failure::with_code(error.code(), Exit::Refused, message)
                .hint("Keep it: mpkg rollout evidence NUMBER --format json > evidence.json. Then ask who changed it.")
                .data("evidence", it.id)
        })?;
    }
    printer.result(&Replayed { rollout, decisions: all.len(), same: true })
}

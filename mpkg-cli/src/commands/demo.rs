//! `mpkg demo`

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mpkg_fleet::BasisPoints;

use crate::cli::{Demo, DemoPart};
use crate::draw::{self, bars};
use crate::error::{Failure, Outcome};
use crate::ops::demo::{self, By, Latency, Report, Scene};
use crate::ops::log;
use crate::output::{Page, Printer, View};
use crate::text;

/// Cells of a bar.
const BAR: usize = 33;

pub(crate) fn run(args: Demo, printer: Printer) -> Outcome {
    log::show(printer.is_verbose().then_some("warn"));
    if let Some(DemoPart::Worker) = args.part {
        return demo::work();
    }
    let hosts = usize::try_from(args.hosts).map_err(|error| Failure::usage(error.to_string()))?;
    let toolchain = super::build::toolchain(args.toolchain)?;
    let demo = demo::Demo { hosts, project: args.project, toolchain };
    let mut theatre = Theatre::new(printer);
    let report = demo::run(&demo, &mut |scene| theatre.show(scene));
    drop(theatre);
    printer.result(&report?)
}

/// Shows the story on standard error: the result is the table at its end.
struct Theatre {
    printer: Printer,
    bar: Option<ProgressBar>,
    chapters: usize,
}

impl Theatre {
    fn new(printer: Printer) -> Self {
        Self { printer, bar: None, chapters: 0 }
    }

    fn show(&mut self, scene: Scene<'_>) {
        match scene {
            Scene::Work(what) => self.spin(what),
            Scene::Progress { what, done, all } => self.progress(what, done, all),
            Scene::Chapter(title) => {
                self.chapters += 1;
                let title = format!("{}. {title}", self.chapters);
                self.page(|page| page.heading(&title));
            }
            Scene::Note(note) => self.page(|page| page.line(&format!("  {note}"))),
            Scene::Rollout(glimpse) => self.page(|page| {
                page.gap();
                draw::rollout(page, glimpse);
                page.gap();
            }),
            Scene::Runs(runs) => self.page(|page| show_runs(page, &runs)),
            Scene::Reached { what, latency } => {
                self.page(|page| page.line(&format!("  {what}: {}", words(latency))));
            }
        }
    }

    fn page(&mut self, write: impl FnOnce(&mut Page)) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.printer.aside(write);
    }

    /// The bar that is shown now; on anything but a terminal there is none.
    fn bar(&mut self) -> &ProgressBar {
        let animates = self.printer.can_animate();
        self.bar.get_or_insert_with(|| {
            let target = if animates { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
            let bar = ProgressBar::with_draw_target(None, target);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        })
    }

    fn style(&mut self, template: &str) -> &ProgressBar {
        let bar = self.bar();
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉░"));
        }
        bar
    }

    fn spin(&mut self, what: &str) {
        let bar = self.style("  {spinner} {wide_msg} {elapsed}");
        bar.set_message(text::one_line(what).into_owned());
    }

    fn progress(&mut self, what: &str, done: usize, all: usize) {
        let bar = self.style("  {bar:33} {pos:>5} of {len} {wide_msg}");
        bar.set_message(text::one_line(what).into_owned());
        bar.set_length(u64::try_from(all).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }
}

fn show_runs(page: &mut Page, runs: &[(String, usize)]) {
    let all: usize = runs.iter().map(|(_, hosts)| hosts).sum();
    let number = |hosts: usize| i64::try_from(hosts).unwrap_or(i64::MAX);
    for (release, hosts) in runs {
        let bar = bars::bar(number(*hosts), number(all), BAR);
        page.line(&format!("  {release:<20} {bar} {hosts:>5} hosts"));
    }
}

fn ms(ms: f64) -> String {
    if ms < 10_000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}

fn words(it: &Latency) -> String {
    format!(
        "half of {} hosts after {}, 99 % after {}, the last after {} (accepted after {})",
        it.hosts,
        ms(it.p50_ms),
        ms(it.p99_ms),
        ms(it.slowest_ms),
        ms(it.accepted_ms)
    )
}

fn percent(basis_points: u16) -> String {
    BasisPoints::new(basis_points).unwrap_or(BasisPoints::ALL).to_string()
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.heading("What it came to; all of it was checked on the way");
        let row = |name: &str, value: String| [name.to_owned(), value];
        let mut rows = vec![
            row(
                "hosts",
                format!(
                    "{}, {} of them with the app in a sandbox, in {}",
                    self.hosts,
                    self.real_hosts,
                    if self.processes == 1 {
                        "1 process".to_owned()
                    } else {
                        format!("{} processes", self.processes)
                    }
                ),
            ),
            row("first install", format!("{:.1} s until the last host had verified it", self.install_s)),
        ];
        for step in &self.steps {
            let by = match step.went_on_by {
                By::Gates => format!("the gates, on {} votes", step.votes),
                By::Operator => format!("the operator: {} votes are too few for a gate", step.votes),
            };
            let what = format!(
                "{} hosts on 1.1.0, {} on 1.0.0, after {:.1} s; on by {by}",
                step.ran, step.stayed, step.settled_s
            );
            rows.push(row(&percent(step.basis_points), what));
        }
        let bad = &self.bad;
        rows.push(row(
            "bad release",
            format!(
                "{} hosts crashed and went back alone ({} real); rolled back for {}, all back after {:.1} s",
                bad.launched,
                bad.real_went_back_alone,
                bad.why.join(" and "),
                bad.back_s
            ),
        ));
        rows.push(row("kill", words(&self.kill)));
        rows.push(row("lift", words(&self.lift)));
        let outage = &self.outage;
        rows.push(row(
            "registry down",
            format!(
                "{:.1} s; {} launches refused, {} hosts restarted, {} calls of another app answered",
                outage.down_s, outage.refused, outage.restarted, outage.other_calls
            ),
        ));
        rows.push(row("reconnect", format!("the last host after {:.2} s", outage.back_s)));
        let transfer = &self.transfer;
        rows.push(row(
            "update",
            format!(
                "{} as a patch, {} as a whole; {} came as patches, {} whole",
                transfer.delta_bytes.map_or("nothing".to_owned(), text::size),
                text::size(transfer.whole_bytes),
                transfer.by_delta,
                transfer.by_whole
            ),
        ));
        if let Some(memory) = &self.memory {
            let each = text::size(memory.per_host_bytes);
            rows.push(row(
                "memory",
                format!("{each} for each host's agent and stream, {} in all", text::size(memory.hosts_bytes)),
            ));
        }
        rows.push(row("took", format!("{:.1} s", self.took_s)));
        page.table(rows);
    }
}

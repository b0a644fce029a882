//! Benchmarks that compare: each figure beside a baseline, measured turn about in one run.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One line of `target/bench.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The unit of every number but the ratio.
    pub unit: String,
    /// The median.
    pub value: f64,
    /// The baseline's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// What the baseline is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_name: Option<String>,
    /// `value / baseline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The median again, where the distribution matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

/// How many rounds both sides get in turn.
const ROUNDS: usize = 101;
/// How long a round should take.
const ROUND: Duration = Duration::from_millis(8);

/// Measures `ours` against `baseline`, a round of each in turn so that a machine that slows down slows both. Each
/// closure runs its operation as often as it is told. The percentiles are those of rounds, each an average.
///
/// `per_run` is how many operations one run of a closure stands for.
pub fn compare(
    name: &str,
    baseline_name: &str,
    per_run: u32,
    mut ours: impl FnMut(u32),
    mut baseline: impl FnMut(u32),
) -> Row {
    let (our_runs, base_runs) = (calibrate(&mut ours), calibrate(&mut baseline));
    let mut samples = Vec::with_capacity(ROUNDS);
    let mut base = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        samples.push(nanos(&mut ours, our_runs) / f64::from(per_run));
        base.push(nanos(&mut baseline, base_runs) / f64::from(per_run));
    }
    let (value, baseline) = (quantile(&mut samples, 0.5), quantile(&mut base, 0.5));
    Row {
        name: name.into(),
        unit: "ns".into(),
        value,
        baseline: Some(baseline),
        baseline_name: Some(baseline_name.into()),
        ratio: Some(value / baseline),
        p50: Some(value),
        p99: Some(quantile(&mut samples, 0.99)),
    }
}

/// A row from single observations, without a baseline.
pub fn distribution(name: &str, unit: &str, mut samples: Vec<f64>) -> Row {
    let value = quantile(&mut samples, 0.5);
    Row {
        name: name.into(),
        unit: unit.into(),
        value,
        baseline: None,
        baseline_name: None,
        ratio: None,
        p50: Some(value),
        p99: Some(quantile(&mut samples, 0.99)),
    }
}

impl Row {
    /// The same row beside observations of something else, by their median.
    #[must_use]
    pub fn beside(mut self, name: &str, mut samples: Vec<f64>) -> Self {
        let baseline = quantile(&mut samples, 0.5);
        self.baseline = Some(baseline);
        self.baseline_name = Some(name.into());
        self.ratio = Some(self.value / baseline);
        self
    }
}

fn calibrate(run: &mut impl FnMut(u32)) -> u32 {
    let mut runs = 1u32;
    loop {
        let started = Instant::now();
        run(runs);
        if started.elapsed() >= ROUND || runs >= 1 << 20 {
            return runs;
        }
        runs *= 2;
    }
}

fn nanos(run: &mut impl FnMut(u32), runs: u32) -> f64 {
    let started = Instant::now();
    run(runs);
    started.elapsed().as_secs_f64() * 1e9 / f64::from(runs)
}

fn quantile(samples: &mut [f64], q: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = ((samples.len().saturating_sub(1)) as f64 * q).round() as usize;
    samples.get(at).copied().unwrap_or_default()
}

/// Writes rows into `file` (a JSON list), in the place of older rows of the same names.
///
/// # Errors
/// If the file cannot be read or written.
pub fn record(file: &Path, rows: &[Row]) -> io::Result<()> {
    let mut all = match fs::read(file) {
        Ok(bytes) => serde_json::from_slice::<Vec<Row>>(&bytes).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    for row in rows {
        match all.iter_mut().find(|old| old.name == row.name) {
            Some(old) => *old = row.clone(),
            None => all.push(row.clone()),
        }
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, serde_json::to_string_pretty(&all)? + "\n")
}

/// The rows as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("| row | median | 99 % | baseline | ratio |\n|---|---|---|---|---|\n");
    for row in rows {
        let amount = |n: f64| human(n, &row.unit);
        let baseline = match (row.baseline, &row.baseline_name) {
            (Some(value), Some(name)) => format!("{} ({name})", amount(value)),
            _ => "–".into(),
        };
        let ratio = row.ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let p99 = row.p99.map_or("–".into(), amount);
        out += &format!("| `{}` | {} | {p99} | {baseline} | {ratio} |\n", row.name, amount(row.value));
    }
    out
}

fn human(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value >= 1e6 => format!("{:.2} ms", value / 1e6),
        "ns" if value >= 1e3 => format!("{:.2} µs", value / 1e3),
        "ns" => format!("{value:.0} ns"),
        "bytes" => format!("{:.2} MiB", value / 1_048_576.0),
        unit => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: f64) -> Row {
        distribution(name, "ns", vec![value, value, value])
    }

    #[test]
    fn newer_rows_replace_older_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bench.json");
        record(&file, &[row("a", 1.0), row("b", 2.0)]).unwrap();
        record(&file, &[row("a", 3.0)]).unwrap();
        let rows: Vec<Row> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(rows, [row("a", 3.0), row("b", 2.0)]);
    }

    #[test]
    fn the_ratio_is_ours_over_the_baseline() {
        let work = |runs: u32, spins: u32| {
            for _ in 0..runs {
                (0..spins).for_each(|n| {
                    std::hint::black_box(n);
                });
            }
        };
        let row = compare("x", "y", 1, |n| work(n, 3000), |n| work(n, 1000));
        let ratio = row.ratio.unwrap();
        assert!(ratio > 1.0, "three times the work is not less: {ratio}");
    }
}

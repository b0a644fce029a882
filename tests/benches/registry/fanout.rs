//! From a kill that is accepted to the last byte that the last listener gets.

use mpkg_tests::bench::Row;
use serde_json::json;

use crate::listeners;
use crate::process::Part;
use crate::servers;

const ROUNDS: usize = 15;
/// Connections before memory is measured, so that what is made once does not count.
const WARM: usize = 200;

/// A server with its listeners, and what was measured.
struct Side {
    // In the order in which they end.
    listeners: Part,
    _warm: Part,
    server: Part,
    count: usize,
    /// KiB for each connection.
    memory: f64,
    /// Microseconds.
    latencies: Vec<f64>,
    processor: f64,
}

impl Side {
    /// With a file that has the listeners' tokens by then, if they need some.
    fn start(server: &str, settings: &[(&str, String)], tokens: Option<&str>, count: usize) -> Self {
        let mut server = Part::start(server, settings);
        let hello = server.hear();
        let (address, token) = hello.split_once(' ').unwrap();
        let connect = |count: usize| {
            let mut settings = vec![
                (listeners::ADDRESS, address.to_owned()),
                (listeners::TOKEN, token.to_owned()),
                (listeners::COUNT, count.to_string()),
            ];
            settings.extend(tokens.map(|path| (listeners::TOKENS, path.to_owned())));
            let mut listeners = Part::start(listeners::PART, &settings);
            assert_eq!(listeners.hear(), "ready");
            listeners
        };
        let warm = connect(WARM.min(count / 10));
        let before = server.memory();
        let listeners = connect(count);
        let memory = (server.memory() - before) / count as f64;
        Self { server, listeners, _warm: warm, count, memory, latencies: Vec::new(), processor: 0.0 }
    }

    /// One kill. Gives how many bytes each listener got.
    fn round(&mut self, body: &str, counts: bool) -> usize {
        let before = self.server.processor();
        self.listeners.say(body);
        let told = self.listeners.hear();
        let mut numbers = told.split(' ').map(|number| number.parse::<f64>().unwrap());
        let bytes = numbers.next().unwrap();
        let _until_accepted = numbers.next().unwrap();
        if counts {
            self.latencies.extend(numbers);
            self.processor += self.server.processor() - before;
        }
        bytes as usize
    }

    fn quantile(&mut self, q: f64) -> f64 {
        self.latencies.sort_by(f64::total_cmp);
        self.latencies[((self.latencies.len() - 1) as f64 * q).round() as usize] * 1e3
    }

    /// Nanoseconds of processor time for each delivery.
    fn per_delivery(&self) -> f64 {
        self.processor * 1e9 / (ROUNDS * self.count) as f64
    }
}

fn row(name: &str, unit: &str, ours: f64, plain: f64) -> Row {
    Row {
        name: name.into(),
        unit: unit.into(),
        value: ours,
        baseline: Some(plain),
        baseline_name: Some("plain axum SSE".into()),
        ratio: Some(ours / plain),
        p50: None,
        p99: None,
    }
}

pub fn measure(count: usize) -> Vec<Row> {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    // Each has its own, as hosts have.
    let (tokens, hosts) = (text(&folder.with_extension("hosts")), count.max(WARM).to_string());
    let settings = [(servers::FOLDER, text(&folder)), (servers::HOSTS, hosts)];
    let mut ours = Side::start(servers::REGISTRY, &settings, Some(&tokens), count);
    let mut plain = Side::start(servers::PLAIN, &[], None, count);
    for round in 0..=ROUNDS {
        // The first round warms up.
        let counts = round > 0;
        // Another one each time: what is in force already is not told again.
        let scope = json!({ "releases": { "from": 1 + round, "to": null } });
        let kill = json!({ "level": "stop", "scope": scope, "reason": format!("round {round}") });
        let bytes = ours.round(&kill.to_string(), counts);
        // As many bytes in two events, a stop and a head, without a database or a signature.
        let half = "x".repeat((bytes / 2).saturating_sub(40));
        plain.round(&format!("{half} {half}"), counts);
    }
    println!("{count} listeners, {ROUNDS} kills");
    let half = row("kill, half of them", "ns", ours.quantile(0.5), plain.quantile(0.5));
    let nearly = row("kill, 99 % of them", "ns", ours.quantile(0.99), plain.quantile(0.99));
    let all = row("kill, all of them", "ns", ours.quantile(1.0), plain.quantile(1.0));
    let processor = row("kill, processor for each", "ns", ours.per_delivery(), plain.per_delivery());
    let memory = row("listener, memory", "KiB", ours.memory, plain.memory);
    vec![half, nearly, all, processor, memory]
}

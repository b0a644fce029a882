//! Batches of telemetry from many devices, answered when they are committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpkg_fleet::Counters;
use mpkg_tests::bench::Row;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{APP, Package, chain};
use crate::process::Part;
use crate::servers;

/// Connections at once: a proxy before the registry has so many for all devices.
const CONNECTIONS: usize = 256;
/// Rows of a batch: what a device that runs a few apps has to say.
const ROWS: u64 = 16;
/// For so long at least.
const LAST: Duration = Duration::from_secs(20);

/// What a row says in a round: so many things happened since the last one.
fn counters(round: u64) -> Counters {
    Counters { launches: round, beacons: round, calls: 20 * round, ..Counters::default() }
}

const EVENTS: u64 = 1 + 1 + 20;

struct Connection {
    socket: TcpStream,
    space: Vec<u8>,
}

impl Connection {
    async fn new(address: &str) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), space: vec![0; 64 << 10] }
    }

    async fn send(&mut self, method: &str, path: &str, token: &str, key: &str, body: &[u8]) -> Value {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut have = 0;
        loop {
            let read = self.socket.read(&mut self.space[have..]).await.unwrap();
            assert!(read > 0, "the connection ended");
            have += read;
            let text = String::from_utf8_lossy(&self.space[..have]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() < length.parse::<usize>().unwrap() {
                continue;
            }
            assert!(head.starts_with("HTTP/1.1 20"), "{text}");
            return serde_json::from_str(body).unwrap();
        }
    }
}

fn batch(round: u64) -> Vec<u8> {
    let reports: Vec<_> = (0..ROWS)
        .map(|row| {
            json!({ "app": APP, "release_seq": 1 + row % 4, "arm": "neither", "boot": format!("b{row}"),
                    "counters": counters(round) })
        })
        .collect();
    json!({ "reports": reports }).to_string().into_bytes()
}

async fn run(address: &str, admin: &str, hosts: Vec<String>) -> (u64, Duration) {
    let mut first = Connection::new(address).await;
    let (chain, id) = (chain(1), chain(1).publisher());
    let roots = mpkg_package::RootFile::new(chain).to_bytes();
    first.send("PUT", &format!("/v1/publishers/{id}/roots"), admin, "roots", &roots).await;
    let claim = json!({ "app_id": APP, "publisher": id }).to_string();
    first.send("POST", "/v1/apps", admin, "claim", claim.as_bytes()).await;
    for code in 1..=4 {
        let package = Package::new(code).signed();
        first.send("POST", &format!("/v1/apps/{APP}/releases"), admin, &format!("r{code}"), &package).await;
    }

    let began = Instant::now();
    let hosts: Vec<Arc<str>> = hosts.into_iter().map(Into::into).collect();
    let mut rounds = 0;
    // Whole rounds, so that what was sent is known.
    while began.elapsed() < LAST {
        rounds += 1;
        let body: Arc<[u8]> = batch(rounds).into();
        let mut tasks = tokio::task::JoinSet::new();
        for part in hosts.chunks(hosts.len().div_ceil(CONNECTIONS)) {
            let (part, body) = (part.to_vec(), Arc::clone(&body));
            let mut connection = Connection::new(address).await;
            tasks.spawn(async move {
                for token in part {
                    let got = connection.send("POST", "/v1/telemetry", &token, "-", &body).await;
                    assert_eq!(got["accepted"], ROWS);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }
    let took = began.elapsed();
    let mut last = Connection::new(address).await;
    let minutes = last.send("GET", &format!("/v1/apps/{APP}/telemetry?minutes=60"), admin, "-", b"").await;
    let items = minutes["items"].as_array().unwrap();
    let sum = items.iter().fold(Counters::default(), |sum, it| {
        sum.plus(serde_json::from_value(it["counters"].clone()).unwrap())
    });
    let sent = counters(rounds);
    let times = |counter: u64| counter * ROWS * hosts.len() as u64;
    assert_eq!(
        (sum.launches, sum.beacons, sum.calls),
        (times(sent.launches), times(sent.beacons), times(sent.calls))
    );
    (rounds, took)
}

pub fn measure(devices: usize) -> Vec<Row> {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let settings =
        [(servers::FOLDER, folder.to_string_lossy().into_owned()), (servers::HOSTS, devices.to_string())];
    let mut server = Part::start(servers::REGISTRY, &settings);
    let hello = server.hear();
    let (address, admin) = hello.split_once(' ').unwrap();
    let hosts = std::fs::read_to_string(folder.with_extension("hosts")).unwrap();
    let hosts: Vec<_> = hosts.lines().map(str::to_owned).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (rounds, took) = runtime.block_on(run(address, admin, hosts));
    let rows = rounds as f64 * devices as f64 * ROWS as f64 / took.as_secs_f64();
    println!(
        "telemetry: {rounds} rounds of {devices} devices with {ROWS} rows of {EVENTS} events, {:.1} s of processor time \
         in {:.1} s",
        server.processor(),
        took.as_secs_f64()
    );
    let row = |name: &str, unit: &str, value: f64| Row {
        name: name.into(),
        unit: unit.into(),
        value,
        baseline: None,
        baseline_name: None,
        ratio: None,
        p50: None,
        p99: None,
    };
    vec![
        row("telemetry, events", "events/s", rows * EVENTS as f64),
        row("telemetry, rows", "rows/s", rows),
        row("telemetry, batches", "batches/s", rows / ROWS as f64),
    ]
}

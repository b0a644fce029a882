//! Updates over the air: how long until the last host obeys a kill, what a patch saves, what looking for news costs, and
//! how much memory an agent takes.
//!
//! Kills and memory are those of `mpkg demo`, whose hosts verify everything that real ones do. `MPKG_BENCH_HOSTS` makes a
//! quick run of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use miniapp_runtime::updates::{Agent, Counted, Device, Offer, Orders, Settings, Shelf, Switch};
use miniapp_runtime::{DataError, InstallError};
use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::{Digest, Root, RootChain, RootFile, SecretKey, Time, Trust, sign};
use mpkg_registry::{Config, Opened, Registry, Role, TokenView, serve};
use mpkg_registry_client::wire::{NewApp, NewRollout};
use mpkg_registry_client::{Client, delta};
use mpkg_tests::bench::{self, Row};
use mpkg_tests::workspace::{self, built, mpkg, root};
use serde_json::Value;

/// Rounds of what goes over the network.
const ROUNDS: usize = 101;

fn row(name: &str, unit: &str, value: f64) -> Row {
    Row {
        name: name.into(),
        unit: unit.into(),
        value,
        baseline: None,
        baseline_name: None,
        ratio: None,
        p50: None,
        p99: None,
    }
}

/// Runs the demo with so many hosts, and gives what it reports.
fn demo(hosts: usize) -> Value {
    let hosts = hosts.to_string();
    let output = mpkg(&["demo", "--hosts", &hosts, "--format", "json"]).unwrap().current_dir(root()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap()
}

fn fleet(hosts: usize) -> Vec<Row> {
    let report = demo(hosts);
    let kills = [&report["kill"], &report["outage"]["kill"]];
    // The slower one of the two.
    let slowest = |name: &str| kills.iter().map(|it| it[name].as_f64().unwrap()).fold(0.0, f64::max) * 1e6;
    let mut all = row(&format!("kill, last of {hosts} hosts obeying"), "ns", slowest("slowest_ms"));
    (all.p50, all.p99) = (Some(slowest("p50_ms")), Some(slowest("p99_ms")));
    let mut rows = vec![all];
    if let Some(bytes) = report["memory"]["per_host_bytes"].as_f64() {
        rows.push(row(&format!("agent, memory for each of {hosts}"), "KiB", bytes / 1024.0));
    }
    rows
}

/// An example and what its next release changes: its version, and this in its code.
struct Example {
    name: &'static str,
    file: &'static str,
    line: [&'static str; 2],
}

const EXAMPLES: [Example; 2] = [
    Example {
        name: "stock-alert",
        file: "src/lib.rs",
        line: ["MAX_AHEAD_MS: u64 = 300_000", "MAX_AHEAD_MS: u64 = 600_000"],
    },
    Example { name: "shopping-cart", file: "src/catalog.js", line: ["CURRENCY = 'EUR'", "CURRENCY = 'USD'"] },
];

fn replace(path: &Path, [before, after]: [&str; 2]) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(before), "{} has no {before:?}", path.display());
    std::fs::write(path, text.replace(before, after)).unwrap();
}

impl Example {
    fn app(&self) -> AppId {
        format!("com.example.{}", self.name.replace('-', "")).parse().unwrap()
    }

    /// The example as two releases, the second built from changed sources; signed, with what each is.
    fn releases(&self, folder: &Path, key: &SecretKey, root: &Root) -> [(Vec<u8>, Digest); 2] {
        let first = built(&format!("examples/{}", self.name)).unwrap();
        for part in ["sdk", "examples"] {
            workspace::copy_folder(&workspace::root().join(part), &folder.join(part)).unwrap();
        }
        let project = folder.join("examples").join(self.name);
        replace(&project.join(self.file), self.line);
        replace(&project.join("manifest.json"), ["\"code\": 1", "\"code\": 2"]);
        replace(&project.join("manifest.json"), ["\"1.0.0\"", "\"1.1.0\""]);
        let second = folder.join(format!("{}.mpkg", self.name));
        let build = ["build", project.to_str().unwrap(), "--out", second.to_str().unwrap()];
        workspace::run_mpkg(&build, 0).unwrap();
        [first, second].map(|path| {
            let unsigned = std::fs::read(path).unwrap();
            let created = Time::from_unix(1_767_225_600).unwrap();
            let signed = sign(&unsigned, key, root, created).unwrap().embed(&unsigned).unwrap();
            (signed, Digest::of(&unsigned))
        })
    }
}

/// A device that has what it is to have, and is asked nothing else.
struct Content(ReleaseRef);

impl Device for Content {
    fn apps(&self) -> Result<Vec<AppId>, DataError> {
        Ok(Vec::new())
    }

    fn shelf(&self, _app: &AppId) -> Result<Shelf, DataError> {
        let releases = vec![self.0.clone()];
        Ok(Shelf { releases, current: Some(self.0.clone()), ..Shelf::default() })
    }

    fn obey(&self, _orders: &Arc<Orders>) -> usize {
        0
    }

    fn package(&self, _release: &ReleaseRef) -> Option<Vec<u8>> {
        None
    }

    async fn install(&self, offer: Offer, _: Vec<u8>, _: Vec<u8>) -> Result<(), InstallError> {
        panic!("nothing is to be installed: {offer:?}")
    }

    async fn prepare(&self, _app: &AppId, _release: &ReleaseRef) {}

    async fn switch(&self, _app: &AppId, _release: &ReleaseRef, _when: Switch) -> Result<bool, DataError> {
        Ok(true)
    }

    fn collect(&self, _bytes: u64) -> Result<u64, DataError> {
        Ok(0)
    }

    async fn remove(&self, _app: &AppId) -> Result<(), InstallError> {
        Ok(())
    }

    fn counted(&self) -> Vec<Counted> {
        Vec::new()
    }
}

fn host() -> TokenView {
    TokenView {
        id: String::new(),
        owner: "device-1".into(),
        roles: [Role::Host].into(),
        apps: Default::default(),
        publishers: Default::default(),
        created: Time::from_unix(1_767_225_600).unwrap(),
        created_by: "benchmark".into(),
        expires: None,
        revoked: None,
    }
}

/// Both in turn, in nanoseconds.
async fn turns<A: Future<Output = ()>, B: Future<Output = ()>>(
    mut ours: impl FnMut() -> A,
    mut baseline: impl FnMut() -> B,
) -> (Vec<f64>, Vec<f64>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        ours().await;
        first.push(began.elapsed().as_secs_f64() * 1e9);
        let began = Instant::now();
        baseline().await;
        second.push(began.elapsed().as_secs_f64() * 1e9);
    }
    (first, second)
}

fn beside(name: &str, samples: Vec<f64>, baseline_name: &str, baseline: Vec<f64>) -> Row {
    let it = bench::distribution(name, "ns", samples);
    let baseline = bench::distribution(baseline_name, "ns", baseline).value;
    let ratio = Some(it.value / baseline);
    Row { baseline: Some(baseline), baseline_name: Some(baseline_name.into()), ratio, ..it }
}

/// Publishes an example's two releases, has everybody run the first, and measures the patch to the second.
async fn update(example: &Example, folder: &Path, admin: &Client, client: &Client) -> (ReleaseRef, Vec<Row>) {
    let key = SecretKey::from_seed(&[7; 32]);
    let root = Root::single(&key.public());
    let chain = RootChain::first(root.clone()).unwrap();
    let (publisher, app) = (chain.publisher(), example.app());
    admin.put_roots(publisher, RootFile::new(chain).to_bytes()).await.unwrap();
    admin.claim(&NewApp { app_id: app.clone(), publisher }).await.unwrap();
    let [(first, from), (second, to)] = example.releases(folder, &key, &root);
    let release = admin.publish(&app, first.clone()).await.unwrap().release;
    let new: NewRollout = serde_json::from_value(serde_json::json!({
        "release_seq": 1, "plan": [{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]
    }))
    .unwrap();
    let draft = admin.draft(&app, &new).await.unwrap();
    let started = admin.start(draft.value.id, &draft.etag).await.unwrap();
    admin.complete(draft.value.id, &started.etag).await.unwrap();
    admin.publish(&app, second).await.unwrap();

    // The registry makes a patch when it is asked for it first.
    let until = Instant::now() + std::time::Duration::from_secs(60);
    let patch = loop {
        match client.delta(from.sha256, to).await.unwrap() {
            Some(patch) => break patch,
            None => assert!(Instant::now() < until, "the registry makes no patch"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let base = mpkg_package::signing::split(first).unwrap().unsigned;
    let name = |what: &str| format!("update of {}, {what}", example.name);
    let mut size = row(&name("bytes of a patch"), "KiB", patch.len() as f64 / 1024.0);
    size.baseline = Some(to.size as f64 / 1024.0);
    size.baseline_name = Some("the whole package".into());
    size.ratio = Some(patch.len() as f64 / to.size as f64);

    let partial = folder.join("package.part");
    let (ours, whole) = turns(
        || async {
            let patch = client.delta(from.sha256, to).await.unwrap().unwrap();
            assert_eq!(delta::apply(&base, &patch, to).unwrap().len() as u64, to.size);
        },
        || async {
            client.download(to, &partial, &mut |_| ()).await.unwrap();
            std::fs::remove_file(&partial).unwrap();
        },
    )
    .await;
    let fetched = beside(&name("fetched and patched"), ours, "the whole package, fetched", whole);
    let apply = bench::compare(
        &name("applying a patch"),
        "hashing the package",
        1,
        |runs| {
            for _ in 0..runs {
                std::hint::black_box(delta::apply(&base, &patch, to).unwrap());
            }
        },
        |runs| {
            for _ in 0..runs {
                std::hint::black_box(Digest::of(&base));
            }
        },
    );
    (release, vec![size, fetched, apply])
}

/// Patches and news, with a registry in this process.
async fn one_host(folder: &Path) -> Vec<Row> {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config { listen, requests_per_second: 1_000_000, ..Config::new(folder.join("registry")) };
    let Opened { registry, first_token } = Registry::open(config).await.unwrap();
    let (id, token) = (registry.id(), registry.make_token(host()).await.unwrap());
    let running = serve(registry).await.unwrap();
    let address = format!("http://{}", running.address);
    let admin = Client::new(&address, first_token.as_deref()).unwrap();
    let client = admin.with_token(&token).unwrap();

    let mut rows = Vec::new();
    for example in &EXAMPLES {
        let (release, measured) = update(example, folder, &admin, &client).await;
        rows.extend(measured);
        if example.name == "stock-alert" {
            rows.push(news(example.app(), release, folder, Trust::publisher(id), &client).await);
        }
    }
    running.stop().await;
    rows
}

/// What an agent does that asks for news where there are none.
async fn news(app: AppId, release: ReleaseRef, folder: &Path, trust: Trust, client: &Client) -> Row {
    let context = serde_json::json!({ "unit": "device-1", "platform": "android", "host_version": "1.0.0" });
    let context = serde_json::from_value(context).unwrap();
    let settings = Settings::new(trust, context, folder.join("updates"));
    let agent = Agent::start(settings.registry(client.clone()), Content(release)).await.unwrap();
    agent.want(app).await.unwrap();
    // Whatever is missing comes now.
    agent.refresh().await.unwrap();
    let (ours, plain) = turns(
        || async { agent.refresh().await.unwrap() },
        || async {
            std::hint::black_box(client.head().await.unwrap());
        },
    )
    .await;
    agent.shutdown().await;
    beside("update, nothing is new", ours, "a request for the same head", plain)
}

fn main() {
    let most = std::env::var("MPKG_BENCH_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rows = runtime.block_on(one_host(folder.path()));
    rows.extend(fleet(200));
    if most > 200 {
        rows.extend(fleet(most));
    }
    print!("{}", bench::table(&rows));
    bench::record(&workspace::target().join("bench.json"), &rows).unwrap();
}

//! What happens to a registry that is killed, runs out of disk or is told to stop: in processes of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{APP, Package, chain, config};
use mpkg_fleet::{Fleet, Follow, StreamEvent};
use mpkg_package::root::Draft;
use mpkg_package::{RootChain, RootFile, SecretKey, Time, Trust, verify_detached};
use mpkg_registry::{Opened, Registry, serve};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const FOLDER: &str = "MPKG_TEST_REGISTRY";
const LISTENS: &str = "the registry listens at ";

/// No test, but the registry of the others: this program runs itself with a folder.
#[test]
fn as_a_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stop = signal(SignalKind::terminate()).unwrap();
        let Opened { registry, first_token } = Registry::open(config(&folder)).await.unwrap();
        if let Some(token) = first_token {
            std::fs::write(folder.with_extension("token"), token).unwrap();
        }
        let running = serve(registry).await.unwrap();
        println!("{LISTENS}{}", running.address);
        stop.recv().await;
        running.stop().await;
    });
    std::process::exit(0);
}

struct Process {
    child: Child,
    base: String,
    token: String,
    folder: PathBuf,
    http: reqwest::Client,
}

impl Process {
    fn start(folder: &Path) -> Self {
        // A write beyond a limit is an error then, and no signal.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "faults::as_a_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once(LISTENS).map(|(_, address)| address.to_owned()));
        let base = format!("http://{}", address.expect("a registry that starts"));
        let token = std::fs::read_to_string(folder.with_extension("token")).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { child, base, token, folder: folder.to_owned(), http: reqwest::Client::new() }
    }

    /// As a power cut would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn caller(&self) -> Caller {
        Caller { base: self.base.clone(), token: self.token.clone(), http: self.http.clone() }
    }
}

/// Somebody who talks to a registry that may be gone at any moment.
#[derive(Clone)]
struct Caller {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Caller {
    async fn send(&self, request: reqwest::RequestBuilder) -> Option<(StatusCode, Vec<u8>)> {
        let response = request.bearer_auth(&self.token).send().await.ok()?;
        Some((response.status(), response.bytes().await.ok()?.to_vec()))
    }

    async fn change(&self, path: &str, key: &str, body: Vec<u8>) -> Option<(StatusCode, Value)> {
        let method = if path.ends_with("/roots") { Method::PUT } else { Method::POST };
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = request.header("idempotency-key", key).header("if-match", "\"0\"").body(body);
        let (status, bytes) = self.send(request).await?;
        Some((status, serde_json::from_slice(&bytes).unwrap()))
    }

    /// Makes release 1 everybody's, and gives its rollout with the revision that it has then.
    async fn everywhere(&self) -> (i64, u64) {
        let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
        let draft = json!({ "release_seq": 1, "plan": plan }).to_string();
        let drafted = self.change(&format!("/v1/apps/{APP}/rollouts"), "first", draft.into()).await.unwrap();
        let id = drafted.1["id"].as_i64().unwrap();
        for (revision, verb) in ["start", "complete"].into_iter().enumerate() {
            let request = self.http.post(format!("{}/v1/rollouts/{id}/{verb}", self.base)).body("{}");
            let request = request.header("idempotency-key", format!("first-{verb}"));
            let done = self.send(request.header("if-match", format!("\"{revision}\""))).await.unwrap();
            assert_eq!(done.0, StatusCode::OK, "{}", String::from_utf8_lossy(&done.1));
        }
        (id, 2)
    }

    async fn bytes(&self, path: &str) -> Vec<u8> {
        let (status, bytes) = self.send(self.http.get(format!("{}{path}", self.base))).await.unwrap();
        assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&bytes));
        bytes
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).await).unwrap()
    }

    async fn kill(&self, name: &str) -> Option<(StatusCode, Value)> {
        let kill = json!({ "level": "warn", "scope": { "platforms": [name] }, "reason": name });
        self.change("/v1/kills", name, kill.to_string().into_bytes()).await
    }

    async fn publish(&self, code: u64) -> Option<(StatusCode, Value)> {
        let path = format!("/v1/apps/{APP}/releases");
        self.change(&path, &format!("release-{code}"), Package::new(code).signed()).await
    }

    async fn claim(&self) {
        let (chain, id) = (chain(1), chain(1).publisher());
        let roots = RootFile::new(chain).to_bytes();
        self.change(&format!("/v1/publishers/{id}/roots"), "roots", roots).await.unwrap();
        let app = json!({ "app_id": APP, "publisher": id }).to_string();
        assert_eq!(self.change("/v1/apps", "claim", app.into()).await.unwrap().0, StatusCode::CREATED);
    }

    /// Everything of a list, page by page.
    async fn all(&self, path: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}?limit=200&all=true{after}")).await;
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return all };
            after = format!("&after={next}");
        }
    }

    /// The reasons of all kills, each of which has to be there once.
    async fn kills(&self) -> BTreeSet<String> {
        let all = self.all("/v1/kills").await;
        let reasons: BTreeSet<_> =
            all.iter().map(|it| it["kill"]["reason"].as_str().unwrap().to_owned()).collect();
        assert_eq!(reasons.len(), all.len(), "no kill is there twice");
        reasons
    }

    async fn rollouts(&self) -> BTreeMap<i64, u64> {
        let all = self.all(&format!("/v1/apps/{APP}/rollouts")).await;
        all.iter()
            .map(|it| (it["id"].as_i64().unwrap(), it["rollout"]["revision"].as_u64().unwrap()))
            .collect()
    }

    /// A host takes in what the registry says, and finds nothing wrong with it.
    async fn judge(&self, host: &mut Fleet) {
        let taken = [
            host.accept_roots(&self.bytes("/v1/state/roots").await),
            host.accept_head(&self.bytes("/v1/state/head").await, None),
        ];
        for outcome in taken {
            assert!(outcome.refused.is_none() && !outcome.alarm, "{outcome:?}");
        }
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Journal {
    kills: BTreeSet<String>,
    releases: BTreeSet<u64>,
    /// Revisions by rollout.
    rollouts: BTreeMap<i64, u64>,
}

impl Journal {
    fn len(&self) -> usize {
        self.kills.len() + self.releases.len() + self.rollouts.values().sum::<u64>() as usize
    }
}

type Shared = Arc<Mutex<Journal>>;

/// Kills, one after the other, until the registry is gone.
async fn kill_away(caller: Caller, journal: Shared, round: usize) {
    for number in 0.. {
        let name = format!("kill-{round}.{number}");
        let Some((status, _)) = caller.kill(&name).await else { return };
        assert_eq!(status, StatusCode::CREATED);
        journal.lock().unwrap().kills.insert(name);
    }
}

/// Releases that are rolled out and rolled back, one after the other: each step signs the app's state.
async fn release_away(caller: Caller, journal: Shared) {
    let listed = caller.all(&format!("/v1/apps/{APP}/releases")).await;
    let newest = listed.iter().filter_map(|it| it["release"]["release_seq"].as_u64()).max().unwrap();
    let note = |rollout: &Value| {
        let revision = rollout["rollout"]["revision"].as_u64().unwrap();
        journal.lock().unwrap().rollouts.insert(rollout["id"].as_i64().unwrap(), revision);
        rollout["id"].clone()
    };
    for code in newest + 1.. {
        let Some((status, answer)) = caller.publish(code).await else { return };
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        journal.lock().unwrap().releases.insert(code);
        let draft = json!({ "release_seq": code }).to_string();
        let path = format!("/v1/apps/{APP}/rollouts");
        let Some((status, answer)) = caller.change(&path, &format!("draft-{code}"), draft.into()).await
        else {
            return;
        };
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let id = note(&answer);
        for (verb, body) in [("start", json!({})), ("rollback", json!({ "to": 1, "reason": "back" }))] {
            let path = format!("/v1/rollouts/{id}/{verb}");
            let change = caller.change(&path, &format!("{verb}-{code}"), body.to_string().into()).await;
            let Some((status, answer)) = change else { return };
            assert!(status.is_success(), "{answer}");
            note(&answer["rollout"]);
        }
    }
}

fn packages(folder: &Path) -> usize {
    let shards = std::fs::read_dir(folder.join("packages")).unwrap();
    shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_kill_and_nothing_is_there_by_half() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let first = Process::start(&folder);
    let caller = first.caller();
    caller.claim().await;
    assert_eq!(caller.publish(1).await.unwrap().0, StatusCode::CREATED);
    let id = caller.get("/v1/status").await["registry"].as_str().unwrap().to_owned();
    let mut host = Fleet::new(Trust::publisher(id.parse().unwrap()));
    let (rollout, revision) = caller.everywhere().await;
    first.kill();

    let journal = Shared::default();
    journal.lock().unwrap().releases.insert(1);
    journal.lock().unwrap().rollouts.insert(rollout, revision);
    for round in 0..6_usize {
        let process = Process::start(&folder);
        let caller = process.caller();
        let before = journal.lock().unwrap().len();
        let tasks = [
            tokio::spawn(kill_away(caller.clone(), Arc::clone(&journal), round)),
            tokio::spawn(release_away(caller.clone(), Arc::clone(&journal))),
        ];
        // Sooner and later, and always in the middle of something.
        while journal.lock().unwrap().len() < before + 2 + 5 * round {
            tokio::task::yield_now().await;
            assert!(!tasks.iter().any(tokio::task::JoinHandle::is_finished), "a change was refused");
        }
        process.kill();
        for task in tasks {
            task.await.unwrap();
        }

        let process = Process::start(&folder);
        let caller = process.caller();
        let kills = caller.kills().await;
        {
            let journal = journal.lock().unwrap();
            assert!(journal.kills.is_subset(&kills), "{:?}", journal.kills.difference(&kills));
        }
        // The one that was under way, if it was made, is made once: sent again it gives its answer.
        let unacknowledged: Vec<_> = kills.difference(&journal.lock().unwrap().kills).cloned().collect();
        assert!(unacknowledged.len() <= 1, "{unacknowledged:?}");
        for name in unacknowledged {
            assert_eq!(caller.kill(&name).await.unwrap().0, StatusCode::CREATED);
            assert_eq!(caller.kills().await, kills);
            journal.lock().unwrap().kills.insert(name);
        }

        let listed = caller.all(&format!("/v1/apps/{APP}/releases")).await;
        let mut releases = BTreeSet::new();
        for it in &listed {
            let sha256 = it["release"]["package"]["sha256"].as_str().unwrap();
            let package = caller.bytes(&format!("/v1/packages/{sha256}")).await;
            let signature = caller.bytes(&format!("/v1/packages/{sha256}/signature")).await;
            verify_detached(package, &signature, &Trust::chain(&chain(1))).unwrap();
            releases.insert(it["release"]["release_seq"].as_u64().unwrap());
        }
        assert_eq!(packages(&folder), releases.len(), "no package that no release names");
        {
            let mut journal = journal.lock().unwrap();
            assert!(journal.releases.is_subset(&releases));
            assert!(releases.len() <= journal.releases.len() + 1);
            journal.releases = releases;
        }

        let rollouts = caller.rollouts().await;
        {
            let mut journal = journal.lock().unwrap();
            for (id, revision) in &rollouts {
                // One step further is the one that was under way, or the start of the next, which supersedes this.
                let known = journal.rollouts.get(id).copied();
                assert!(known.is_none_or(|known| (known..=known + 1).contains(revision)), "{id} {revision}");
            }
            assert!(rollouts.len() <= journal.rollouts.len() + 1);
            assert!(journal.rollouts.keys().all(|id| rollouts.contains_key(id)));
            journal.rollouts = rollouts;
        }
        let audit = caller.get("/v1/audit/verify").await;
        assert_eq!(audit["broken_at"], Value::Null);
        assert!(audit["entries"].as_u64().unwrap() as usize >= journal.lock().unwrap().kills.len());
        caller.judge(&mut host).await;
        process.kill();
    }
}

/// Newer roots, one after the other, until the registry is gone.
async fn rotate_away(caller: Caller, roots: RootChain, pem: String, newest: Arc<AtomicU32>) {
    let root_key = SecretKey::from_pem(&pem).unwrap();
    let mut file = RootFile::new(roots);
    loop {
        let version = file.chain().last().version() + 1;
        let mut draft = Draft::after(file.chain().last());
        draft.expires = Time::from_unix(4_000_000_000 + i64::from(version));
        file.propose(draft.build().unwrap()).unwrap();
        file.sign(&root_key).unwrap();
        let key = format!("roots-{version}");
        let change = caller.change("/v1/state/roots", &key, file.to_bytes());
        let Some((status, answer)) = change.await else { return };
        assert_eq!(status, StatusCode::OK, "{answer}");
        newest.store(version, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_root_of_the_registry_outlives_a_kill_and_stands_in_the_log() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let first = Process::start(&folder);
    let id = first.caller().get("/v1/status").await["registry"].as_str().unwrap().to_owned();
    let mut host = Fleet::new(Trust::publisher(id.parse().unwrap()));
    first.kill();
    let pem = std::fs::read_to_string(folder.join("keys/root.pem")).unwrap();
    let newest = Arc::new(AtomicU32::new(1));
    for round in 0..6 {
        let process = Process::start(&folder);
        let before = newest.load(Ordering::SeqCst);
        // Before the first kill, which comes at once.
        let roots = RootChain::parse(&process.caller().bytes("/v1/state/roots").await).unwrap();
        let task = tokio::spawn(rotate_away(process.caller(), roots, pem.clone(), Arc::clone(&newest)));
        while newest.load(Ordering::SeqCst) < before + round {
            tokio::task::yield_now().await;
            assert!(!task.is_finished(), "a root was refused");
        }
        process.kill();
        task.await.unwrap();

        let process = Process::start(&folder);
        let caller = process.caller();
        let found = RootChain::parse(&caller.bytes("/v1/state/roots").await).unwrap();
        let (version, known) = (found.last().version(), newest.load(Ordering::SeqCst));
        assert!((known..=known + 1).contains(&version), "{known} {version}");
        let logged = caller.all("/v1/audit").await;
        let logged = logged.iter().filter(|it| it["action"] == "registry.roots").count();
        assert_eq!(logged, version as usize - 1, "as many as there are newer roots");
        let file = std::fs::read(folder.join("keys/roots")).unwrap();
        assert_eq!(RootFile::parse(&file).unwrap().chain().len(), found.len());
        caller.judge(&mut host).await;
        newest.store(version, Ordering::SeqCst);
        process.kill();
    }
}

/// Reads a stream to its end.
async fn stops(mut response: reqwest::Response) -> BTreeSet<String> {
    let (mut text, mut found) = (String::new(), BTreeSet::new());
    while let Some(chunk) = response.chunk().await.unwrap_or_default() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let event: StreamEvent = serde_json::from_str(data).unwrap();
            if let StreamEvent::Stop { notice } = &event {
                assert_eq!(event.follow(None), Follow::Apply);
                let signed = mpkg_fleet::SignedDocument::<mpkg_fleet::StopNotice>::parse(notice.as_bytes());
                found.extend(signed.unwrap().document().kills.iter().map(|kill| kill.reason.to_string()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_sends_every_kill_that_it_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    for round in 0..4_usize {
        let mut process = Process::start(&folder);
        let caller = process.caller();
        let request = caller.http.get(format!("{}/v1/stream", caller.base)).bearer_auth(&caller.token);
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(tokio::spawn(stops(request.try_clone().unwrap().send().await.unwrap())));
        }
        let journal = Shared::default();
        let tasks: Vec<_> = (0..3)
            .map(|task| tokio::spawn(kill_away(caller.clone(), Arc::clone(&journal), 10 * round + task)))
            .collect();
        while journal.lock().unwrap().len() < 3 + 4 * round {
            tokio::task::yield_now().await;
        }
        kill_process(process.pid(), Signal::TERM).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        let acknowledged = journal.lock().unwrap().kills.clone();
        for stream in streams {
            let sent = stream.await.unwrap();
            assert!(acknowledged.is_subset(&sent), "{:?}", acknowledged.difference(&sent));
        }
        let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap());
        assert!(ended.await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_changes_are_refused_whole_and_with_room_it_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let process = Process::start(&folder);
    let caller = process.caller();
    caller.claim().await;
    assert_eq!(caller.publish(1).await.unwrap().0, StatusCode::CREATED);
    let request = caller.http.get(format!("{}/v1/stream", caller.base)).bearer_auth(&caller.token);
    let stream = tokio::spawn(stops(request.send().await.unwrap()));

    // No file grows beyond this: so does a disk look that is full.
    let size = |name: &str| std::fs::metadata(process.folder.join(name)).map_or(0, |it| it.len());
    let limit = size("registry.db-wal").max(size("registry.db")) + (256 << 10);
    let full = Rlimit { current: Some(limit), ..getrlimit(Resource::Fsize) };
    let unlimited = prlimit(Some(process.pid()), Resource::Fsize, full).unwrap();
    let mut acknowledged = BTreeSet::new();
    let (mut refused, mut number) = (0, 0);
    while refused < 3 {
        let name = format!("kill-{number}");
        let (status, answer) = caller.kill(&name).await.unwrap();
        if status == StatusCode::CREATED {
            acknowledged.insert(name);
        } else {
            assert_eq!(answer["error"]["code"], "MPKG-P51", "{answer}");
            refused += 1;
        }
        number += 1;
        assert!(number < 2_000, "it never ran out");
    }
    assert!(!acknowledged.is_empty());
    // A package that does not fit.
    let (status, answer) = caller.publish_large(2, limit).await.unwrap();
    assert_eq!(answer["error"]["code"], "MPKG-P51", "{status} {answer}");
    assert_eq!(std::fs::read_dir(folder.join("uploads")).unwrap().count(), 0);
    assert_eq!(caller.kills().await, acknowledged);
    assert_eq!(packages(&folder), 1);

    prlimit(Some(process.pid()), Resource::Fsize, unlimited).unwrap();
    assert_eq!(caller.kill("room").await.unwrap().0, StatusCode::CREATED);
    assert_eq!(caller.publish_large(2, limit).await.unwrap().0, StatusCode::CREATED);
    acknowledged.insert("room".into());
    assert_eq!(caller.kills().await, acknowledged);
    process.kill();
    assert_eq!(stream.await.unwrap(), acknowledged, "hosts heard of nothing else");

    let process = Process::start(&folder);
    let caller = process.caller();
    assert_eq!(caller.kills().await, acknowledged);
    assert_eq!(caller.get("/v1/audit/verify").await["broken_at"], Value::Null);
    assert_eq!(packages(&folder), 2);
    process.kill();
}

impl Caller {
    /// A package that is longer than so many bytes.
    async fn publish_large(&self, code: u64, length: u64) -> Option<(StatusCode, Value)> {
        let mut package = Package::new(code);
        package.filler = usize::try_from(length).unwrap();
        let path = format!("/v1/apps/{APP}/releases");
        // The same key for each try: what was refused is not kept.
        self.change(&path, "large", package.signed()).await
    }
}

use super::conditions::PARSED;
use super::values::{Applied, apply};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

/// Far more than anything here takes, so that only what never happens is caught.
const PATIENCE: Duration = Duration::from_secs(30);

impl Data {
    fn kv_set(&self, of: &Namespace, key: &str, value: &str, quota: u64) -> Result<(), StoreWriteError> {
        let op = Op::Set { key: key.into(), value: value.into() };
        self.kv_apply(of, &[], &[op], quota, || true).map(drop)
    }

    fn kv_delete(&self, of: &Namespace, key: &str) -> Result<bool, StoreWriteError> {
        let op = Op::Delete { key: key.into() };
        Ok(!self.kv_apply(of, &[], &[op], 0, || true)?.is_empty())
    }
}

fn namespace(user: &str) -> Namespace {
    Namespace { user: user.into(), owner: "mp1x/com.example.app".into() }
}

#[test]
fn a_second_host_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Data::open(folder.path()).unwrap();
    assert!(matches!(Data::open(folder.path()), Err(DataError::InUse { .. })));
}

#[test]
fn survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    Data::open(folder.path()).unwrap().kv_set(&namespace("ann"), "k", "1", 100).unwrap();
    let data = Data::open(folder.path()).unwrap();
    assert_eq!(data.kv_get(&namespace("ann"), "k").unwrap().as_deref(), Some("1"));
    assert_eq!(data.kv_get(&namespace("bob"), "k").unwrap(), None);
}

#[test]
fn the_floor_outlives_the_app() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let app = Installed {
        app_id: "com.example.app".into(),
        publisher: "mp1x".into(),
        version: "1.0.0".into(),
        release_seq: 7,
        digest: "00".into(),
        size: 1,
        manifest: "{}".into(),
    };
    data.record_install(&app, Floors { root_version: 3, grant_version: 9 }, false).unwrap();
    // An installation that was decided upon at the same time does not lower them.
    data.record_install(&app, Floors { root_version: 2, grant_version: 8 }, false).unwrap();
    data.kv_set(&namespace("ann"), "k", "1", 100).unwrap();
    data.record_uninstall(&app).unwrap();
    assert_eq!(data.floor("mp1x", "com.example.app").unwrap(), 7);
    let floors = Floors { root_version: 3, grant_version: 9 };
    assert_eq!(data.trust_floors("mp1x", "com.example.app").unwrap(), floors);
    assert_eq!(data.trust_floors("mp1x", "com.example.b").unwrap(), Floors { grant_version: 0, ..floors });
    assert_eq!(data.kv_get(&namespace("ann"), "k").unwrap(), None);
    assert_eq!(data.kv_usage(&namespace("ann")).unwrap(), Usage::default());
}

/// A new key would make every user a stranger to every app, for good.
#[test]
fn a_key_that_cannot_be_read_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let (path, aside) = (folder.path().join("it.key"), folder.path().join("aside"));
    let key = data.secret("it.key").unwrap();
    assert_eq!(data.secret("it.key").unwrap(), key);
    fs::rename(&path, &aside).unwrap();
    // What cannot be read as a file, for a while.
    fs::create_dir(&path).unwrap();
    assert!(matches!(data.secret("it.key"), Err(DataError::Io { .. })));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [0; 31]).unwrap();
    assert!(matches!(data.secret("it.key"), Err(DataError::Key { bytes: 31, .. })));
    assert_eq!(fs::read(&path).unwrap(), [0; 31]);
    fs::rename(&aside, &path).unwrap();
    assert_eq!(data.secret("it.key").unwrap(), key);
}

#[derive(Debug, Clone)]
enum Step {
    Set(String, String),
    Delete(String),
    List(String, Option<String>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = "[ab]{1,3}";
    prop_oneof![
        (key, "[0-9]{1,20}").prop_map(|(k, v)| Step::Set(k, v)),
        key.prop_map(Step::Delete),
        ("[ab]{0,2}", proptest::option::of(key), 1usize..4).prop_map(|(p, a, l)| Step::List(p, a, l)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn behaves_like_a_map_with_a_quota(steps in proptest::collection::vec(step(), 1..30)) {
        const QUOTA: u64 = 60;
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let (of, other) = (namespace("ann"), namespace("anna"));
        data.kv_set(&other, "ab", "0", QUOTA).unwrap();
        let mut model = BTreeMap::<String, String>::new();
        let bytes = |m: &BTreeMap<String, String>| m.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
        for step in steps {
            match step {
                Step::Set(k, v) => {
                    let mut wanted = model.clone();
                    wanted.insert(k.clone(), v.clone());
                    let stored = data.kv_set(&of, &k, &v, QUOTA).is_ok();
                    prop_assert_eq!(stored, bytes(&wanted) <= QUOTA);
                    if stored { model = wanted }
                }
                Step::Delete(k) => {
                    prop_assert_eq!(data.kv_delete(&of, &k).unwrap(), model.remove(&k).is_some());
                }
                Step::List(prefix, after, limit) => {
                    let all: Vec<_> = model.keys()
                        .filter(|k| k.starts_with(&prefix) && after.as_ref().is_none_or(|a| *k > a))
                        .cloned().collect();
                    let (keys, more) = data.kv_list(&of, &prefix, after.as_deref(), limit).unwrap();
                    prop_assert_eq!(more, all.len() > limit);
                    prop_assert_eq!(&keys[..], &all[..all.len().min(limit)]);
                }
            }
            let usage = data.kv_usage(&of).unwrap();
            prop_assert_eq!(usage, Usage { bytes: bytes(&model), keys: model.len() as u64 });
        }
        let others = data.kv_get(&other, "ab").unwrap();
        prop_assert_eq!(others.as_deref(), Some("0"));
    }
}

fn set(key: &str, value: &str) -> Op {
    Op::Set { key: key.into(), value: value.into() }
}

#[test]
fn there_are_so_many_keys_and_no_more_whatever_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let of = namespace("ann");
    let apply = |ops: &[Op]| data.kv_apply(&of, &[], ops, u64::MAX, || true);
    let ops: Vec<Op> = (0..=KEYS).map(|n| set(&format!("{n:x}"), "0")).collect();
    let too_many = |error| matches!(error, StoreWriteError::Refused(StoreRefusal::Keys { .. }));
    assert!(too_many(apply(&ops).unwrap_err()));
    assert_eq!(data.kv_usage(&of).unwrap(), Usage::default());
    apply(&ops[1..]).unwrap();
    assert!(too_many(apply(&ops[..1]).unwrap_err()));
    // One in the place of another is not one more.
    apply(&[set("1", "1")]).unwrap();
    apply(&[Op::Delete { key: "1".into() }, set("0", "0")]).unwrap();
    assert_eq!(data.kv_usage(&of).unwrap().keys, KEYS);
    data.kv_set(&namespace("bob"), "1", "1", 100).unwrap();
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let of = namespace("ann");
    let apply = |conditions: &[Condition], ops: &[Op]| data.kv_apply(&of, conditions, ops, 40, || true);
    let absent = Condition::Absent { key: "a".into() };
    let equals = |value: &str| Condition::Equals { key: "a".into(), value: value.into() };
    let ops = [set("a", r#"{"x":1,"y":[2]}"#), set("b", "1")];
    assert_eq!(apply(std::slice::from_ref(&absent), &ops).unwrap(), ["a", "b"]);
    let state = || (data.kv_list(&of, "", None, 100).unwrap().0, data.kv_usage(&of).unwrap());
    let before = state();
    for (conditions, ops) in [
        (vec![absent], vec![set("c", "1")]),
        (vec![equals(r#"{"x":1}"#)], vec![set("c", "1")]),
        (vec![Condition::Equals { key: "none".into(), value: "null".into() }], vec![set("c", "1")]),
    ] {
        let error = apply(&conditions, &ops).unwrap_err();
        assert!(matches!(error, StoreWriteError::Refused(StoreRefusal::Conflict { .. })), "{error}");
    }
    let over = apply(&[], &[Op::Delete { key: "b".into() }, set("c", &"1".repeat(50))]).unwrap_err();
    assert!(matches!(over, StoreWriteError::Refused(StoreRefusal::Quota { used: 18, .. })), "{over:?}");
    let gone = data.kv_apply(&of, &[], &[set("c", "1")], 40, || false).unwrap_err();
    assert!(matches!(gone, StoreWriteError::Refused(StoreRefusal::Gone)));
    assert_eq!(state(), before);
    // What counts is what is there afterwards, not in between.
    let ops = [set("c", &"1".repeat(38)), Op::Delete { key: "c".into() }, set("d", "1"), set("d", "2")];
    assert_eq!(apply(&[equals(r#" {"y": [2], "x": 1} "#)], &ops).unwrap(), ["c", "d"]);
    assert_eq!(data.kv_usage(&of).unwrap(), Usage { bytes: 20, keys: 3 });
    data.kv_set(&namespace("anna"), "k", "1", 40).unwrap();
    let before = state();
    assert_eq!(
        data.kv_clear(&of, || false).unwrap(),
        None,
        "who was stopped clears nothing of a successor's"
    );
    assert_eq!(state(), before);
    assert_eq!(data.kv_clear(&of, || true).unwrap(), Some(3));
    assert_eq!(state(), (vec![], Usage::default()));
    assert_eq!(data.kv_usage(&namespace("anna")).unwrap().keys, 1);
}

fn equals(key: &str, value: &str) -> Condition {
    Condition::Equals { key: key.into(), value: value.into() }
}

fn conflicts(outcome: Result<Vec<String>, StoreWriteError>) -> bool {
    matches!(outcome, Err(StoreWriteError::Refused(StoreRefusal::Conflict { .. })))
}

/// Comparing cannot be interrupted, so it has a bound, and what is stored is parsed once.
#[test]
fn conditions_compare_so_much_and_parse_what_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let of = namespace("ann");
    let spaced = format!("[{}]", vec!["1"; 1000].join(", "));
    let dense = spaced.replace(' ', "");
    data.kv_set(&of, "a", &spaced, u64::MAX).unwrap();
    let many: Vec<_> = (0..256).map(|_| equals("a", &dense)).collect();
    PARSED.set(0);
    data.kv_apply(&of, &many, &[set("b", "1")], u64::MAX, || true).unwrap();
    assert_eq!(PARSED.get(), spaced.len() + many.len() * dense.len());

    let over = |outcome| match outcome {
        Err(StoreWriteError::Refused(StoreRefusal::Compared { bytes })) => bytes > COMPARED,
        _ => false,
    };
    let apply =
        |conditions: &[Condition]| data.kv_apply(&of, conditions, &[set("c", "1")], u64::MAX, || true);
    PARSED.set(0);
    let long = "1".repeat(COMPARED / 4);
    let given: Vec<_> = (0..5).map(|_| equals("b", &long)).collect();
    assert!(over(apply(&given)), "what is given");
    for key in ["d", "e", "f"] {
        data.kv_set(&of, key, &long, u64::MAX).unwrap();
    }
    assert!(over(apply(&["d", "e", "f"].map(|key| equals(key, &long)))), "with what is stored");
    assert_eq!(PARSED.get(), 0, "nothing that is refused is parsed, and nothing that is the same text");
    apply(&["d", "e"].map(|key| equals(key, &long))).unwrap();
    let absent = ["d", "e", "f"].map(|key| Condition::Absent { key: key.into() });
    assert!(conflicts(apply(&absent)), "what is not compared does not count");
}

/// Whoever compares keeps nobody from writing, and waits for nobody who writes.
#[test]
fn conditions_are_judged_beside_somebody_who_writes() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(Data::open(folder.path()).unwrap());
    data.kv_set(&namespace("ann"), "a", "1", 100).unwrap();
    let (tell, writing) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let writer = std::thread::spawn({
        let data = data.clone();
        move || {
            data.change(|_| {
                tell.send(()).unwrap();
                wait.recv().unwrap();
                Ok(())
            })
        }
    });
    writing.recv().unwrap();
    let (answer, answered) = mpsc::channel();
    std::thread::spawn({
        let data = data.clone();
        move || answer.send(data.kv_apply(&namespace("ann"), &[equals("a", "2")], &[], 100, || true))
    });
    let judged = answered.recv_timeout(PATIENCE).expect("it waits for the one who writes");
    assert!(conflicts(judged));
    go_on.send(()).unwrap();
    writer.join().unwrap().unwrap();
}

#[test]
fn a_key_that_changes_after_it_was_judged_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let of = namespace("ann");
    data.kv_set(&of, "a", "1", 100).unwrap();
    let conditions = [equals("a", "1"), Condition::Absent { key: "b".into() }];
    for (key, value) in [("a", "2"), ("b", "1")] {
        data.kv_set(&of, "a", "1", 100).unwrap();
        let seen = data.judge(&of, &conditions).unwrap().unwrap();
        data.kv_set(&of, key, value, 100).unwrap();
        let txn = data.db.begin_write().unwrap();
        let applied = apply(&txn, &of, &seen, &[set("c", "1")], 100).unwrap().unwrap();
        assert!(matches!(applied, Applied::Overtaken(overtaken) if overtaken == key), "{key}");
    }
    assert_eq!(data.kv_get(&of, "c").unwrap(), None);
}

#[test]
fn who_compares_and_sets_loses_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(Data::open(folder.path()).unwrap());
    data.kv_set(&namespace("ann"), "n", "0", 100).unwrap();
    let count = |data: Arc<Data>| {
        let of = namespace("ann");
        for _ in 0..25 {
            loop {
                let before = data.kv_get(&of, "n").unwrap().unwrap();
                let after = (before.parse::<u32>().unwrap() + 1).to_string();
                let counted = data.kv_apply(&of, &[equals("n", &before)], &[set("n", &after)], 100, || true);
                if !conflicts(counted) {
                    break;
                }
            }
        }
    };
    let counting: Vec<_> = (0..4)
        .map(|_| {
            let data = data.clone();
            std::thread::spawn(move || count(data))
        })
        .collect();
    counting.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(data.kv_get(&namespace("ann"), "n").unwrap().as_deref(), Some("100"));
}

/// A host that is killed in the middle of writing.
mod crash {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;
    use crate::files::FileStores;

    const FOLDER: &str = "MPKG_TEST_CRASH_FOLDER";
    const START: &str = "MPKG_TEST_CRASH_START";
    const KEYS: u64 = 17;
    const FILES: u64 = 5;

    /// What the child does in its nth step.
    fn ops(n: u64) -> Vec<Op> {
        let key = format!("k{}", n % KEYS);
        let value = format!("\"{n}{}\"", "x".repeat((n * 7919 % 300) as usize));
        match n % 5 {
            0..3 => vec![set(&key, &value)],
            3 => vec![Op::Delete { key }],
            _ => vec![set("pair/a", &value), Op::Delete { key }, set("pair/b", &value)],
        }
    }

    fn apply(model: &mut BTreeMap<String, String>, n: u64) {
        for op in ops(n) {
            match op {
                Op::Set { key, value } => drop(model.insert(key, value)),
                Op::Delete { key } => drop(model.remove(&key)),
            }
        }
    }

    fn file(n: u64) -> String {
        format!("d/f{}", n % FILES)
    }

    /// Much, so that writing it takes a while.
    fn content(n: u64) -> Vec<u8> {
        vec![n as u8; (n * 31_337 % 200_000) as usize]
    }

    /// Whether a file is left that was being written.
    #[cfg(unix)]
    fn unfinished(folder: &Path) -> bool {
        let entries = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let users = entries(folder.join("files")).flat_map(entries);
        users.flat_map(entries).any(|path| path.file_name().unwrap().to_string_lossy().starts_with(".new-"))
    }

    /// The child: writes, and says what is done, until it is killed. By itself it does nothing.
    #[test]
    fn child() {
        let Ok(folder) = std::env::var(FOLDER) else { return };
        let start: u64 = std::env::var(START).unwrap().parse().unwrap();
        let of = namespace("ann");
        let data = Data::open(Path::new(&folder)).unwrap();
        let files = FileStores::new(Path::new(&folder)).open(&of, || true).unwrap();
        let prepare = |n| (ops(n), file(n), content(n));
        let mut next = prepare(start);
        for n in start.. {
            let (ops, file, content) = next;
            let began = Instant::now();
            data.kv_apply(&of, &[], &ops, u64::MAX, || true).unwrap();
            files.write(&file, &content, u64::MAX).unwrap();
            let took = began.elapsed().as_micros();
            // Before this step is told, so that the next one begins right after it.
            next = prepare(n + 1);
            println!("\nack {n} {took}");
            std::io::stdout().flush().unwrap();
        }
    }

    /// Nothing acknowledged is lost, nothing half-done is seen, and the counters are what is there.
    #[cfg(unix)]
    #[test]
    fn a_killed_host_has_lost_nothing() {
        use std::os::unix::process::ExitStatusExt;

        const ROUNDS: u32 = 60;
        const SIGKILL: i32 = 9;
        let folder = tempfile::tempdir().unwrap();
        let of = namespace("ann");
        // `done` steps have certainly happened.
        let (mut model, mut done, mut halfway) = (BTreeMap::new(), 0u64, 0u32);
        for round in 0..ROUNDS {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "data::tests::crash::child", "--nocapture", "--test-threads=1"])
                .env(FOLDER, folder.path())
                .env(START, done.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let enough = done + 2 + u64::from(round * 5 % 7);
            let mut acknowledged = done;
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                let line = line.unwrap();
                let told = line.strip_prefix("ack ").and_then(|told| told.split_once(' '));
                let Some((n, took)) = told else { continue };
                acknowledged = n.parse::<u64>().unwrap() + 1;
                if acknowledged == enough {
                    // In another place of the step that has begun, or of the one after it, in every round.
                    let step = Duration::from_micros(took.parse().unwrap());
                    std::thread::sleep(step * 2 * round / ROUNDS);
                    child.kill().unwrap();
                }
            }
            let ended = child.wait().unwrap();
            assert_eq!(ended.signal(), Some(SIGKILL), "round {round}: the child ended by itself: {ended}");
            assert!(acknowledged >= enough, "round {round}: somebody else killed the child");
            (done..acknowledged).for_each(|n| apply(&mut model, n));

            let mut whole = !unfinished(folder.path());
            let data = Data::open(folder.path()).unwrap();
            let (keys, _) = data.kv_list(&of, "", None, 1000).unwrap();
            let value = |key: &str| data.kv_get(&of, key).unwrap().unwrap();
            let stored: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), value(key))).collect();
            let mut next = model.clone();
            apply(&mut next, acknowledged);
            assert!(stored == model || stored == next, "round {round}, after step {acknowledged}");
            let bytes = stored.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
            assert_eq!(data.kv_usage(&of).unwrap(), Usage { bytes, keys: stored.len() as u64 });

            let files = FileStores::new(folder.path()).open(&of, || true).unwrap();
            let names = files.list("").unwrap();
            let mut total = 0;
            for name in &names {
                let bytes = files.read(name, 0, usize::MAX).unwrap().bytes;
                total += bytes.len() as u64;
                let last = (0..acknowledged).rev().find(|&n| file(n) == *name);
                if last.is_some_and(|n| bytes == content(n)) {
                    continue;
                }
                assert!(
                    file(acknowledged) == *name && bytes == content(acknowledged),
                    "round {round}: {name} is neither what was acknowledged nor what was to come"
                );
                assert!(
                    stored == next,
                    "round {round}: the file of step {acknowledged} is there, its pairs are not"
                );
                whole = false;
            }
            let mut written = (0..acknowledged.min(FILES)).map(file);
            assert!(written.all(|name| names.contains(&name)), "round {round}: one is missing of {names:?}");
            assert_eq!(files.usage().unwrap(), (total, names.len()));
            whole &= stored == model;
            halfway += u32::from(!whole);
            // The step that was not acknowledged may have happened; it is done again.
            done = acknowledged;
            model = stored;
        }
        // How many is luck: a step may have begun and left no trace.
        eprintln!(
            "{halfway} of {ROUNDS} kills came between the beginning of a step and the word that it was done"
        );
    }
}

/// A release of the app whose pairs [`namespace`] names.
fn form(release_seq: u64, schema: u32) -> Installed {
    let manifest = serde_json::json!({
        "app_id": "com.example.app", "name": "A", "version": { "code": release_seq, "name": "1.0.0" },
        "platform_version": { "min_code": 1 }, "icons": [{ "src": "i.svg" }], "pages": ["p"],
        "mpkg": { "component": "app.wasm", "abi": 1, "storage": { "schema": schema } },
    });
    Installed {
        app_id: "com.example.app".into(),
        publisher: "mp1x".into(),
        version: "1.0.0".into(),
        release_seq,
        digest: format!("{release_seq:064x}"),
        size: 1,
        manifest: manifest.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is stored and whichever release takes over: each form has the pairs that it had when it was left, unless
    /// two others were left since; a form that has none gets what is there. Others' data is never touched.
    #[test]
    fn each_form_keeps_its_pairs(
        steps in proptest::collection::vec((1u32..5, "[ab]", proptest::option::of("[0-9]{1,5}")), 1..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let (of, bystander) = (namespace("ann"), Namespace::new("ann", "mp1x", "com.example.other"));
        data.kv_set(&bystander, "k", "1", 100).unwrap();
        let (mut live, mut kept) = (BTreeMap::<String, String>::new(), Vec::<(u32, BTreeMap<String, String>)>::new());
        let mut current = 1;
        data.record_install(&form(1, 1), Default::default(), true).unwrap();
        for (schema, key, value) in steps {
            let app = form(u64::from(schema), schema);
            data.change(|records| { records.hold(&app)?; records.make_current(&app) }).unwrap();
            if schema != current {
                kept.retain(|(of, _)| *of != current);
                kept.push((current, live.clone()));
                if let Some(at) = kept.iter().position(|(of, _)| *of == schema) {
                    live = kept.remove(at).1;
                }
                let most = kept.len().saturating_sub(2);
                kept.drain(..most);
                current = schema;
            }
            match value {
                Some(value) => {
                    data.kv_set(&of, &key, &value, 1000).unwrap();
                    live.insert(key, value);
                }
                None => {
                    data.kv_delete(&of, &key).unwrap();
                    live.remove(&key);
                }
            }
            for key in ["a", "b"] {
                prop_assert_eq!(data.kv_get(&of, key).unwrap(), live.get(key).cloned());
            }
            let bytes = live.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum();
            prop_assert_eq!(data.kv_usage(&of).unwrap(), Usage { bytes, keys: live.len() as u64 });
        }
        prop_assert_eq!(data.kv_get(&bystander, "k").unwrap(), Some("1".into()));
    }
}

#[test]
fn a_folder_from_before_there_was_a_shelf_has_its_release_on_it() {
    let folder = tempfile::tempdir().unwrap();
    {
        let data = Data::open(folder.path()).unwrap();
        data.record_install(&form(3, 1), Default::default(), false).unwrap();
        let txn = data.db.begin_write().unwrap();
        for table in [shelf::NEXT, shelf::BOOTS] {
            txn.delete_table(table).unwrap();
        }
        txn.delete_table(RELEASES).unwrap();
        txn.commit().unwrap();
    }
    let data = Data::open(folder.path()).unwrap();
    assert_eq!(data.releases("com.example.app").unwrap().len(), 1);
    assert_eq!(data.all_held().unwrap()[0].installed, form(3, 1));
}

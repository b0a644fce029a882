use super::folder::Part;
use super::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const QUOTA: u64 = 1000;
/// Far more than anything here takes, so that only what never happens is caught.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// On this thread the disk does not say that a rename has reached it.
    pub(super) static SYNC_FAILS: Cell<bool> = const { Cell::new(false) };
}

fn namespace(user: &str, owner: &str) -> Namespace {
    Namespace { user: user.into(), owner: owner.into() }
}

fn stores() -> (tempfile::TempDir, FileStores) {
    let folder = tempfile::tempdir().unwrap();
    let stores = FileStores::new(folder.path());
    (folder, stores)
}

fn folder(stores: &FileStores) -> Arc<Folder> {
    stores.open(&namespace("ann", "mp1x/com.example.app"), || true).unwrap()
}

/// Where that folder lies.
fn on_disk(stores: &FileStores) -> PathBuf {
    stores.root.join(hash("mp1x/com.example.app")).join(hash("ann"))
}

fn contents(folder: &Folder, path: &str) -> Vec<u8> {
    folder.read(path, 0, usize::MAX).unwrap().bytes
}

/// Every row of `paths.txt`, for every operation that takes a name.
#[test]
fn names_lead_nowhere_else() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    let mut rows = 0;
    for row in include_str!("paths.txt").lines().filter(|row| !row.starts_with('#')) {
        let (sign, text) = row.split_once(' ').unwrap_or((row, ""));
        let path: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        let done = folder.write(&path, b"x", QUOTA);
        if sign == "+" {
            done.unwrap();
            assert_eq!(contents(&folder, &path), b"x");
            folder.delete(&path).unwrap();
        } else {
            let bad = |error: Option<FileError>| matches!(error, Some(FileError::BadPath { .. }));
            assert!(bad(done.err()), "{path:?}");
            assert!(bad(folder.append(&path, b"x", QUOTA).err()), "{path:?}");
            assert!(bad(folder.read(&path, 0, 1).err()), "{path:?}");
            assert!(bad(folder.delete(&path).err()), "{path:?}");
            assert!(bad(folder.stat(&path).err()), "{path:?}");
        }
        rows += 1;
    }
    assert!(rows > 50, "{rows}");
    assert_eq!(folder.usage().unwrap(), (0, 0));
    assert_eq!(std::fs::read_dir(on_disk(&stores)).unwrap().count(), 0);
}

#[test]
fn ids_from_outside_neither_lead_out_nor_meet() {
    let (keep, stores) = stores();
    let hostile = ["..", "../..", "/", "a/b", "a", "A", "b", "", "\0", "con", "ann\n", "ä", "a\u{308}"];
    let mut open = Vec::new();
    for owner in ["mp1x/com.example.app", "mp1x/../..", "mp1x/com.example.app/a"] {
        for user in hostile {
            let folder = stores.open(&namespace(user, owner), || true).unwrap();
            folder.write("who", format!("{owner} {user}").as_bytes(), QUOTA).unwrap();
            open.push((folder, format!("{owner} {user}")));
        }
    }
    for (folder, who) in &open {
        assert_eq!(contents(folder, "who"), who.as_bytes());
    }
    assert_eq!(std::fs::read_dir(keep.path()).unwrap().count(), 1, "all of it is below `files`");
    drop(open);
    assert_eq!(stores.count(), 0, "no handle is left");
}

#[test]
fn files_are_replaced_appended_read_in_parts_and_deleted() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    folder.write("a/b/c.txt", b"hello", QUOTA).unwrap();
    folder.append("a/b/c.txt", b" world", QUOTA).unwrap();
    folder.append("log", b"1", QUOTA).unwrap();
    assert_eq!(contents(&folder, "a/b/c.txt"), b"hello world");
    assert_eq!(folder.read("a/b/c.txt", 6, 3).unwrap().bytes, b"wor");
    for behind in [11, 600, i64::MAX as u64, 1 << 63, u64::MAX] {
        assert_eq!(
            folder.read("a/b/c.txt", behind, 3).unwrap(),
            Part { bytes: vec![], size: 11 },
            "{behind}"
        );
    }
    assert_eq!(folder.stat("a/b/c.txt").unwrap().unwrap().size, 11);
    assert!(folder.stat("a/b/c.txt").unwrap().unwrap().modified_ms > Some(1_700_000_000_000));
    assert_eq!(folder.stat("a/b").unwrap(), None, "a folder is no file");
    assert_eq!(folder.list("a/").unwrap(), ["a/b/c.txt"]);
    assert_eq!(folder.usage().unwrap(), (12, 2));
    folder.write("a/b/c.txt", b"", QUOTA).unwrap();
    assert_eq!(folder.usage().unwrap(), (1, 2));
    assert!(folder.delete("a/b/c.txt").unwrap());
    assert!(!folder.delete("a/b/c.txt").unwrap());
    assert!(matches!(folder.read("a/b/c.txt", 0, 1), Err(FileError::Missing { .. })));
    // The way is free: empty folders do not stay.
    folder.write("a", b"x", QUOTA).unwrap();
}

#[test]
fn names_that_meet_on_some_file_system_are_refused() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    folder.write("Notes/July.txt", b"x", QUOTA).unwrap();
    for clash in
        ["notes/july.txt", "Notes/july.txt", "notes/august.txt", "Notes", "notes", "Notes/July.txt/x"]
    {
        let error = folder.write(clash, b"y", QUOTA).unwrap_err();
        assert!(
            matches!(&error, FileError::Clash { other, .. } if other == "Notes/July.txt"),
            "{clash}: {error}"
        );
        assert!(folder.append(clash, b"y", QUOTA).is_err(), "{clash}");
        assert!(!folder.delete(clash).unwrap(), "{clash}");
    }
    folder.write("Notes/August.txt", b"z", QUOTA).unwrap();
    folder.write("Notesx/August.txt", b"z", QUOTA).unwrap();
}

#[test]
fn the_quota_is_exact_and_an_app_over_it_may_shrink() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    folder.write("a", &[0; 600], QUOTA).unwrap();
    folder.write("b", &[0; 400], QUOTA).unwrap();
    let over =
        |done: Result<(), FileError>| matches!(done, Err(FileError::Quota { used: 1000, wanted: 1001, .. }));
    assert!(over(folder.write("c", &[0; 1], QUOTA)));
    assert!(over(folder.append("a", &[0; 1], QUOTA)));
    assert!(over(folder.write("b", &[0; 401], QUOTA)));
    assert_eq!(contents(&folder, "b").len(), 400, "what was refused changed nothing");
    folder.write("c", b"", QUOTA).unwrap();
    folder.write("a", &[0; 599], 10).unwrap();
    folder.append("c", &[0; 1], QUOTA).unwrap();
    assert_eq!(folder.usage().unwrap(), (1000, 3));
}

#[test]
fn there_are_only_so_many_files() {
    let (_keep, stores) = stores();
    std::fs::create_dir_all(on_disk(&stores)).unwrap();
    for n in 0..FILES {
        std::fs::write(on_disk(&stores).join(format!("f{n}")), "").unwrap();
    }
    let folder = folder(&stores);
    assert!(matches!(folder.write("more", b"", QUOTA), Err(FileError::TooMany { .. })));
    folder.write("f0", b"x", QUOTA).unwrap();
    folder.delete("f1").unwrap();
    folder.write("more", b"", QUOTA).unwrap();
}

/// Empty files in deep folders would take the disk's room without any of the quota.
#[test]
fn there_are_only_so_many_folders() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    let path = |n: usize| format!("{n}{}/f", "/d".repeat(14));
    let mut made = 0;
    let full = loop {
        match folder.write(&path(made), b"", 0) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, FileError::TooManyFolders { used: 0, .. }), "{full}");
    assert_eq!(made, FOLDERS / 15);
    assert!(folder.append(&path(made), b"", 0).is_err());
    // What is in folders that are there already has its place, whatever the case of other names.
    folder.write("0/f", b"", 0).unwrap();
    folder.write("f", b"", 0).unwrap();
    // A file that goes takes its folders with it, also from the count.
    assert!(folder.delete(&path(1)).unwrap());
    folder.write(&path(made), b"", 0).unwrap();
    assert!(folder.write(&path(made + 1), b"", 0).is_err());
    drop(folder);
    let again = self::folder(&stores);
    assert!(again.write(&path(made + 1), b"", 0).is_err(), "counted anew");
    assert!(again.delete(&path(2)).unwrap());
    again.write(&path(made + 1), b"", 0).unwrap();
}

/// A file that is there counts, also where the disk fails after it was put there.
#[test]
fn a_disk_that_fails_late_does_not_lose_count() {
    let (_keep, stores) = stores();
    let folder = folder(&stores);
    folder.write("a/b", &[0; 100], QUOTA).unwrap();
    SYNC_FAILS.set(true);
    for (path, size) in [("a/b", 300), ("c", 400)] {
        assert!(matches!(folder.write(path, &vec![0; size], QUOTA), Err(FileError::Io(_))));
    }
    SYNC_FAILS.set(false);
    assert_eq!(folder.usage().unwrap(), (700, 2));
    assert!(matches!(folder.write("d", &[0; 301], QUOTA), Err(FileError::Quota { used: 700, .. })));
    drop(folder);
    assert_eq!(self::folder(&stores).usage().unwrap(), (700, 2), "as it is when it is counted anew");
}

/// A kill lets go of the folder on the thread that kills, which the whole host may be waiting for.
#[test]
fn who_lets_go_does_not_wait_for_who_opens() {
    let (_keep, stores) = stores();
    let (handle, ended) = (Arc::new(Handle::default()), Arc::new(AtomicBool::new(false)));
    let (tell, opening) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let opener = thread::spawn({
        let (handle, ended, folder) = (handle.clone(), ended.clone(), folder(&stores));
        move || {
            let slow = || {
                tell.send(()).unwrap();
                wait.recv().unwrap();
                Ok(folder)
            };
            handle.get(|| !ended.load(Ordering::SeqCst), slow).map(drop)
        }
    });
    opening.recv().unwrap();
    ended.store(true, Ordering::SeqCst);
    let (told, let_go) = mpsc::channel();
    thread::spawn(move || {
        handle.release();
        told.send(handle)
    });
    let _handle = let_go.recv_timeout(PATIENCE).expect("a kill waits for the disk");
    go_on.send(()).unwrap();
    assert!(matches!(opener.join().unwrap(), Err(FileError::Gone)));
    assert_eq!(stores.count(), 0, "who came late holds nothing");
}

/// An app that is removed while it writes, or a folder that takes long, is no neighbour's affair.
#[test]
fn nobody_waits_for_anothers_folder() {
    let (_keep, stores) = stores();
    let stores = Arc::new(stores);
    let (mine, other) = ("mp1x/com.example.app", "mp1x/com.example.other");
    let (tell, working) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let ann = folder(&stores);
    let worker = thread::spawn(move || {
        ann.with(|_| {
            tell.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        })
    });
    working.recv().unwrap();
    let removing = thread::spawn({
        let stores = stores.clone();
        move || stores.remove_app(mine)
    });
    let begun = Instant::now();
    // Until the removal waits for the one who is at work.
    while stores.open.try_lock().map_or(true, |open| open.keys().any(|of| of.owner == mine)) {
        assert!(begun.elapsed() < PATIENCE, "all folders are held while one is closed");
        thread::yield_now();
    }
    let bob = stores.open(&namespace("bob", other), || true).unwrap();
    bob.write("f", b"x", QUOTA).unwrap();
    go_on.send(()).unwrap();
    worker.join().unwrap().unwrap();
    removing.join().unwrap().unwrap();
    assert!(!on_disk(&stores).exists());
}

/// What a crash leaves: an unfinished file, a folder made for it, an append that was cut off.
#[test]
fn a_crash_is_cleared_up_and_counted() {
    let (_keep, stores) = stores();
    let dir = on_disk(&stores);
    std::fs::create_dir_all(dir.join("empty/deep")).unwrap();
    std::fs::create_dir_all(dir.join("a")).unwrap();
    std::fs::write(dir.join(".new-7"), [0; 500]).unwrap();
    std::fs::write(dir.join("a/b"), [0; 30]).unwrap();
    std::fs::write(dir.join("not ours"), [0; 9]).unwrap();
    let folder = folder(&stores);
    assert_eq!(folder.usage().unwrap(), (30, 1));
    assert!(!dir.join(".new-7").exists() && !dir.join("empty").exists());
    folder.write("empty", b"x", QUOTA).unwrap();
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (keep, stores) = stores();
    let secret = keep.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let dir = on_disk(&stores);
    std::fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(&secret, dir.join("link")).unwrap();
    std::os::unix::fs::symlink(keep.path(), dir.join("up")).unwrap();
    let folder = folder(&stores);
    assert!(folder.list("").unwrap().is_empty());
    for path in ["link", "up/secret"] {
        assert!(matches!(folder.read(path, 0, 9), Err(FileError::Missing { .. })), "{path}");
    }
    assert!(folder.write("up/new", b"x", QUOTA).is_err(), "a link leads out of the folder");
    assert!(!keep.path().join("new").exists());
    // A file that is exchanged for a link behind our back.
    folder.write("mine", b"x", QUOTA).unwrap();
    std::fs::remove_file(dir.join("mine")).unwrap();
    std::os::unix::fs::symlink(&secret, dir.join("mine")).unwrap();
    assert!(folder.read("mine", 0, 9).is_err());
    folder.write("link", b"x", QUOTA).unwrap();
    assert_eq!(std::fs::read(&secret).unwrap(), b"s", "the link was replaced, not written through");
}

#[test]
fn removal_takes_all_users_and_nobody_else() {
    let (_keep, stores) = stores();
    let (mine, other) = ("mp1x/com.example.app", "mp1x/com.example.other");
    let open = |user: &str, owner: &str| stores.open(&namespace(user, owner), || true).unwrap();
    let (ann, bob, kept) = (open("ann", mine), open("bob", mine), open("ann", other));
    for folder in [&ann, &bob, &kept] {
        folder.write("f", b"x", QUOTA).unwrap();
    }
    stores.remove_app(mine).unwrap();
    stores.remove_app("mp1x/never.there").unwrap();
    assert!(
        matches!(ann.write("g", b"x", QUOTA), Err(FileError::Gone)),
        "work under way writes nothing anew"
    );
    assert!(matches!(bob.read("f", 0, 1), Err(FileError::Gone)));
    assert_eq!(contents(&kept, "f"), b"x");
    assert!(!on_disk(&stores).exists());
    assert!(matches!(stores.open(&namespace("ann", mine), || false), Err(FileError::Gone)));
    assert_eq!(open("ann", mine).usage().unwrap(), (0, 0));
}

#[test]
fn a_users_folder_goes_without_its_neighbours() {
    let (_keep, stores) = stores();
    let (mine, other) = ("mp1x/com.example.app", "mp1x/com.example.other");
    let open = |user: &str, owner: &str| stores.open(&namespace(user, owner), || true).unwrap();
    let (ann, bob, elsewhere) = (open("ann", mine), open("bob", mine), open("ann", other));
    for folder in [&ann, &bob, &elsewhere] {
        folder.write("f", b"x", QUOTA).unwrap();
    }
    stores.remove_user(&namespace("ann", mine)).unwrap();
    stores.remove_user(&namespace("carol", mine)).unwrap();
    assert!(matches!(ann.write("g", b"x", QUOTA), Err(FileError::Gone)));
    assert!(!on_disk(&stores).exists());
    assert_eq!((contents(&bob, "f"), contents(&elsewhere, "f")), (b"x".to_vec(), b"x".to_vec()));
    assert_eq!(open("ann", mine).usage().unwrap(), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Write(String, usize),
    Append(String, usize),
    Delete(String),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let path = "[ab](/[ab]){0,2}";
    prop_oneof![
        (path, 0usize..400).prop_map(|(p, n)| Step::Write(p, n)),
        (path, 0usize..400).prop_map(|(p, n)| Step::Append(p, n)),
        path.prop_map(Step::Delete),
        Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn behaves_like_a_map_with_a_quota(steps in proptest::collection::vec(step(), 1..25)) {
        let (_keep, stores) = stores();
        let mut open = folder(&stores);
        let mut model = BTreeMap::<String, usize>::new();
        let fits = |m: &BTreeMap<String, usize>| m.values().sum::<usize>() as u64 <= QUOTA
            && m.keys().all(|a| !m.keys().any(|b| b.starts_with(&format!("{a}/"))));
        for step in steps {
            match step {
                Step::Write(path, size) => {
                    let mut wanted = model.clone();
                    wanted.insert(path.clone(), size);
                    let written = open.write(&path, &vec![1; size], QUOTA).is_ok();
                    prop_assert_eq!(written, fits(&wanted), "{} {:?}", path, model);
                    if written { model = wanted }
                }
                Step::Append(path, size) => {
                    let mut wanted = model.clone();
                    *wanted.entry(path.clone()).or_default() += size;
                    let written = open.append(&path, &vec![1; size], QUOTA).is_ok();
                    prop_assert_eq!(written, fits(&wanted), "{} {:?}", path, model);
                    if written { model = wanted }
                }
                Step::Delete(path) => prop_assert_eq!(open.delete(&path).unwrap(), model.remove(&path).is_some()),
                Step::Reopen => {
                    drop(open);
                    open = folder(&stores);
                }
            }
            prop_assert_eq!(open.usage().unwrap(), (model.values().sum::<usize>() as u64, model.len()));
            let sizes: Vec<_> = open.list("").unwrap().into_iter()
                .map(|path| { let size = contents(&open, &path).len(); (path, size) }).collect();
            prop_assert_eq!(sizes, model.clone().into_iter().collect::<Vec<_>>());
        }
    }
}

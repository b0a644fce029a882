use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

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
    data.record_install(&app, Floors { root_version: 3, grant_version: 9 }).unwrap();
    // An installation that was decided upon at the same time does not lower them.
    data.record_install(&app, Floors { root_version: 2, grant_version: 8 }).unwrap();
    data.kv_set(&namespace("ann"), "k", "1", 100).unwrap();
    data.record_uninstall(&app).unwrap();
    assert_eq!(data.floor("mp1x", "com.example.app").unwrap(), 7);
    let floors = Floors { root_version: 3, grant_version: 9 };
    assert_eq!(data.trust_floors("mp1x", "com.example.app").unwrap(), floors);
    assert_eq!(data.trust_floors("mp1x", "com.example.b").unwrap(), Floors { grant_version: 0, ..floors });
    assert_eq!(data.kv_get(&namespace("ann"), "k").unwrap(), None);
    assert_eq!(data.kv_usage(&namespace("ann")).unwrap(), Usage::default());
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

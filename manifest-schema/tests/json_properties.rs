//! What holds for every JSON document.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use mpkg_manifest::json::{self, Limits, MAX_SAFE_INTEGER, Node, Value};
use mpkg_manifest::{Manifest, Problem};
use proptest::prelude::*;
use serde_json::Value as Plain;

const LIMITS: Limits = Limits::bytes(1024 * 1024);

/// Any value of the strict profile.
fn plain() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(Plain::Null),
        any::<bool>().prop_map(Plain::from),
        (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).prop_map(Plain::from),
        any::<String>().prop_map(Plain::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Plain::from),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| Plain::Object(members.into_iter().collect())),
        ]
    })
}

/// Text that looks like JSON, mostly broken.
fn almost_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\n"),
        Just("\"a\""),
        Just("\"\\u0061\""),
        Just("\"\\ud83d\""),
        Just("\"é\""),
        Just("1"),
        Just("-0"),
        Just("1.5"),
        Just("1e400"),
        Just("9007199254740992"),
        Just("99999999999999999999"),
        Just("true"),
        Just("null"),
        Just("\""),
        Just("\\"),
        Just("\u{feff}"),
        Just("//"),
        Just("'"),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// Each node's and each key's span reads as that node and that key.
fn spans_hold(source: &[u8], node: &Node) {
    let text = node.span.of(source).unwrap();
    assert_eq!(json::parse(text, LIMITS).unwrap().to_value(), node.to_value());
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| spans_hold(source, item)),
        Value::Object(members) => {
            for member in members {
                let key: String = serde_json::from_slice(member.key_span.of(source).unwrap()).unwrap();
                assert_eq!(key, member.key);
                assert!(member.key_span.end < member.node.span.start);
                spans_hold(source, &member.node);
            }
        }
        _ => {}
    }
}

/// The places of a value, as JSON pointers.
fn places(value: &Plain, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Plain::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), out));
        }
        Plain::Object(members) => {
            members
                .iter()
                .for_each(|(key, item)| places(item, &format!("{at}/{}", key.replace('/', "~1")), out));
        }
        _ => {}
    }
}

/// Values that sit at some border of the manifest's rules.
fn borderline() -> impl Strategy<Value = Plain> {
    let text = prop_oneof![
        any::<String>(),
        "[a-z]{1,4}(\\.[a-z0-9-]{0,5}){0,3}",
        "(\\*\\.)?[a-z0-9]{1,3}(\\.[a-z0-9]{1,3}){0,3}",
        "[0-9]{1,2}\\.[0-9]\\.[0-9](-[a-z0-9.]{1,4})?",
        "#[0-9a-f]{0,8}",
        "[a-z./]{0,12}",
        "[0-9]{1,3}x[0-9]{1,3}( any)?",
        "[a-z]{2}(-[A-Za-z0-9]{1,9})?",
        Just("host.loyalty".to_owned()),
        Just("network".to_owned()),
    ];
    prop_oneof![
        text.prop_map(Plain::from),
        plain(),
        Just(Plain::Array(Vec::new())),
        prop_oneof![Just(-1_i64), Just(0), Just(65_536), Just(u32::MAX.into()), Just(1 << 32)]
            .prop_map(Plain::from),
    ]
}

/// The manifest is refused or accepted by its checks alone: the types behind them never have to step in.
fn checks_and_types_agree(source: &[u8]) {
    let problems = match Manifest::parse(source) {
        Ok(parsed) => {
            let written = serde_json::to_vec(&parsed.manifest).unwrap();
            assert_eq!(Manifest::parse(&written).map(|again| again.manifest), Ok(parsed.manifest));
            parsed.warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(Problem::is_error));
            problems
        }
    };
    for problem in &problems {
        assert!(!problem.message.contains("wrong shape"), "{problem}\n{}", String::from_utf8_lossy(source));
        assert!(problem.span.start <= problem.span.end && problem.span.end <= source.len());
        if let Ok(text) = std::str::from_utf8(source) {
            assert!(text.get(problem.span.start..problem.span.end).is_some(), "{problem:?}");
        }
        assert!(!problem.to_string().chars().any(mpkg_manifest::is_unsafe_char), "{problem:?}");
        assert!(mpkg_manifest::rules::find(problem.code).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(value in plain(), pretty: bool) {
        let source = if pretty { format!(" {value:#}\n") } else { value.to_string() };
        let node = json::parse(source.as_bytes(), LIMITS).unwrap();
        prop_assert_eq!(node.to_value(), value);
        spans_hold(source.as_bytes(), &node);
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = json::parse(&bytes, LIMITS) {
            prop_assert!(error.offset() <= bytes.len());
        }
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn almost_json_is_refused_or_read(text in almost_json()) {
        let syntax = json::check_syntax(text.as_bytes());
        // The same verdict on syntax as serde_json's own, which reads the whole text into values.
        if syntax.is_err() {
            prop_assert!(serde_json::from_str::<Plain>(&text).is_err());
        }
        match json::parse(text.as_bytes(), LIMITS) {
            Ok(node) => spans_hold(text.as_bytes(), &node),
            Err(error) => {
                prop_assert!(error.offset() <= text.len());
                prop_assert!(mpkg_manifest::rules::find(error.code()).is_some());
            }
        }
    }

    #[test]
    fn changed_values_keep_checks_and_types_agreeing(which: prop::sample::Index, value in borderline()) {
        let mut manifest: Plain = serde_json::from_slice(include_bytes!("valid/full.json")).unwrap();
        let mut pointers = Vec::new();
        places(&manifest, "", &mut pointers);
        *manifest.pointer_mut(which.get::<String>(&pointers)).unwrap() = value;
        checks_and_types_agree(&serde_json::to_vec_pretty(&manifest).unwrap());
    }

    #[test]
    fn changed_bytes_keep_checks_and_types_agreeing(which: prop::sample::Index, byte: u8, delete: bool) {
        let mut source = include_bytes!("valid/full.json").to_vec();
        let at = which.index(source.len());
        if delete { source.remove(at); } else { source[at] = byte; }
        checks_and_types_agree(&source);
    }
}

#[test]
fn a_hundred_thousand_brackets_cost_nothing() {
    let open = "[".repeat(100_000);
    assert_eq!(json::parse(open.as_bytes(), LIMITS).unwrap_err().code(), "MPKG-J01");
    let balanced = format!("{open}{}", "]".repeat(100_000));
    assert_eq!(json::check_syntax(balanced.as_bytes()), Ok(()));
    let error = json::parse(balanced.as_bytes(), LIMITS).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("MPKG-J07", 32));
    let deepest = format!("{}{}", "[".repeat(32), "]".repeat(32));
    assert!(json::parse(deepest.as_bytes(), LIMITS).is_ok());
}

/// serde_json alone reads it as a float, which no whole number can be read from.
#[test]
fn minus_zero_is_zero() {
    assert_eq!(json::parse(b"-0", LIMITS).unwrap().as_int(), Some(0));
    assert_eq!(json::read::<Vec<u64>>(b"[-0]", LIMITS).unwrap(), [0]);
    let source = String::from_utf8(include_bytes!("valid/minimal.json").to_vec()).unwrap();
    let source = source.replace("\"min_code\": 1", "\"min_code\": -0");
    assert!(source.contains("-0"));
    assert_eq!(Manifest::parse(source.as_bytes()).unwrap().manifest.platform_version.min_code, 0);
}

/// Documents whose cost grows with the square of their length, if someone is careless.
#[test]
fn hostile_manifests_stay_quick() {
    let members = |n: usize| (0..n).map(|n| format!(r#""key{n}":1"#)).collect::<Vec<_>>().join(",");
    let long_key = "k".repeat(100_000);
    let sources = [
        ("unknown members", format!(r#"{{"mpkg": {{{}}}}}"#, members(15_000))),
        ("vendor members", format!("{{{}}}", members(15_000))),
        ("duplicates", format!("{{{}}}", vec![r#""a":1"#; 40_000].join(","))),
        ("floats under a long key", format!(r#"{{"{long_key}":[{}]}}"#, vec!["1.5"; 30_000].join(","))),
        ("values under a long key", format!(r#"{{"{long_key}":[{}]}}"#, vec!["1"; 60_000].join(","))),
        ("a long unknown permission", format!(r#"{{"req_permissions":[{{"name":"{long_key}"}}]}}"#)),
        (
            "many permissions",
            format!(r#"{{"req_permissions":[{}]}}"#, vec![r#"{"name":"x"}"#; 15_000].join(",")),
        ),
        ("deep", format!("{}1{}", "[".repeat(31), "]".repeat(31))),
    ];
    for (what, source) in sources {
        assert!(source.len() < 256 * 1024, "{what}");
        let started = std::time::Instant::now();
        let problems = Manifest::parse(source.as_bytes()).unwrap_err();
        let size: usize = problems.iter().map(|problem| problem.message.len() + problem.path.len()).sum();
        assert!(started.elapsed().as_secs() < 3, "{what}: {:?}", started.elapsed());
        assert!(size < 16 * 1024 * 1024, "{what}: {size} bytes of complaints");
    }
}

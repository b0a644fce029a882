//! The manifest, and the JSON that every document here is written in.

use mpkg_manifest::{Manifest, Problem, Severity, is_unsafe_char, json, rules};

/// Any bytes as strict JSON and as a manifest.
pub fn manifest(data: &[u8]) {
    let limits = json::Limits { max_bytes: 256 << 10, max_depth: 32 };
    let syntax = json::check_syntax(data);
    match json::parse(data, limits) {
        Ok(node) => {
            assert_eq!(syntax, Ok(()), "strict JSON is JSON");
            // Without duplicates and floats there is one reading, and serde_json's is that too (-0 apart, which it
            // takes for a float).
            let theirs: serde_json::Value = serde_json::from_slice(data).expect("strict JSON is JSON");
            let ours = node.to_value();
            assert!(ours == theirs || data.windows(2).any(|two| two == b"-0"), "{ours} is not {theirs}");
            let again =
                json::parse(ours.to_string().as_bytes(), json::Limits { max_bytes: usize::MAX, ..limits });
            assert_eq!(again.expect("what was read can be written").to_value(), ours);
        }
        Err(error) => {
            assert!(rules::find(error.code()).is_some(), "{} is in no table of rules", error.code());
            assert!(error.offset() <= data.len(), "{error:?} points outside");
        }
    }

    match Manifest::parse(data) {
        Ok(parsed) => {
            assert!(parsed.warnings.iter().all(|problem| problem.severity == Severity::Warning));
            parsed.warnings.iter().for_each(|problem| check(problem, data));
            // What a host acts on is a function of the bytes.
            let again = Manifest::parse(data).expect("the same bytes");
            assert_eq!(parsed.manifest.permissions(), again.manifest.permissions());
            let permissions = parsed.manifest.permissions();
            assert!(permissions.is_subset_of(&permissions));
        }
        Err(problems) => {
            assert!(problems.iter().any(Problem::is_error), "refused without an error");
            problems.iter().for_each(|problem| check(problem, data));
        }
    }
}

fn check(problem: &Problem, source: &[u8]) {
    assert!(rules::find(problem.code).is_some(), "{} is in no table of rules", problem.code);
    assert!(problem.span.start <= problem.span.end && problem.span.end <= source.len() + 1, "{problem:?}");
    let (line, column) = problem.line_col(source);
    assert!(line >= 1 && column >= 1);
    let texts = [
        Some(&problem.message),
        problem.expected.as_ref(),
        problem.suggestion.as_ref(),
        problem.help.as_ref(),
    ];
    for text in texts.into_iter().flatten() {
        assert!(!text.chars().any(is_unsafe_char), "{} prints {text:?}", problem.code);
    }
}

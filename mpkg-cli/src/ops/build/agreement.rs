//! Whether manifest, component and files speak of the same app.

use mpkg_manifest::{Problem, Severity, Span};
use mpkg_package::wasm::{self, ComponentInfo, Disagreement};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::manifest::Source;
use crate::{rules, text};

/// Refuses a component whose imports are not what the manifest declares, and a manifest that names files which are not
/// there. Each complaint points at the line of the manifest.
pub(super) fn check(source: &Source, info: &ComponentInfo, assets: &[(String, Vec<u8>)]) -> Outcome {
    let disagreements = wasm::agreement(info, source.manifest());
    let missing = missing_icons(source, assets);
    let (rule, message) = match (disagreements.len(), missing.len()) {
        (0, 0) => return Ok(()),
        (0, number) => {
            (&rules::MISSING_FILE, format!("the manifest names {} not in the project", files(number)))
        }
        (number, _) => (
            &rules::AGREEMENT,
            format!("component and manifest disagree about {}", text::count(number, "permission")),
        ),
    };
    let mut problems: Vec<Problem> = disagreements.iter().map(|one| problem(source, one)).collect();
    problems.extend(missing);
    let findings = source.findings(problems);
    let failure =
        Failure::new(rule, Exit::Failed, message).hint(format!("`mpkg explain {}` tells more.", rule.code));
    let failure = match findings.first_place() {
        Some(place) => failure.at(place),
        None => failure,
    };
    Err(failure.findings(findings))
}

fn files(number: usize) -> String {
    if number == 1 { "a file that is".to_owned() } else { format!("{number} files that are") }
}

fn problem(source: &Source, disagreement: &Disagreement) -> Problem {
    let (span, path, help) = match disagreement {
        Disagreement::NotDeclared { permission, .. } => {
            let help = if *permission == "host.*" {
                "declare the host's permission under `req_permissions`, such as { \"name\": \"host.loyalty\" }".to_owned()
            } else {
                format!(
                    "add {{ \"name\": \"{permission}\", \"reason\": \"…\" }} to `req_permissions`, or remove the call"
                )
            };
            (permissions_span(source), "/req_permissions".to_owned(), help)
        }
        Disagreement::NotImported { permission, .. } => {
            let span = source.parsed.permission_span(permission).unwrap_or_else(|| permissions_span(source));
            let index =
                source.manifest().req_permissions.iter().position(|one| one.name.as_str() == permission);
            let path =
                index.map_or("/req_permissions".to_owned(), |index| format!("/req_permissions/{index}/name"));
            (
                span,
                path,
                "remove it, or call a bridge that needs it: a permission nobody uses is asked for in vain"
                    .to_owned(),
            )
        }
    };
    Problem {
        code: disagreement.code(),
        severity: Severity::Error,
        path,
        span,
        message: disagreement.to_string(),
        expected: None,
        suggestion: None,
        help: Some(help),
    }
}

/// Where a missing declaration would stand: the key `req_permissions`, or the first byte if there is none.
fn permissions_span(source: &Source) -> Span {
    source.parsed.node.member("req_permissions").map_or(Span::new(0, 1), |member| member.key_span)
}

fn missing_icons(source: &Source, assets: &[(String, Vec<u8>)]) -> Vec<Problem> {
    let names: Vec<&str> = assets.iter().map(|(name, _)| name.as_str()).collect();
    let icons = source.manifest().icons.iter().enumerate();
    icons
        .filter(|(_, icon)| !names.contains(&icon.src.as_str()))
        .map(|(index, icon)| {
            let path = format!("/icons/{index}/src");
            let near = names.iter().map(|name| (strsim::damerau_levenshtein(name, icon.src.as_str()), name));
            let near = near.filter(|(distance, _)| *distance <= 4).min().map(|(_, name)| (*name).to_owned());
            Problem {
                code: rules::MISSING_FILE.code,
                severity: Severity::Error,
                span: source.parsed.node.pointer(&path).map_or(Span::new(0, 1), |node| node.span),
                path,
                message: format!("the icon {} is not in the project", icon.src),
                expected: Some("a file under `assets/`".to_owned()),
                suggestion: near,
                help: None,
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "../../../tests/common/guest.rs"]
mod guest;

#[cfg(test)]
mod tests {
    use super::guest::{MANIFEST, component};
    use super::*;

    /// What a build says about the guest, which imports `storage` and `cart-write`, with this manifest.
    fn verdict(manifest: &str, assets: &[&str]) -> Option<String> {
        let project = tempfile::tempdir().unwrap();
        std::fs::write(project.path().join("manifest.json"), manifest).unwrap();
        let source = Source::load(project.path()).unwrap();
        let info = wasm::inspect(&component()).unwrap();
        let assets: Vec<_> = assets.iter().map(|name| (name.to_string(), Vec::new())).collect();
        let failure = check(&source, &info, &assets).err()?;
        let json = serde_json::to_string_pretty(&failure.to_json()).unwrap();
        let human = anstream::adapter::strip_str(&failure.to_human()).to_string();
        let text = format!("exit {}\n{human}\n{json}", failure.exit().number());
        Some(text.replace(&project.path().display().to_string(), "project"))
    }

    const ICON: &[&str] = &["assets/icon.svg"];

    #[test]
    fn what_is_imported_and_declared_agrees() {
        assert_eq!(verdict(MANIFEST, ICON), None);
    }

    #[test]
    fn what_is_imported_must_be_declared() {
        let manifest = MANIFEST.replace(",\n    { \"name\": \"cart.write\" }", "");
        insta::assert_snapshot!("imported-not-declared", verdict(&manifest, ICON).unwrap());
    }

    #[test]
    fn what_is_declared_must_be_imported() {
        let manifest = MANIFEST.replace(
            "{ \"name\": \"cart.write\" }",
            "{ \"name\": \"cart.write\" },\n    { \"name\": \"clipboard\" }",
        );
        insta::assert_snapshot!("declared-not-imported", verdict(&manifest, ICON).unwrap());
    }

    #[test]
    fn both_directions_are_told_at_once() {
        let manifest = MANIFEST.replace("cart.write", "cart.read");
        insta::assert_snapshot!("both-directions", verdict(&manifest, ICON).unwrap());
    }

    #[test]
    fn an_icon_must_be_there() {
        insta::assert_snapshot!("icon-missing", verdict(MANIFEST, &["assets/icon.png"]).unwrap());
    }
}

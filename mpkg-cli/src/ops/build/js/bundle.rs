//! One file of a whole project.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::node::Driver;
use super::{sdk, world};
use crate::ops::build::BuildError;

/// A bundle and what it needs of the host.
#[derive(Debug)]
pub(super) struct Bundle {
    /// The folder with the bundle, `app.js`, and nothing that differs between two machines.
    pub(super) folder: PathBuf,
    /// The bridge interfaces that it imports, sorted.
    pub(super) interfaces: Vec<String>,
}

impl Bundle {
    /// The bundle itself.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("app.js")
    }
}

#[derive(Serialize)]
struct Job<'a> {
    project: &'a Path,
    entry: &'a str,
    sdk: &'a Path,
    globals: &'a Path,
    interfaces: Vec<&'static str>,
    output: &'a Path,
}

#[derive(Deserialize)]
struct Answer {
    errors: Vec<Complaint>,
    warnings: Vec<Complaint>,
    interfaces: Vec<String>,
}

/// Something that the bundler does not like.
#[derive(Deserialize)]
struct Complaint {
    text: String,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    source: Option<String>,
}

/// Bundles `project` into `work`.
pub(super) fn make(
    node: &Driver,
    project: &Path,
    sdk: &Path,
    work: &Path,
    log: &mut dyn FnMut(&str),
) -> Result<Bundle, BuildError> {
    let entry = entry(project)?;
    let folder = work.join("app");
    std::fs::create_dir_all(&folder).map_err(BuildError::io("create", &folder))?;
    let bundle = Bundle { folder, interfaces: Vec::new() };
    let job = Job {
        project,
        entry: &entry,
        sdk,
        globals: &sdk.join(sdk::GLOBALS),
        interfaces: world::interfaces(),
        output: &bundle.file(),
    };
    let answer: Answer = node.step("bundle", &job)?;
    for warning in &answer.warnings {
        log(&format!("warning: {}", warning.line()));
    }
    if answer.errors.is_empty() {
        return Ok(Bundle { interfaces: answer.interfaces, ..bundle });
    }
    let count = answer.errors.len();
    Err(BuildError::ToolFailed {
        tool: "the bundler".into(),
        status: if count == 1 { "1 error".into() } else { format!("{count} errors") },
        output: answer.errors.iter().map(Complaint::whole).collect(),
    })
}

/// The file that the program begins with, as package.json tells.
fn entry(project: &Path) -> Result<String, BuildError> {
    #[derive(Deserialize)]
    struct Package {
        module: Option<String>,
        main: Option<String>,
    }
    let file = project.join("package.json");
    let text = std::fs::read_to_string(&file).map_err(BuildError::io("read", &file))?;
    let package: Package = serde_json::from_str(&text).map_err(|error| BuildError::Project {
        file: file.clone(),
        problem: error.to_string(),
        hint: None,
    })?;
    let entry = package.module.or(package.main).unwrap_or_else(|| "index.js".into());
    if project.join(&entry).is_file() {
        return Ok(entry);
    }
    Err(BuildError::Project {
        file,
        problem: format!("the program begins with {entry}, and there is no such file"),
        hint: Some("Name the file that exports `app` as \"main\" in package.json.".into()),
    })
}

impl Complaint {
    /// `src/index.js:3:15: Could not resolve './cart.js'`
    fn line(&self) -> String {
        let mut line = String::new();
        for part in [self.file.clone(), self.line.map(|n| n.to_string()), self.column.map(|n| n.to_string())]
        {
            line.extend(part.map(|part| part + ":"));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line + &self.text
    }

    /// With the line of source that it is about, and a mark under the place.
    fn whole(&self) -> String {
        let mut whole = self.line() + "\n";
        if let (Some(source), Some(line), Some(column)) = (&self.source, self.line, self.column) {
            let indent = column.saturating_sub(1) as usize + line.to_string().len() + 5;
            let _ = writeln!(whole, "  {line} | {source}\n{:indent$}^", "");
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_points_at_its_place() {
        let complaint = Complaint {
            text: "Unexpected token".into(),
            file: Some("src/app.js".into()),
            line: Some(12),
            column: Some(9),
            source: Some("let a = ;".into()),
        };
        assert_eq!(
            complaint.whole(),
            "src/app.js:12:9: Unexpected token\n  12 | let a = ;\n               ^\n"
        );
    }

    #[test]
    fn a_complaint_about_nowhere_is_a_sentence() {
        let complaint = Complaint { text: "No.".into(), file: None, line: None, column: None, source: None };
        assert_eq!(complaint.whole(), "No.\n");
    }

    #[test]
    fn the_entry_is_what_package_json_says() {
        let project = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(project.path().join(name), text).unwrap();
        write("package.json", r#"{ "main": "app.js" }"#);
        assert!(matches!(entry(project.path()), Err(BuildError::Project { .. })));
        write("app.js", "");
        assert_eq!(entry(project.path()).unwrap(), "app.js");
        write("package.json", r#"{ "main": 3 }"#);
        assert!(matches!(entry(project.path()), Err(BuildError::Project { .. })));
    }
}

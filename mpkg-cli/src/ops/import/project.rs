//! The project that an import makes: the translated manifest, what is packed, what is to be ported, and a program
//! that builds.

use std::path::Path;

use super::layout::Layout;
use super::manifest::Translated;
use super::members::ICON;
use crate::cli::Template;
use crate::error::{Failure, Outcome};
use crate::ops::files::{self, Secrecy};
use crate::ops::manifest::NAME;
use crate::ops::new::Project;

const PROGRAM: &str = include_str!("index.js.in");
const IGNORE: &str = include_str!("../../../templates/js/dot-gitignore");
const PACKAGE: &str = include_str!("../../../templates/js/package.json.in");
const DRAWING: &str = include_str!("../../../templates/js/assets/icon.svg");

/// Writes all files. Returns their paths in the project, sorted, without the SDK's.
pub(super) fn write(out: &Path, layout: &Layout, manifest: &Translated) -> Outcome<Vec<String>> {
    let project = Project {
        dir: out.to_owned(),
        template: Template::Js,
        id: manifest.app_id.clone(),
        name: manifest.name.clone(),
    };
    let pages = serde_json::Value::from(manifest.pages.clone()).to_string().replace("\",\"", "', '");
    let pages = pages.replace('"', "'");
    let package = project
        .substitute(PACKAGE)
        .replace("  \"scripts\": { \"test\": \"node --test test/*.test.js\" },\n", "");
    let mut files: Vec<(String, Vec<u8>)> = vec![
        (NAME.to_owned(), manifest.text.clone().into_bytes()),
        ("package.json".to_owned(), package.into_bytes()),
        (".gitignore".to_owned(), IGNORE.as_bytes().to_owned()),
        ("src/index.js".to_owned(), PROGRAM.replace("{{pages}}", &pages).into_bytes()),
    ];
    if manifest.needs_icon && !layout.files().iter().any(|file| file.new == ICON) {
        files.push((ICON.to_owned(), DRAWING.as_bytes().to_owned()));
    }
    files.extend(layout.files().iter().map(|file| (file.new.clone(), file.data.clone())));
    files.sort();
    for (name, data) in &files {
        let path = out.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Failure::write(parent, &error))?;
        }
        files::write(&path, data, Secrecy::Public, false)?;
    }
    project.create_sdk()?;
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

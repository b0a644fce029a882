//! Where the files of a MiniApp go in a project.

use std::collections::HashMap;

use mpkg_manifest::PackagePath;

use super::archive::File;
use super::error::ImportError;
use super::{Note, spec};

/// The folder for what has to be ported: code and markup of another runtime, not packed.
pub(super) const OLD: &str = "w3c";
/// The folder for what is packed as it is.
pub(super) const ASSETS: &str = "assets";
const MANIFEST: &str = "manifest.json";
/// What only another runtime understands.
const CODE: &[&str] = &["js", "mjs", "ts", "html", "htm", "css"];

/// The files of a MiniApp, by their names in its root directory.
#[derive(Debug)]
pub(super) struct Layout {
    files: Vec<Placed>,
}

/// A file and its place.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its name in the package's root directory.
    pub(super) old: String,
    /// Its name in the project.
    pub(super) new: String,
    pub(super) data: Vec<u8>,
}

impl Layout {
    /// Finds the package's root directory and a place for every file in it.
    pub(super) fn of(files: Vec<File>, notes: &mut Vec<Note>) -> Result<Self, ImportError> {
        let root = root(&files)?;
        if !root.is_empty() {
            let what = format!(
                "the package's root directory is {root}, not the archive's own: it was taken from there"
            );
            notes.push(Note::repaired(what, spec::ROOT));
        }
        let (mut placed, mut taken) = (Vec::new(), HashMap::new());
        for File { name, data } in files {
            let Some(old) = name.strip_prefix(root.as_str()) else {
                notes.push(Note::lost(
                    format!("{name}: it is outside of the root directory"),
                    spec::STRUCTURE,
                ));
                continue;
            };
            let hidden = old.split('/').any(|segment| segment.starts_with('.') || segment == "__MACOSX");
            if hidden {
                notes.push(Note::lost(
                    format!("{old}: a hidden file that some tool left behind"),
                    spec::NAMES,
                ));
                continue;
            }
            let new = place(old, notes)?;
            if let Some(other) = taken.insert(new.to_ascii_lowercase(), old.to_owned()) {
                let problem =
                    "another one differs from it only in case or in characters that packages do not have";
                return Err(ImportError::Name { name: format!("{old} ({other})"), problem });
            }
            placed.push(Placed { old: old.to_owned(), new, data });
        }
        Ok(Self { files: placed })
    }

    /// The bytes of the old manifest.
    pub(super) fn manifest(&self) -> &[u8] {
        self.find(MANIFEST).map(|file| file.data.as_slice()).unwrap_or_default()
    }

    /// The file of that old name.
    pub(super) fn find(&self, old: &str) -> Option<&Placed> {
        self.files.iter().find(|file| file.old == old)
    }

    pub(super) fn files(&self) -> &[Placed] {
        &self.files
    }

    /// Says what has to be ported.
    pub(super) fn porting(&self, notes: &mut Vec<Note>) {
        match self.find("app.js") {
            Some(file) => {
                let what =
                    format!("port the logic and the lifecycle callbacks of {} to src/index.js", file.new);
                notes.push(Note::by_hand(what, spec::SCRIPTS));
            }
            None => notes.push(Note::by_hand("app.js is missing: there is no logic to port", spec::RUNTIME)),
        }
        match self.find("app.css") {
            Some(file) if file.data.is_empty() => {}
            Some(file) => {
                notes.push(Note::by_hand(
                    format!("carry the styles of {} over to the host's renderer", file.new),
                    spec::CSS,
                ));
            }
            None => notes
                .push(Note::by_hand("app.css is missing: there are no styles to carry over", spec::RUNTIME)),
        }
        for file in self.files.iter().filter(|file| extension(&file.old) == "html") {
            let what = format!("port the markup of {}: a component has no page of its own", file.new);
            notes.push(Note::by_hand(what, spec::HTML));
        }
        let scripts = self.files.iter().filter(|file| file.old != "app.js" && extension(&file.old) == "js");
        for file in scripts {
            let section = if file.old.starts_with("common/") { spec::COMMON } else { spec::SCRIPTS };
            notes.push(Note::by_hand(format!("port {} to src/", file.new), section));
        }
        let texts = self.files.iter().filter(|file| file.old.starts_with("i18n/")).count();
        if texts > 0 {
            let what = format!("{ASSETS}/i18n is packed as it is: choose the language in src/index.js");
            notes.push(Note::by_hand(what, spec::I18N));
        }
    }
}

/// The folder with the manifest: the archive's own, or the one nearest to it.
fn root(files: &[File]) -> Result<String, ImportError> {
    let prefixes = files.iter().filter_map(|file| file.name.strip_suffix(MANIFEST));
    let folders = prefixes.filter(|prefix| prefix.is_empty() || prefix.ends_with('/'));
    let nearest = folders.min_by_key(|prefix| (prefix.matches('/').count(), prefix.len()));
    nearest.map(ToOwned::to_owned).ok_or(ImportError::NoManifest)
}

fn extension(name: &str) -> &str {
    name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

/// The name in the project.
fn place(old: &str, notes: &mut Vec<Note>) -> Result<String, ImportError> {
    let code = CODE.contains(&extension(old).to_ascii_lowercase().as_str());
    let folder = if code || old == MANIFEST { OLD } else { ASSETS };
    let new = format!("{folder}/{old}");
    if PackagePath::check(&new).is_ok() {
        return Ok(new);
    }
    let renamed: Vec<String> = new.split('/').map(plain).collect();
    let renamed = renamed.join("/");
    if PackagePath::check(&renamed).is_err() {
        return Err(ImportError::Name {
            name: old.to_owned(),
            problem: "it is too long or too deep for a package",
        });
    }
    let what = format!("{old} is called {renamed} now: packages have plain names. Correct what refers to it");
    notes.push(Note::repaired(what, spec::NAMES));
    Ok(renamed)
}

/// A segment that every file system takes.
fn plain(segment: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut plain: String = segment.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if plain.ends_with('.') || PackagePath::check(&plain).is_err() {
        plain = format!("_{}", plain.trim_end_matches('.'));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_become_plain() {
        for (old, new) in
            [("größe.png", "gr__e.png"), ("a b", "a_b"), ("aux.txt", "_aux.txt"), ("-x", "_-x"), ("a.", "_a")]
        {
            assert_eq!(plain(old), new);
            assert!(PackagePath::check(&plain(old)).is_ok(), "{old}");
        }
    }
}

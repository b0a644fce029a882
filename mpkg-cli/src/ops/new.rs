//! Starting a project from a template.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::cli::Template;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::rules;

static TEMPLATES: Dir<'_> = include_dir!("$OUT_DIR/embedded/templates");
static SDK: Dir<'_> = include_dir!("$OUT_DIR/embedded/sdk");

/// What goes into a new project.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) template: Template,
    /// The app's id, checked already.
    pub(crate) id: String,
    /// The name that users see.
    pub(crate) name: String,
}

impl Project {
    /// The last part of the id, which is what crates, npm packages and files are called.
    pub(crate) fn short_name(&self) -> String {
        let last = self.id.rsplit('.').next().unwrap_or(&self.id);
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
    }

    /// Writes all files. Returns their paths in the project, sorted.
    pub(crate) fn create(&self) -> Outcome<Vec<String>> {
        refuse_used(&self.dir)?;
        let name = match self.template {
            Template::Rust => "rust",
            Template::Js => "js",
        };
        let template = TEMPLATES.get_dir(name).ok_or_else(|| missing("its templates"))?;
        let mut written = Vec::new();
        self.unpack(template, template.path(), Path::new(""), &mut written)?;
        written.extend(self.create_sdk()?);
        written.sort();
        Ok(written)
    }

    /// Writes the SDK alone, for a project that is not made from a template.
    pub(crate) fn create_sdk(&self) -> Outcome<Vec<String>> {
        let parts: &[&str] = match self.template {
            Template::Rust => &["rust", "wit"],
            Template::Js => &["js"],
        };
        let mut written = Vec::new();
        for part in parts {
            let part = SDK.get_dir(part).ok_or_else(|| missing("the SDK"))?;
            self.unpack(part, Path::new(""), Path::new("sdk"), &mut written)?;
        }
        Ok(written)
    }

    fn unpack(&self, from: &Dir<'_>, root: &Path, to: &Path, written: &mut Vec<String>) -> Outcome {
        for file in from.files() {
            let path = file.path().strip_prefix(root).unwrap_or(file.path());
            let (path, contents) = self.fill(&to.join(path), file.contents());
            let full = self.dir.join(&path);
            if let Some(parent) = full.parent() {
                std::fs::create_dir_all(parent).map_err(|error| Failure::write(parent, &error))?;
            }
            files::write(&full, &contents, files::Secrecy::Public, false)?;
            written.push(path.to_string_lossy().replace('\\', "/"));
        }
        from.dirs().try_for_each(|dir| self.unpack(dir, root, to, written))
    }

    /// Fills in a file that ends in `.in`; others stay byte for byte what they are. A leading `dot-` in a name is the
    /// dot that would hide the file here.
    fn fill(&self, path: &Path, contents: &[u8]) -> (PathBuf, Vec<u8>) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, contents) = match (name.strip_suffix(".in"), std::str::from_utf8(contents)) {
            (Some(stem), Ok(text)) => (stem.to_owned(), self.substitute(text).into_bytes()),
            _ => (name, contents.to_owned()),
        };
        let name = name.strip_prefix("dot-").map_or(name.clone(), |rest| format!(".{rest}"));
        (path.with_file_name(name), contents)
    }

    /// `text` with the project's names in the places that are held open for them.
    pub(crate) fn substitute(&self, text: &str) -> String {
        // The name may hold quotes.
        let quoted = serde_json::Value::from(self.name.as_str()).to_string();
        let short = self.short_name();
        text.replace("{{name_json}}", &quoted)
            .replace("{{short_name}}", &short)
            .replace("{{crate_ident}}", &short.replace('-', "_"))
            .replace("{{id}}", &self.id)
            .replace("{{name}}", &self.name)
    }
}

fn missing(what: &str) -> Failure {
    Failure::internal(format!("this mpkg was built without {what}"))
}

/// A folder that holds anything is left alone.
pub(crate) fn refuse_used(dir: &Path) -> Outcome {
    let used = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => true,
        Err(error) => return Err(Failure::read(dir, &error)),
    };
    if used {
        let message = format!("{} is there already and not an empty folder", dir.display());
        return Err(Failure::new(&rules::EXISTS, Exit::Conflict, message)
            .hint("Choose a folder that does not exist yet; mpkg makes it."));
    }
    Ok(())
}

/// A name for users, made from the folder's: `stock-alert` gives `Stock alert`.
pub(crate) fn name_from(dir: &Path) -> String {
    let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let words: Vec<&str> = folder.split(['-', '_', '.', ' ']).filter(|word| !word.is_empty()).collect();
    let joined = words.join(" ");
    let mut chars = joined.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => "Mini App".to_owned(),
    }
}

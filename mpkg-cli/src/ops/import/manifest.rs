//! The manifest: what fits stays as it is, the rest is repaired member by member until it is one of ours.

use mpkg_manifest::json::{self, Limits};
use mpkg_manifest::{Manifest, Problem, check_version_name};
use serde_json::{Map, Value, json};

use super::error::ImportError;
use super::layout::Layout;
use super::{Note, members, spec};

/// The order of members in the new manifest; others follow.
const ORDER: &[&str] = &[
    "app_id",
    "name",
    "short_name",
    "description",
    "lang",
    "dir",
    "version",
    "platform_version",
    "icons",
    "pages",
];

/// More complaints than that about one manifest, and it is not worth repairing.
const MOST_REPAIRS: usize = 500;

/// A manifest of ours.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    pub(super) app_id: String,
    pub(super) name: String,
    pub(super) pages: Vec<String>,
    /// Whether the app needs an icon to begin with.
    pub(super) needs_icon: bool,
}

/// Translates the manifest of a MiniApp.
pub(super) fn translate(layout: &Layout, notes: &mut Vec<Note>) -> Result<Translated, ImportError> {
    let mut bytes = layout.manifest();
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        notes.push(Note::repaired("the manifest's byte order mark is gone", spec::MANIFEST_JSON));
        bytes = rest;
    }
    let node = json::parse(bytes, Limits::MANIFEST).map_err(ImportError::Json)?;
    let Value::Object(mut manifest) = node.to_value() else {
        return Err(ImportError::Manifest { problem: format!("it is {}, not an object", node.kind()) });
    };
    let needs_icon = members::icons(&mut manifest, layout, notes);
    members::identity(&mut manifest, notes);
    members::version(&mut manifest, notes);
    members::platform(&mut manifest, notes);
    members::pages(&mut manifest, layout, notes);
    members::permissions(&mut manifest, notes);
    if manifest.insert("mpkg".to_owned(), json!({ "component": "app.wasm", "abi": 1 })).is_some() {
        notes.push(Note::lost(
            "the member `mpkg` of another vendor: the name is taken here",
            spec::EXTENSIBILITY,
        ));
    } else {
        let what = "added the member `mpkg`, which names the component to run and its interface version";
        notes.push(Note::repaired(what, spec::EXTENSIBILITY));
    }
    let text = settle(&mut manifest, notes)?;
    let parsed = Manifest::parse(text.as_bytes()).map_err(|problems| unsettled(&problems))?;
    let manifest = parsed.manifest;
    Ok(Translated {
        app_id: manifest.app_id.to_string(),
        name: manifest.name.to_string(),
        pages: manifest.pages.iter().map(ToString::to_string).collect(),
        needs_icon,
        text,
    })
}

/// Repairs or drops what the manifest's own rules still refuse, one complaint at a time: dropping one member can
/// settle several.
fn settle(manifest: &mut Map<String, Value>, notes: &mut Vec<Note>) -> Result<String, ImportError> {
    for _ in 0..MOST_REPAIRS {
        let text = write(manifest);
        let Err(problems) = Manifest::parse(text.as_bytes()) else { return Ok(text) };
        let Some(problem) = problems.iter().find(|problem| problem.is_error()) else { return Ok(text) };
        repair(manifest, problem, notes).ok_or_else(|| unsettled(&problems))?;
    }
    Err(ImportError::Manifest { problem: format!("more than {MOST_REPAIRS} members of it need repair") })
}

fn unsettled(problems: &[Problem]) -> ImportError {
    let first = problems.iter().find(|problem| problem.is_error());
    ImportError::Manifest { problem: first.map(ToString::to_string).unwrap_or_default() }
}

/// `None` if nothing could be done.
fn repair(manifest: &mut Map<String, Value>, problem: &Problem, notes: &mut Vec<Note>) -> Option<()> {
    let section = spec::of_member(&problem.path);
    let name = problem.path.trim_start_matches('/').replace('/', ".");
    let mut document = Value::Object(std::mem::take(manifest));
    let placeholder = members::PLACEHOLDERS.iter().find(|(pointer, _)| *pointer == problem.path);
    let done = if let Some((pointer, value)) = placeholder {
        let value = serde_json::from_str(value).ok()?;
        notes.push(Note::by_hand(
            format!("{name} is a placeholder now ({value}): {}", problem.message),
            section,
        ));
        document.pointer_mut(pointer).map(|place| *place = value)
    } else if let Some((color, place)) = color(problem, &mut document) {
        *place = Value::from(color);
        notes.push(Note::repaired(format!("{name} is written {color} now"), section));
        Some(())
    } else {
        notes.push(Note::lost(problem.message.clone(), section));
        remove(&mut document, &problem.path)
    };
    if let Value::Object(map) = document {
        *manifest = map;
    }
    done
}

/// The hexadecimal form of a colour that is given by its name.
fn color<'a>(problem: &Problem, document: &'a mut Value) -> Option<(&'static str, &'a mut Value)> {
    let place = document.pointer_mut(&problem.path)?;
    let error = place.as_str()?.parse::<mpkg_manifest::Color>().err()?;
    let name = problem.path.rsplit('/').next().unwrap_or_default();
    if !name.ends_with("color") {
        return None;
    }
    error.suggestion().map(|color| (color, place))
}

/// Removes what a JSON pointer points at; of a member that its object cannot do without, the object.
fn remove(document: &mut Value, pointer: &str) -> Option<()> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let needed = matches!(
        (parent.split('/').nth(1), key),
        (Some("icons"), "src") | (Some("widgets"), "name" | "path")
    );
    if needed {
        return remove(document, parent);
    }
    let key = key.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&key).map(|_| ()),
        Value::Array(list) => {
            let index = key.parse::<usize>().ok().filter(|index| *index < list.len())?;
            list.remove(index);
            // An empty list of widgets says nothing. One of icons or pages is a complaint of its own.
            let needed = matches!(parent, "/icons" | "/pages");
            if list.is_empty() && !needed { remove(document, parent) } else { Some(()) }
        }
        _ => None,
    }
}

/// The manifest as its author would have written it.
fn write(manifest: &Map<String, Value>) -> String {
    let rest = manifest.keys().map(String::as_str).filter(|key| !ORDER.contains(key) && *key != "mpkg");
    let order = ORDER.iter().copied().chain(rest).chain(["mpkg"]);
    let members: Vec<String> = order
        .filter_map(|key| {
            let value = serde_json::to_string_pretty(manifest.get(key)?).unwrap_or_default();
            Some(format!("  {}: {}", Value::from(key), value.replace('\n', "\n  ")))
        })
        .collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

/// A version's name as Semantic Versioning has it, if it can be made one: `1.0` and `v1.0.0` can.
pub(super) fn semantic(name: &str) -> Option<String> {
    let bare = name.trim().trim_start_matches(['v', 'V']);
    let (numbers, rest) = match bare.find(['-', '+']) {
        Some(at) => bare.split_at_checked(at)?,
        None => (bare, ""),
    };
    let mut parts: Vec<String> = numbers
        .split('.')
        .map(|part| part.parse::<u64>().map(|n| n.to_string()))
        .collect::<Result<_, _>>()
        .ok()?;
    if parts.len() > 3 {
        return None;
    }
    parts.resize(3, "0".to_owned());
    let name = format!("{}{rest}", parts.join("."));
    check_version_name(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_for_people_become_semantic() {
        assert_eq!(semantic("1.0").as_deref(), Some("1.0.0"));
        assert_eq!(semantic("v01.2").as_deref(), Some("1.2.0"));
        assert_eq!(semantic("2.1.3-beta.1").as_deref(), Some("2.1.3-beta.1"));
        for name in ["", "1.2.3.4", "first", "1.x"] {
            assert_eq!(semantic(name), None, "{name}");
        }
    }

    #[test]
    fn removing_goes_up_where_it_must() {
        let mut document = json!({ "icons": [{ "src": 1 }, { "src": "a" }], "lang": 7 });
        remove(&mut document, "/icons/0/src").unwrap();
        remove(&mut document, "/lang").unwrap();
        assert_eq!(document, json!({ "icons": [{ "src": "a" }] }));
        assert_eq!(remove(&mut document, "/nothing"), None);
    }
}

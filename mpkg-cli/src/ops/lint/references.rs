//! Files that nothing names.

use aho_corasick::AhoCorasick;

use super::checks;
use super::subject::{File, Subject};
use crate::ops::finding::Finding;
use crate::text;

/// Localization resources are found by their language, not by their name.
const LOCALIZATION: &str = "i18n/";

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    // The last segment will do: code often joins a folder and a name.
    let names: Vec<&str> = subject.files.iter().map(|file| last_segment(&file.name)).collect();
    let Ok(search) = AhoCorasick::new(&names) else { return };
    let mut used = vec![false; names.len()];
    let mut mark = |text: &[u8], own: Option<usize>| {
        for found in search.find_overlapping_iter(text) {
            let index = found.pattern().as_usize();
            // A picture that holds its own name is not used by that.
            if Some(index) != own
                && let Some(used) = used.get_mut(index)
            {
                *used = true;
            }
        }
    };
    mark(&subject.source, None);
    if let Some(component) = &subject.component {
        mark(&component.data, None);
    }
    subject.sources.iter().for_each(|source| mark(&source.data, None));
    for (index, file) in subject.files.iter().enumerate().filter(|(_, file)| file.text().is_some()) {
        mark(&file.data, Some(index));
    }
    for (file, used) in subject.files.iter().zip(used) {
        if !used && !is_page(subject, file) && !file.name.contains(LOCALIZATION) {
            let size = text::size(file.data.len() as u64);
            let message = format!("nothing names {} ({size})", file.name);
            findings.push(Finding::new(&checks::UNREFERENCED, message).file(file.name.clone()));
        }
    }
}

fn last_segment(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Routes of pages and widgets may leave out the extension: `pages/home` names `pages/home.html` and `pages/home.css`.
fn is_page(subject: &Subject, file: &File) -> bool {
    let manifest = subject.manifest();
    let routes = manifest.pages.iter().chain(manifest.widgets.iter().map(|widget| &widget.path));
    routes.into_iter().any(|route| {
        let rest = file.name.strip_prefix(route.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && !rest.contains('/'))
    })
}

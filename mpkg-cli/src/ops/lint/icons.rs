//! Icons: what they declare against what they are.

use mpkg_manifest::Icon;

use super::checks;
use super::image::Image;
use super::subject::Subject;
use crate::ops::finding::{Check, Finding};
use crate::ops::manifest::NAME;
use crate::text;

/// Bytes that are enough for an icon.
const LARGE: usize = 128 << 10;
/// Pixels that a sharp icon has at least.
const SHARP: u32 = 48;

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    let (mut sharp, mut known) = (false, true);
    for (index, icon) in subject.manifest().icons.iter().enumerate() {
        let mut tell = |check: &Check, member: &str, message: String| {
            let at = subject.manifest_place(&format!("/icons/{index}{member}"));
            findings.push(Finding::new(check, message).place(NAME, at));
        };
        let name = icon.src.as_str();
        if icon.sizes.is_none() {
            tell(&checks::ICON_NO_SIZE, "", format!("the icon {name} does not say its sizes"));
        }
        if icon.label.is_none() {
            tell(&checks::ICON_NO_LABEL, "", format!("the icon {name} has no label"));
        }
        // One that is missing is refused by `mpkg build`.
        let Some(file) = subject.files.iter().find(|file| file.name == name) else {
            known = false;
            continue;
        };
        let size = file.data.len();
        if size > LARGE {
            tell(&checks::ICON_LARGE, "/src", format!("the icon {name} has {}", text::size(size as u64)));
        }
        let image = Image::of(&file.data);
        match image {
            Image::Unknown => {
                tell(&checks::ICON_FORMAT, "/src", format!("the icon {name} is no image that hosts know"))
            }
            Image::Raster(Some((width, height))) => sharp |= width >= SHARP && height >= SHARP,
            Image::Raster(None) => known = false,
            Image::Vector(_) => sharp = true,
        }
        if let Some(real) = mismatch(icon, image) {
            let declared = icon.sizes.as_deref().unwrap_or_default();
            tell(
                &checks::ICON_SIZE,
                "/sizes",
                format!("the icon {name} is declared as {declared}, and is {real}"),
            );
        }
    }
    if !sharp && known {
        let at = subject.manifest_place("/icons");
        let message = format!("no icon has {SHARP}x{SHARP} pixels or more");
        findings.push(Finding::new(&checks::ICON_SMALL, message).place(NAME, at));
    }
}

/// What the image is, if that is none of what its icon declares.
fn mismatch(icon: &Icon, image: Image) -> Option<String> {
    let sizes = icon.sizes.as_ref()?;
    // `any` alone, or among others, promises nothing.
    if sizes.split_ascii_whitespace().any(|size| size.eq_ignore_ascii_case("any")) {
        return None;
    }
    match image {
        Image::Raster(Some(real)) => {
            sizes.pixels().all(|declared| declared != real).then(|| format!("{}x{}", real.0, real.1))
        }
        // A vector has no size, but it has proportions.
        Image::Vector(Some((width, height))) => sizes
            .pixels()
            .any(|(w, h)| (f64::from(w) * height - f64::from(h) * width).abs() > 0.02 * width * f64::from(h))
            .then(|| format!("drawn {width} by {height}")),
        _ => None,
    }
}

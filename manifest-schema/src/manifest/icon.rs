//! Icons.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Extra;
use crate::path::PackagePath;
use crate::strings::checked_string;
use crate::text::Text;

/// An image that stands for the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Icon {
    /// The image file in the package.
    #[schemars(example = &"assets/icon-48.png")]
    pub src: PackagePath,
    /// Sizes that the image is good for: `any`, or widths and heights with spaces between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"48x48 96x96")]
    pub sizes: Option<IconSizes>,
    /// What the image shows, for people who do not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Red lightning")]
    pub label: Option<Text<256>>,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Sizes of an icon as HTML's `sizes` attribute writes them: `any`, or widths and heights.
///
/// ```
/// use mpkg_manifest::IconSizes;
/// let sizes: IconSizes = "48x48 96X96".parse().unwrap();
/// assert_eq!(sizes.pixels().collect::<Vec<_>>(), [(48, 48), (96, 96)]);
/// assert!("any".parse::<IconSizes>().is_ok());
/// for bad in ["", "48", "0x48", "048x48", "48*48", "48 x 48"] {
///     assert!(bad.parse::<IconSizes>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IconSizes(String);

/// Why a text gives no sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a list of icon sizes", crate::problem::quote(text))]
pub struct IconSizesError {
    /// The text.
    pub text: String,
}

impl IconSizesError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::SIZES
    }
}

impl IconSizes {
    /// The widths and heights in pixels; `any` has none.
    pub fn pixels(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.split_ascii_whitespace().filter_map(size)
    }
}

fn check(text: &str) -> Result<(), IconSizesError> {
    let mut tokens = text.split_ascii_whitespace().peekable();
    let fits = tokens.peek().is_some()
        && text.len() <= 256
        && tokens.all(|token| token.eq_ignore_ascii_case("any") || size(token).is_some());
    if fits { Ok(()) } else { Err(IconSizesError { text: text.to_owned() }) }
}

fn size(token: &str) -> Option<(u32, u32)> {
    let (width, height) = token.split_once(['x', 'X'])?;
    Some((side(width)?, side(height)?))
}

fn side(text: &str) -> Option<u32> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

checked_string!(IconSizes, IconSizesError, check, {
    "type": "string",
    "maxLength": 256,
    "pattern": "^\\s*([aA][nN][yY]|[1-9][0-9]*[xX][1-9][0-9]*)(\\s+([aA][nN][yY]|[1-9][0-9]*[xX][1-9][0-9]*))*\\s*$"
});

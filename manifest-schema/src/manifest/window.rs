//! The look of the app's window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Extra;
use super::page::words;
use crate::strings::checked_string;
use crate::text::Text;

/// Look of the window that the app runs in. Everything has the default that W3C gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Window {
    /// Whether `design_width` is worked out from the screen's pixel density.
    #[schemars(example = true)]
    pub auto_design_width: bool,
    /// Background colour.
    #[schemars(example = &"#ffffff")]
    pub background_color: Color,
    /// Style of text on the background.
    #[schemars(example = &"light")]
    pub background_text_style: BackgroundTextStyle,
    /// Width that the pages were designed for, in pixels.
    #[schemars(range(max = 9_007_199_254_740_991_u64), example = 720)]
    pub design_width: u64,
    /// Whether pulling down refreshes.
    #[schemars(example = true)]
    pub enable_pull_down_refresh: bool,
    /// Whether the app fills the screen.
    #[schemars(example = true)]
    pub fullscreen: bool,
    /// Background colour of the navigation bar.
    #[schemars(example = &"#f8f8f8")]
    pub navigation_bar_background_color: Color,
    /// Colour of the title in the navigation bar.
    #[schemars(example = &"black")]
    pub navigation_bar_text_style: NavigationTextStyle,
    /// Title in the navigation bar; the app's name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"My Mini App")]
    pub navigation_bar_title_text: Option<Text<64>>,
    /// Style of the navigation bar.
    #[schemars(example = &"custom")]
    pub navigation_style: NavigationStyle,
    /// How far from the bottom, in pixels, the pull-up event fires.
    #[schemars(range(max = 9_007_199_254_740_991_u64), example = 100)]
    pub on_reach_bottom_distance: u64,
    /// Orientation of the screen.
    #[schemars(example = &"landscape")]
    pub orientation: Orientation,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            auto_design_width: false,
            background_color: Color("#ffffff".to_owned()),
            background_text_style: BackgroundTextStyle::Dark,
            design_width: 750,
            enable_pull_down_refresh: false,
            fullscreen: false,
            navigation_bar_background_color: Color("#000000".to_owned()),
            navigation_bar_text_style: NavigationTextStyle::White,
            // W3C's algorithm says "default" here, its text gives no default: a window titled "default" helps
            // nobody.
            navigation_bar_title_text: None,
            navigation_style: NavigationStyle::Default,
            on_reach_bottom_distance: 50,
            orientation: Orientation::Portrait,
            extra: Extra::new(),
        }
    }
}

/// Style of text on the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackgroundTextStyle {
    /// Light.
    Light,
    /// Dark.
    #[default]
    Dark,
}

words!(BackgroundTextStyle { Light = "light", Dark = "dark" });

/// Colour of the title in the navigation bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NavigationTextStyle {
    /// White.
    #[default]
    White,
    /// Black.
    Black,
}

words!(NavigationTextStyle { White = "white", Black = "black" });

/// Style of the navigation bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NavigationStyle {
    /// The host's own bar.
    #[default]
    Default,
    /// The app draws its own bar.
    Custom,
}

words!(NavigationStyle { Default = "default", Custom = "custom" });

/// Orientation of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// Upright.
    #[default]
    Portrait,
    /// Lying.
    Landscape,
}

words!(Orientation { Portrait = "portrait", Landscape = "landscape" });

/// An sRGB colour: `#rgb`, `#rgba`, `#rrggbb` or `#rrggbbaa`.
///
/// ```
/// use mpkg_manifest::Color;
/// assert!("#0F0".parse::<Color>().is_ok());
/// assert!("#00ff0080".parse::<Color>().is_ok());
/// for bad in ["00ff00", "#00ff0", "#gggggg", "rgb(0, 255, 0)", ""] {
///     assert!(bad.parse::<Color>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Color(String);

/// Why a text is no colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a colour", crate::problem::quote(text))]
pub struct ColorError {
    /// The text.
    pub text: String,
}

impl ColorError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::COLOR
    }

    /// The hexadecimal form of a basic CSS colour name.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        const NAMED: &[(&str, &str)] = &[
            ("aqua", "#00ffff"),
            ("black", "#000000"),
            ("blue", "#0000ff"),
            ("cyan", "#00ffff"),
            ("fuchsia", "#ff00ff"),
            ("gray", "#808080"),
            ("green", "#008000"),
            ("grey", "#808080"),
            ("lime", "#00ff00"),
            ("magenta", "#ff00ff"),
            ("maroon", "#800000"),
            ("navy", "#000080"),
            ("olive", "#808000"),
            ("orange", "#ffa500"),
            ("purple", "#800080"),
            ("red", "#ff0000"),
            ("silver", "#c0c0c0"),
            ("teal", "#008080"),
            ("transparent", "#00000000"),
            ("white", "#ffffff"),
            ("yellow", "#ffff00"),
        ];
        NAMED.iter().find(|(name, _)| self.text.eq_ignore_ascii_case(name)).map(|(_, hex)| *hex)
    }
}

fn check(text: &str) -> Result<(), ColorError> {
    let digits = text.strip_prefix('#').unwrap_or_default();
    if matches!(digits.len(), 3 | 4 | 6 | 8) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(ColorError { text: text.to_owned() })
    }
}

checked_string!(Color, ColorError, check, {
    "type": "string",
    "description": "An sRGB colour as `#rgb`, `#rgba`, `#rrggbb` or `#rrggbbaa`.",
    "pattern": "^#([0-9A-Fa-f]{3,4}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})$"
});

//! The member `window`.

use super::check::{At, Check, Known, Unknown};
use super::w3c::MAX_INT;
use crate::manifest::{BackgroundTextStyle, Color, NavigationStyle, NavigationTextStyle, Orientation};
use crate::text::Text;

const WINDOW: &[Known] = &[
    ("auto_design_width", false),
    ("background_color", false),
    ("background_text_style", false),
    ("design_width", false),
    ("enable_pull_down_refresh", false),
    ("fullscreen", false),
    ("navigation_bar_background_color", false),
    ("navigation_bar_text_style", false),
    ("navigation_bar_title_text", false),
    ("navigation_style", false),
    ("on_reach_bottom_distance", false),
    ("orientation", false),
];

pub(super) fn window(check: &mut Check, at: &At<'_>) {
    if !check.object(at, WINDOW, Unknown::Keep) {
        return;
    }
    for key in ["auto_design_width", "enable_pull_down_refresh", "fullscreen"] {
        check.boolean(at, key);
    }
    for key in ["background_color", "navigation_bar_background_color"] {
        check.member::<Color>(at, key);
    }
    for key in ["design_width", "on_reach_bottom_distance"] {
        check.int(at, key, 0, MAX_INT);
    }
    check.member::<Text<64>>(at, "navigation_bar_title_text");
    check.word(at, "background_text_style", BackgroundTextStyle::VALUES);
    check.word(at, "navigation_bar_text_style", NavigationTextStyle::VALUES);
    check.word(at, "navigation_style", NavigationStyle::VALUES);
    check.word(at, "orientation", Orientation::VALUES);
}

//! How the errors of checked strings become problems: rule, what was expected, and a repaired value where
//! there is one.

use std::fmt::Display;
use std::str::FromStr;

use crate::app_id::{AppId, AppIdError};
use crate::host_pattern::{HostPattern, HostPatternError};
use crate::manifest::{
    ColorError, IconSizesError, Language, LanguageError, VersionNameError, check_version_name,
};
use crate::path::{PackagePath, PathError};
use crate::permission::PermissionNameError;
use crate::text::TextError;

/// An error of a checked string that can be told as a problem.
pub(super) trait Refusal: Display {
    /// The rule that was broken.
    fn code(&self) -> &'static str;
    /// What would be right.
    fn expected(&self) -> Option<&'static str>;
    /// A valid value near the given one.
    fn suggestion(&self, _given: &str) -> Option<String> {
        None
    }
    /// What to do.
    fn help(&self) -> Option<&'static str> {
        None
    }
}

/// The candidate, if it is a valid value and not what was given already.
fn valid<T: FromStr>(candidate: String, given: &str) -> Option<String> {
    (candidate != given && candidate.parse::<T>().is_ok()).then_some(candidate)
}

impl Refusal for TextError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        None
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("leave the member out, or write what users should read"),
            Self::Untrimmed => Some("remove the white space at the ends"),
            Self::TooLong { .. } => Some("shorten it"),
            Self::UnsafeCharacter { .. } => Some("remove the character"),
        }
    }
}

impl Refusal for AppIdError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("a reverse domain name in lower case, such as `org.example.miniapp`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        valid::<AppId>(given.trim().to_ascii_lowercase().replace(['_', ' '], "-"), given)
    }
}

impl Refusal for VersionNameError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("a semantic version, such as `1.4.0`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        let plain = given.trim().trim_start_matches(['v', 'V']);
        let candidates = [plain.to_owned(), format!("{plain}.0"), format!("{plain}.0.0")];
        candidates.into_iter().find(|candidate| check_version_name(candidate).is_ok())
    }
}

impl Refusal for PathError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("a path inside the package, such as `assets/icon.png`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        let slashes = given.replace('\\', "/");
        // A way up is never repaired: what it was meant to reach is not in the package.
        let inside = slashes.trim_start_matches("./").trim_matches('/').replace("//", "/").replace(' ', "-");
        valid::<PackagePath>(inside, given)
    }
}

impl Refusal for IconSizesError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("`any`, or widths and heights such as `48x48 96x96`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        let square = format!("{0}x{0}", given.trim().trim_end_matches("px"));
        valid::<crate::manifest::IconSizes>(given.replace(['*', '×'], "x").replace(',', " "), given)
            .or_else(|| valid::<crate::manifest::IconSizes>(square, given))
    }
}

impl Refusal for LanguageError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("a BCP 47 language tag, such as `en-GB`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        valid::<Language>(given.trim().replace('_', "-"), given)
    }
}

impl Refusal for ColorError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("an sRGB colour in hexadecimal, such as `#f8f8f8`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        self.suggestion()
            .map(str::to_owned)
            .or_else(|| valid::<crate::manifest::Color>(format!("#{given}"), given))
    }
}

impl Refusal for HostPatternError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        Some("a host name, such as `api.example.com` or `*.example.com`")
    }

    fn suggestion(&self, given: &str) -> Option<String> {
        let behind_scheme = given.split_once("://").map_or(given, |(_, rest)| rest);
        let authority = behind_scheme.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').trim();
        valid::<HostPattern>(host.to_ascii_lowercase(), given)
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            Self::BadLabel { label } if !label.is_ascii() => {
                Some("write an internationalised name in its ASCII form, `xn--…`")
            }
            _ => None,
        }
    }
}

impl Refusal for PermissionNameError {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn expected(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { .. } => {
                Some("a permission of the vocabulary, or `host.` and the name of a host's service")
            }
            Self::BadHostName { .. } => Some("a name such as `host.loyalty`"),
            Self::Free { .. } | Self::Reserved { .. } => None,
        }
    }

    fn suggestion(&self, _given: &str) -> Option<String> {
        self.suggestion().map(str::to_owned)
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            Self::Free { .. } => Some("remove the entry"),
            Self::Reserved { .. } => {
                Some("ask for the built-in permission, or have the host rename its service")
            }
            Self::Unknown { .. } | Self::BadHostName { .. } => None,
        }
    }
}

//! Language tags.

use serde::{Deserialize, Serialize};

use crate::strings::checked_string;

/// A BCP 47 language tag, checked for its form (not against the registry): `en`, `en-GB`, `zh-Hant-TW`,
/// `x-klingon`.
///
/// ```
/// use mpkg_manifest::Language;
/// for good in ["en", "en-GB", "zh-Hant-TW", "de-CH-1996", "x-klingon", "i-klingon"] {
///     assert!(good.parse::<Language>().is_ok(), "{good}");
/// }
/// for bad in ["", "e", "en_GB", "english language", "en-", "en-toolongsubtag", "1a"] {
///     assert!(bad.parse::<Language>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(String);

/// Why a text is no language tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a language tag", crate::problem::quote(text))]
pub struct LanguageError {
    /// The text.
    pub text: String,
}

impl LanguageError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::LANGUAGE
    }
}

impl Language {
    /// The most specific of `tags` that covers this language, by its place among them: the lookup of RFC 4647,
    /// section 3.4, without a default. Case does not count.
    ///
    /// ```
    /// use mpkg_manifest::Language;
    /// let user: Language = "zh-Hant-TW".parse().unwrap();
    /// assert_eq!(user.lookup(["zh", "ZH-hant", "zh-TW"]), Some(1));
    /// assert_eq!(user.lookup(["de"]), None);
    /// ```
    #[must_use]
    pub fn lookup<'a>(&self, tags: impl IntoIterator<Item = &'a str, IntoIter: Clone>) -> Option<usize> {
        let tags = tags.into_iter();
        let mut range = self.as_str();
        loop {
            if let Some(at) = tags.clone().position(|tag| tag.eq_ignore_ascii_case(range)) {
                return Some(at);
            }
            range = range.rsplit_once('-')?.0;
            // A single letter only introduces what stood behind it: `zh-Hant-x-home` goes on with `zh-Hant`.
            while let Some((shorter, single)) = range.rsplit_once('-')
                && single.len() == 1
            {
                range = shorter;
            }
        }
    }
}

fn check(text: &str) -> Result<(), LanguageError> {
    let mut subtags = text.split('-');
    let first = subtags.next().unwrap_or_default();
    let private_or_old = matches!(first, "x" | "X" | "i" | "I") && text.len() > 2;
    let language = (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    let rest = subtags.all(|subtag| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if text.len() <= 64 && (private_or_old || language) && rest {
        Ok(())
    } else {
        Err(LanguageError { text: text.to_owned() })
    }
}

checked_string!(Language, LanguageError, check, {
    "type": "string",
    "maxLength": 64,
    "pattern": "^([A-Za-z]{2,8}|[xXiI](?=-))(-[A-Za-z0-9]{1,8})*$"
});

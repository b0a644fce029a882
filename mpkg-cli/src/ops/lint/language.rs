//! Language and direction of the manifest's texts.

use mpkg_manifest::Direction;

use super::checks;
use super::subject::Subject;
use crate::ops::finding::Finding;
use crate::ops::manifest::NAME;

/// A writing system, as coarse as needed to tell texts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Devanagari,
    Thai,
    Hangul,
    Chinese,
}

impl Script {
    fn name(self) -> &'static str {
        match self {
            Self::Latin => "Latin",
            Self::Greek => "Greek",
            Self::Cyrillic => "Cyrillic",
            Self::Hebrew => "Hebrew",
            Self::Arabic => "Arabic",
            Self::Devanagari => "Devanagari",
            Self::Thai => "Thai",
            Self::Hangul => "Korean",
            Self::Chinese => "Chinese or Japanese",
        }
    }

    fn of_char(c: char) -> Option<Self> {
        Some(match u32::from(c) {
            0x41..=0x5a | 0x61..=0x7a | 0xc0..=0x24f | 0x1e00..=0x1eff => Self::Latin,
            0x370..=0x3ff | 0x1f00..=0x1fff => Self::Greek,
            0x400..=0x52f => Self::Cyrillic,
            0x590..=0x5ff => Self::Hebrew,
            0x600..=0x6ff | 0x750..=0x77f | 0x8a0..=0x8ff => Self::Arabic,
            0x900..=0x97f => Self::Devanagari,
            0xe00..=0xe7f => Self::Thai,
            0x1100..=0x11ff | 0xac00..=0xd7af => Self::Hangul,
            0x3040..=0x30ff | 0x3400..=0x9fff | 0x20000..=0x2ffff => Self::Chinese,
            _ => return None,
        })
    }

    /// The script that most letters of a text are in, if there are enough of them to tell. Brand names and units are
    /// often in Latin letters, so those count a fifth.
    fn of_text(text: &str) -> Option<Self> {
        let mut counts: Vec<(Self, usize)> = Vec::new();
        for script in text.chars().filter_map(Self::of_char) {
            let weight = if script == Self::Latin { 1 } else { 5 };
            match counts.iter_mut().find(|(known, _)| *known == script) {
                Some((_, count)) => *count += weight,
                None => counts.push((script, weight)),
            }
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .filter(|(_, count)| *count >= 10)
            .map(|(script, _)| script)
    }

    /// The script that a language is written in.
    fn of_language(tag: &str) -> Option<Self> {
        let mut subtags = tag.split('-');
        let language = subtags.next().unwrap_or_default().to_ascii_lowercase();
        if let Some(script) =
            subtags.find(|subtag| subtag.len() == 4 && subtag.chars().all(|c| c.is_ascii_alphabetic()))
        {
            return Some(match script.to_ascii_lowercase().as_str() {
                "latn" => Self::Latin,
                "grek" => Self::Greek,
                "cyrl" => Self::Cyrillic,
                "hebr" => Self::Hebrew,
                "arab" => Self::Arabic,
                "deva" => Self::Devanagari,
                "thai" => Self::Thai,
                "hang" | "kore" => Self::Hangul,
                "hans" | "hant" | "jpan" => Self::Chinese,
                _ => return None,
            });
        }
        Some(match language.as_str() {
            "zh" | "yue" | "ja" => Self::Chinese,
            "ko" => Self::Hangul,
            "ru" | "uk" | "be" | "bg" | "mk" | "kk" | "ky" | "mn" => Self::Cyrillic,
            "ar" | "fa" | "ur" | "ps" | "ug" => Self::Arabic,
            "he" | "yi" => Self::Hebrew,
            "el" => Self::Greek,
            "hi" | "mr" | "ne" | "sa" => Self::Devanagari,
            "th" => Self::Thai,
            // Written in several scripts, or in one that is not told apart here.
            "sr" | "uz" | "az" | "pa" | "ks" | "ku" | "bn" | "ta" | "te" | "ml" | "kn" | "gu" | "si"
            | "my" | "km" | "lo" | "ka" | "hy" | "am" | "ti" | "bo" | "x" | "i" | "und" | "mul" => {
                return None;
            }
            _ => Self::Latin,
        })
    }
}

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    let manifest = subject.manifest();
    let Some(lang) = &manifest.lang else {
        let message = "the manifest does not say the language of its texts";
        findings.push(Finding::new(&checks::NO_LANG, message).place(NAME, subject.manifest_place("")));
        return;
    };
    let expected = Script::of_language(lang);
    let mut texts: Vec<(String, &str)> = Vec::new();
    if let Some(description) = &manifest.description {
        texts.push(("/description".to_owned(), description));
    }
    for (index, request) in manifest.req_permissions.iter().enumerate() {
        texts.extend(
            request.reason.as_deref().map(|reason| (format!("/req_permissions/{index}/reason"), reason)),
        );
    }
    for (index, icon) in manifest.icons.iter().enumerate() {
        texts.extend(icon.label.as_deref().map(|label| (format!("/icons/{index}/label"), label)));
    }
    for (pointer, text) in texts {
        if let (Some(expected), Some(found)) = (expected, Script::of_text(text))
            && found != expected
        {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            let message = format!(
                "`lang` is {}, which is written in {} letters; {name} is in {}",
                lang.as_str(),
                expected.name(),
                found.name()
            );
            findings.push(
                Finding::new(&checks::MIXED_LANG, message).place(NAME, subject.manifest_place(&pointer)),
            );
        }
    }
    let right_to_left = matches!(expected, Some(Script::Hebrew | Script::Arabic));
    let wrong = match manifest.dir {
        Direction::Ltr => right_to_left,
        Direction::Rtl => expected.is_some() && !right_to_left,
        Direction::Auto => false,
    };
    if wrong {
        let message =
            format!("`dir` is {}, but {} is written the other way", manifest.dir.as_str(), lang.as_str());
        findings.push(Finding::new(&checks::DIRECTION, message).place(NAME, subject.manifest_place("/dir")));
    }
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn scripts_of_languages_and_texts() {
        assert_eq!(Script::of_language("en-GB"), Some(Script::Latin));
        assert_eq!(Script::of_language("zh-Hans-CN"), Some(Script::Chinese));
        assert_eq!(Script::of_language("sr"), None);
        assert_eq!(Script::of_language("sr-Cyrl"), Some(Script::Cyrillic));
        assert_eq!(Script::of_text("在线商店 WeChat"), Some(Script::Chinese));
        assert_eq!(Script::of_text("Заказ чая"), Some(Script::Cyrillic));
        assert_eq!(Script::of_text("42 €"), None);
        assert_eq!(Script::of_text("Tea"), None);
    }
}

//! What can be typed as a value: apps with a release, rollouts, spans of time, shares.

use std::str::FromStr;

use mpkg_fleet::{BasisPoints, SeqRange};
use mpkg_manifest::AppId;

/// An app, perhaps with one of its releases: `com.example.app`, `com.example.app@3`, `com.example.app@1.2.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppRelease {
    pub(crate) app: AppId,
    pub(crate) release: Option<Which>,
}

/// A release as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// By its sequence.
    Seq(u64),
    /// By its version.
    Version(String),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        if text.contains('.') {
            return Ok(Self::Version(text.to_owned()));
        }
        Err("expected a release's number, such as 3, or its version, such as 1.2.0".to_owned())
    }
}

impl FromStr for AppRelease {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (app, release) = match text.split_once('@') {
            Some((app, release)) => (app, Some(release.parse()?)),
            None => (text, None),
        };
        Ok(Self { app: app.parse().map_err(|error| format!("{error}"))?, release })
    }
}

impl std::fmt::Display for AppRelease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.release {
            None => write!(f, "{}", self.app),
            Some(Which::Seq(seq)) => write!(f, "{}@{seq}", self.app),
            Some(Which::Version(version)) => write!(f, "{}@{version}", self.app),
        }
    }
}

/// A SHA-256 in hexadecimal digits.
pub(crate) fn hash(text: &str) -> Result<mpkg_package::Hash, String> {
    mpkg_package::Hash::from_hex(text)
        .ok_or_else(|| "expected 64 hexadecimal digits in lower case".to_owned())
}

/// A rollout: by its number, or as the one that is in charge of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RolloutName {
    Number(i64),
    App(AppId),
}

impl FromStr for RolloutName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        text.parse().map(Self::App).map_err(|_| {
            "expected an app's id, such as com.example.app, or a rollout's number, such as 12".to_owned()
        })
    }
}

/// What a kill is about: an app, perhaps with some of its releases: `com.example.app@3`, `@3..5`, `@3..`, `@..5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KillTarget {
    pub(crate) app: AppId,
    pub(crate) releases: Option<SeqRange>,
}

impl FromStr for KillTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (app, releases) = match text.split_once('@') {
            Some((app, releases)) => (app, Some(range(releases)?)),
            None => (text, None),
        };
        Ok(Self { app: app.parse().map_err(|error| format!("{error}"))?, releases })
    }
}

fn range(text: &str) -> Result<SeqRange, String> {
    let wrong = || {
        "expected release numbers: 3, 3..5, 3.. or ..5; for versions there are --min-version and \
         --below-version"
            .to_owned()
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let Some((from, to)) = text.split_once("..") else {
        let only = number(text)?;
        return Ok(SeqRange { from: only, to: Some(only) });
    };
    if from.is_empty() && to.is_empty() {
        return Err(wrong());
    }
    let from = if from.is_empty() { 0 } else { number(from)? };
    let to = if to.is_empty() { None } else { Some(number(to)?) };
    Ok(SeqRange { from, to })
}

/// A span of time: `90s`, `15m`, `4h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected a time such as 90s, 15m, 4h or 30d".to_owned();
        if text == "0" {
            return Ok(Self(0));
        }
        let unit = text.chars().last().ok_or_else(wrong)?;
        let each = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        number.checked_mul(each).map(Self).ok_or_else(wrong)
    }
}

/// A share in percent: `5`, `0.25`, `100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) BasisPoints);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "expected a percentage up to 100 with at most two decimals, such as 5 or 0.25".to_owned();
        let text = text.strip_suffix('%').unwrap_or(text);
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty()
            || part.len() > 2
            || !format!("{whole}{part}").bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(wrong());
        }
        let points = format!("{whole}{part:0<2}").parse().ok().and_then(BasisPoints::new);
        points.map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_and_releases_are_told_apart() {
        let read = |text: &str| text.parse::<AppRelease>().map(|it| it.release);
        assert_eq!(read("com.example.app"), Ok(None));
        assert_eq!(read("com.example.app@3"), Ok(Some(Which::Seq(3))));
        assert_eq!(read("com.example.app@1.2.0"), Ok(Some(Which::Version("1.2.0".into()))));
        for bad in ["", "app", "com.example.app@", "com.example.app@x", "@3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!("12".parse(), Ok(RolloutName::Number(12)));
        assert!("twelve".parse::<RolloutName>().is_err());
    }

    #[test]
    fn ranges_of_releases() {
        let read = |text: &str| {
            let target: Result<KillTarget, _> = format!("com.example.app{text}").parse();
            target.map(|target| target.releases.map(|range| (range.from, range.to)))
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("@3"), Ok(Some((3, Some(3)))));
        assert_eq!(read("@3..5"), Ok(Some((3, Some(5)))));
        assert_eq!(read("@3.."), Ok(Some((3, None))));
        assert_eq!(read("@..5"), Ok(Some((0, Some(5)))));
        for bad in ["@", "@..", "@1.2.0", "@3...5", "@-3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_and_shares() {
        let span = |text: &str| text.parse::<Seconds>().ok().map(|it| it.0);
        assert_eq!(span("90s"), Some(90));
        assert_eq!(span("15m"), Some(900));
        assert_eq!(span("4h"), Some(14_400));
        assert_eq!(span("30d"), Some(2_592_000));
        assert_eq!(span("0"), Some(0));
        for bad in ["", "h", "5", "1.5h", "-1h", "1w", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(span(bad), None, "{bad}");
        }
        let share = |text: &str| text.parse::<Percent>().ok().map(|it| it.0.get());
        assert_eq!(share("5"), Some(500));
        assert_eq!(share("5%"), Some(500));
        assert_eq!(share("0.25"), Some(25));
        assert_eq!(share("0.5"), Some(50));
        assert_eq!(share("100"), Some(10_000));
        for bad in ["", ".", "101", "0.001", "-1", "1e1", "+5"] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }
}

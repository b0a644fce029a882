//! Kills, times and shares in words.

use mpkg_fleet::{Bad, KillScope, Level, Metric, VersionRange};
use mpkg_registry_client::wire::KillView;

use crate::ops::remote::kills;

/// A span of time in its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A share in millionths, in percent.
pub(crate) fn ppm(share: u32) -> String {
    let text = format!("{:.2}", f64::from(share) / 10_000.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A kill's level.
pub(crate) fn level(level: Level) -> &'static str {
    match level {
        Level::Warn => "warn",
        Level::Freeze => "freeze",
        Level::Revoke => "revoke",
        Level::Block => "block",
        Level::Stop => "stop",
    }
}

/// What a level does.
pub(crate) fn effect(level: Level) -> &'static str {
    match level {
        Level::Warn => "users are warned",
        Level::Freeze => "nobody gets a newer release",
        Level::Revoke => "the permission is taken",
        Level::Block => "it cannot be launched any more",
        Level::Stop => "it is stopped where it runs, and cannot be launched any more",
    }
}

fn versions(range: &VersionRange) -> String {
    let min = range.min.as_ref().map(|min| format!("from {min}"));
    let below = range.below.as_ref().map(|below| format!("before {below}"));
    [min, below].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What a kill is about.
pub(crate) fn scope(scope: &KillScope) -> String {
    let mut words = vec![scope.app.as_ref().map_or("every app".to_owned(), ToString::to_string)];
    if let Some(range) = &scope.releases {
        words.push(match range.to {
            Some(to) if to == range.from => format!("release {to}"),
            Some(to) => format!("releases {} to {to}", range.from),
            None => format!("releases from {}", range.from),
        });
    }
    if let Some(range) = &scope.versions {
        words.push(format!("versions {}", versions(range)));
    }
    if let Some(permission) = &scope.permission {
        words.push(format!("permission {permission}"));
    }
    if let Some(method) = &scope.method {
        words.push(format!("method {method}"));
    }
    if let Some(range) = &scope.host_versions {
        words.push(format!("on hosts {}", versions(range)));
    }
    if !scope.platforms.is_empty() {
        let names: Vec<&str> = scope.platforms.iter().map(|name| name.as_str()).collect();
        words.push(format!("on {}", names.join(" and ")));
    }
    words.join(", ")
}

/// A row about a kill.
pub(crate) fn kill(kill: &KillView) -> [String; 5] {
    [
        kills::short(kill.id),
        level(kill.kill.level).to_owned(),
        scope(&kill.kill.scope),
        format!("{} by {}", kill.kill.issued, kill.ordered_by),
        kill.kill.reason.to_string(),
    ]
}

/// A metric.
pub(crate) fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Errors => "errors",
        Metric::Slow => "slow",
        Metric::Unavailable => "unavailable",
    }
}

/// What is bad.
pub(crate) fn bad(bad: Bad) -> &'static str {
    match bad {
        Bad::CrashLoops => "crash loops",
        Bad::Metric(it) => metric(it),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_read_well() {
        let spans: Vec<_> = [0, 59, 60, 3_599, 3_600, 3_660, 86_400, 90_000].into_iter().map(span).collect();
        assert_eq!(spans, ["0 s", "59 s", "1 min", "59 min", "1 h", "1 h 1 min", "1 d", "1 d 1 h"]);
        assert_eq!([0, 500, 10_000, 123_456].map(ppm), ["0 %", "0.05 %", "1 %", "12.35 %"]);
    }

    #[test]
    fn scopes_are_told_in_full() {
        let read = |text: &str| scope(&serde_json::from_str(text).unwrap());
        assert_eq!(read("{}"), "every app");
        let all = r#"{"app": "com.example.app", "releases": {"from": 3, "to": null},
            "versions": {"min": "1.0.0", "below": "2.0.0"}, "permission": "network", "method": "net.fetch",
            "host_versions": {"min": null, "below": "4.0.0"}, "platforms": ["android", "ios"]}"#;
        assert_eq!(
            read(all),
            "com.example.app, releases from 3, versions from 1.0.0 before 2.0.0, permission network, \
             method net.fetch, on hosts before 4.0.0, on android and ios"
        );
    }
}

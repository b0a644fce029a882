//! Bars, tracks and sparklines, as text.

/// A bar of `width` cells, filled by `part` of `whole`. Only what is negative or nothing is empty, and only what
/// reaches the end is full.
pub(crate) fn bar(part: i64, whole: i64, width: usize) -> String {
    let cells = i64::try_from(width).unwrap_or_default();
    let filled = if whole <= 0 || part <= 0 {
        0
    } else {
        // A line that is almost crossed must not look crossed.
        let most = if part >= whole { cells } else { cells.saturating_sub(1) };
        (i128::from(part) * i128::from(cells) / i128::from(whole)).clamp(1, i128::from(most.max(1)))
    };
    let filled = usize::try_from(filled).unwrap_or_default();
    format!("{}{}", "█".repeat(filled), "░".repeat(width.saturating_sub(filled)))
}

/// A value for each cell, against the largest that fits. What did not come in at all is a dot.
pub(crate) fn spark(values: &[Option<u64>], top: u64) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let cell = |value: u64| {
        let level = (u128::from(value.min(top)) * 7).div_ceil(u128::from(top.max(1)));
        LEVELS.get(usize::try_from(level).unwrap_or_default()).copied().unwrap_or('█')
    };
    values.iter().map(|value| value.map_or('·', cell)).collect()
}

/// Steps on a line, those up to `reached` behind the rollout, and their labels below.
pub(crate) fn track(labels: &[String], reached: Option<usize>) -> [String; 2] {
    // As wide as fits a narrow terminal, and no wider than looks good.
    let gap = (64 / labels.len().max(1)).clamp(8, 16);
    let (mut line, mut below) = (String::new(), String::new());
    for (index, label) in labels.iter().enumerate() {
        let there = reached.is_some_and(|reached| index <= reached);
        line.push(if there { '●' } else { '○' });
        if index + 1 < labels.len() {
            let next = reached.is_some_and(|reached| index < reached);
            line.push_str(&if next { "━" } else { "─" }.repeat(gap - 1));
        }
        below.push_str(&format!("{label:<gap$}"));
    }
    [line, below.trim_end().to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_from_nothing_to_all() {
        assert_eq!(bar(-5, 10, 4), "░░░░");
        assert_eq!(bar(0, 10, 4), "░░░░");
        assert_eq!(bar(1, 10_000, 4), "█░░░");
        assert_eq!(bar(5, 10, 4), "██░░");
        assert_eq!(bar(9_999, 10_000, 4), "███░");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(i64::MAX, 10, 4), "████");
        assert_eq!(bar(5, 0, 4), "░░░░");
    }

    #[test]
    fn sparklines_tell_nothing_from_a_little() {
        assert_eq!(spark(&[None, Some(0), Some(1), Some(50), Some(100), Some(900)], 100), "·▁▂▅██");
        assert_eq!(spark(&[Some(0), None], 0), "▁·");
        assert_eq!(spark(&[Some(u64::MAX)], u64::MAX), "█");
    }

    #[test]
    fn tracks_show_what_is_behind() {
        let labels = ["5 %", "25 %", "100 %"].map(str::to_owned);
        assert_eq!(
            track(&labels, Some(1)),
            ["●━━━━━━━━━━━━━━━●───────────────○", "5 %             25 %            100 %"]
        );
        assert!(track(&labels, None)[0].starts_with('○'));
        assert_eq!(track(&[], None), ["", ""]);
    }
}

//! Single byte ranges (RFC 9110, section 14).

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no range, or one that is not understood, or several.
    All,
    /// From this byte on, so many.
    Part { from: u64, length: u64 },
    /// Nothing that is there.
    Outside,
}

/// Reads a `Range` header for something with so many bytes.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let range =
        header.and_then(|it| it.split_once('=')).filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((from, to)) = range.and_then(|(_, range)| range.split_once('-')) else {
        return Wanted::All;
    };
    // `u64::from_str` takes a plus sign, which is no digit here.
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    match (from, to) {
        ("", last) => match number(last) {
            None => Wanted::All,
            Some(0) => Wanted::Outside,
            Some(last) if size == 0 && last > 0 => Wanted::Outside,
            Some(last) => Wanted::Part { from: size.saturating_sub(last), length: last.min(size) },
        },
        (from, "") => match number(from) {
            None => Wanted::All,
            Some(from) if from >= size => Wanted::Outside,
            Some(from) => Wanted::Part { from, length: size - from },
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if to < from => Wanted::All,
            (Some(from), Some(_)) if from >= size => Wanted::Outside,
            (Some(from), Some(to)) => Wanted::Part { from, length: to.min(size - 1) - from + 1 },
            _ => Wanted::All,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_the_rfc() {
        let part = |from, length| Wanted::Part { from, length };
        for (header, expected) in [
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 500)),
            ("bytes=-500", part(9_500, 500)),
            ("bytes=9500-", part(9_500, 500)),
            ("bytes=0-0", part(0, 1)),
            ("Bytes=-1", part(9_999, 1)),
            ("bytes=-99999", part(0, 10_000)),
            ("bytes=9999-99999", part(9_999, 1)),
            ("bytes=10000-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=5-4", Wanted::All),
            ("bytes=0-0,-1", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=-", Wanted::All),
            ("items=0-1", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
        ] {
            assert_eq!(wanted(Some(header), 10_000), expected, "{header}");
        }
        assert_eq!(wanted(None, 10_000), Wanted::All);
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0_u64..3_000) {
            if let Wanted::Part { from, length } = wanted(Some(&header), size) {
                prop_assert!(length > 0 && from + length <= size);
            }
        }
    }
}

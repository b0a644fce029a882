//! `Content-Range` of a single part (RFC 9110, section 14.4).

/// Where a part lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first byte.
    pub(super) from: u64,
    /// Bytes of the whole.
    pub(super) size: u64,
}

/// Reads the header; none where it is not of this form, or contradicts itself.
pub(super) fn read(header: &str) -> Option<Part> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    // `u64::from_str` takes a plus sign, which is no digit here.
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (from, to, size) = (number(from)?, number(to)?, number(size)?);
    (from <= to && to < size).then_some(Part { from, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_strictly() {
        assert_eq!(read("bytes 5-9/10"), Some(Part { from: 5, size: 10 }));
        for bad in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 5-10/10",
            "bytes 9-5/10",
            "bytes */10",
            "bytes 5-9/*",
            "bytes +5-9/10",
            "bytes -5/10",
            "items 5-9/10",
            "bytes 5-9/10, 1-2/10",
            "bytes 99999999999999999999-9/10",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

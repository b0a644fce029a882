//! `Accept-Encoding` (RFC 9110, section 12.5.3), as far as there is a choice.

use axum::http::{HeaderMap, header};

/// Whether a client would rather have something in Zstandard (RFC 8878) than as it is.
pub(crate) fn accepts_zstd(headers: &HeaderMap) -> bool {
    let (mut zstd, mut identity, mut any) = (None, None, None);
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (coding, parameter) = item.split_once(';').unwrap_or((item, "q=1"));
            // One whose weight cannot be read was not asked for.
            let weight = weight(parameter.trim()).unwrap_or(0);
            match coding.trim().to_ascii_lowercase().as_str() {
                "zstd" => zstd = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
    }
    let weight = zstd.or(any).unwrap_or(0);
    weight > 0 && weight >= identity.unwrap_or(0)
}

/// A weight in thousandths.
fn weight(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !name.eq_ignore_ascii_case("q") || !matches!(whole, "0" | "1") || !digits {
        return None;
    }
    let weight: u32 = format!("{whole}{part:0<3}").parse().ok()?;
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_it_compressed() {
        let accepts = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
            }
            accepts_zstd(&headers)
        };
        for yes in [
            &["zstd"][..],
            &["gzip, ZSTD"],
            &["br;q=1.0, zstd;q=0.5"],
            &["zstd; q=0.001"],
            &["*"],
            &["gzip", "zstd"],
            &["identity;q=0.5, zstd;q=0.5"],
            &["*;q=0, zstd"],
        ] {
            assert!(accepts(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[""],
            &["gzip, br"],
            &["zstd;q=0"],
            &["zstd;q=0.000"],
            &["*;q=0"],
            &["identity"],
            &["identity, zstd;q=0.9"],
            &["zstd;q=0, *"],
            &["zstd;q=2"],
            &["zstd;q=1.001"],
            &["zstd;q=0.0001"],
            &["zstd;level=1"],
            &["xzstd"],
        ] {
            assert!(!accepts(no), "{no:?}");
        }
    }
}

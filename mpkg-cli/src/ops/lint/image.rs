//! What an image file says about itself in its first bytes. Nothing is decoded.

use regex::Regex;

/// An image, as far as it was recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Image {
    /// Pixels, with their number across and down where the format tells it at once.
    Raster(Option<(u32, u32)>),
    /// An SVG, with the proportions of its view box.
    Vector(Option<(f64, f64)>),
    /// Nothing that a host can be counted on to show.
    Unknown,
}

impl Image {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            let side =
                |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
            return Self::Raster(side(16).zip(side(20)));
        }
        if bytes.starts_with(b"GIF8") {
            let side =
                |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
            return Self::Raster(side(6).zip(side(8)).map(|(w, h)| (u32::from(w), u32::from(h))));
        }
        let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
        if webp || bytes.starts_with(b"\xff\xd8\xff") {
            return Self::Raster(None);
        }
        let head = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
        match String::from_utf8_lossy(head) {
            text if text.contains("<svg") => Self::Vector(svg_size(&text)),
            _ => Self::Unknown,
        }
    }
}

/// Width and height of an SVG: those of its view box, which are what it is drawn in, else its own.
fn svg_size(text: &str) -> Option<(f64, f64)> {
    let start = text.find("<svg")?;
    let tag = text.get(start..)?.split('>').next()?;
    let attribute = |name: &str| {
        let pattern = Regex::new(&format!(r#"\s{name}\s*=\s*["']([^"']*)["']"#)).ok()?;
        Some(pattern.captures(tag)?.get(1)?.as_str())
    };
    let number = |text: &str| text.trim().trim_end_matches("px").parse::<f64>().ok().filter(|n| *n > 0.0);
    if let Some(view_box) = attribute("viewBox") {
        let mut numbers = view_box.split([' ', ',']).filter(|part| !part.is_empty()).skip(2).map(number);
        if let (Some(Some(width)), Some(Some(height))) = (numbers.next(), numbers.next()) {
            return Some((width, height));
        }
    }
    number(attribute("width")?).zip(number(attribute("height")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x30\0\0\0\x20".to_vec();
        assert_eq!(Image::of(&png), Image::Raster(Some((48, 32))));
        png.truncate(18);
        assert_eq!(Image::of(&png), Image::Raster(None));
        assert_eq!(Image::of(b"GIF89a\x10\0\x08\0"), Image::Raster(Some((16, 8))));
        let svg = |text: &str| Image::of(text.as_bytes());
        assert_eq!(svg("<?xml?><svg viewBox='0 0 64 32' width='9'>"), Image::Vector(Some((64.0, 32.0))));
        assert_eq!(svg("<svg width=\"10px\" height=\"20\"/>"), Image::Vector(Some((10.0, 20.0))));
        assert_eq!(svg("<svg xmlns=\"x\"/>"), Image::Vector(None));
        assert_eq!(svg("hello"), Image::Unknown);
        assert_eq!(Image::of(b""), Image::Unknown);
    }
}

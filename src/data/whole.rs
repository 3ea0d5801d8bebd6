//! Whether a PNG or JPEG file has its end, by the structure of the format alone.
//!
//! An end mark counts only where the structure has one: a thumbnail in a segment brings its own.
//! What follows the end is nobody's concern.

/// Whether a JPEG file has an end mark after its last scan.
///
/// Segments are passed over by their lengths, the data of a scan up to the next marker that is
/// neither a stuffed zero nor a restart. Bytes between segments that are no marker are passed over,
/// as decoders do.
pub(super) fn is_whole_jpeg(file: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut rest = file.get(2..).unwrap_or_default();
    loop {
        let Some((marker, after)) = next_marker(rest) else { return false };
        rest = match marker {
            END => return true,
            // These stand alone: restarts, and two that nobody writes.
            0x01 | 0xd0..=0xd8 => after,
            // The data of a scan come after its header, up to the next marker.
            _ => match after {
                [high, low, ..] => {
                    let len = usize::from(u16::from_be_bytes([*high, *low]));
                    let Some(rest) = after.get(len.max(2)..) else { return false };
                    rest
                }
                _ => return false,
            },
        };
    }
}

/// The next marker and what follows it; `0xff` may be repeated before it, and a zero behind it
/// makes it a byte of a scan's data.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = bytes.iter().position(|byte| *byte == 0xff)?;
        bytes = &bytes[at..];
        let fill = bytes.iter().position(|byte| *byte != 0xff)?;
        let (marker, rest) = (bytes[fill], &bytes[fill + 1..]);
        if marker != 0 {
            return Some((marker, rest));
        }
        bytes = rest;
    }
}

/// Whether a PNG file has its last chunk, `IEND`, whole.
pub(super) fn is_whole_png(file: &[u8]) -> bool {
    let mut rest = file.get(8..).unwrap_or_default();
    while let [a, b, c, d, kind @ ..] = rest {
        // The kind, the contents and their sum.
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(after) = kind.get(len.saturating_add(8)..) else { return false };
        if kind.starts_with(b"IEND") {
            return true;
        }
        rest = after;
    }
    false
}

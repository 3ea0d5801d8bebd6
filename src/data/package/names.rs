//! Names of files as text: distinct names stay distinct, whatever bytes they are of.

use std::fmt::Write;

/// What a Mac adds to an archive beside every file.
const FOREIGN: &[u8] = b"__MACOSX";

/// One part of a path as text: UTF-8 stays as it is, each other byte and each control character
/// becomes `\xHH`, with upper-case digits.
///
/// A backslash that would read as the start of such an escape becomes `\x5C`, so that no two names
/// have the same text. Any other backslash stays.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            match character {
                '\\' if is_escape(&chunk.valid().as_bytes()[at..]) => text.push_str("\\x5C"),
                control if control.is_ascii_control() => escape(&mut text, control as u8),
                other => text.push(other),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(&mut text, byte));
    }
    text
}

fn escape(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02X}").expect("a string takes all that is written");
}

/// Whether bytes begin like what [`escape`] writes.
fn is_escape(bytes: &[u8]) -> bool {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    matches!(bytes, [b'\\', b'x', high, low, ..] if digit(high) && digit(low))
}

/// Whether a file or folder of this name is passed over: a hidden one, and what a Mac leaves.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || name == FOREIGN
}

/// Whether a system or an editor has left it beside the files: nobody misses it.
pub(super) fn is_leftover(name: &[u8]) -> bool {
    name.starts_with(b"._") || name == b".DS_Store" || name == FOREIGN
}

/// The parts of an archive's name, without empty ones and `.`; none if the name is absolute or has
/// a part `..`, and so leads out of the archive.
///
/// On Windows a backslash parts, too, and a name that begins with a drive is absolute.
#[cfg(feature = "cli")]
pub(super) fn parts(name: &[u8]) -> Option<Vec<&[u8]>> {
    let is_separator = |byte: &u8| *byte == b'/' || cfg!(windows) && *byte == b'\\';
    let drive = cfg!(windows) && name.get(1) == Some(&b':');
    if drive || name.first().is_some_and(is_separator) {
        return None;
    }
    let parts = name.split(is_separator).filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<&[u8]> = parts.collect();
    (!parts.contains(&&b".."[..])).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_have_the_same_text() {
        for (name, text) in [
            (&b"plain"[..], "plain"),
            ("p\u{e9}che \u{732b}".as_bytes(), "p\u{e9}che \u{732b}"),
            (b"p\xe9che", "p\\xE9che"),
            (b"p\\xE9che", "p\\x5CxE9che"),
            (b"p\\x5CxE9", "p\\x5Cx5CxE9"),
            (b"a\\b \\xe9 \\x", "a\\b \\xe9 \\x"),
            (b"two\nlines", "two\\x0Alines"),
            (b"\xe7\x8c", "\\xE7\\x8C"),
            (b"\\\xe9", "\\\\xE9"),
        ] {
            assert_eq!(shown(name), text);
        }
        // All names of up to six of the bytes that escapes are made of.
        let alphabet = *b"\\xE\xe9";
        let mut seen = std::collections::BTreeMap::new();
        for len in 0..=6u32 {
            for number in 0..4usize.pow(len) {
                let digit = |at: u32| alphabet[number / 4usize.pow(at) % 4];
                let name: Vec<u8> = (0..len).map(digit).collect();
                let other = seen.insert(shown(&name), name.clone());
                assert_eq!(other, None, "{name:?} reads the same");
            }
        }
    }
}

//! What a `.zip` gives is what the same files unpacked would give.

use super::*;

/// A stored entry, as its two headers have it.
#[derive(Clone)]
struct Stored {
    name: Vec<u8>,
    /// 3 is Unix, 0 is DOS.
    system: u8,
    flags: u16,
    method: u16,
    mode: u16,
    extra: Vec<u8>,
    bytes: Vec<u8>,
}

const UTF8: u16 = 1 << 11;

fn file(name: &[u8], bytes: &[u8]) -> Stored {
    let (name, bytes) = (name.to_vec(), bytes.to_vec());
    Stored { name, system: 3, flags: 0, method: 0, mode: 0o100_644, extra: Vec::new(), bytes }
}

fn image(name: &str, value: u8) -> Stored {
    Stored { flags: UTF8, ..file(name.as_bytes(), &picture(3, 3, value)) }
}

fn link(name: &str, target: &str) -> Stored {
    Stored { mode: 0o120_777, ..file(name.as_bytes(), target.as_bytes()) }
}

fn pets(more: &[Stored]) -> Vec<Stored> {
    [&[image("set/cat/0.png", 10), image("set/dog/0.png", 20)], more].concat()
}

fn sum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum().to_le_bytes()
}

/// The archive of some entries, written field by field.
fn zip(entries: &[Stored]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = (bytes.len() as u32).to_le_bytes();
        let word = |word: u16| word.to_le_bytes();
        let len = (entry.bytes.len() as u32).to_le_bytes();
        let common = [
            &[20, 0][..],
            &word(entry.flags),
            &word(entry.method),
            &[0; 4],
            &sum(&entry.bytes),
            &len,
            &len,
            &word(entry.name.len() as u16),
            &word(entry.extra.len() as u16),
        ]
        .concat();
        bytes.extend([b"PK\x03\x04", &common[..], &entry.name, &entry.extra].concat());
        bytes.extend(&entry.bytes);
        let mode = (u32::from(entry.mode) << 16).to_le_bytes();
        directory.extend([b"PK\x01\x02\x14", &[entry.system][..], &common, &[0; 6]].concat());
        directory.extend([&mode[..], &start, &entry.name, &entry.extra].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (len, start) = (directory.len() as u32, bytes.len() as u32);
    let end = [&count[..], &count, &len.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat();
    [bytes, directory, [b"PK\x05\x06\0\0\0\0", &end[..]].concat()].concat()
}

/// An archive with each kind of entry that is read, for the tests with damaged ones.
pub(super) fn of_every_kind() -> Vec<u8> {
    let links = [link("set/dog/1.png", "../cat/0.png"), link("set/mice", "cat")];
    let dos = Stored { system: 0, mode: 0, ..file(b"set\\p\x88che\\0.png", &picture(3, 3, 1)) };
    zip(&pets(&[&links[..], &[dos]].concat()))
}

fn read(entries: &[Stored], bad: Bad) -> Result<Splits> {
    let folder = Folder::new(&format!("zip-{:?}", std::thread::current().id()));
    load_images(&folder.write("a.zip", &zip(entries)), bad)
}

#[track_caller]
fn holds(entries: &[Stored], classes: &[&str]) -> Vec<String> {
    let splits = read(entries, Bad::Refuse).unwrap();
    assert_eq!(contents(&splits), classes);
    splits.notes
}

#[test]
fn names_are_read_as_they_were_meant_and_stay_distinct() {
    let named = |name: &[u8], value| file(name, &picture(3, 3, value));
    let both = ["set/cat/0.png", "set/\u{732b}/0.png"];
    holds(&[image(both[0], 1), image(both[1], 2)], &["cat 1", "\u{732b} 2"]);
    // Without a word of their kind: bytes under Unix, the code page 437 under DOS.
    holds(&[image(both[0], 1), named(both[1].as_bytes(), 2)], &["cat 1", "\u{732b} 2"]);
    let latin = [named(b"set/p\xe9che/\xe9.png", 1), named(b"set/p\xe8che/\xe8.png", 2)];
    holds(&latin, &["p\\xE8che 2", "p\\xE9che 1"]);
    let dos = |name: &[u8], value| Stored { system: 0, mode: 0, ..named(name, value) };
    holds(&[dos(b"set/p\x88che/0.png", 1), dos(b"set/a/0.png", 2)], &["a 2", "p\u{ea}che 1"]);
    // What old programs under Windows write.
    holds(&[dos(b"set\\cat\\0.png", 1), dos(b"set\\dog\\0.png", 2)], &["cat 1", "dog 2"]);
    check(read(&[dos(b"set\\..\\..\\0.png", 1)], Bad::Refuse), &["names within the archive"]);
    // The field for names in Unicode, if it is about this very name.
    let field = |of: &[u8], name: &[u8]| {
        let body = [&[1][..], &sum(of), name].concat();
        [&[0x75, 0x70][..], &(body.len() as u16).to_le_bytes(), &body].concat()
    };
    let plain: &[u8] = b"set/#U732b/0.png";
    let unicode = |of: &[u8]| {
        let extra = [&b"UT\x05\0\x01abcd"[..], &field(of, both[1].as_bytes())].concat();
        Stored { extra, ..dos(plain, 2) }
    };
    holds(&[image(both[0], 1), unicode(plain)], &["cat 1", "\u{732b} 2"]);
    holds(&[image(both[0], 1), unicode(b"other")], &["#U732b 2", "cat 1"]);
}

#[test]
fn links_are_followed_within_the_archive() {
    holds(&pets(&[link("set/dog/1.png", "../cat/0.png")]), &["cat 10", "dog 20 10"]);
    holds(&pets(&[link("set/mice", "cat")]), &["cat 10", "dog 20", "mice 10"]);
    for (target, found) in [
        ("/etc/passwd", "out of the archive"),
        ("../../../x.png", "out of the archive"),
        ("x.png", "in a circle"),
        ("gone.png", "which is not in the archive"),
        (&"a/".repeat(3000), "a link of 6000 bytes"),
    ] {
        let entries = pets(&[link("set/dog/x.png", target)]);
        check(read(&entries, Bad::Refuse), &["a.zip/set/dog/x.png", found, "--skip-bad"]);
        let splits = read(&entries, Bad::Skip).unwrap();
        assert_eq!(contents(&splits), ["cat 10", "dog 20"]);
        assert!(splits.bad[0].contains("dog/x.png"), "{:?}", splits.bad);
    }
    let notes = holds(&pets(&[link("set/notes", "/nowhere")]), &["cat 10", "dog 20"]);
    assert!(notes[0].contains("notes, which is no file but a link to /nowhere"), "{notes:?}");
}

#[test]
fn two_entries_of_one_name_are_an_error() {
    for more in [image("set/dog/0.png", 30), image("./set/dog//0.png", 30), link("set/dog", "cat")]
    {
        check(read(&pets(&[more]), Bad::Skip), &["a.zip", "one entry of each name", "set/dog"]);
    }
    let inside = pets(&[image("set/dog/0.png/x.png", 30)]);
    check(read(&inside, Bad::Skip), &["one entry of each name", "set/dog/0.png/x.png"]);
    // Of folders, and of what is passed over, there may be several.
    let folder = Stored { mode: 0o040_755, ..file(b"set/dog/", b"") };
    let left = file(b"set/.DS_Store", b"x");
    let more = [folder.clone(), folder, left.clone(), left];
    assert!(holds(&pets(&more), &["cat 10", "dog 20"]).is_empty());
}

#[test]
fn what_is_packed_in_an_unusual_way_is_named_with_what_to_do() {
    for (method, name) in [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard")] {
        let strange = |entry: &Stored| Stored { method, ..entry.clone() };
        let all: Vec<Stored> = pets(&[]).iter().map(strange).collect();
        let what = format!("packed with {name} (method {method})");
        for bad in [Bad::Refuse, Bad::Skip] {
            check(read(&all, bad), &["a.zip/set/cat/0.png", &what, "unpack the archive and give"]);
        }
        // A file that is nobody's hurts nobody.
        let beside = pets(&[strange(&file(b"README.md", b"x"))]);
        holds(&beside, &["cat 10", "dog 20"]);
        // One of all is a bad image.
        let one = pets(&[strange(&image("set/dog/x.png", 1))]);
        check(read(&one, Bad::Refuse), &["dog/x.png", &what, "--skip-bad"]);
        assert_eq!(contents(&read(&one, Bad::Skip).unwrap()), ["cat 10", "dog 20"]);
    }
    let locked = Stored { flags: UTF8 | 1, ..image("set/dog/x.png", 1) };
    check(read(&pets(&[locked]), Bad::Refuse), &["dog/x.png", "encrypted", "unpack the archive"]);
}

#[test]
fn other_kinds_of_archives_are_named_with_what_to_do() {
    let folder = Folder::new("others");
    for (start, name) in [
        (&b"BZh91AY"[..], "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "RAR"),
    ] {
        let path = folder.write("a.tar.x", start);
        check(load_images(&path, Bad::Refuse), &["a.tar.x", name, "unpack it and give the folder"]);
    }
}

#[test]
fn what_lies_beside_or_hidden_changes_nothing() {
    let expected = ["cat 10", "dog 20"];
    for name in ["__MACOSX/set/cat/._0.png", "set/cat/._0.png", ".DS_Store", "set/.DS_Store"] {
        assert!(holds(&pets(&[image(name, 1)]), &expected).is_empty(), "{name}");
    }
    let notes = holds(&pets(&[image("README.md", 1), image("docs/a.txt", 1)]), &expected);
    assert_eq!(notes, ["left out: 2 files of other kinds: 1 .md, 1 .txt"]);
}

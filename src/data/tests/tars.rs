//! What a `.tar` gives is what the same files unpacked would give.

use super::*;

/// An archive that is written header by header.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: u8, name: &[u8], link: &[u8], bytes: &[u8]) -> Tar {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        fields.typeflag = [kind];
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// An image of this value.
    fn image(self, name: &str, value: u8) -> Tar {
        self.entry(b'0', name.as_bytes(), b"", &picture(3, 3, value))
    }

    fn link(self, kind: u8, name: &str, target: &str) -> Tar {
        self.entry(kind, name.as_bytes(), target.as_bytes(), b"")
    }

    /// A PAX header for the next entry, or (`g`) for all.
    fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Tar {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = [format!(" {key}=").as_bytes(), value, b"\n"].concat();
            let mut len = rest.len() + 1;
            while len.to_string().len() + rest.len() != len {
                len += 1;
            }
            text.extend_from_slice(len.to_string().as_bytes());
            text.extend_from_slice(&rest);
        }
        self.entry(kind, b"pax", b"", &text)
    }

    fn read(&self, bad: Bad) -> Result<Splits> {
        let folder = Folder::new(&format!("tar-{:?}", std::thread::current().id()));
        let path = folder.write("a.tar", &[&self.0[..], &[0; 1024]].concat());
        load_images(&path, bad)
    }

    #[track_caller]
    fn holds(&self, classes: &[&str]) -> Vec<String> {
        let splits = self.read(Bad::Refuse).unwrap();
        assert_eq!(contents(&splits), classes);
        splits.notes
    }
}

/// An archive with each kind of entry that is read, for the tests with damaged ones.
pub(super) fn of_every_kind() -> Vec<u8> {
    let long = format!("set/dog/{}.png", "n".repeat(200));
    let tar = pets().pax(b'g', &[("comment", b"x")]);
    let tar = tar.entry(b'L', b"././@LongLink", b"", long.as_bytes()).image("cut", 1);
    let tar = tar.pax(b'x', &[("path", "set/\u{732b}/0.png".as_bytes()), ("mtime", b"1.5")]);
    let tar = tar.image("cut", 2).link(b'1', "set/cat/1.png", "set/cat/0.png");
    let tar = tar.entry(b'K', b"x", b"", b"../dog/../cat/0.png");
    let tar = tar.link(b'2', "set/cat/2.png", "cut").link(b'2', "set/mice", "cat");
    let tar = tar.image("set/cat/0.png", 3);
    [&tar.0[..], &[0; 1024]].concat()
}

/// Two classes below a top folder, of one image each.
fn pets() -> Tar {
    Tar::default().image("set/cat/0.png", 10).image("set/dog/0.png", 20)
}

#[test]
fn names_of_any_script_and_length_come_from_extended_headers() {
    let long = format!("set/{}/{}.png", "k".repeat(150), "n".repeat(200));
    let (class, file) = ("k".repeat(150), |value| picture(3, 3, value));
    let gnu = pets().entry(b'L', b"././@LongLink", b"", &[long.as_bytes(), b"\0"].concat());
    let expected = ["cat 10", "dog 20", &format!("{class} 30")];
    gnu.image("set/cut", 30).holds(&expected);
    let pax = |name: &str| pets().pax(b'x', &[("mtime", b"1.5"), ("path", name.as_bytes())]);
    pax(&long).image("set/cut", 30).holds(&expected);
    pax("set/\u{732b}/1.png").image("set/?/1.png", 30).holds(&["cat 10", "dog 20", "\u{732b} 30"]);
    // It is for one entry, a global one for all that have none.
    pax("set/dog/1.png")
        .image("x", 30)
        .image("set/dog/2.png", 40)
        .holds(&["cat 10", "dog 20 30 40"]);
    let global = pets().pax(b'g', &[("comment", b"x"), ("path", b"set/dog/1.png")]);
    global.image("set/x/0.png", 30).holds(&["cat 10", "dog 20 30"]);
    // The length of contents, which a header of eight gigabytes has no room for.
    let mut sized = pets().pax(b'x', &[("size", file(30).len().to_string().as_bytes())]);
    let at = sized.0.len();
    sized = sized.image("set/dog/1.png", 30);
    let mut header = tar::Header::from_byte_slice(&sized.0[at..at + 512]).clone();
    header.set_size(0);
    header.set_cksum();
    sized.0[at..at + 512].copy_from_slice(header.as_bytes());
    sized.image("set/dog/2.png", 40).holds(&["cat 10", "dog 20 30 40"]);
}

#[test]
fn an_extended_header_is_as_long_as_is_stated_or_one_error() {
    // 64 KiB less the rest of its record.
    let name = |len: usize| format!("set/cat/{}.png", "n".repeat(len - 12)).into_bytes();
    let read = |len: usize| {
        pets().pax(b'x', &[("path", &name(len))]).image("x", 30).read(Bad::Refuse).map(drop)
    };
    let most = (64 << 10) - "65536 path=\n".len();
    read(most).unwrap();
    check(read(most + 1), &["a.tar", "at most 65536 bytes", "one of 65537"]);
    let long = |kind| pets().entry(kind, b"x", b"", &vec![b'a'; 70_000]).read(Bad::Refuse);
    for kind in [b'L', b'K', b'x', b'g'] {
        check(long(kind), &["at most 65536 bytes", "one of 70000"]);
    }
    for text in [&b"x"[..], b"9999 path=a\n", b"13 path=abc\n", b"10 pathabc\n", b"9 size=x\n"] {
        let read = pets().entry(b'x', b"pax", b"", text).image("y", 1).read(Bad::Refuse);
        check(read, &["a.tar", "byte", "a PAX header"]);
    }
}

#[test]
fn links_are_the_files_that_unpacking_would_give() {
    let both = |target: &str, symbolic: &str| {
        pets().link(b'1', "set/dog/1.png", target).holds(&["cat 10", "dog 20 10"]);
        pets().link(b'2', "set/dog/1.png", symbolic).holds(&["cat 10", "dog 20 10"]);
    };
    both("set/cat/0.png", "../cat/0.png");
    both("./set//cat/./0.png", ".././../set/dog/../cat/0.png");
    // A long target, from PAX and from GNU.
    let long = format!("{}cat/0.png", "../dog/".repeat(40) + "../");
    let pax = pets().pax(b'x', &[("linkpath", long.as_bytes())]);
    pax.link(b'2', "set/dog/1.png", "cut").holds(&["cat 10", "dog 20 10"]);
    let gnu = pets().entry(b'K', b"x", b"", long.as_bytes());
    gnu.link(b'2', "set/dog/1.png", "cut").holds(&["cat 10", "dog 20 10"]);
    // Links to links, to folders, to hidden files, and to what comes later.
    let chain = (1..=30).fold(pets().link(b'2', "set/dog/0a", "0.png"), |tar, at| {
        tar.link(b'2', &format!("set/dog/{at}a"), &format!("{}a", at - 1))
    });
    chain.link(b'2', "set/dog/1.png", "30a").holds(&["cat 10", "dog 20 20"]);
    let folder = pets().link(b'2', "set/mice", "cat").link(b'2', "set/rats", "mice");
    folder.holds(&["cat 10", "dog 20", "mice 10", "rats 10"]);
    let store = pets().image("set/.store/x", 30).link(b'2', "set/cat/1.png", "../.store/x");
    store.holds(&["cat 10 30", "dog 20"]);
    let later = Tar::default().link(b'2', "set/dog/1.png", "../cat/0.png");
    let later = later.link(b'1', "set/dog/2.png", "set/cat/0.png");
    later.image("set/cat/0.png", 10).holds(&["cat 10", "dog 10 10"]);
    // Through a link to a folder, as an entry's own folder and on the way.
    let through = pets().link(b'2', "set/mice", "dog").image("set/mice/1.png", 30);
    through.holds(&["cat 10", "dog 20 30", "mice 20 30"]);
    let hard = pets().link(b'2', "set/mice", "dog").link(b'1', "set/cat/1.png", "set/mice/0.png");
    hard.holds(&["cat 10 20", "dog 20", "mice 20"]);
    // A file that was packed twice is a link to itself; a hard link to a link is the same link.
    pets().link(b'1', "set/dog/0.png", "set/dog/0.png").holds(&["cat 10", "dog 20"]);
    let same = pets().link(b'2', "set/cat/1.png", "0.png");
    same.link(b'1', "set/dog/1.png", "set/cat/1.png").holds(&["cat 10 10", "dog 20 20"]);
}

#[test]
fn a_link_that_leads_nowhere_is_one_bad_image_or_nothing() {
    let chain = (0..60)
        .fold(pets(), |tar, at| tar.link(b'2', &format!("set/dog/{at}a"), &format!("{}a", at + 1)));
    let chain = chain.image("set/dog/60a", 1).link(b'2', "set/dog/x.png", "0a");
    let circle = pets().link(b'2', "set/dog/x.png", "y").link(b'2', "set/dog/y", "x.png");
    for (tar, found) in [
        (pets().link(b'2', "set/dog/x.png", "/etc/passwd"), "a link to /etc/passwd, out of"),
        (pets().link(b'2', "set/dog/x.png", "../../../x.png"), "out of the archive"),
        (pets().link(b'1', "set/dog/x.png", "/set/cat/0.png"), "out of the archive"),
        (pets().link(b'1', "set/dog/x.png", "../set/cat/0.png"), "out of the archive"),
        (pets().link(b'2', "set/dog/x.png", "gone.png"), "gone.png, which is not in"),
        (pets().link(b'1', "set/dog/x.png", "set/gone.png"), "gone.png, which is not in"),
        (pets().link(b'2', "set/dog/x.png", "x.png"), "in a circle"),
        (pets().link(b'2', "set/dog/x.png", "0.png/1.png"), "which is not in"),
        (circle, "in a circle"),
        (chain, "too many links"),
        (pets().entry(b'6', b"set/dog/x.png", b"", b""), "a device"),
        (pets().entry(b'S', b"set/dog/x.png", b"", b"abc"), "--sparse"),
        (pets().pax(b'x', &[("GNU.sparse.major", b"1")]).image("set/dog/x.png", 1), "--sparse"),
    ] {
        check(tar.read(Bad::Refuse), &["a.tar/set/dog/x.png", "the file", found, "--skip-bad"]);
        let splits = tar.read(Bad::Skip).unwrap();
        assert_eq!(
            (contents(&splits), splits.unreadable),
            (vec!["cat 10".into(), "dog 20".into()], 1)
        );
        assert!(splits.bad[0].contains("dog/x.png") && splits.bad[0].contains(found));
    }
    // A name that is no image's is passed over, and named.
    let notes = pets()
        .link(b'2', "set/notes", "/etc")
        .link(b'2', "set/dog/x", "x")
        .holds(&["cat 10", "dog 20"]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[1].contains("left out: notes, which is no file but a link to /etc"), "{notes:?}");
    // A folder within itself may hold images.
    let inside = pets().link(b'2', "set/dog/again", "..");
    check(
        inside.read(Bad::Refuse),
        &["set/dog/again", "no folder that holds itself", "--skip-bad"],
    );
    assert_eq!(inside.read(Bad::Skip).unwrap().unreadable, 1);
    let deep = pets().image(&format!("set/dog/{}x.png", "d/".repeat(20)), 1);
    check(deep.read(Bad::Refuse), &["dog/d/d", "at most 8 folders", "--skip-bad"]);
    assert_eq!(contents(&deep.read(Bad::Skip).unwrap()), ["cat 10", "dog 20"]);
}

#[test]
fn of_two_entries_of_one_name_the_last_counts_and_a_note_says_so() {
    let notes = pets().image("./set/dog/0.png", 30).holds(&["cat 10", "dog 30"]);
    assert_eq!(notes, ["set/dog/0.png is in the archive more than once: the last one counts"]);
    // A hard link is the file that had its target's name by then.
    let linked = pets().link(b'1', "set/dog/1.png", "set/dog/0.png").image("set/dog/0.png", 30);
    linked.holds(&["cat 10", "dog 30 20"]);
    let many = (0..9).fold(pets(), |tar, at| tar.image(&format!("set/dog/{at}.png"), at));
    let many = (0..9).fold(many, |tar, at| tar.image(&format!("set/dog/{at}.png"), 50 + at));
    let notes = many.holds(&["cat 10", "dog 50 51 52 53 54 55 56 57 58"]);
    assert_eq!(notes.len(), 6, "{notes:?}");
    assert!(notes[5].contains("5 more names, 10 in all"), "{notes:?}");
    // Folders may come again; a file in a folder's place is lost, one in a file's place is not.
    let folder = |tar: Tar, name: &str| tar.entry(b'5', name.as_bytes(), b"", b"");
    assert!(folder(pets(), "set/dog/").holds(&["cat 10", "dog 20"]).is_empty());
    pets().image("set/dog", 30).holds(&["cat 10", "dog 20"]);
    check(
        pets().image("set/cat/0.png/1.png", 30).read(Bad::Refuse),
        &["cat/0.png/1.png", "another entry of the folder's name", "--skip-bad"],
    );
}

#[test]
fn what_lies_beside_or_hidden_changes_nothing() {
    let expected = ["cat 10", "dog 20"];
    for name in [".DS_Store", "._set", "set/._cat", "set/cat/._0.png", "set/cat/.DS_Store"] {
        assert!(pets().image(name, 1).holds(&expected).is_empty(), "{name}");
    }
    for name in ["__MACOSX/set/cat/._0.png", "set/__MACOSX/x.png", "set/cat/__MACOSX/x.png"] {
        assert!(pets().image(name, 1).holds(&expected).is_empty(), "{name}");
    }
    for (name, note) in [
        ("set/cat/.x.png", "left out: 1 hidden: cat/.x.png"),
        ("set/.ipynb_checkpoints/x.png", "left out: 1 hidden: .ipynb_checkpoints"),
        ("README.txt", "left out: 1 file of other kinds: 1 .txt"),
        ("docs/a/LICENSE", "left out: 1 file of other kinds: 1 without an extension"),
        ("preview.png", "left out: 1 images beside the set's folder: preview.png"),
    ] {
        assert_eq!(pets().image(name, 1).holds(&expected), [note]);
    }
    assert!(pets().entry(b'5', b"empty/", b"", b"").holds(&expected).is_empty());
    assert!(pets().entry(b'0', b"empty/", b"", b"").holds(&expected).is_empty());
    // Classes beside each other are no top folder, though only one has images.
    let classes = Tar::default().image("cat/0.png", 10).image("dog/x.webp", 1);
    let notes = classes.holds(&["cat 10"]);
    assert_eq!(notes[0], "no images in the folder dog: it has only 1 .webp");
    let parts = Tar::default().image("train/cat/0.png", 10).image("valid/cat/0.png", 20);
    let notes = parts.entry(b'5', b"train/dog/", b"", b"").holds(&["cat 10"]);
    assert_eq!(notes[0], "the test images are those in valid/");
    assert_eq!(notes[1], "no images in the folder train/dog: it has nothing");
}

#[test]
fn names_that_are_no_text_stay_distinct() {
    let named = |tar: Tar, name: &[u8], value| tar.entry(b'0', name, b"", &picture(3, 3, value));
    let tar = named(Tar::default(), b"set/p\xe9che/\xe9.png", 1);
    let tar = named(tar, b"set/p\xe8che/\xe8.png", 2);
    let tar = named(tar, b"set/p\xe9che/\xe8.png", 3);
    let tar = named(tar, b"set/p\\xE9che/x.png", 4);
    tar.holds(&["p\\x5CxE9che 4", "p\\xE8che 2", "p\\xE9che 3 1"]);
    let pax = Tar::default().image("set/cat/0.png", 10);
    let records: [(&str, &[u8]); 2] = [("hdrcharset", b"BINARY"), ("path", b"set/\xff/0.png")];
    pax.pax(b'x', &records).image("x", 20).holds(&["\\xFF 20", "cat 10"]);
}

#[cfg(unix)]
#[test]
fn a_colon_or_a_backslash_is_a_letter_like_others() {
    let tar = Tar::default().image("1:2/C:/0.png", 1).image("1:2/a\\b/x\\..\\0.png", 2);
    tar.holds(&["C: 1", "a\\b 2"]);
}

#[test]
fn links_cannot_multiply_files_beyond_the_limits() {
    // Seven folders of eight links to the one below: two million names of one file.
    let mut tar = Tar::default().image("s/0/x.png", 1).image("s/0/y.png", 2);
    for level in 1..8 {
        for link in 0..8 {
            let name = format!("s/{level}/{link}");
            tar = tar.link(b'2', &name, &format!("../{}", level - 1));
        }
    }
    let folder = Folder::new("multiplied");
    let path = folder.write("a.tar", &[&tar.0[..], &[0; 1024]].concat());
    let entry = SourceName::Folder.entry();
    let read = |bytes: u64, files: usize| {
        let limits = ArchiveLimits { bytes, files };
        let loading = Loading { archive: limits, bad: Bad::Skip, ..Loading::default() };
        entry.package(&path, &loading).map(|package| package.names().count())
    };
    let clock = std::time::Instant::now();
    check(read(1 << 30, 1000), &["a.tar", "an archive of at most"]);
    check(read(1 << 20, 1 << 20), &["at most 1048576 bytes"]);
    assert!(clock.elapsed().as_secs() < 10, "{:?}", clock.elapsed());
    // Targets of thousands of parts, over links that lead on: an end all the same.
    let mut tangled = Tar::default().image("s/c/x.png", 1).link(b'2', "s/l0", ".");
    for at in 1..2000 {
        let target = format!("l{}/", at - 1).repeat(600);
        tangled = tangled.pax(b'x', &[("linkpath", target.as_bytes())]);
        tangled = tangled.link(b'2', &format!("s/l{at}"), "cut");
    }
    let clock = std::time::Instant::now();
    let _ = tangled.read(Bad::Skip);
    assert!(clock.elapsed().as_secs() < 20, "{:?}", clock.elapsed());
}

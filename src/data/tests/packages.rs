//! Folders and archives: what is in them, what is wrong with them, what they may not do.

use super::*;
use std::io::{self, Read, Write};

/// A folder with two images of each of two classes.
fn pets(name: &str) -> Folder {
    let folder = Folder::new(name);
    for class in ["cats", "dogs"] {
        fs::create_dir_all(folder.0.join(class)).unwrap();
    }
    for (at, name) in ["cats/a.png", "cats/b.png", "dogs/a.png", "dogs/b.png"].iter().enumerate() {
        folder.write(name, &picture(4, 6, 10 * at as u8));
    }
    folder
}

fn load_folder(folder: &Folder, loading: &Loading) -> Result<Splits> {
    let entry = SourceName::Folder.entry();
    entry.read(&entry.package(&folder.0, loading)?, loading)
}

#[test]
fn a_folder_a_class_is_labelled_and_may_have_parts() {
    let folder = pets("pets");
    let read = || load_folder(&folder, &Loading::default());
    let Splits { train, test, notes, .. } = read().unwrap();
    assert_eq!((train.labels.clone(), train.size()), (Some(vec![0, 0, 1, 1]), [4, 6, 3]));
    assert_eq!(
        (train.class_names.clone(), test.is_none()),
        (vec!["cats".into(), "dogs".into()], true)
    );
    assert_eq!(train.read(&[2]).unwrap()[..3], [20, 1, 2]);
    assert!(notes.is_empty());
    // What is no image is left out and counted; a hidden file is nobody's.
    folder.write("cats/notes.txt", b"x");
    folder.write("cats/.DS_Store", b"x");
    assert_eq!(read().unwrap().notes, ["left out: 1 file of other kinds: 1 .txt"]);

    let parts = Folder::new("parts");
    for name in ["train/cats/a.png", "train/dogs/deep/b.png", "val/dogs/c.png"] {
        fs::create_dir_all(parts.0.join(name).parent().unwrap()).unwrap();
        parts.write(name, &picture(3, 3, 5));
    }
    let Splits { train, test, .. } = load_folder(&parts, &Loading::default()).unwrap();
    assert_eq!((train.labels, test.unwrap().labels), (Some(vec![0, 1]), Some(vec![1])));
    fs::create_dir_all(parts.0.join("val/mice")).unwrap();
    parts.write("val/mice/x.png", &picture(3, 3, 5));
    check(load_folder(&parts, &Loading::default()), &["mice/x.png", "class that has training"]);
}

#[test]
fn a_flat_folder_has_no_labels_and_a_mixed_one_is_refused() {
    let folder = Folder::new("flat");
    folder.write("a.png", &picture(3, 3, 1));
    folder.write("b.jpeg", &picture(3, 3, 2)); // The bytes tell, not the name.
    let splits = load_folder(&folder, &Loading::default()).unwrap();
    assert_eq!((splits.train.labels, splits.train.classes), (None, 0));
    fs::create_dir_all(folder.0.join("more")).unwrap();
    folder.write("more/c.png", &picture(3, 3, 3));
    check(load_folder(&folder, &Loading::default()), &["a.png", "every image in a sub-folder"]);
    let empty = Folder::new("empty");
    check(load_folder(&empty, &Loading::default()), &["empty", "at least one file .png"]);
}

#[test]
fn mixed_sizes_are_named_or_resized() {
    let folder = pets("mixed");
    folder.write("dogs/b.png", &picture(9, 7, 200));
    let read = |loading: &Loading| load_folder(&folder, loading);
    check(read(&Loading::default()), &["dogs/b.png", "4x6", "data.size", "found 9x7"]);
    let loading = Loading { size: Some(5), ..Loading::default() };
    let train = read(&loading).unwrap().train;
    assert_eq!((train.size(), train.len()), ([5, 5, 3], 4));
    assert_eq!(train.read(&[3]).unwrap(), [200, 1, 2].repeat(25));
}

#[test]
fn an_unreadable_image_is_named_or_left_out() {
    let folder = pets("unreadable");
    let mut half = picture(4, 6, 1);
    half.truncate(half.len() / 2);
    folder.write("cats/b.png", &half);
    let read = |bad| load_folder(&folder, &Loading { bad, ..Loading::default() });
    check(read(Bad::Refuse), &["cats/b.png", "the end of a PNG image", "--skip-bad"]);
    let splits = read(Bad::Skip).unwrap();
    assert_eq!((splits.train.labels, splits.unreadable), (Some(vec![0, 1, 1]), 1));
    assert!(splits.bad[0].contains("cats/b.png"), "{:?}", splits.bad);
    // A foreign file, an empty one, a JPEG without its end.
    folder.write("cats/b.png", b"%PDF-1.4 and so on");
    check(read(Bad::Refuse), &["cats/b.png", "begins like neither"]);
    folder.write("cats/b.png", b"");
    check(read(Bad::Refuse), &["cats/b.png", "an empty file"]);
    folder.write("cats/b.png", &[0xff, 0xd8, 0xff, 0xe0, 0, 16]);
    check(read(Bad::Refuse), &["cats/b.png", "the end of a JPEG image"]);
    for name in ["cats/a.png", "cats/b.png", "dogs/a.png", "dogs/b.png"] {
        folder.write(name, b"x");
    }
    check(read(Bad::Skip), &["cats/a.png", "begins like neither"]);
}

#[test]
fn an_image_of_too_many_pixels_is_not_decoded() {
    // A PNG that claims 16,384 x 16,384 pixels: its sums are right, and there is next to nothing.
    let chunk = |kind_and_body: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(kind_and_body);
        let len = (kind_and_body.len() as u32 - 4).to_be_bytes();
        [&len, kind_and_body, &sum.sum().to_be_bytes()].concat()
    };
    let header = chunk(b"IHDR\x00\x00\x40\x00\x00\x00\x40\x00\x08\x02\x00\x00\x00");
    let file = [&b"\x89PNG\r\n\x1a\n"[..], &header, &chunk(b"IDATx"), &chunk(b"IEND")].concat();
    let [expected, found] = decode::decode(&file).unwrap_err();
    let text = format!("{expected} {found}");
    assert!(text.contains("at most 67108864 pixels") && text.contains("16384x16384"), "{text}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let folder = pets("links");
    let other = pets("linked");
    symlink(other.0.join("cats"), folder.0.join("mice")).unwrap();
    let classes = load_folder(&folder, &Loading::default()).unwrap().train.class_names;
    assert_eq!(classes, ["cats", "dogs", "mice"]);
    symlink(&folder.0, folder.0.join("dogs/again")).unwrap();
    check(
        load_folder(&folder, &Loading::default()),
        &["dogs/again", "no folder that holds itself"],
    );
    fs::remove_file(folder.0.join("dogs/again")).unwrap();
    symlink(folder.0.join("self.png"), folder.0.join("dogs/self.png")).unwrap();
    symlink("self.png", folder.0.join("self.png")).unwrap();
    check(load_folder(&folder, &Loading::default()), &["self.png", "a link to", "--skip-bad"]);
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = pets("closed");
    let path = folder.0.join("dogs/a.png");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("NOT CHECKED: this user may read everything");
        return;
    }
    check(load_folder(&folder, &Loading::default()), &["dogs/a.png", "ermission"]);
    let skip = Loading { bad: Bad::Skip, ..Loading::default() };
    assert_eq!(load_folder(&folder, &skip).unwrap().unreadable, 1);
}

#[test]
fn what_exceeds_the_limit_is_read_from_disk_with_the_same_bytes() {
    let folder = Folder::new("limit");
    let batch: Vec<u8> =
        (0..3000u32).flat_map(|i| cifar_record((i % 10) as u8, i as u8 / 2)).collect();
    folder.write("data_batch_1.bin", &batch);
    folder.write("test_batch.bin", &batch[..3073 * 5]);
    let read = |limit_bytes: u64| {
        let entry = SourceName::Cifar10.entry();
        let loading = Loading { limit_bytes, ..Loading::default() };
        entry.read(&entry.package(&folder.0, &loading).unwrap(), &loading).unwrap()
    };
    let (memory, disk) = (read(1 << 30), read(4 << 20));
    assert!(!memory.train.images.on_disk() && disk.train.images.on_disk());
    assert_eq!(bytes(&memory.train), bytes(&disk.train));
    // The memory that the first part gave back is the second one's.
    let test = [memory.test.unwrap(), disk.test.unwrap()];
    assert!(!test[1].images.on_disk());
    assert_eq!(bytes(&test[0]), bytes(&test[1]));
    let some = [2999, 0, 1365, 1366];
    assert_eq!(memory.train.read(&some).unwrap(), disk.train.read(&some).unwrap());
    let subset = disk.train.subset(&some).subset(&[3, 1]);
    assert_eq!(bytes(&subset), memory.train.read(&[1366, 0]).unwrap());
}

/// A `.tar` with CIFAR-10's files, the first of them under a name of choice.
fn tar_of(first: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let record = cifar_record(1, 2);
    for (name, kind) in [(first, kind), ("c/test_batch.bin", tar::EntryType::Regular)] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        let is_file = kind == tar::EntryType::Regular;
        if !is_file {
            header.as_ustar_mut().unwrap().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_size(if is_file { record.len() as u64 } else { 0 });
        header.set_cksum();
        tar.append(&header, if is_file { &record[..] } else { &[] }).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn archives_are_read_like_folders_or_refused_by_name() {
    let folder = Folder::new("archives");
    let read = |bytes: &[u8]| load("cifar10", &folder.write("a.tar.gz", bytes));
    let whole = tar_of("c/data_batch_1.bin", tar::EntryType::Regular);
    let packed = gzip(&whole);
    for bytes in [&whole, &packed] {
        assert_eq!(read(bytes).unwrap().train.read(&[0]).unwrap()[..3], [2, 3, 4]);
    }
    check(read(&packed[..packed.len() - 9]), &["a.tar.gz", "a whole archive"]);
    check(read(&whole[..2000]), &["a.tar.gz", "archive"]);
    let mut damaged = packed.clone();
    let sum = damaged.len() - 6;
    damaged[sum] ^= 1;
    check(read(&damaged), &["a.tar.gz", "a sound archive"]);
    check(read(b"no archive at all"), &["a.tar.gz", "byte 0", ".tar.gz, .tar or .zip"]);
    check(read(&gzip(b"no tar in it")), &["a.tar.gz", "archive"]);
    check(load("stl10", &folder.write("a.tar.gz", &packed)), &["train_X.bin", "stl10", "none"]);
    check(load("cifar10", &folder.write("a.zip", b"PK\x03\x04")), &["a.zip", "archive"]);
}

#[test]
fn an_archive_leads_nowhere_else() {
    let folder = Folder::new("hostile");
    let read = |name: &str, kind| load("cifar10", &folder.write("a.tar", &tar_of(name, kind)));
    let windows = if cfg!(windows) { &["C:\\evil.bin", "..\\x"][..] } else { &[] };
    for name in ["../../evil.bin", "/tmp/evil.bin", "c/../../evil.bin"].iter().chain(windows) {
        check(
            read(name, tar::EntryType::Regular),
            &["a.tar", "names within the archive", "x"].map(|part| {
                if part == "x" { name.rsplit(['/', '\\']).next().unwrap() } else { part }
            }),
        );
    }
    assert!(!Path::new("/tmp/evil.bin").exists() && !folder.0.join("evil.bin").exists());
    // A link out of it is not followed.
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        check(
            read("c/data_batch_1.bin", kind),
            &["data_batch_1.bin", "a link to /etc/passwd, out"],
        );
    }
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("../evil", zip::write::FileOptions::default()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    check(load("tiny-imagenet", &folder.write("a.zip", &bytes)), &["names within", "../evil"]);
}

/// A `.tar` of zeros: files of these lengths in CIFAR-10's folder.
fn tar_of_zeros(lengths: &[u64]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (at, &len) in lengths.iter().enumerate() {
        let mut header = tar::Header::new_ustar();
        header.set_size(len);
        tar.append_data(
            &mut header,
            format!("c/data_batch_{}.bin", at + 1),
            io::repeat(0).take(len),
        )
        .unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn an_archive_of_more_than_its_limits_is_refused_by_them() {
    let folder = Folder::new("limits");
    let read = |path: &Path, bytes, files| {
        let loading = Loading { archive: ArchiveLimits { bytes, files }, ..Loading::default() };
        let entry = SourceName::Cifar10.entry();
        entry.read(&entry.package(path, &loading)?, &loading)
    };
    let most = 1 << 20;
    let (bytes, files) =
        ("an archive of at most 1048576 bytes, unpacked", "an archive of at most 3 files");
    // 64 MiB of zeros in 64 KiB: given up at the first entry that leads beyond.
    let long = folder.write("long.tar.gz", &gzip(&tar_of_zeros(&[3073, 64 << 20])));
    let many = folder.write("many.tar.gz", &gzip(&tar_of_zeros(&[3073; 4])));
    // Zeros after the archive's end are unpacked too, but kept nowhere.
    let padded = [tar_of_zeros(&[3073]), vec![0; 8 << 20]].concat();
    let padded = folder.write("padded.tar.gz", &gzip(&padded));
    let clock = std::time::Instant::now();
    check(read(&long, most, 3), &["long.tar.gz", bytes, "more"]);
    check(read(&many, most, 3), &["many.tar.gz", files, "more"]);
    check(read(&padded, most, 3), &["padded.tar.gz", bytes, "more"]);
    // An entry that only claims to be long is believed, and nothing is taken for it.
    let mut claims = tar_of_zeros(&[3073, 3073]);
    let second = claims[512 + 3584..].first_chunk_mut::<512>().unwrap();
    let mut header = tar::Header::from_byte_slice(second).clone();
    header.set_size(1 << 50);
    header.set_cksum();
    second.copy_from_slice(header.as_bytes());
    check(read(&folder.write("claims.tar", &claims), most, 3), &["claims.tar", bytes, "more"]);

    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for name in ["c/data_batch_1.bin", "c/data_batch_2.bin"] {
        zip.start_file(name, zip::write::FileOptions::default()).unwrap();
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let zip = folder.write("both.zip", &zip.finish().unwrap().into_inner());
    check(read(&zip, most, 3), &["both.zip", bytes, "more"]);
    check(read(&zip, 1 << 30, 1), &["both.zip", "at most 1 files", "more"]);
    assert!(clock.elapsed().as_secs() < 10, "{:?}", clock.elapsed());
    // Within the limits all of it is read: one byte less is too little.
    let whole = tar_of_zeros(&[3073]).len() as u64;
    let fits = folder.write("fits.tar.gz", &gzip(&tar_of_zeros(&[3073])));
    check(read(&fits, whole, 1), &["test_batch.bin", "no such file"]);
    check(read(&fits, whole - 1, 1), &["at most", "unpacked"]);
}

#[test]
fn a_set_is_unpacked_once_to_be_looked_at() {
    let folder = Folder::new("once");
    let whole = gzip(&tar_of("c/data_batch_1.bin", tar::EntryType::Regular));
    let path = folder.write("a.tar.gz", &whole).display().to_string();
    for text in [path.clone(), format!("cifar10:{path}")] {
        let opened = || package::archive::OPENED.with(std::cell::Cell::get);
        let before = opened();
        let report = check::Found::at(&text).unwrap().check(&Loading::default()).unwrap();
        assert_eq!((report.set, report.problems.len()), (SourceName::Cifar10, 0));
        assert_eq!(opened() - before, 1, "{text}");
    }
}

#[test]
fn a_file_that_unpacks_to_very_much_is_given_up() {
    // 80 MiB of zeros in 80 KiB.
    let folder = Folder::new("bomb");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::FileOptions::default();
    for name in ["t/wnids.txt", "t/val/val_annotations.txt", "t/train/n1/images/a.JPEG"] {
        zip.start_file(name, options).unwrap();
        let text: &[u8] = if name.ends_with("ids.txt") { b"n1\n" } else { b"" };
        zip.write_all(text).unwrap();
        if name.ends_with("JPEG") {
            (0..80).for_each(|_| zip.write_all(&vec![0; 1 << 20]).unwrap());
        }
    }
    let path = folder.write("bomb.zip", &zip.finish().unwrap().into_inner());
    check(load("tiny-imagenet", &path), &["bomb.zip/t/train/n1/images/a.JPEG", "at most 67108864"]);
    // A gzip stream longer than its header says is left alone after one byte more.
    let images = [idx_images(1, 2, 2, &[1; 4]), vec![0; 64 << 20]].concat();
    let path = folder.write("train-images-idx3-ubyte.gz", &gzip(&images));
    check(idx::read_images(read::open(&path).unwrap(), &path), &["the end of the file", "more"]);
}

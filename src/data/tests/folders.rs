//! Folders of images: their parts, and that nothing is left out in silence.

use super::*;

/// A folder with images of these names, each of its place's value.
fn images(name: &str, names: &[&str]) -> Folder {
    let folder = Folder::new(name);
    for (at, name) in names.iter().enumerate() {
        put(&folder, name, &picture(3, 3, at as u8));
    }
    folder
}

fn put(folder: &Folder, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder.0.join(name).parent().unwrap()).unwrap();
    folder.write(name, bytes);
}

#[test]
fn every_class_folder_without_images_is_named_with_what_it_has() {
    let folder = images("empty-classes", &["cat/0.png", "dog/deep/0.png"]);
    for name in ["bird/0.webp", "bird/1.webp", "bird/deep/x.gif", "dog/notes", "README.TXT"] {
        put(&folder, name, b"x");
    }
    for name in ["fish", "newt/deeper"] {
        fs::create_dir_all(folder.0.join(name)).unwrap();
    }
    put(&folder, "toad/.x.png", b"x");
    let splits = load_images(&folder.0, Bad::Refuse).unwrap();
    assert_eq!(contents(&splits), ["cat 0", "dog 1"]);
    assert_eq!(
        splits.notes,
        [
            "no images in the folder bird: it has only 2 .webp, 1 .gif",
            "no images in the folder fish: it has nothing",
            "no images in the folder newt: it has nothing",
            "no images in the folder toad: it has only 1 hidden",
            "left out: 5 files of other kinds: 2 .webp, 1 .gif, 1 .txt, 1 without an extension",
            "left out: 1 hidden: toad/.x.png",
        ]
    );
    // One whose images cannot be read is none either.
    put(&folder, "ant/0.png", b"x");
    let splits = load_images(&folder.0, Bad::Skip).unwrap();
    assert_eq!((contents(&splits), splits.unreadable), (vec!["cat 0".into(), "dog 1".into()], 1));
    assert!(splits.notes[0].contains("no image of the class ant can be read"));
    let only = images("only-others", &[]);
    put(&only, "a.webp", b"x");
    check(load_images(&only.0, Bad::Refuse), &["at least one file .png", "only 1 .webp"]);
}

#[test]
fn the_parts_of_a_set_have_several_names_in_any_letter_case() {
    for (train, test) in [
        ("train", "test"),
        ("train", "valid"),
        ("Train", "VAL"),
        ("TRAIN", "Validation"),
        ("tRaIn", "Test"),
        ("train", "validation"),
    ] {
        let names = [format!("{train}/cat/0.png"), format!("{test}/cat/1.png")];
        let folder = images(&format!("parts-{train}-{test}"), &names.each_ref().map(|s| &**s));
        let splits = load_images(&folder.0, Bad::Refuse).unwrap();
        assert_eq!(contents(&splits), ["cat 0"]);
        assert_eq!(splits.test.unwrap().read(&[0]).unwrap()[0], 1);
        let told = splits.notes.contains(&format!("the test images are those in {test}/"));
        assert_eq!(told, test != "test", "{:?}", splits.notes);
    }
}

#[test]
fn of_several_parts_one_is_taken_and_the_others_are_named() {
    let names = ["train/a/0.png", "val/a/1.png", "test/a/2.png", "val/b/3.png", "extra/4.png"];
    let folder = images("several", &[&names[..], &["5.png", "valid/a/6.png"]].concat());
    fs::create_dir_all(folder.0.join("validation")).unwrap();
    let splits = load_images(&folder.0, Bad::Refuse).unwrap();
    assert_eq!((contents(&splits), splits.test.unwrap().len()), (vec!["a 0".into()], 1));
    assert_eq!(
        splits.notes,
        [
            "left out: 1 images in extra/",
            "left out: 2 images in val/",
            "left out: 1 images in valid/",
            "no images in validation/: it has nothing",
            "left out: 1 images beside train/: 5.png",
        ]
    );
    // Where the system tells letter case apart, the usual one comes first.
    let both = images("both-cases", &["Train/a/0.png", "train/a/1.png"]);
    if fs::read_dir(&both.0).unwrap().count() == 2 {
        let splits = load_images(&both.0, Bad::Refuse).unwrap();
        assert_eq!(contents(&splits), ["a 1"]);
        assert_eq!(splits.notes, ["left out: 1 images in Train/"]);
    }
    // A part to learn from without images is no class.
    let empty = images("no-train", &["test/a/0.png"]);
    put(&empty, "train/a/0.webp", b"x");
    check(load_images(&empty.0, Bad::Refuse), &["no-train/train", "at least one", "only 1 .webp"]);
}

#[cfg(feature = "cli")]
#[test]
fn the_python_version_of_cifar_is_told_with_what_to_do() {
    let ten = ["data_batch_1", "data_batch_2", "batches.meta", "test_batch"];
    let hundred = ["meta", "train", "test"];
    let binary = |number: &str| format!("cifar-{number}-binary.tar.gz");
    for (set, top, files, number) in [
        ("cifar10", "cifar-10-batches-py", &ten[..], "10"),
        ("cifar100", "cifar-100-python", &hundred, "100"),
    ] {
        let folder = Folder::new(top);
        for file in files {
            put(&folder, &format!("{top}/{file}"), b"\x80\x04");
        }
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all(top, folder.0.join(top)).unwrap();
        let archive = folder.write("python.tar", &tar.into_inner().unwrap());
        let parts = ["the Python version of CIFAR", &binary(number), "cs.toronto.edu"];
        for path in [&folder.0, &folder.0.join(top), &archive] {
            let source = |name| Source { name, path: Some(path.clone()) };
            let own = set.parse::<Source>().unwrap().name;
            for name in [own, SourceName::Folder] {
                check(source(name).load(&Loading::default()), &parts);
            }
            let report = check::Found::at(path.to_str().unwrap()).unwrap();
            let report = report.check(&Loading::default()).unwrap();
            assert!(report.problems[0].contains(parts[0]), "{:?}", report.problems);
        }
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_that_leads_nowhere_is_one_bad_image_or_nothing() {
        let folder = images("dead-links", &["cat/0.png", "dog/0.png"]);
        symlink("/nowhere/notes", folder.0.join("notes")).unwrap();
        symlink("0.png/x", folder.0.join("cat/more")).unwrap();
        let splits = load_images(&folder.0, Bad::Refuse).unwrap();
        assert_eq!(contents(&splits), ["cat 0", "dog 1"]);
        let [more, notes] = &splits.notes[..] else { panic!("{:?}", splits.notes) };
        assert!(more.contains("cat/more") && notes.contains("notes"), "{more} {notes}");
        for target in ["/nowhere/9.png", "9.png", "0.png/9.png"] {
            let link = folder.0.join("cat/9.png");
            symlink(target, &link).unwrap();
            let parts = ["cat/9.png", "a link to", target, "--skip-bad"];
            check(load_images(&folder.0, Bad::Refuse), &parts);
            let splits = load_images(&folder.0, Bad::Skip).unwrap();
            assert_eq!(contents(&splits), ["cat 0", "dog 1"]);
            assert!(splits.unreadable == 1 && splits.bad[0].contains("cat/9.png"));
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn a_folder_that_may_not_be_looked_into_is_one_bad_image() {
        let names = ["cat/0.png", "dog/0.png", "dog/deep/1.png", "ant/2.png"];
        let folder = images("closed-folder", &names);
        let close = |name: &str, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.0.join(name), mode).unwrap();
        };
        for (name, class) in [("dog/deep", "ant 3"), ("ant", "cat 0")] {
            close(name, 0o000);
            if fs::read_dir(folder.0.join(name)).is_ok() {
                println!("NOT CHECKED: this user may read every folder");
                close(name, 0o755);
                return;
            }
            check(load_images(&folder.0, Bad::Refuse), &[name, "ermission", "--skip-bad"]);
            let splits = load_images(&folder.0, Bad::Skip).unwrap();
            assert_eq!(contents(&splits)[0], class);
            assert!(splits.unreadable == 1 && splits.bad[0].contains(name), "{:?}", splits.bad);
            close(name, 0o755);
        }
    }

    #[test]
    fn names_that_are_no_text_stay_distinct() {
        let folder = Folder::new("latin1");
        for class in [&b"p\xeache"[..], b"p\xe9che", b"plain"] {
            let class = folder.0.join(OsStr::from_bytes(class));
            if fs::create_dir_all(&class).is_err() {
                println!("NOT CHECKED: this system takes no such names");
                return;
            }
            for (at, name) in [&b"\xe9.png"[..], b"\xe8.png", b"x.png"].iter().enumerate() {
                let path = class.join(OsStr::from_bytes(name));
                fs::write(path, picture(3, 3, at as u8)).unwrap();
            }
        }
        let splits = load_images(&folder.0, Bad::Refuse).unwrap();
        assert_eq!(contents(&splits), ["p\\xE9che 1 0 2", "p\\xEAche 1 0 2", "plain 1 0 2"]);
    }
}

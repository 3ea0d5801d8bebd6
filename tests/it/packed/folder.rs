//! A random folder of images, with all that makes folders unusual.

use crate::support::Numbers;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Names of classes and files: several scripts, and what shells, systems and formats stumble over.
const NAMES: [&str; 22] = [
    "cat",
    "dog",
    "\u{732b}",
    "\u{72d7}\u{5c0f}\u{5c4b}",
    "\u{43a}\u{43e}\u{448}\u{43a}\u{430}",
    "\u{642}\u{637}\u{629}",
    "gr\u{f6}\u{df}e",
    "cafe\u{301}",
    "\u{1f408}\u{200d}\u{2b1b}",
    "with blanks ",
    "-dash",
    "1:2",
    "a\\b",
    "a\\xE9",
    "quote's",
    "$(x)",
    "star*",
    "tilde~",
    "semi;colon",
    "per%20cent",
    "dots..",
    "#U732b",
];

/// A folder that was written.
#[derive(Debug)]
pub struct Generated {
    /// What is unusual in it.
    pub features: Vec<&'static str>,
    size: [u32; 2],
    names: Vec<PathBuf>,
}

struct Writer {
    numbers: Numbers,
    /// Whether the set has a part to judge on.
    parts: bool,
    made: Generated,
}

impl Generated {
    /// Writes the folder that belongs to `seed` at `path`, which is not there.
    pub fn new(seed: u64, path: &Path) -> Generated {
        let numbers = Numbers::new(1000 + seed);
        let made = Generated { features: Vec::new(), size: [0, 0], names: Vec::new() };
        let mut writer = Writer { numbers, parts: false, made };
        writer.made.size = [2, 2].map(|least| least + writer.numbers.below(3) as u32);
        let parts: &[&str] = match writer.numbers.below(4) {
            0 => &["train", "test"],
            1 => &["Train", "valid"],
            _ => &[""],
        };
        writer.parts = parts.len() > 1;
        // Two classes at least have an image: one alone would be a set's own folder.
        let classes: Vec<Vec<u8>> =
            (0..2 + writer.numbers.below(3)).map(|_| writer.name()).collect();
        for part in parts {
            for class in &classes {
                let class = path.join(part).join(os(class));
                writer.class(&class);
            }
            if writer.chance("empty class", 3) {
                let empty = path.join(part).join("zz empty");
                writer.folder(&empty);
            }
            if writer.chance("class of others", 3) {
                writer.file(&path.join(part).join("zz webp/a.webp"), b"RIFF");
            }
        }
        if writer.parts {
            writer.made.features.push("parts");
        }
        writer.litter(path);
        writer.made
    }

    /// The bytes of an image.
    pub fn bytes(&self) -> usize {
        3 * (self.size[0] * self.size[1]) as usize
    }
}

impl Writer {
    /// Whether something is done, once in `times`; it is remembered by its name.
    fn chance(&mut self, feature: &'static str, times: usize) -> bool {
        let yes = self.numbers.below(times) == 0;
        if yes {
            self.made.features.push(feature);
        }
        yes
    }

    /// A name that no other in this folder of folders has.
    fn name(&mut self) -> Vec<u8> {
        let number = self.numbers.below(1_000_000);
        let own = NAMES[self.numbers.below(NAMES.len())];
        let mut name = format!("{own}{number}").into_bytes();
        if cfg!(target_os = "linux") && self.chance("names that are no text", 40) {
            name.extend([b'\xe8' + (number % 2) as u8, b'x']);
        }
        if self.chance("long names", 20) {
            name.extend(std::iter::repeat_n(b'n', 240 - name.len()));
        }
        name
    }

    fn folder(&mut self, path: &Path) {
        fs::create_dir_all(path).expect("the folder can be made");
        self.made.names.push(path.to_path_buf());
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.made.names.push(path.to_path_buf());
    }

    /// An image of noise.
    fn image(&mut self, path: &Path) {
        let [height, width] = self.made.size;
        let numbers = &mut self.numbers;
        let pixel = |_, _| image::Rgb([0, 1, 2].map(|_| numbers.below(256) as u8));
        let image = image::RgbImage::from_fn(width, height, pixel);
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, image::ImageFormat::Png).expect("an image can be encoded");
        self.file(path, file.get_ref());
    }

    fn class(&mut self, class: &Path) {
        let mut last: Option<PathBuf> = None;
        for _ in 0..1 + self.numbers.below(4) {
            let mut path = class.to_path_buf();
            if self.chance("deep folders", 5) {
                for _ in 0..1 + self.numbers.below(4) {
                    let name = self.name();
                    path.push(os(&name));
                }
            }
            let mut name = self.name();
            let endings: [&[u8]; 4] = [b".png", b".PNG", b".jpeg", b".JPG"];
            name.extend(endings[self.numbers.below(4)]);
            path.push(os(&name));
            self.image(&path);
            if let Some(last) = &last {
                self.links(class, last);
            }
            last = Some(path);
        }
    }

    /// Links to an image: hard, symbolic, over another one.
    #[cfg(unix)]
    fn links(&mut self, class: &Path, image: &Path) {
        use std::os::unix::fs::symlink;
        let number = self.numbers.below(1_000_000);
        let target = image.strip_prefix(class).expect("an image lies in its class");
        let made = |result: std::io::Result<()>| result.expect("links can be made");
        if self.chance("hard links", 4) {
            made(fs::hard_link(image, class.join(format!("hard{number}.png"))));
        }
        if self.chance("symbolic links", 4) {
            made(symlink(target, class.join(format!("soft{number}.png"))));
            made(symlink(format!("soft{number}.png"), class.join(format!("soft{number}b.png"))));
        }
        if self.chance("dead links", 8) {
            made(symlink("gone", class.join(format!("notes{number}"))));
        }
        if self.chance("dead links of images", 8) {
            made(symlink("gone.png", class.join(format!("dead{number}.png"))));
        }
        // Not in a part: the other one would lack the class.
        if !self.parts && self.chance("links to folders", 8) {
            let name = class.file_name().expect("a class has a name");
            made(symlink(name, class.with_file_name(format!("zz link{number}"))));
        }
    }

    #[cfg(not(unix))]
    fn links(&mut self, _class: &Path, _image: &Path) {}

    /// What systems, editors and people leave in folders.
    fn litter(&mut self, path: &Path) {
        for (feature, name) in [
            ("hidden files", ".DS_Store"),
            ("hidden files", ".hidden.png"),
            ("hidden files", ".cache/x.png"),
            ("AppleDouble files", "._x.png"),
            ("AppleDouble files", "__MACOSX/._x.png"),
            ("other files", "README.md"),
        ] {
            if self.chance(feature, 3) {
                self.file(&path.join(name), b"x");
            }
        }
        let folders: Vec<PathBuf> =
            self.made.names.iter().filter_map(|name| name.parent()).map(PathBuf::from).collect();
        for _ in 0..self.numbers.below(4) {
            let folder = &folders[self.numbers.below(folders.len())];
            let names = [".DS_Store", "._0.png", ".x.png", "notes.txt", "Thumbs.db", "LICENSE"];
            let name = names[self.numbers.below(names.len())];
            self.file(&folder.join(name), b"x");
        }
    }
}

#[cfg(unix)]
fn os(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

#[cfg(not(unix))]
fn os(name: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name).replace(['\\', ':', '*'], "-").trim_end())
}

//! Misuse of the maths panics in plain words: the message begins with the operation's own name and
//! leaks no `Option`, and the place of the panic is the caller's line.
//!
//! The tables have one misuse a row; a test reads the sources and asks that every public function
//! whose documentation says when it panics has a row of its own.

mod autodiff;
mod data;
mod eval;
mod losses;
mod nn;
mod tensor;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use dimask::Var;
use dimask::tensor::Tensor;

fn zeros(shape: &[usize]) -> Tensor<f64> {
    Tensor::zeros(shape)
}

fn var(shape: &[usize]) -> Var<f64> {
    Var::leaf(zeros(shape))
}

/// One test a row: its name, the function that is misused, how the message begins, the misuse.
macro_rules! panics {
    ($($name:ident, $($path:ident)::+, $expected:literal: $misuse:expr;)*) => {
        /// The functions of the rows, as paths.
        pub const COVERED: &[&[&str]] = &[$(&[$(stringify!($path)),+]),*];

        $(
            #[test]
            fn $name() {
                let row = super::Row {
                    name: stringify!($name),
                    path: &[$(stringify!($path)),+],
                    expected: $expected,
                    file: file!(),
                };
                row.check(|| {
                    let _ = $misuse;
                });
            }
        )*
    };
}
use panics;

/// A row of a table, but for its misuse.
struct Row {
    name: &'static str,
    path: &'static [&'static str],
    expected: &'static str,
    file: &'static str,
}

/// What a panic says, and where it says that it is: file and line.
#[derive(Debug)]
struct Panic {
    message: String,
    file: String,
    line: usize,
}

thread_local! {
    /// Whether panics of this thread are kept instead of reported.
    static KEEPS: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// The panic of `misuse`.
fn panic_of(misuse: impl FnOnce()) -> Option<Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| if KEEPS.get() { keep(info) } else { others(info) }));
    });
    let before = KEEPS.replace(true);
    let result = catch_unwind(AssertUnwindSafe(misuse));
    KEEPS.set(before);
    let kept = KEPT.take();
    result.err().map(|_| kept.expect("the hook keeps every panic of this thread"))
}

fn keep(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    let message = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let place = info.location().expect("a panic has a place");
    let (file, line) = (place.file().to_string(), place.line() as usize);
    KEPT.set(Some(Panic { message, file, line }));
}

impl Row {
    fn check(&self, misuse: impl FnOnce()) {
        let Row { name, expected, .. } = self;
        let panic = panic_of(misuse).unwrap_or_else(|| panic!("{name}: no panic"));
        self.check_panic(&panic);
        assert!(
            self.names_itself(),
            "{name}: {expected:?} does not begin with the function's name"
        );
    }

    fn check_panic(&self, panic: &Panic) {
        let Row { name, expected, file, .. } = self;
        let Panic { message, file: found, line } = panic;
        assert!(message.starts_with(expected), "{name}: {message:?} is not {expected:?}");
        for leak in ["Some(", "None", "unwrap"] {
            assert!(!message.contains(leak), "{name}: {message:?} leaks {leak:?}");
        }
        assert!(found == file, "{name}: the panic points to {found}:{line}, not to its caller");
        let text = std::fs::read_to_string(root().join(file)).expect("the table can be read");
        let row = text.lines().take(*line).filter(|line| is_start(line)).last().unwrap_or("");
        let own = row.trim_start().starts_with(&format!("{name}, "));
        assert!(own, "{name}: the panic points to {found}:{line}, another row");
    }

    /// Whether what is expected begins with the function's name, alone or behind its type's, with
    /// the name of its type as an operation, or with the kind and the name of a layer.
    fn names_itself(&self) -> bool {
        let Some((head, _)) = self.expected.split_once(": ") else { return false };
        let (function, owner) = (self.path[self.path.len() - 1], self.path[0]);
        let kind = head.split_once(' ').map_or(head, |(kind, _)| kind);
        head == function
            || head == self.path.join("::")
            || kind == snake(owner)
            || ["linear", "batch_norm", "conv2d"].contains(&kind) && head != kind
    }
}

/// Whether a line of a table begins a row.
fn is_start(line: &str) -> bool {
    line.strip_prefix("    ").is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
}

/// `BatchNorm` to `batch_norm`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A public function: its file, its path, and what stands above it.
#[derive(Debug)]
struct Function {
    file: PathBuf,
    path: Vec<String>,
    tells_panics: bool,
    points_to_caller: bool,
}

/// The layers whose misuse panics; above them it is an error that comes back.
const LAYERS: [&str; 11] = [
    "tensor",
    "autodiff",
    "nn",
    "optim",
    "ssl",
    "metamask",
    "eval",
    "augment",
    "data",
    "gradcheck",
    "comm",
];

/// Functions without a row, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("Ranks::on_threads", "it hands on the panic of a rank, with the rank's place"),
    ("start", "of the feature mpi, which enters a library once in a process"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The public functions of a source.
fn functions_of(file: &Path, text: &str) -> Vec<Function> {
    let ident = |s: &str| -> String {
        s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let (mut found, mut owner) = (Vec::new(), None);
    let (mut tells_panics, mut points_to_caller) = (false, false);
    for line in text.lines() {
        let code = line.trim();
        if line.starts_with("impl") {
            let head = line.split_once(" for ").map_or_else(|| after_generics(line), |(_, of)| of);
            owner = Some(ident(head));
        } else if line.starts_with('}') {
            owner = None;
        }
        let name = code.strip_prefix("pub fn ").or_else(|| code.strip_prefix("pub const fn "));
        if let Some(name) = name {
            let path = owner.iter().cloned().chain([ident(name)]).collect();
            let file = file.to_path_buf();
            found.push(Function { file, path, tells_panics, points_to_caller });
        }
        tells_panics |= code == "/// # Panics";
        points_to_caller |= code == "#[track_caller]";
        if !code.starts_with("///") && !code.starts_with("#[") {
            (tells_panics, points_to_caller) = (false, false);
        }
    }
    found
}

/// What follows `impl` and its list of generics.
fn after_generics(line: &str) -> &str {
    let mut depth = 0;
    for (at, c) in line.char_indices().skip("impl".len()) {
        depth += i32::from(c == '<') - i32::from(c == '>');
        if depth == 0 && c == ' ' {
            return &line[at + 1..];
        }
    }
    line
}

fn read(folder: &Path, found: &mut Vec<Function>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        if path.is_dir() {
            read(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source can be read");
            found.extend(functions_of(&path, &text));
        }
    }
}

#[test]
fn every_function_that_says_when_it_panics_is_misused() {
    let tables = [
        tensor::COVERED,
        autodiff::COVERED,
        nn::COVERED,
        losses::COVERED,
        eval::COVERED,
        data::COVERED,
    ];
    // A module in front of a function is no part of its path in its file.
    let is_type = |part: &&&str| part.starts_with(|c: char| c.is_uppercase());
    let path = |path: &&[&str]| match path {
        [owner, _] if is_type(&owner) => path.join("::"),
        _ => path[path.len() - 1].to_string(),
    };
    let covered: Vec<String> = tables.iter().flat_map(|table| table.iter()).map(path).collect();
    let mut functions = Vec::new();
    for layer in LAYERS {
        let before = functions.len();
        read(&root().join("src").join(layer), &mut functions);
        assert!(functions.len() > before, "no public function in {layer}");
    }
    let mut errors = Vec::new();
    let mut telling = 0;
    let mut reasons: Vec<&str> = EXCEPTIONS.iter().map(|(path, _)| *path).collect();
    for Function { file, path, tells_panics, points_to_caller } in &functions {
        let path = path.join("::");
        let place = format!("{} {path}", file.display());
        if *points_to_caller && !*tells_panics {
            errors.push(format!("{place}: points to its caller, but has no `# Panics`"));
        }
        if !*tells_panics {
            continue;
        }
        telling += 1;
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == path) {
            reasons.retain(|exception| *exception != path);
            continue;
        }
        if !*points_to_caller {
            errors.push(format!("{place}: no #[track_caller]"));
        }
        if !covered.contains(&path) {
            errors.push(format!("{place}: no misuse of it in tests/it/panics"));
        }
    }
    assert!(reasons.is_empty(), "exceptions that are none: {reasons:?}");
    assert!(telling > 190, "only {telling} functions say when they panic");
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    println!("{telling} functions, {} rows", covered.len());
}

/// Negative cases: each of the rules bites.
#[test]
fn the_rules_bite() {
    let source = [
        "impl<T: Real> Var<T> {",
        "    /// Adds.",
        "    ///",
        "    /// # Panics",
        "    /// Often.",
        "    pub fn add(&self) {}",
        "}",
        "",
        "#[track_caller]",
        "pub fn sub() {}",
    ];
    let source = source.join("\n");
    let found = functions_of(Path::new("x.rs"), &source);
    let [add, sub] = &found[..] else { panic!("{found:?}") };
    assert!(add.path == ["Var", "add"] && add.tells_panics && !add.points_to_caller);
    assert!(sub.path == ["sub"] && !sub.tells_panics && sub.points_to_caller);

    let file = "tests/it/panics/tensor.rs";
    let row = |expected| Row { name: "item_of_many", path: &["Tensor", "item"], expected, file };
    assert!(row("item: shape").names_itself() && row("Tensor::item: shape").names_itself());
    assert!(row("tensor: shape").names_itself() && row("linear fc: inner").names_itself());
    assert!(!row("shape: 2").names_itself() && !row("item of 2").names_itself());
    assert!(!row("linear: inner").names_itself());

    let text = std::fs::read_to_string(root().join(file)).expect("the table can be read");
    let line = 1 + text.lines().position(|line| line.contains("item_of_many, ")).expect("a row");
    let bites = |message: &str, found: &str, line: usize| {
        let panic = Panic { message: message.into(), file: found.into(), line };
        panic_of(|| row("item: shape").check_panic(&panic)).is_some()
    };
    assert!(!bites("item: shape [2] has 2 elements", file, line));
    assert!(bites("of: shape [2] has 2 elements", file, line), "another message");
    assert!(bites("item: shape Some(2)", file, line), "a leak");
    assert!(bites("item: shape [2]", "src/tensor/mod.rs", line), "a place in the crate");
    assert!(bites("item: shape [2]", file, line - 5), "another row");
    assert!(panic_of(|| row("item: shape").check(|| {})).is_some(), "no panic");
}

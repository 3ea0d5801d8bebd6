//! The rules of the house, checked: who may import whom, how long things may be, where `unsafe` and
//! printing may stand, what no file may contain. Each rule has a negative case that shows it bites.

use std::path::{Path, PathBuf};

/// Which modules a module may import: the maths knows nothing above itself, the edges know it.
const LAYERS: &[(&str, &[&str])] = &[
    ("build", &[]),
    ("error", &[]),
    ("rng", &[]),
    ("kernels", &[]),
    ("comm", &["kernels::Real"]),
    ("tensor", &["kernels"]),
    ("autodiff", &["tensor", "comm", "rng", "kernels::Real"]),
    ("nn", &["autodiff", "tensor", "comm", "rng", "kernels::Real"]),
    ("optim", &["autodiff", "tensor", "kernels::Real"]),
    ("ssl", &["autodiff", "tensor", "nn", "rng", "kernels::Real"]),
    ("metamask", &["ssl", "optim", "nn", "autodiff", "tensor", "rng", "kernels::Real"]),
    ("data", &["augment", "tensor", "rng", "error", "kernels::Real"]),
    ("augment", &["kernels", "tensor", "rng"]),
    ("eval", &["nn", "data", "tensor", "optim", "autodiff", "rng", "error", "kernels::Real"]),
    ("instances", &["eval", "autodiff", "kernels", "tensor"]),
    ("gradcheck", &["metamask", "ssl", "optim", "nn", "autodiff", "comm", "tensor", "rng"]),
    (
        "explain",
        &["gradcheck", "eval", "metamask", "ssl", "optim", "nn", "autodiff", "tensor", "kernels"],
    ),
    ("files", &["error"]),
    ("config", &["data", "error"]),
    (
        "run",
        &[
            "error", "files", "kernels", "tensor", "autodiff", "nn", "optim", "ssl", "metamask",
            "eval", "config",
        ],
    ),
    (
        "train",
        &[
            "error", "files", "rng", "kernels", "comm", "tensor", "autodiff", "nn", "optim", "ssl",
            "metamask", "data", "augment", "eval", "config", "run",
        ],
    ),
    ("report", &[]),
    (
        "figures",
        &[
            "error", "files", "tensor", "autodiff", "data", "eval", "config", "run", "train",
            "report",
        ],
    ),
    (
        "experiments",
        &[
            "error", "files", "rng", "tensor", "nn", "metamask", "data", "eval", "config", "run",
            "train", "report", "figures",
        ],
    ),
    ("strategies", &["kernels::Real", "tensor"]),
];
/// May import everything.
const TOP: &[&str] = &["cli", "main", "lib"];

/// Most lines of code, by path prefix: comments, documentation, blank lines and tests are free, and
/// so are the attributes by which a panic points to the caller and crates share an instance.
const BUDGETS: &[(&str, usize)] = &[
    ("src/tensor/", 1100),
    ("src/autodiff/", 3350),
    ("src/autodiff/check/", 1250),
    ("src/autodiff/vjp.rs", 300),
    ("src/autodiff/jvp.rs", 250),
    ("src/autodiff/pull.rs", 210),
];
const MAX_SSL_LINES: usize = 150;
const MAX_FILE_LINES: usize = 500;
const MAX_COLUMNS: usize = 100;

/// A file with its path from the repository's root, `/` between the parts.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_source(&self) -> bool {
        self.path.starts_with("src/") && self.path.ends_with(".rs")
    }

    /// The module right below the crate's root.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
    }

    /// Whether all of it is a unit test.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// The text with comments, strings and character literals blanked, lines kept.
fn code_of(text: &str) -> String {
    let mut out = String::new();
    let bytes: Vec<char> = text.chars().collect();
    let starts =
        |i: usize, s: &str| s.chars().enumerate().all(|(k, c)| bytes.get(i + k) == Some(&c));
    let mut i = 0;
    while i < bytes.len() {
        let from = i;
        if starts(i, "//") {
            while i < bytes.len() && bytes[i] != '\n' {
                i += 1;
            }
        } else if starts(i, "/*") {
            while i < bytes.len() && !starts(i, "*/") {
                i += 1;
            }
            i += 2;
        } else if starts(i, "r\"") || starts(i, "r#") {
            let hashes = bytes[i + 1..].iter().take_while(|&&c| c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            if bytes.get(i + 1 + hashes) != Some(&'"') {
                out.push(bytes[i]);
                i += 1;
                continue;
            }
            i += 2 + hashes;
            while i < bytes.len() && !starts(i, &end) {
                i += 1;
            }
            i += end.len();
        } else if bytes[i] == '"' {
            i += 1;
            while i < bytes.len() && bytes[i] != '"' {
                i += if bytes[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if starts(i, "'\\") || (bytes[i] == '\'' && bytes.get(i + 2) == Some(&'\'')) {
            i += if starts(i, "'\\") { 3 } else { 2 };
            while i < bytes.len() && bytes[i] != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            out.push(bytes[i]);
            i += 1;
            continue;
        }
        out.extend(bytes[from..i.min(bytes.len())].iter().filter(|&&c| c == '\n'));
        out.push(' ');
    }
    out
}

/// The code without its `#[cfg(test)]` items.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let (mut depth, mut end) = (0, item.len());
        for (i, c) in item.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 && (c == '}' || c == ';') {
                end = i + 1;
                break;
            }
        }
        rest = &item[end..];
    }
    out + rest
}

fn lines_of_code(file: &File) -> usize {
    let code = if file.is_test() { String::new() } else { without_tests(&code_of(&file.text)) };
    let free = ["", "#[track_caller]", "#[inline(never)]"];
    let counts = |line: &&str| !free.contains(&line.trim());
    code.lines().filter(counts).count()
}

/// The paths that follow `crate::` in the code, as `module` or `module::Item`; groups are unfolded.
fn imports(code: &str) -> Vec<String> {
    let squeezed: String = code.split_whitespace().collect();
    let ident = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    let head = |s: &str| -> String {
        let module = &s[..ident(s)];
        match s[module.len()..].strip_prefix("::") {
            Some(rest) => format!("{module}::{}", &rest[..ident(rest)]),
            None => module.to_string(),
        }
    };
    let mut found = Vec::new();
    for (at, _) in squeezed.match_indices("crate::") {
        let rest = &squeezed[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(head(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.push(head(&group[start..i]));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// Root re-exports, as `Item -> module`, read off `pub use module::{..}` in `lib.rs`.
fn reexports(lib: &str) -> Vec<(String, String)> {
    let code = code_of(lib);
    let uses = code.split("pub use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let items =
        uses.filter_map(|(path, _)| path.trim().split_once("::")).flat_map(|(module, of)| {
            let names = of.trim_matches(['{', '}']).split(',').map(str::trim).collect::<Vec<_>>();
            names.into_iter().map(move |name| (name.to_string(), module.to_string()))
        });
    items.collect()
}

fn check_layers(file: &File, reexports: &[(String, String)], errors: &mut Vec<String>) {
    let module = file.module();
    if TOP.contains(&module) || file.is_test() {
        return;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return errors.push(format!("{}: module {module} has no row in the layers", file.path));
    };
    for import in imports(&without_tests(&code_of(&file.text))) {
        let first = import.split("::").next().unwrap_or(&import);
        let path = match reexports.iter().find(|(item, _)| item == first) {
            Some((item, from)) => format!("{from}::{item}"),
            None => import.clone(),
        };
        let target = path.split("::").next().unwrap_or(&path);
        let fine = target == module
            || allowed.iter().any(|may| *may == target || *may == path)
            || path.starts_with("kernels::Real") && allowed.contains(&"kernels::Real");
        if !fine {
            errors.push(format!("{}: {module} may not import {import}", file.path));
        }
    }
}

fn check_budgets(files: &[File], errors: &mut Vec<String>) {
    for (prefix, budget) in BUDGETS {
        let lines: usize =
            files.iter().filter(|f| f.path.starts_with(prefix)).map(lines_of_code).sum();
        if lines > *budget {
            errors.push(format!("{prefix}: {lines} lines of code, at most {budget}"));
        }
    }
}

fn check_size(file: &File, errors: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > MAX_FILE_LINES {
        errors.push(format!("{}: {lines} lines, at most {MAX_FILE_LINES}", file.path));
    }
    if file.path.starts_with("src/ssl/") && lines_of_code(file) > MAX_SSL_LINES {
        errors.push(format!("{}: more than {MAX_SSL_LINES} lines of code", file.path));
    }
    for (i, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            errors.push(format!("{}:{}: {columns} columns", file.path, i + 1));
        }
    }
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        !part(code[..at].chars().next_back()) && !part(code[at + word.len()..].chars().next())
    })
}

fn check_code(file: &File, errors: &mut Vec<String>) {
    let code = code_of(&file.text);
    let mut complain = |what: &str| errors.push(format!("{}: {what}", file.path));
    if has_word(&code, "unsafe") && !file.path.starts_with("src/kernels/") {
        complain("`unsafe` outside of src/kernels");
    }
    for name in ["todo", "unimplemented", "dbg"] {
        if has_word(&code, name) && code.contains(&format!("{name}!")) {
            complain(&format!("`{name}!` is for unfinished code"));
        }
    }
    if !file.is_source() {
        return;
    }
    let may_print = file.path.starts_with("src/cli/")
        || ["src/main.rs", "src/build.rs"].contains(&file.path.as_str())
        || file.is_test();
    let code = without_tests(&code);
    for name in ["print", "println", "eprint", "eprintln"] {
        if !may_print && has_word(&code, name) && code.contains(&format!("{name}!")) {
            complain(&format!("`{name}!` outside of src/cli"));
        }
    }
    if !file.text.starts_with("//!") {
        complain("does not open with `//!`");
    }
}

/// Somebody's own folders: a path under one means nothing elsewhere. In pieces, so that this file,
/// which is checked like any other, does not contain them.
fn foreign_words() -> Vec<String> {
    ["home", "root", "users"].iter().map(|folder| ["/", folder, "/"].concat()).collect()
}

fn check_words(file: &File, errors: &mut Vec<String>) {
    let text = file.text.to_lowercase();
    for word in foreign_words().iter().filter(|word| text.contains(*word)) {
        errors.push(format!("{}: contains `{word}`", file.path));
    }
}

/// The text files of the repository under `place`, which may be one file.
fn read(place: &str, files: &mut Vec<File>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut todo: Vec<PathBuf> = vec![root.join(place)];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder of the repository can be read");
            todo.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let parts = path.strip_prefix(root).expect("below the root").components();
            let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
            files.push(File { path: parts.join("/"), text });
        }
    }
}

#[test]
fn the_repository_is_tidy() {
    let mut code = Vec::new();
    ["src", "tests/it", "benches"].iter().for_each(|place| read(place, &mut code));
    let sources = code.iter().filter(|file| file.is_source()).count();
    assert!(sources > 20, "only {sources} source files were found");
    let mut errors = Vec::new();
    let lib = code.iter().find(|file| file.path == "src/lib.rs").expect("there is a library");
    let reexports = reexports(&lib.text);
    for file in &code {
        if file.is_source() {
            check_layers(file, &reexports, &mut errors);
        }
        if file.path.ends_with(".rs") {
            check_code(file, &mut errors);
            check_size(file, &mut errors);
        }
    }
    check_budgets(&code, &mut errors);
    let mut all = code;
    for place in ["README.md", "Cargo.toml", "docs", ".ci", ".cargo", "data"] {
        read(place, &mut all);
    }
    all.iter().for_each(|file| check_words(file, &mut errors));
    errors.sort();
    assert!(errors.is_empty(), "{} untidy places:\n{}", errors.len(), errors.join("\n"));
}

/// What is said about a file with this text.
fn said(path: &str, text: &str) -> String {
    let file = File { path: path.to_string(), text: text.to_string() };
    let mut errors = Vec::new();
    let reexports = reexports("pub use autodiff::{Var, grad};\npub use kernels::Real;");
    check_layers(&file, &reexports, &mut errors);
    check_code(&file, &mut errors);
    check_size(&file, &mut errors);
    check_words(&file, &mut errors);
    check_budgets(&[file], &mut errors);
    errors.join("; ")
}

#[test]
fn tidy_bites() {
    let check = |path: &str, text: &str, expected: &str| {
        let said = said(path, text);
        match expected {
            "" => assert_eq!(said, "", "for {text:?}"),
            _ => assert!(said.contains(expected), "{text:?}: {said:?} lacks {expected:?}"),
        }
    };
    check("src/tensor/x.rs", "//! X.\nuse crate::kernels::gemm;\n", "");
    check("src/tensor/x.rs", "//! X.\nuse crate::autodiff::Op;\n", "may not import autodiff::Op");
    check("src/tensor/x.rs", "//! X.\nuse crate::Var;\n", "may not import Var");
    check("src/tensor/x.rs", "//! X.\nfn f() -> crate::nn::Mlp {}\n", "may not import nn::Mlp");
    check("src/autodiff/x.rs", "//! X.\nuse crate::Real;\nuse crate::kernels::Real;\n", "");
    check("src/autodiff/x.rs", "//! X.\nuse crate::kernels::gemm;\n", "import kernels::gemm");
    let group = "//! X.\nuse crate::{tensor::{Shape, Tensor}, data::Dataset};\n";
    check("src/autodiff/x.rs", group, "may not import data::Dataset");
    check("src/tensor/x.rs", "//! X.\n#[cfg(test)]\nmod t { use crate::rng::Stream; }\n", "");
    check("src/tensor/x.rs", "//! See `crate::autodiff`.\nconst S: &str = \"crate::nn\";\n", "");
    check("src/new/x.rs", "//! X.\n", "has no row");
    check("src/nn/x.rs", "//! X.\nfn f() { unsafe { g() } }\n", "`unsafe` outside");
    check("src/kernels/x.rs", "//! X.\nfn f() { unsafe { g() } }\n", "");
    check("src/nn/x.rs", "//! X.\n// unsafe\n#![deny(unsafe_code)]\n", "");
    check("src/nn/x.rs", "//! X.\nfn f() { println!(\"x\") }\n", "`println!` outside");
    check("src/cli/x.rs", "//! X.\nfn f() { println!(\"x\") }\n", "");
    check("src/nn/x.rs", "//! X.\n#[cfg(test)]\nmod t { fn f() { println!(\"x\") } }\n", "");
    check("src/nn/x.rs", "//! X.\nfn f() { todo!() }\n", "`todo!`");
    check("src/nn/x.rs", "//! X.\nfn f() { dbg!(1) }\n", "`dbg!`");
    check("src/nn/x.rs", "use std::fs;\n", "does not open with");
    check("src/nn/x.rs", &format!("//! {}\n", "x".repeat(97)), "101 columns");
    check("src/nn/x.rs", &format!("//! X.\n{}", "\n".repeat(500)), "501 lines");
    check("src/nn/x.rs", &format!("//! See {}.\n", foreign_words()[0]), "contains");
    let long = format!("//! X.\n{}", "const X: u8 = 0;\n".repeat(301));
    check("src/autodiff/vjp.rs", &long, "301 lines of code, at most 300");
    check("src/ssl/x.rs", &long, "more than 150 lines of code");
    let lines =
        "// Why.\n\n/* a\n b */ /// Doc.\n    #[track_caller]\n    #[inline(never)]\n".repeat(75);
    let free = format!("//! X.\n{lines}");
    check("src/autodiff/pull.rs", &free, "");
}

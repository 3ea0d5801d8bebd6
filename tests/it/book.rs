//! The book: every formula has code, a page and a test; every block of code, link and anchor works.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dimask::explain::{Formula, formulas};

/// A text file of the repository.
struct File {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this ending below some places of the repository.
fn files(places: &[&str], ending: &str) -> Vec<File> {
    let mut todo: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
    let mut found = Vec::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder of the repository can be read");
            todo.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|own| own == ending) {
            let parts = path.strip_prefix(root()).expect("below the root").components();
            let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
            let text = std::fs::read_to_string(&path).expect("a text file can be read");
            found.push(File { path: parts.join("/"), text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The book's pages.
fn pages() -> Vec<File> {
    let found = files(&["docs/book"], "md");
    assert!(found.len() >= 10, "only {} pages", found.len());
    found
}

/// The ids in a line `Formula: a-1.` or `Formulas: a-1, b-2.` after one of the marks of comments.
fn tagged(line: &str, marks: &[&str]) -> Vec<String> {
    let line = line.trim();
    let rest = marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or_default().trim();
    let list = rest.strip_prefix("Formulas:").or_else(|| rest.strip_prefix("Formula:"));
    let list = list.unwrap_or_default().trim().trim_end_matches('.');
    list.split(',').map(str::trim).filter(|id| !id.is_empty()).map(String::from).collect()
}

/// The functions whose documentation carries each id, as `file: function`.
fn in_documents(files: &[File]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for file in files {
        let mut open: Vec<String> = Vec::new();
        for line in file.text.lines() {
            open.extend(tagged(line, &["///"]));
            let code = line.trim();
            if code.starts_with("//") || code.starts_with("#[") {
                continue;
            }
            let function = code.split_once("fn ").map(|(_, rest)| {
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
            });
            for id in std::mem::take(&mut open) {
                let function = function.clone().unwrap_or_default();
                found.entry(id).or_default().push((file.path.clone(), function));
            }
        }
    }
    found
}

/// Where tests carry each id: in a plain comment right above a function that is a test or part of
/// one.
fn in_tests(files: &[File]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let whole = file.path.starts_with("tests/") || file.path.contains("/tests");
        let from = if whole { Some(0) } else { file.text.find("#[cfg(test)]") };
        let lines: Vec<&str> = from.map_or("", |from| &file.text[from..]).lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let below = lines[at + 1..].iter().find(|line| {
                let line = line.trim();
                !line.starts_with("//") && !line.starts_with("#[")
            });
            if below.is_some_and(|line| line.contains("fn ")) {
                let ids = tagged(line, &["// "]);
                ids.into_iter().for_each(|id| found.entry(id).or_default().push(file.path.clone()));
            }
        }
    }
    found
}

/// A text with all its white space as single blanks.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is missing or wrong about one formula.
fn complaints(
    formula: &Formula,
    documents: &BTreeMap<String, Vec<(String, String)>>,
    tests: &BTreeMap<String, Vec<String>>,
    pages: &[File],
) -> Vec<String> {
    let Formula { id, page, file, function, latex, .. } = *formula;
    let mut said = Vec::new();
    let known = documents.get(id).map(Vec::as_slice).unwrap_or_default();
    if known != [(file.to_string(), function.to_string())] {
        said.push(format!("{id}: documented at {known:?}, should be at {function} in {file}"));
    }
    if !tests.contains_key(id) {
        said.push(format!("{id}: no test carries it"));
    }
    let anchor = format!("<a id=\"{id}\"></a>");
    let on: Vec<&str> =
        pages.iter().filter(|p| p.text.contains(&anchor)).map(|p| p.path.as_str()).collect();
    if on != [page] {
        said.push(format!("{id}: its anchor is on {on:?}, should be on {page}"));
    }
    // The formula follows its anchor, as the registry has it.
    let after = pages.iter().find_map(|page| page.text.split_once(&anchor)).unwrap_or_default().1;
    let display = after.split("$$").nth(1).unwrap_or_default();
    if squeezed(display) != squeezed(latex) {
        said.push(format!("{id}: the page has {display:?}, the registry {latex:?}"));
    }
    said
}

#[test]
fn every_formula_has_code_a_page_and_a_test() {
    let sources = files(&["src"], "rs");
    let documents = in_documents(&sources);
    let tests = in_tests(&files(&["src", "tests/it"], "rs"));
    let pages = pages();
    let known: BTreeSet<&str> = formulas().map(|formula| formula.id).collect();
    assert!(known.len() > 50, "{} formulas", known.len());
    let mut said: Vec<String> =
        formulas().flat_map(|formula| complaints(formula, &documents, &tests, &pages)).collect();
    for id in documents.keys().chain(tests.keys()).filter(|id| !known.contains(id.as_str())) {
        said.push(format!("{id} is carried, and no formula"));
    }
    for page in &pages {
        for (_, rest) in
            page.text.match_indices("<a id=\"").map(|(at, m)| page.text.split_at(at + m.len()))
        {
            let id = rest.split('"').next().unwrap_or_default();
            if !known.contains(id) {
                said.push(format!("{}: the anchor {id} is no formula", page.path));
            }
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
}

#[test]
fn a_formula_without_code_test_or_page_is_seen() {
    let formula = formulas().next().expect("there are formulas");
    let nothing = complaints(formula, &BTreeMap::new(), &BTreeMap::new(), &[]);
    assert_eq!(nothing.len(), 4, "{nothing:?}");
    let source = |text: &str| vec![File { path: "src/x.rs".into(), text: text.into() }];
    let found = in_documents(&source("/// X.\n///\n/// Formula: a-1.\n#[inline]\npub fn f() {}\n"));
    assert_eq!(found["a-1"], [("src/x.rs".to_string(), "f".to_string())]);
    let text = "// Formula: a-1.\nfn f() {}\n#[cfg(test)]\nmod t {\n// Formulas: b-1, \
        c-2.\n#[test]\nfn g() {}\n// Formula: d-1.\nlet x = 1;\n}";
    let carried = in_tests(&source(text));
    assert_eq!(carried.keys().collect::<Vec<_>>(), ["b-1", "c-2"]);
    let page = File {
        path: formula.page.into(),
        text: format!("<a id=\"{}\"></a>\n\n$$\nx\n$$\n", formula.id),
    };
    let wrong = complaints(formula, &BTreeMap::new(), &BTreeMap::new(), &[page]);
    assert!(wrong.len() == 3 && wrong[2].contains("the registry"), "{wrong:?}");
}

/// A block of code in Markdown: its language and its lines, fenced or indented.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut fence: Option<(String, String)> = None;
    let mut blank = true;
    for line in text.lines() {
        let open = line.trim_start().strip_prefix("```");
        match (&mut fence, open) {
            (None, Some(language)) => fence = Some((language.to_string(), String::new())),
            (Some(_), Some(_)) => found.extend(fence.take()),
            (Some((_, body)), None) => body.push_str(&format!("{line}\n")),
            (None, None) => {
                if let Some(code) = line.strip_prefix("    ") {
                    match found.last_mut() {
                        Some((language, body)) if language.is_empty() && !blank => {
                            body.push_str(&format!("{code}\n"));
                        }
                        _ if blank => found.push((String::new(), format!("{code}\n"))),
                        _ => {}
                    }
                }
            }
        }
        blank = line.trim().is_empty();
    }
    assert!(fence.is_none(), "a block that does not end");
    found
}

/// The pages that somebody reads from front to back, and the front page.
fn guides() -> Vec<File> {
    pages().into_iter().chain(files(&["README.md"], "md")).collect()
}

#[test]
fn every_block_of_rust_is_run_by_the_documentation_tests() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).expect("the library is there");
    for page in guides() {
        let rust = blocks(&page.text).iter().filter(|(language, _)| language == "rust").count();
        let strange: Vec<String> = blocks(&page.text)
            .into_iter()
            .map(|(language, _)| language)
            .filter(|language| !["rust", "text", "console", ""].contains(&language.as_str()))
            .collect();
        // `rust,ignore` and its like would not run.
        assert!(strange.is_empty(), "{}: blocks of {strange:?}", page.path);
        let included = library.contains(&format!("include_str!(\"../{}\")", page.path));
        assert!(rust == 0 || included, "{}: {rust} blocks that nothing runs", page.path);
    }
}

/// The words of a `dimask` command in a line, if it is one.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.split("  #").next().unwrap_or(line);
    let words: Vec<String> = line.split_whitespace().map(String::from).collect();
    let starts =
        |with: &[&str]| words.len() >= with.len() && words.iter().zip(with).all(|(a, b)| a == b);
    if starts(&["dimask"]) {
        return Some(words);
    }
    let cargo: &[&str] = &["cargo", "run", "--release"];
    if !starts(cargo) || words.iter().any(|word| word == "--example") {
        return None;
    }
    let rest = words.iter().skip(cargo.len()).skip_while(|word| *word != "--").skip(1);
    Some(["dimask".to_string()].into_iter().chain(rest.cloned()).collect())
}

#[cfg(feature = "cli")]
#[test]
fn every_command_is_understood() {
    use clap::Parser;
    use dimask::cli::args::Cli;
    let mut seen = 0;
    for page in guides() {
        for (_, body) in blocks(&page.text).iter().filter(|(language, _)| language != "rust") {
            for words in body.lines().filter_map(command) {
                seen += 1;
                if let Err(e) = Cli::try_parse_from(&words) {
                    panic!("{}: {}: {e}", page.path, words.join(" "));
                }
            }
        }
    }
    assert!(seen >= 15, "only {seen} commands were found");
    // Under each picture stands the command that draws it.
    let mut pictures = 0;
    for page in guides() {
        let lines: Vec<&str> = page.text.lines().filter(|line| !line.is_empty()).collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with("![")) {
            pictures += 1;
            let below = pair[1].trim_start_matches("<sup>`").trim_end_matches("`</sup>");
            let words = command(below).unwrap_or_else(|| panic!("{}: {below}", page.path));
            assert!(Cli::try_parse_from(&words).is_ok(), "{}: {below}", page.path);
            assert!(words.contains(&"--figures".to_string()), "{}: {below}", page.path);
        }
    }
    assert!(pictures >= 10, "only {pictures} pictures were found");
    assert!(Cli::try_parse_from(command("dimask trian").expect("a command")).is_err());
    assert_eq!(command("cargo test --release"), None);
}

/// A figure that changed is drawn again by the command under it.
#[cfg(feature = "cli")]
#[test]
fn the_figures_are_as_they_are_drawn() {
    use dimask::figures::book::{Drawing, drawings};
    let folder = root().join("docs/book/figures");
    let drawn = drawings();
    for Drawing { name, title, svg } in &drawn {
        let text = svg.file(title);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{name}");
        let file = std::fs::read_to_string(folder.join(format!("{name}.svg")));
        assert!(file.is_ok_and(|file| file == text), "{name}.svg is not as it is drawn now");
    }
    let files = std::fs::read_dir(&folder).expect("the figures are there").count();
    assert_eq!(files, drawn.len(), "files without a drawing");
}

/// The targets of the links of a page, with the line each is on.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        inside ^= line.trim_start().starts_with("```");
        if inside || line.starts_with("    ") {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            found.push((number + 1, target.to_string()));
        }
    }
    found
}

/// The anchors of a page: its headings as forges name them, and those that are written out.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
        for (at, mark) in line.match_indices("<a id=\"") {
            found.insert(line[at + mark.len()..].split('"').next().unwrap_or_default().to_string());
        }
    }
    found
}

/// What is wrong with the relative links of a page.
fn broken(page: &File) -> Vec<String> {
    let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
    let mut said = Vec::new();
    for (line, target) in links(&page.text) {
        if target.starts_with("https://") || target.starts_with("http://") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = match path {
            "" => root().join(&page.path),
            path => root().join(folder).join(path),
        };
        if !path.exists() {
            said.push(format!("{}:{line}: no {target}", page.path));
        } else if !anchor.is_empty() {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if !anchors(&text).contains(anchor) {
                said.push(format!("{}:{line}: no anchor {target}", page.path));
            }
        }
    }
    said
}

#[test]
fn every_link_leads_somewhere() {
    let all: Vec<File> = files(&["docs"], "md")
        .into_iter()
        .chain(files(&["README.md", "data/README.md"], "md"))
        .collect();
    let count: usize = all.iter().map(|page| links(&page.text).len()).sum();
    assert!(count > 50, "only {count} links were found");
    let said: Vec<String> = all.iter().flat_map(broken).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
    assert!(anchors("## A b, c\n").contains("a-b-c"));
    let page = |text: &str| File { path: "docs/x.md".into(), text: text.into() };
    assert_eq!(broken(&page("[a](nowhere.md)")).len(), 1);
    assert_eq!(broken(&page("[a](results.md#nothing-of-this-name)")).len(), 1);
    assert!(broken(&page("[a](results.md#results)")).is_empty());
}

/// A page of the book is reached from its front page, and a question's answer from its page.
#[test]
fn every_page_is_in_the_contents() {
    let pages = pages();
    let front = pages.iter().find(|page| page.path == "docs/book/README.md").expect("a front page");
    let linked: BTreeSet<String> =
        links(&front.text).into_iter().map(|(_, target)| target).collect();
    for page in &pages {
        let name = page.path.trim_start_matches("docs/book/");
        assert!(name == "README.md" || linked.contains(name), "{name} is not in the contents");
    }
    let questions =
        pages.iter().find(|page| page.path.ends_with("questions.md")).expect("questions");
    let asked = questions.text.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(asked, 14, "questions");
}

#[allow(dead_code)] // Its `main` prints what the test looks at.
#[path = "../../docs/book/smallest.rs"]
mod smallest;

#[test]
fn the_smallest_metamask_finds_the_confounder() {
    let text = std::fs::read_to_string(root().join("docs/book/smallest.rs")).expect("it is there");
    assert!(text.lines().count() <= 150, "it has {} lines", text.lines().count());
    let found = |texture: f64| [1, 2, 3].map(|seed| smallest::train(texture, seed));
    let (planted, without) = (found(1.0), found(0.0));
    for found in &planted {
        let ([confounded, rest], correlation) = (found.mask, found.correlation);
        assert!(
            confounded < 0.75 * rest,
            "{confounded} on confounded dimensions, {rest} on others"
        );
        assert!(correlation < -0.5, "rank correlation {correlation}");
    }
    // Without a texture to find, the mask knows nothing of the textures that were drawn.
    let least = planted.iter().map(|found| found.correlation).fold(f64::NEG_INFINITY, f64::max);
    for found in &without {
        assert!(found.correlation > least, "{} without a texture", found.correlation);
        assert!(found.mask[0] > 0.75 * found.mask[1], "{:?} without a texture", found.mask);
    }
}

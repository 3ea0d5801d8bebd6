//! What an archive unpacks to, without unpacking it: folders, files and links in memory.
//!
//! Entries are put in their order, as a program that unpacks would: one that comes again under a
//! name takes the place of the first, and a hard link is the file that has its target's name by
//! then. Links are followed once all is there, as in a folder. What leads out of the archive, in
//! circles, or over more than [`MOST_LINKS`] links is listed as lost.

use super::archive::{few, small};
use super::names::{is_hidden, is_leftover, parts, shown};
use super::{DEEPEST, Entry, Fault, Listing};
use crate::data::ArchiveLimits;
use crate::error::{Error, Result};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

/// Links that may lead to each other, as under Linux.
const MOST_LINKS: usize = 40;
/// The longest target of a link, in bytes, as under Linux.
pub(super) const LONGEST_TARGET: usize = 4096;
/// The most bytes of names and links' targets of an archive, and of what links lead to.
const MOST_NAME_BYTES: usize = 256 << 20;
/// Entries that are named when some come again; all are counted.
const NAMED: usize = 5;

/// The folder that everything is in.
const ROOT: usize = 0;

/// Files as an archive leaves them.
pub(super) struct Tree<'a> {
    pub(super) path: &'a Path,
    pub(super) limits: ArchiveLimits,
    nodes: Vec<Node>,
    /// The folder that each node was put in.
    parents: Vec<usize>,
    name_bytes: usize,
    /// Parts of links' targets that may still be looked at.
    steps: Cell<usize>,
    /// The first names that came again, and how many did.
    again: Vec<String>,
    repeated: usize,
    /// What could not be put in its place, by name.
    lost: Vec<(String, Fault)>,
}

/// One name's contents.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Folder(BTreeMap<Vec<u8>, usize>),
    /// Bytes: the place in the archive's own terms, and the length.
    File {
        at: u64,
        len: u64,
    },
    /// A symbolic link, as seen from its folder.
    Link(Vec<u8>),
    /// A hard link to the name of another entry.
    Hard(Vec<u8>),
    /// No file, or one that cannot be read: what was expected, and what is there.
    Lost(&'static str, String),
    /// A folder that is not looked into.
    TooDeep,
}

/// What putting an entry in its place has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    New,
    /// Another entry had the name.
    Again,
}

/// Why a link leads to no file.
enum Stray {
    Nowhere,
    Out,
    TooFar,
}

impl Stray {
    fn found(&self, target: &[u8]) -> String {
        let why = match self {
            Stray::Nowhere => "which is not in the archive",
            Stray::Out => "out of the archive",
            Stray::TooFar => "in a circle or over too many links",
        };
        format!("a link to {}, {why}", shown(target))
    }
}

impl<'a> Tree<'a> {
    /// An empty folder; `path` is the archive's, for errors.
    pub(super) fn new(path: &'a Path, limits: ArchiveLimits) -> Tree<'a> {
        Tree {
            path,
            limits,
            nodes: vec![Node::Folder(BTreeMap::new())],
            parents: vec![ROOT],
            name_bytes: 0,
            steps: Cell::new(limits.files.saturating_mul(64)),
            again: Vec::new(),
            repeated: 0,
            lost: Vec::new(),
        }
    }

    /// Whether an entry of this name can be left out unseen, because nobody could ask for it.
    pub(super) fn is_leftover(name: &[&[u8]]) -> bool {
        name.iter().any(|part| is_leftover(part))
    }

    /// The parts of an entry's name; none for the archive's own folder.
    ///
    /// # Errors
    /// `Format` for a name that leads out of the archive.
    pub(super) fn name<'n>(&self, name: &'n [u8]) -> Result<Vec<&'n [u8]>> {
        parts(name).ok_or_else(|| {
            let expected = "names within the archive";
            Error::format(self.path, "the archive", expected, format!("{:?}", shown(name)))
        })
    }

    /// Puts an entry where unpacking would put it.
    ///
    /// # Errors
    /// `Format` for names that are too long altogether.
    pub(super) fn put(&mut self, name: &[&[u8]], node: Node) -> Result<Put> {
        let target = match &node {
            Node::Link(target) | Node::Hard(target) => target.len(),
            _ => 0,
        };
        self.name_bytes += target + name.iter().map(|part| part.len() + 1).sum::<usize>();
        few_names(self.path, self.name_bytes)?;
        let Some((last, above)) = name.split_last() else { return Ok(Put::New) };
        let mut folder = ROOT;
        for (depth, part) in above.iter().enumerate() {
            folder = match self.enter(folder, part, depth) {
                Some(folder) => folder,
                None => {
                    self.lose(name, "a folder above it", "another entry of the folder's name");
                    return Ok(Put::Again);
                }
            };
            if matches!(self.nodes[folder], Node::TooDeep) {
                return Ok(Put::New);
            }
        }
        Ok(self.place(name, folder, last, node))
    }

    fn lose(&mut self, name: &[&[u8]], expected: &str, found: &str) {
        self.lost.push((join(name), Fault::new(expected, found)));
    }

    /// The folder of this name in `folder`, made if there is nothing; none if there is a file.
    fn enter(&mut self, folder: usize, part: &[u8], depth: usize) -> Option<usize> {
        match self.child(folder, part) {
            // One more than in a folder, for the one that an archive has around the set.
            None if depth > DEEPEST => Some(self.add(folder, part, Node::TooDeep)),
            None => Some(self.add(folder, part, Node::Folder(BTreeMap::new()))),
            Some(at) => match &self.nodes[at] {
                Node::Folder(_) | Node::TooDeep => Some(at),
                Node::Link(target) => {
                    let found = self.follow(self.parents[at], target, &mut 1).ok()?;
                    matches!(self.nodes[found], Node::Folder(_)).then_some(found)
                }
                _ => None,
            },
        }
    }

    /// Puts a node under the last part of its name.
    fn place(&mut self, name: &[&[u8]], folder: usize, last: &[u8], node: Node) -> Put {
        let old = self.child(folder, last);
        let node = match node {
            Node::Hard(target) => match self.linked(&target) {
                // A file that was packed twice is a link to itself.
                Some(at) if Some(at) == old => return Put::New,
                Some(at) if !matches!(self.nodes[at], Node::Folder(_)) => self.nodes[at].clone(),
                _ => Node::Hard(target),
            },
            node => node,
        };
        let Some(old) = old else {
            self.add(folder, last, node);
            return Put::New;
        };
        match (&self.nodes[old], &node) {
            (Node::Folder(_), Node::Folder(_)) => return Put::New,
            (Node::Folder(inside), _) if !inside.is_empty() => {
                self.lose(name, "a file", "a folder that has its name");
                return Put::Again;
            }
            _ => {}
        }
        self.repeated += 1;
        if self.again.len() < NAMED {
            self.again.push(join(name));
        }
        self.add(folder, last, node);
        Put::Again
    }

    /// The entry that a hard link leads to, if it is there.
    fn linked(&self, target: &[u8]) -> Option<usize> {
        let parts = parts(target)?;
        let (last, above) = parts.split_last()?;
        let folder = self.follow(ROOT, &above.join(&b'/'), &mut 0).ok()?;
        self.child(folder, last)
    }

    fn child(&self, folder: usize, name: &[u8]) -> Option<usize> {
        match &self.nodes[folder] {
            Node::Folder(inside) => inside.get(name).copied(),
            _ => None,
        }
    }

    fn add(&mut self, folder: usize, name: &[u8], node: Node) -> usize {
        let at = self.nodes.len();
        self.nodes.push(node);
        self.parents.push(folder);
        if let Node::Folder(inside) = &mut self.nodes[folder] {
            inside.insert(name.to_vec(), at);
        }
        at
    }

    /// The file or folder that a path from `folder` leads to; `links` have led here already.
    fn follow(&self, folder: usize, target: &[u8], links: &mut usize) -> Result<usize, Stray> {
        if target.first() == Some(&b'/') {
            return Err(Stray::Out);
        }
        if *links > MOST_LINKS || target.len() > LONGEST_TARGET {
            return Err(Stray::TooFar);
        }
        let mut at = folder;
        for part in target.split(|byte| *byte == b'/') {
            self.steps.set(self.steps.get().checked_sub(1).ok_or(Stray::TooFar)?);
            match (part, &self.nodes[at]) {
                (b"" | b".", _) => {}
                (b"..", Node::Folder(_)) if at == ROOT => return Err(Stray::Out),
                (b"..", Node::Folder(_)) => at = self.parents[at],
                _ => {
                    at = self.child(at, part).ok_or(Stray::Nowhere)?;
                    if let Node::Link(target) = &self.nodes[at] {
                        *links += 1;
                        at = self.follow(self.parents[at], target, links)?;
                    }
                }
            }
        }
        Ok(at)
    }

    /// All files, those behind links too.
    ///
    /// # Errors
    /// `Format` if links make more of them, or of their names, than the limits allow.
    pub(super) fn list(mut self) -> Result<Listing> {
        let mut listing = Listing::default();
        let (lost, again) = (std::mem::take(&mut self.lost), std::mem::take(&mut self.again));
        let mut walk = Walk { above: vec![ROOT], ..Walk::default() };
        self.visit(ROOT, "", &mut walk, &mut listing)?;
        for (name, fault) in lost {
            listing.entries.entry(name).or_insert(Entry::Lost(fault));
        }
        let many = self.repeated.saturating_sub(again.len());
        listing.notes.extend(
            again.into_iter().map(|name| {
                format!("{name} is in the archive more than once: the last one counts")
            }),
        );
        if many > 0 {
            let all = self.repeated;
            listing.notes.push(format!("so for {many} more names, {all} in all"));
        }
        Ok(listing)
    }

    /// Adds what is in a folder under names that begin with `prefix`.
    fn visit(
        &self,
        folder: usize,
        prefix: &str,
        walk: &mut Walk,
        listing: &mut Listing,
    ) -> Result<()> {
        let Node::Folder(inside) = &self.nodes[folder] else { return Ok(()) };
        for (own, &child) in inside {
            if is_hidden(own) {
                if !is_leftover(own) {
                    listing.hidden.push(format!("{prefix}{}", shown(own)));
                }
                continue;
            }
            let name = format!("{prefix}{}", shown(own));
            // Links can multiply what is there.
            walk.visited += 1;
            walk.name_bytes += name.len();
            let files = self.limits.files.saturating_add(self.nodes.len());
            few(self.path, walk.visited, ArchiveLimits { files, ..self.limits })?;
            few_names(self.path, walk.name_bytes)?;
            let entry = match self.behind(child) {
                Err(found) => Entry::Lost(Fault::new("a file", found)),
                Ok(at) => match &self.nodes[at] {
                    Node::Folder(_) if walk.above.contains(&at) => {
                        let found = "a link to a folder above it";
                        Entry::Closed(Fault::new("no folder that holds itself", found))
                    }
                    Node::Folder(_) if walk.above.len() <= DEEPEST + 1 => {
                        walk.above.push(at);
                        self.visit(at, &format!("{name}/"), walk, listing)?;
                        walk.above.pop();
                        listing.folders.insert(name);
                        continue;
                    }
                    Node::Folder(_) | Node::TooDeep => Entry::Closed(Fault::too_deep()),
                    &Node::File { at, len } => {
                        walk.bytes = walk.bytes.saturating_add(len);
                        small(self.path, walk.bytes, self.limits)?;
                        Entry::Packed { at, len }
                    }
                    Node::Lost(expected, found) => Entry::Lost(Fault::new(*expected, found)),
                    Node::Link(target) | Node::Hard(target) => {
                        Entry::Lost(Fault::new("a file", Stray::TooFar.found(target)))
                    }
                },
            };
            listing.entries.insert(name, entry);
        }
        Ok(())
    }

    /// What a node stands for, if it is a link; or what was found on the way.
    fn behind(&self, node: usize) -> Result<usize, String> {
        match &self.nodes[node] {
            Node::Link(target) => {
                let found = self.follow(self.parents[node], target, &mut 1);
                found.map_err(|stray| stray.found(target))
            }
            // To an entry that came later.
            Node::Hard(target) => match self.linked(target) {
                Some(at) if matches!(self.nodes[at], Node::File { .. }) => Ok(at),
                _ if parts(target).is_none() => Err(Stray::Out.found(target)),
                _ => Err(Stray::Nowhere.found(target)),
            },
            _ => Ok(node),
        }
    }
}

/// How far the list has come.
#[derive(Default)]
struct Walk {
    /// Names so far, and their bytes.
    visited: usize,
    name_bytes: usize,
    /// Bytes of the files so far, each as often as it has names.
    bytes: u64,
    /// The folders on the way here and this one.
    above: Vec<usize>,
}

fn join(name: &[&[u8]]) -> String {
    let parts: Vec<String> = name.iter().map(|part| shown(part)).collect();
    parts.join("/")
}

/// Refuses an archive of more bytes of names than may be.
fn few_names(path: &Path, bytes: usize) -> Result<()> {
    if bytes <= MOST_NAME_BYTES {
        return Ok(());
    }
    let expected = format!("an archive of at most {MOST_NAME_BYTES} bytes of names");
    Err(Error::format(path, "the archive", expected, "more"))
}

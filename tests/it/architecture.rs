//! ARCHITECTURE.md's rules about who may use whom, held against the source: the tables there are what is checked here.
//!
//! A room is a module of the crate's root with everything below it. Code that only tests use may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A source file, without comments and tests.
struct Source {
    /// Below `src/`.
    file: String,
    /// Its module's path: `["http", "body"]`.
    module: Vec<String>,
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(ROOT).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.extend(source(&root, &path));
            }
        }
    }
    assert!(sources.len() > 50, "only {} files", sources.len());
    sources
}

/// `None` for files of tests.
fn source(root: &Path, path: &Path) -> Option<Source> {
    let below: PathBuf = path.strip_prefix(root).unwrap().with_extension("");
    let module: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.iter().any(|part| part == "tests" || part == "testing") {
        return None;
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text.as_str(), |(code, _)| code);
    let code = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>();
    let file = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let module = if module == ["lib"] { Vec::new() } else { module };
    Some(Source { file, module, code: code.join("\n") })
}

/// The rows of the table under this heading of ARCHITECTURE.md: what is in backticks, cell by cell.
fn table(heading: &str) -> Vec<Vec<Vec<String>>> {
    let page = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(words).collect()).collect()
}

/// Which rooms each room may use.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let rows = table("Arrows");
    assert!(rows.len() > 10 && rows.iter().all(|row| row.len() == 2), "{rows:?}");
    let row = |row: Vec<Vec<String>>| {
        row[0].iter().map(|room| (room.clone(), row[1].iter().cloned().collect())).collect::<Vec<_>>()
    };
    rows.into_iter().flat_map(row).collect()
}

/// Every path that begins with `from::` in `code`, groups taken apart.
fn paths(code: &str, from: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let begins = format!("{from}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&begins) {
        if !code[..at].ends_with(|c| is_name(c) || c == ':') {
            expand(&code[at + begins.len()..], &[], &mut found);
        }
    }
    found
}

/// The paths at the beginning of `text`, each after `before`; returns what is left.
fn expand<'a>(text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, before, found).trim_start();
            match rest.strip_prefix(',').map(str::trim_start) {
                Some(next) if !next.starts_with('}') => rest = next,
                Some(next) => return next.strip_prefix('}').unwrap_or(next),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = before.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(rest, &path, found);
    }
    found.push(path);
    // `as NAME`
    let trimmed = rest.trim_start();
    trimmed.strip_prefix("as ").map_or(rest, |alias| {
        let alias = alias.trim_start();
        &alias[alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len())..]
    })
}

#[test]
fn rooms_use_only_what_the_table_of_arrows_allows() {
    let arrows = arrows();
    let mut found = BTreeSet::new();
    for source in sources() {
        if source.room() == "lib" {
            continue;
        }
        let allowed =
            arrows.get(source.room()).unwrap_or_else(|| panic!("{} has no row in ARCHITECTURE.md", source.room()));
        let used = ["crate", "mcp_echo_stateful"].iter().flat_map(|from| paths(&source.code, from));
        for room in used.filter_map(|path| path.first().cloned()) {
            // The root has nothing but rooms: another name is a macro's.
            if room != source.room() && arrows.contains_key(&room) && !allowed.contains(&room) {
                found.insert((source.file.clone(), room));
            }
        }
    }
    assert!(found.is_empty(), "against ARCHITECTURE.md: {found:#?}");
}

#[test]
fn arrows_point_one_way() {
    let arrows = arrows();
    let edges = |room: &String| arrows.get(room).into_iter().flatten().cloned().collect::<Vec<_>>();
    assert_eq!(circles(arrows.keys().cloned(), edges), BTreeSet::new());
    let unknown: Vec<_> = arrows.values().flatten().filter(|room| !arrows.contains_key(*room)).collect();
    assert!(unknown.is_empty(), "rooms without a row: {unknown:?}");
}

#[test]
fn what_is_kept_to_some_rooms_is_known_nowhere_else() {
    let sources = sources();
    let mut found = BTreeSet::new();
    let rows = table("Kept to some rooms");
    assert!(!rows.is_empty());
    for row in rows {
        let [names, rooms] = &row[..] else { panic!("{row:?}") };
        for source in sources.iter().filter(|source| !rooms.iter().any(|room| room == source.room())) {
            let words: BTreeSet<_> = source.code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let known = names.iter().filter(|name| words.contains(name.as_str()));
            found.extend(known.map(|name| (source.file.clone(), name.clone())));
        }
    }
    assert!(found.is_empty(), "against ARCHITECTURE.md: {found:#?}");
}

#[test]
fn files_of_a_room_do_not_use_each_other_in_circles() {
    let sources = sources();
    let modules: BTreeMap<&[String], &Source> = sources.iter().map(|source| (&source.module[..], source)).collect();
    // The file that a path leads to.
    let file_of = |path: &[String]| (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied());
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let mut used = paths(&source.code, "crate");
        let mut above = source.module.clone();
        let mut prefix = String::from("super");
        while above.pop().is_some() && !above.is_empty() {
            used.extend(paths(&source.code, &prefix).into_iter().map(|path| [&above[..], &path[..]].concat()));
            prefix += "::super";
        }
        let is_other = |other: &&Source| {
            // What is below a file is a part of it: its files use what it declares.
            other.room() == source.room()
                && !source.module.starts_with(&other.module)
                && !other.module.starts_with(&source.module)
        };
        let others = used.iter().filter_map(|path| file_of(path)).filter(is_other).map(|other| other.file.clone());
        edges.insert(source.file.clone(), others.collect());
    }
    let found = circles(edges.keys().cloned(), |file| edges[file].iter().cloned().collect());
    assert!(found.is_empty(), "against ARCHITECTURE.md: {found:#?}");
}

/// Those that can be reached from each other, each circle in order.
fn circles(all: impl Iterator<Item = String>, edges: impl Fn(&String) -> Vec<String>) -> BTreeSet<Vec<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut next = edges(from);
        while let Some(node) = next.pop() {
            if reached.insert(node.clone()) {
                next.extend(edges(&node));
            }
        }
        reached
    };
    let reached: BTreeMap<String, BTreeSet<String>> = all.map(|node| (node.clone(), reached(&node))).collect();
    let circle = |node: &String| {
        let mutual = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(node));
        reached[node].iter().filter(mutual).cloned().collect::<Vec<_>>()
    };
    reached.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn paths_are_read_with_their_groups() {
    let code = "use crate::a::{self, b::{C, D as E}, f};\nlet x = crate::g::h(super::i::j);\nnot_crate::k";
    let read = |from| paths(code, from).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(read("crate"), ["a", "a::b::C", "a::b::D", "a::f", "g::h"]);
    assert_eq!(read("super"), ["i::j"]);
}

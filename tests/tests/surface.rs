//! The two runtimes offer the same: whoever changes from one to the other changes a crate's name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The handles are one and the same type, so their methods cannot differ.
#[test]
fn handles_are_the_same_types() {
    fn same<T>(_: fn(T) -> T) {}
    same::<anabranch_smol::Client>(|client: anabranch_tokio::Client| client);
    same::<anabranch_smol::Torrent>(|torrent: anabranch_tokio::Torrent| torrent);
    same::<anabranch_smol::Notices>(|notices: anabranch_tokio::Notices| notices);
    same::<anabranch_smol::AddOptions>(|options: anabranch_tokio::AddOptions| options);
    same::<anabranch_smol::Error>(|error: anabranch_tokio::Error| error);
}

#[test]
fn what_is_public_differs_by_the_name_of_the_runtime_alone() {
    let smol = surface("runtime-smol", "Smol");
    let tokio = surface("runtime-tokio", "Tokio");
    assert!(
        smol.iter()
            .any(|item| item.starts_with("pub type ClientBuilder"))
            && smol.iter().any(|item| item.contains("Torrent")),
        "the sources have changed beyond recognition: {smol:#?}"
    );
    let only = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| -> Vec<String> {
        ours.difference(theirs).cloned().collect()
    };
    assert_eq!(only(&smol, &tokio), [""; 0], "only on smol");
    assert_eq!(only(&tokio, &smol), [""; 0], "only on tokio");
}

/// What an adapter's sources declare as public, with the runtime's name taken out.
fn surface(folder: &str, name: &str) -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let mut items = BTreeSet::new();
    for file in fs::read_dir(sources.join("src")).expect("the adapter's sources") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a source file");
        let mut rest = text.as_str();
        while let Some(at) = rest.find("pub ") {
            let starts_a_line = rest[..at]
                .rsplit('\n')
                .next()
                .is_some_and(|before| before.trim().is_empty());
            rest = &rest[at..];
            let item = declaration(rest);
            if starts_a_line {
                let words: Vec<&str> = item.split_whitespace().collect();
                items.insert(words.join(" ").replace(name, "_"));
            }
            rest = &rest[item.len()..];
        }
    }
    items
}

/// A declaration without what is behind it: a body, a value, the fields of a type.
fn declaration(text: &str) -> &str {
    let ends: &[char] = if text.starts_with("pub use") || text.starts_with("pub type") {
        &[';']
    } else if text.starts_with("pub struct") || text.starts_with("pub enum") {
        &['(', '{', ';']
    } else {
        &['{', ';']
    };
    &text[..text.find(ends).unwrap_or(text.len())]
}

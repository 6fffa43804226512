//! The two runtimes offer the same: whoever changes from one to the other changes a crate's name.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

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

/// Everything that a crate offers may be taken at once, and hides nothing of the language's.
#[test]
fn a_glob_import_leaves_the_language_its_own_names() {
    mod everything {
        #![allow(unused_imports, reason = "that it compiles is the test")]
        use anabranch_smol::*;

        pub(super) fn size() -> usize {
            core::mem::size_of::<u8>() + std::mem::size_of::<Result<u8, ()>>()
        }
    }
    assert_eq!(everything::size(), 3);
}

#[test]
fn what_is_public_differs_by_the_name_of_the_runtime_alone() {
    let folder = documented();
    let smol = surface(&folder, "smol", "Smol");
    let tokio = surface(&folder, "tokio", "Tokio");
    for expected in [
        "type ClientBuilder",
        "use anabranch_driver::Torrent",
        "impl Send for _Stream",
        "impl Runtime for _: type Udp",
        "fn _::with_authorities",
    ] {
        assert!(
            smol.iter().any(|item| item.starts_with(expected)),
            "{expected} is not there: the format is another, or the crate is: {smol:#?}"
        );
    }
    let only = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| -> Vec<String> {
        ours.difference(theirs).cloned().collect()
    };
    assert_eq!(only(&smol, &tokio), [""; 0], "only on smol");
    assert_eq!(only(&tokio, &smol), [""; 0], "only on tokio");
}

/// Has both crates described by rustdoc, in a target directory of its own, so that no other cargo waits for it.
fn documented() -> std::path::PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("surface");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["doc", "--locked", "--lib", "--no-deps", "--target-dir"])
        .arg(&target)
        .args([
            "--package",
            "anabranch-smol",
            "--package",
            "anabranch-tokio",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        // The description is not stable yet; these two crates may have it all the same, and no other notices.
        .env("RUSTC_BOOTSTRAP", "anabranch_smol,anabranch_tokio")
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .env_remove("CARGO_ENCODED_RUSTDOCFLAGS")
        .output()
        .expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    target.join("doc")
}

/// What a crate offers, an item a line, with the runtime's name taken out.
fn surface(folder: &Path, runtime: &str, name: &str) -> BTreeSet<String> {
    let file = folder.join(format!("anabranch_{runtime}.json"));
    let text = std::fs::read_to_string(file).expect("what rustdoc wrote");
    let krate: Value = serde_json::from_str(&text).expect("JSON");
    let items = Items(&krate["index"]);
    let mut lines = Vec::new();
    items.module(&krate["root"], "", &mut lines);
    let unnamed = |line: String| line.replace(name, "_").replace(runtime, "_");
    lines.into_iter().map(unnamed).collect()
}

struct Items<'a>(&'a Value);

impl<'a> Items<'a> {
    fn get(&self, id: &Value) -> Option<&'a Value> {
        self.0.get(id.to_string())
    }

    fn module(&self, id: &Value, path: &str, lines: &mut Vec<String>) {
        let module = self.get(id).expect("a module");
        for id in array(&module["inner"]["module"]["items"]) {
            let Some(item) = self.get(id) else { continue };
            let name = format!("{path}{}", item["name"].as_str().unwrap_or_default());
            let (kind, inner) = kind(item);
            match kind {
                "module" => self.module(id, &format!("{name}::"), lines),
                "use" => lines.push(format!(
                    "use {} as {path}{}, glob: {}",
                    text(&inner["source"]),
                    text(&inner["name"]),
                    inner["is_glob"]
                )),
                "struct" | "enum" | "union" => {
                    lines.push(format!("{kind} {name} {}", canonical(&inner["generics"])));
                    for id in array(&inner["variants"]).iter().chain(fields(inner)) {
                        if let Some(part) = self.get(id) {
                            let of = canonical(&part["inner"]);
                            lines.push(format!("in {name}: {} {of}", text(&part["name"])));
                        }
                    }
                    for id in array(&inner["impls"]) {
                        self.implementation(id, &name, lines);
                    }
                }
                _ => lines.push(format!("{kind} {name} {}", canonical(inner))),
            }
        }
    }

    fn implementation(&self, id: &Value, name: &str, lines: &mut Vec<String>) {
        let Some(item) = self.get(id) else { return };
        let inner = &item["inner"]["impl"];
        let of = inner["trait"]["path"].as_str();
        let automatic = inner["is_synthetic"] == true;
        // What every type has, and what says how it is made and not what it can do.
        if !inner["blanket_impl"].is_null()
            || automatic && !matches!(of, Some("Send" | "Sync" | "Unpin"))
        {
            return;
        }
        if let Some(of) = of {
            let not = if inner["is_negative"] == true {
                "!"
            } else {
                ""
            };
            lines.push(format!("impl {not}{of} for {name}"));
        }
        for id in array(&inner["items"]) {
            let Some(part) = self.get(id) else { continue };
            let (kind, inner) = kind(part);
            let what = text(&part["name"]);
            match (of, kind) {
                // The trait says the rest.
                (Some(of), "assoc_type") => {
                    let is = canonical(&inner["type"]);
                    lines.push(format!("impl {of} for {name}: type {what} {is}"));
                }
                (Some(_), _) => {}
                (None, "function") => {
                    lines.push(format!("fn {name}::{what} {}", canonical(inner)));
                }
                (None, _) => lines.push(format!("{kind} {name}::{what} {}", canonical(inner))),
            }
        }
    }
}

fn kind(item: &Value) -> (&str, &Value) {
    let inner = item["inner"].as_object().expect("what it is");
    let (kind, inner) = inner.iter().next().expect("what it is");
    (kind, inner)
}

/// The fields of a struct that are public; others have no entry.
fn fields(inner: &Value) -> impl Iterator<Item = &Value> {
    let plain = array(&inner["kind"]["plain"]["fields"]);
    plain.iter().chain(array(&inner["kind"]["tuple"]))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A description without the numbers that differ from crate to crate.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "id" | "impls" | "span" | "docs"))
                .map(|(key, value)| format!("{key}: {}", canonical(value)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

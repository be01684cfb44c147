//! Whether a cached build is fresh, as recorded next to each artifact in the cache folder.
//!
//! Cargo's own freshness check cannot be used across the three builds, which share one file name, and starting cargo
//! three times takes seconds. The record has the hashes of all source files that rustc read, of the manifests and of
//! the build's schema.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::write::write_atomically;
use super::{Build, BuildError, SCHEMAS, Workspace};

/// Version of the steps after the compiler: increased when their output changes. A record with another version is
/// stale.
const FORMAT: u32 = 3;

/// Files that affect the output although they are not in rustc's list.
const MANIFESTS: [&str; 4] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "crates/ic-stable-migrate/Cargo.toml"];

/// The record of a compilation, by which [`find_fresh`] decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildRecord {
    format: u32,
    recipe: Vec<String>,
    inputs: Vec<Input>,
    /// Size of the finished wasm, unpacked, in bytes.
    pub wasm_bytes: u64,
    /// SHA-256 of the gzipped wasm, in hex.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    path: PathBuf,
    /// In hex; absent if the file did not exist. A build is stale once such a file appears.
    sha256: Option<String>,
}

/// Returns the cached record of `build`, if all its inputs are unchanged and its files are intact.
pub(crate) fn find_fresh(
    build: Build,
    workspace: &Workspace,
    cache: &Path,
    recipe: &[String],
) -> Option<BuildRecord> {
    let text = std::fs::read_to_string(record_path(cache, build)).ok()?;
    let record: BuildRecord = serde_json::from_str(&text).ok()?;
    let is_unchanged = |input: &Input| hash_file(&workspace.root.join(&input.path)) == input.sha256;
    let is_usable = record.format == FORMAT
        && record.recipe == recipe
        && record.inputs.iter().all(is_unchanged)
        && hash_file(&cache.join(format!("{build}.wasm.gz"))).as_ref() == Some(&record.sha256)
        && cache.join(format!("{build}.did")).is_file();
    is_usable.then_some(record)
}

/// What [`write_record`] needs to know about a compilation that has succeeded.
pub(crate) struct Compilation<'c> {
    pub recipe: Vec<String>,
    /// Rustc's list of source files.
    pub dep_info: &'c Path,
    /// The moment before the compiler started.
    pub began: SystemTime,
    /// The finished wasm.
    pub wasm: &'c [u8],
    pub gz: &'c [u8],
}

/// Records the inputs of `build`. If an input was written after the compilation began, the compiler may have read an
/// older version of the file. In this case, no record is stored and an older one is removed, so the next call builds
/// again; the record is returned nevertheless.
pub(crate) fn write_record(
    build: Build,
    workspace: &Workspace,
    cache: &Path,
    compilation: Compilation<'_>,
) -> Result<BuildRecord, BuildError> {
    let Compilation { recipe, dep_info, began, wasm, gz } = compilation;
    let text = std::fs::read_to_string(dep_info).map_err(BuildError::io("read", dep_info))?;
    let mut paths: Vec<PathBuf> = parse_dep_info(&text)
        .into_iter()
        .map(|path| match path.strip_prefix(&workspace.root) {
            Ok(inside) => inside.to_path_buf(),
            Err(_) => path,
        })
        .collect();
    paths.extend(MANIFESTS.map(PathBuf::from));
    paths.push(Path::new(SCHEMAS).join(build.schema_file()));
    paths.sort();
    paths.dedup();
    let are_unchanged = paths.iter().all(|path| {
        std::fs::metadata(workspace.root.join(path))
            .and_then(|meta| meta.modified())
            .map_or(true, |modified| modified < began)
    });
    let record = BuildRecord {
        format: FORMAT,
        recipe,
        inputs: paths
            .into_iter()
            .map(|path| Input { sha256: hash_file(&workspace.root.join(&path)), path })
            .collect(),
        wasm_bytes: wasm.len() as u64,
        sha256: hex::encode(Sha256::digest(gz)),
    };
    let path = record_path(cache, build);
    if are_unchanged {
        let json = serde_json::to_vec_pretty(&record).map_err(|error| BuildError::Answer {
            command: format!("write {}", path.display()),
            detail: error.to_string(),
        })?;
        write_atomically(&path, &json)?;
    } else if path.exists() {
        std::fs::remove_file(&path).map_err(BuildError::io("remove", &path))?;
    }
    Ok(record)
}

fn record_path(cache: &Path, build: Build) -> PathBuf {
    cache.join(format!("{build}.json"))
}

fn hash_file(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(hex::encode(Sha256::digest(bytes)))
}

/// Parses the file names of a dep-info file: `output: source source …`, with blanks in names escaped by a
/// backslash.
fn parse_dep_info(dep_info: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in dep_info.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, list)) = line.split_once(": ") else {
            continue;
        };
        let mut name = String::new();
        let mut chars = list.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => name.extend(chars.next()),
                ' ' if !name.is_empty() => paths.push(PathBuf::from(std::mem::take(&mut name))),
                ' ' => {}
                c => name.push(c),
            }
        }
        if !name.is_empty() {
            paths.push(PathBuf::from(name));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        _dir: tempfile::TempDir,
        workspace: Workspace,
        cache: PathBuf,
        recipe: Vec<String>,
    }

    fn tree() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        let cache = root.join("cache");
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::create_dir_all(&cache).unwrap();
        for (path, text) in [("src/lib.rs", "pub fn a() {}"), ("Cargo.toml", "[package]"), ("Cargo.lock", "")]
        {
            std::fs::write(root.join(path), text).unwrap();
        }
        let dep_info = root.join("lib.d");
        std::fs::write(&dep_info, format!("out.wasm: {}/src/lib.rs\n", root.display())).unwrap();
        std::fs::write(cache.join("legacy.wasm.gz"), b"gz").unwrap();
        std::fs::write(cache.join("legacy.did"), b"service : {}").unwrap();
        let workspace = Workspace { target_dir: root.join("target"), root, rust_version: (1, 95) };
        let recipe = vec!["rustc 1.95.0".to_owned(), "--features".to_owned()];
        // In the future, so that the files above count as older than the compilation.
        let began = SystemTime::now() + std::time::Duration::from_secs(5);
        write_record(Build::Legacy, &workspace, &cache, compilation(&recipe, &dep_info, began)).unwrap();
        Tree { _dir: dir, workspace, cache, recipe }
    }

    fn compilation<'c>(recipe: &[String], dep_info: &'c Path, began: SystemTime) -> Compilation<'c> {
        Compilation { recipe: recipe.to_vec(), dep_info, began, wasm: b"wasm", gz: b"gz" }
    }

    fn is_fresh(tree: &Tree) -> bool {
        find_fresh(Build::Legacy, &tree.workspace, &tree.cache, &tree.recipe).is_some()
    }

    #[test]
    fn an_untouched_build_is_fresh() {
        assert!(is_fresh(&tree()));
    }

    #[test]
    fn each_kind_of_change_makes_a_build_stale() {
        type Change = fn(&mut Tree);
        let changes: [(&str, Change); 6] = [
            ("source", |t| std::fs::write(t.workspace.root.join("src/lib.rs"), "pub fn b() {}").unwrap()),
            ("source removed", |t| std::fs::remove_file(t.workspace.root.join("src/lib.rs")).unwrap()),
            ("lock file", |t| std::fs::write(t.workspace.root.join("Cargo.lock"), "[[package]]").unwrap()),
            ("config appears", |t| {
                std::fs::create_dir(t.workspace.root.join(".cargo")).unwrap();
                std::fs::write(t.workspace.root.join(".cargo/config.toml"), "").unwrap();
            }),
            ("recipe", |t| t.recipe[0] = "rustc 1.96.0".into()),
            ("damaged artefact", |t| std::fs::write(t.cache.join("legacy.wasm.gz"), b"g").unwrap()),
        ];
        for (name, change) in changes {
            let mut tree = tree();
            change(&mut tree);
            assert!(!is_fresh(&tree), "the build is still fresh after the change: {name}");
        }
    }

    #[test]
    fn a_source_written_during_the_compilation_leaves_no_record() {
        let tree = tree();
        let dep_info = tree.workspace.root.join("lib.d");
        let long_ago = SystemTime::UNIX_EPOCH;
        let compilation = compilation(&tree.recipe, &dep_info, long_ago);
        write_record(Build::Legacy, &tree.workspace, &tree.cache, compilation).unwrap();
        assert!(!is_fresh(&tree));
    }

    #[test]
    fn dep_info_names_may_hold_blanks() {
        let text = "/t/out.wasm: /a/b.rs /a/with\\ blank.rs\n\n# env-dep:X=1\n";
        assert_eq!(parse_dep_info(text), [PathBuf::from("/a/b.rs"), PathBuf::from("/a/with blank.rs")]);
    }
}

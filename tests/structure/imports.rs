//! Determines which files a file of a crate imports, and checks that no file imports itself through others.
//!
//! A re-export counts as no import; a use of a re-exported name counts as an import of the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, File, ImplItem, Item, ItemMod, Meta, UseTree, Visibility};

use super::tree;

/// Maximum number of steps in which a name is followed through re-exports.
const MAX_STEPS: usize = 8;

/// A module's path in its crate.
type ModulePath = Vec<String>;

/// A module, without its tests. `defines` has the names of its items, except those that a macro defines.
#[derive(Default)]
struct Module {
    /// The module whose file contains this one: the module itself, or an outer one if this module is inline.
    file: ModulePath,
    /// Names in scope: those that the module imports or re-exports, and its child modules.
    scope: BTreeMap<String, ModulePath>,
    /// Modules from which this module imports or re-exports every name, by `use …::*`.
    globs: Vec<ModulePath>,
    defines: BTreeSet<String>,
    /// Paths that the code of this module names.
    paths: Vec<ModulePath>,
}

/// The modules of a crate.
#[derive(Default)]
struct Modules(BTreeMap<ModulePath, Module>);

fn child_path(parent: &[String], name: &str) -> ModulePath {
    [parent, &[name.to_owned()]].concat()
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        // `not(test)` is not for tests.
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test") || condition.starts_with("all(test")
        }
        _ => false,
    })
}

/// Returns the items of each branch of a `cfg_if!`.
fn items_of_branches(tokens: TokenStream) -> Vec<Item> {
    let groups = tokens.into_iter().filter_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    });
    groups.flat_map(|items| syn::parse2::<File>(items).expect("a branch has items").items).collect()
}

/// Adds every path in `tokens` to `found`, including paths in the groups of a `use` and in the arguments of macros.
/// `prefix` is the path before the group of a `use` in which the tokens are; elsewhere it is empty.
fn find_paths(tokens: TokenStream, prefix: &[String], found: &mut Vec<ModulePath>) {
    let mut path = prefix.to_vec();
    // Number of colons directly before the token: after two, it continues the path.
    let mut colons = if prefix.is_empty() { 0 } else { 2 };
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    found.push(std::mem::take(&mut path));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) if colons == 2 => {
                find_paths(group.stream(), &path, found);
                (path, colons) = (ModulePath::new(), 0);
            }
            TokenTree::Group(group) => {
                found.push(std::mem::take(&mut path));
                colons = 0;
                find_paths(group.stream(), &[], found);
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' && !prefix.is_empty() => {
                found.push(std::mem::replace(&mut path, prefix.to_vec()));
                colons = 2;
            }
            _ => {
                found.push(std::mem::take(&mut path));
                colons = 0;
            }
        }
    }
    found.push(path);
}

impl Modules {
    fn of_crate(folder: &str) -> Self {
        let mut modules = Self::default();
        let root = tree::root().join(folder).join("src");
        modules.read_file(ModulePath::new(), &root.join("lib.rs"), &root);
        modules
    }

    /// Reads the file of a module; the files of its child modules are in `folder`.
    fn read_file(&mut self, name: ModulePath, path: &Path, folder: &Path) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.0.insert(name.clone(), Module { file: name.clone(), ..Module::default() });
        self.read(&name, file.items, path.parent().unwrap(), folder);
    }

    /// Reads the items of a module. Its file is in `file_folder`, and the files of its child modules are in `folder`.
    fn read(&mut self, name: &ModulePath, items: Vec<Item>, file_folder: &Path, folder: &Path) {
        for item in items {
            match item {
                Item::Mod(module) => self.read_module(name, module, file_folder, folder),
                Item::Use(import) if !is_for_tests(&import.attrs) => {
                    self.read_use(name, &import.tree, !matches!(import.vis, Visibility::Inherited), &[]);
                }
                Item::Macro(call) if call.mac.path.segments.last().unwrap().ident == "cfg_if" => {
                    self.read(name, items_of_branches(call.mac.tokens), file_folder, folder);
                }
                item => self.read_code(name, item),
            }
        }
    }

    fn read_module(&mut self, parent: &ModulePath, module: ItemMod, file_folder: &Path, folder: &Path) {
        if is_for_tests(&module.attrs) {
            return;
        }
        let ident = module.ident.to_string();
        let name = child_path(parent, &ident);
        self.0.get_mut(parent).unwrap().scope.insert(ident.clone(), name.clone());
        if let Some((_, items)) = module.content {
            let file = self.0[parent].file.clone();
            self.0.insert(name.clone(), Module { file, ..Module::default() });
            return self.read(&name, items, file_folder, &folder.join(&ident));
        }
        let below = folder.join(&ident);
        let usual_path = below.with_extension("rs");
        let (path, folder) = match given_path(&module.attrs) {
            // A build without some feature may have another file; with all features, it is the usual one.
            _ if usual_path.exists() => (usual_path, below),
            Some(given) => {
                (file_folder.join(&given), file_folder.join(&given).parent().unwrap().to_path_buf())
            }
            None => (below.join("mod.rs"), below),
        };
        self.read_file(name, &path, &folder);
    }

    fn read_use(&mut self, name: &ModulePath, tree: &UseTree, is_reexport: bool, prefix: &[String]) {
        let add = |part: &syn::Ident| child_path(prefix, &part.to_string());
        match tree {
            UseTree::Path(path) => self.read_use(name, &path.tree, is_reexport, &add(&path.ident)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(name, tree, is_reexport, prefix);
                }
            }
            UseTree::Glob(_) => self.0.get_mut(name).unwrap().globs.push(prefix.to_vec()),
            UseTree::Name(_) | UseTree::Rename(_) => {
                let (last, known_as) = match tree {
                    UseTree::Name(last) => (&last.ident, &last.ident),
                    UseTree::Rename(last) => (&last.ident, &last.rename),
                    _ => unreachable!(),
                };
                let path = if last == "self" { prefix.to_vec() } else { add(last) };
                let known_as =
                    if last == known_as { path.last().unwrap().clone() } else { known_as.to_string() };
                let module = self.0.get_mut(name).unwrap();
                if !is_reexport {
                    module.paths.push(path.clone());
                }
                module.scope.insert(known_as, path);
            }
        }
    }

    fn read_code(&mut self, name: &ModulePath, mut item: Item) {
        if let Item::Impl(item) = &mut item {
            item.items
                .retain(|item| !matches!(item, ImplItem::Fn(function) if is_for_tests(&function.attrs)));
        }
        if is_for_tests(attributes_of(&item)) {
            return;
        }
        let module = self.0.get_mut(name).unwrap();
        module.defines.extend(defined_names(&item));
        find_paths(item.to_token_stream(), &[], &mut module.paths);
    }

    /// Returns the module that defines the item that a path in `module` refers to. Returns `None` if the item is in
    /// another crate, or is itself a module: only the names that are used from a module count. `depth` bounds
    /// the steps through re-exports of re-exports.
    fn defining_module(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.defining_below(ModulePath::new(), rest, depth),
            "self" => self.defining_below(module.clone(), rest, depth),
            "super" => self.defining_below(module.split_last()?.1.to_vec(), rest, depth),
            name => match self.0[module].scope.get(name) {
                Some(meaning) if *meaning == child_path(module, name) => {
                    self.defining_below(meaning.clone(), rest, depth)
                }
                // The path names a crate.
                Some(meaning) if meaning.first() == Some(first) => None,
                Some(meaning) => self.defining_module(module, &[meaning, rest].concat(), depth),
                None => self.defining_through_glob(module, name, depth),
            },
        }
    }

    /// Returns the module that defines the item that a path relative to the module `at` refers to.
    fn defining_below(&self, at: ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        if first == "super" {
            return self.defining_below(at.split_last()?.1.to_vec(), rest, depth);
        }
        match self.0[&at].scope.get(first) {
            Some(meaning) if *meaning == child_path(&at, first) => {
                self.defining_below(meaning.clone(), rest, depth)
            }
            Some(_) => self.defining_module(&at, path, depth),
            None if self.0[&at].defines.contains(first) => Some(at),
            // Otherwise a macro defines the item.
            None => self.defining_through_glob(&at, first, depth).or(Some(at)),
        }
    }

    /// Returns the module that defines a name that a module has from `use …::*`.
    fn defining_through_glob(&self, module: &ModulePath, name: &str, depth: usize) -> Option<ModulePath> {
        self.0[module].globs.iter().find_map(|glob| {
            // The module of the glob is found by resolving an empty name in it, as if a macro defined that name.
            let at = self.defining_module(module, &child_path(glob, ""), depth)?;
            let found = &self.0[&at];
            if found.scope.contains_key(name) {
                self.defining_module(&at, &[name.to_owned()], depth)
            } else if found.defines.contains(name) {
                Some(at)
            } else {
                self.defining_through_glob(&at, name, depth.checked_sub(1)?)
            }
        })
    }

    /// Returns the files that each file imports, by the names of their modules.
    fn imports(&self) -> BTreeMap<&ModulePath, BTreeSet<&ModulePath>> {
        let mut imports = BTreeMap::<_, BTreeSet<_>>::new();
        for (name, module) in &self.0 {
            let found = module.paths.iter().filter_map(|path| self.defining_module(name, path, MAX_STEPS));
            let files = found.map(|found| &self.0[&found].file).filter(|file| **file != module.file);
            imports.entry(&module.file).or_default().extend(files);
        }
        imports
    }
}

/// Returns the path that an attribute gives for a module's file; `None` if the file has its usual path.
fn given_path(attributes: &[Attribute]) -> Option<PathBuf> {
    attributes.iter().find_map(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        let given = text.split("path = \"").nth(1)?.split('"').next()?;
        Some(PathBuf::from(given))
    })
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

fn defined_names(item: &Item) -> Vec<String> {
    match item {
        Item::Const(item) => vec![item.ident.to_string()],
        Item::Enum(item) => vec![item.ident.to_string()],
        Item::Fn(item) => vec![item.sig.ident.to_string()],
        Item::Macro(item) => item.ident.iter().map(ToString::to_string).collect(),
        Item::Static(item) => vec![item.ident.to_string()],
        Item::Struct(item) => vec![item.ident.to_string()],
        Item::Trait(item) => vec![item.ident.to_string()],
        Item::Type(item) => vec![item.ident.to_string()],
        _ => Vec::new(),
    }
}

/// Returns the files that import themselves through others, and those on a path between two such files, with their
/// imports.
fn in_cycles<'m>(
    mut imports: BTreeMap<&'m ModulePath, BTreeSet<&'m ModulePath>>,
) -> BTreeMap<&'m ModulePath, BTreeSet<&'m ModulePath>> {
    loop {
        let before = imports.len();
        // A file that imports none of the remaining files, or that none of them imports, is in no cycle.
        let left: BTreeSet<&ModulePath> = imports.keys().copied().collect();
        imports.values_mut().for_each(|found| found.retain(|name| left.contains(name)));
        let imported: BTreeSet<&ModulePath> = imports.values().flatten().copied().collect();
        imports.retain(|name, found| !found.is_empty() && imported.contains(name));
        if imports.len() == before {
            return imports;
        }
    }
}

/// Describes the files of the crate in this folder that are in import cycles.
fn cycles_of(folder: &str) -> Vec<String> {
    let modules = Modules::of_crate(folder);
    let imports = modules.imports();
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > imports.len(), "{folder}: only {edges} imports were found in {} files", imports.len());
    let shown = |(name, found): (&ModulePath, BTreeSet<&ModulePath>)| {
        let found: Vec<String> = found.iter().map(|name| name.join("::")).collect();
        format!("{} imports {}", name.join("::"), found.join(", "))
    };
    in_cycles(imports).into_iter().map(shown).collect()
}

#[test]
fn the_files_of_the_canister_have_no_import_cycle() {
    assert_eq!(cycles_of(""), Vec::<String>::new());
}

#[test]
fn the_files_of_other_crates_have_no_import_cycle() {
    let folders = ["ic-stable-migrate", "pocket-ic-embedded", "session-migrate", "stable-schema"];
    for folder in folders.map(|name| format!("crates/{name}")) {
        let folder = folder.as_str();
        assert_eq!(cycles_of(folder), Vec::<String>::new(), "{folder}");
    }
}

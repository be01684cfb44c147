//! Checks that every public item has an example that is compiled and run. For a member of an item, an example of the
//! item, of another member or of the README suffices, if that example uses the member.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, Token, TraitItem, Type, UseTree, Visibility};

fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The examples in the documentation of an item and of its members.
#[derive(Default)]
struct Documented {
    /// Whether the item itself has an example that is compiled and run; those of its members do not count.
    has_example: bool,
    /// Words in examples of the item and its members.
    words: BTreeSet<String>,
    /// Names of its variants, methods and associated items; fields need no example.
    members: BTreeSet<String>,
}

/// The public items of the crate, by name.
#[derive(Default)]
struct PublicItems(BTreeMap<String, Documented>);

/// Returns the words of all examples in a text that are compiled and run; `None` if there is no such example.
fn words_of_examples(text: &str) -> Option<BTreeSet<String>> {
    let mut words = None;
    for (number, block) in text.split("```").enumerate() {
        let (info, code) = block.split_once('\n').unwrap_or((block, ""));
        if number % 2 == 1 && ["", "rust", "standalone_crate"].contains(&info.trim()) {
            let split = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.get_or_insert_with(BTreeSet::new).extend(split.map(str::to_owned));
        }
    }
    words
}

/// Returns the text of the doc comments among these attributes.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        // Examples that must not appear in the Candid interface are in `cfg_attr(doc, doc = "…")`.
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
            parsed.iter().find_map(doc_line)
        }
        meta => doc_line(meta),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the text of a `doc` attribute.
fn doc_line(meta: &Meta) -> Option<String> {
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value()),
            _ => None,
        },
        _ => None,
    }
}

const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

impl PublicItems {
    fn add(&mut self, name: String, attributes: &[Attribute]) -> &mut Documented {
        let words = words_of_examples(&documentation(attributes));
        let item = self.0.entry(name).or_default();
        item.has_example |= words.is_some();
        item.words.extend(words.unwrap_or_default());
        item
    }

    fn add_member(&mut self, owner: &str, name: String, attributes: &[Attribute]) {
        let Some(owner) = self.0.get_mut(owner) else { return };
        owner.words.extend(words_of_examples(&documentation(attributes)).unwrap_or_default());
        owner.members.insert(name);
    }

    /// Adds the public items of a module that are `wanted`.
    fn add_items(&mut self, items: &[Item], wanted: &dyn Fn(&str) -> bool) {
        for item in items {
            match item {
                Item::Struct(item) if is_public(&item.vis) && wanted(&item.ident.to_string()) => {
                    self.add(item.ident.to_string(), &item.attrs);
                }
                Item::Enum(item) if is_public(&item.vis) && wanted(&item.ident.to_string()) => {
                    let name = item.ident.to_string();
                    self.add(name.clone(), &item.attrs);
                    for variant in &item.variants {
                        self.add_member(&name, variant.ident.to_string(), &variant.attrs);
                    }
                }
                Item::Trait(item) if is_public(&item.vis) && wanted(&item.ident.to_string()) => {
                    let name = item.ident.to_string();
                    self.add(name.clone(), &item.attrs);
                    for part in &item.items {
                        match part {
                            TraitItem::Fn(part) => {
                                self.add_member(&name, part.sig.ident.to_string(), &part.attrs)
                            }
                            TraitItem::Const(part) => {
                                self.add_member(&name, part.ident.to_string(), &part.attrs)
                            }
                            TraitItem::Type(part) => {
                                self.add_member(&name, part.ident.to_string(), &part.attrs)
                            }
                            _ => {}
                        }
                    }
                }
                Item::Fn(item) if is_public(&item.vis) && wanted(&item.sig.ident.to_string()) => {
                    self.add(item.sig.ident.to_string(), &item.attrs);
                }
                Item::Const(item) if is_public(&item.vis) && wanted(&item.ident.to_string()) => {
                    self.add(item.ident.to_string(), &item.attrs);
                }
                Item::Type(item) if is_public(&item.vis) && wanted(&item.ident.to_string()) => {
                    self.add(item.ident.to_string(), &item.attrs);
                }
                Item::Macro(item)
                    if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) =>
                {
                    self.add(item.ident.as_ref().unwrap().to_string(), &item.attrs);
                }
                // Only inline modules: a module in a file of its own needs no example, since its items have theirs.
                Item::Mod(item)
                    if is_public(&item.vis) && item.content.is_some() && wanted(&item.ident.to_string()) =>
                {
                    self.add(item.ident.to_string(), &item.attrs);
                }
                _ => {}
            }
        }
    }

    /// Adds the public methods of the types that were added before.
    fn add_methods(&mut self, items: &[Item]) {
        for item in items {
            let Item::Impl(item) = item else { continue };
            let (None, Type::Path(path)) = (&item.trait_, &*item.self_ty) else { continue };
            let owner = path.path.segments.last().unwrap().ident.to_string();
            for part in &item.items {
                if let ImplItem::Fn(part) = part
                    && is_public(&part.vis)
                {
                    self.add_member(&owner, part.sig.ident.to_string(), &part.attrs);
                }
            }
        }
    }
}

/// Adds the names that a `use` makes public.
fn collect_names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => collect_names(&path.tree, found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| collect_names(tree, found)),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(_) | UseTree::Glob(_) => {
            panic!("a public `use` renames or globs, so that its items are not found")
        }
    }
}

/// Adds the parsed source files of a folder, with their paths below `src`.
fn parse_sources(folder: &Path, found: &mut Vec<(PathBuf, syn::File)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            parse_sources(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.push((
                path.strip_prefix(crate_root().join("src")).unwrap().to_owned(),
                syn::parse_file(&text).unwrap(),
            ));
        }
    }
}

#[test]
fn every_public_item_has_an_example_that_runs() {
    let mut files = Vec::new();
    parse_sources(&crate_root().join("src"), &mut files);
    files.retain(|(path, _)| !path.iter().any(|part| part == "tests" || part == "tests.rs"));
    let library = &files.iter().find(|(path, _)| path == Path::new("lib.rs")).unwrap().1;
    let (mut exported, mut modules) = (BTreeSet::new(), BTreeSet::new());
    for item in &library.items {
        match item {
            Item::Use(item) if is_public(&item.vis) => collect_names(&item.tree, &mut exported),
            Item::Mod(item) if is_public(&item.vis) => drop(modules.insert(item.ident.to_string())),
            _ => {}
        }
    }
    let mut found = PublicItems::default();
    for (path, file) in &files {
        let module = path.with_extension("").iter().next().unwrap().to_string_lossy().into_owned();
        let is_open = module == "lib" || modules.contains(&module);
        found.add_items(&file.items, &|name| is_open || exported.contains(name));
    }
    files.iter().for_each(|(_, file)| found.add_methods(&file.items));

    let unseen: Vec<_> = exported.iter().filter(|name| !found.0.contains_key(*name)).collect();
    assert!(unseen.is_empty(), "exported, and not found: {unseen:?}");
    let members: usize = found.0.values().map(|item| item.members.len()).sum();
    assert!(found.0.len() > 60 && members > 150, "{} items, {members} members", found.0.len());

    let front_page = words_of_examples(&fs::read_to_string(crate_root().join("README.md")).unwrap()).unwrap();
    let mut lacking = Vec::new();
    for (name, item) in &found.0 {
        if !item.has_example {
            lacking.push(name.clone());
        }
        let is_used = |member: &&String| item.words.contains(*member) || front_page.contains(*member);
        lacking.extend(
            item.members.iter().filter(|member| !is_used(member)).map(|member| format!("{name}::{member}")),
        );
    }
    assert!(lacking.is_empty(), "without an example: {lacking:#?}");
}

/// The examples include `doc/bank.rs`, which must contain the code of the README.
#[test]
fn the_examples_use_the_canister_of_the_readme() {
    let read = |path: &str| fs::read_to_string(crate_root().join(path)).unwrap();
    let (readme, bank) = (read("README.md"), read("doc/bank.rs"));
    let start = readme.find("type Memory = VirtualMemory").unwrap();
    let code = readme[start..].split("// The old release has left").next().unwrap().trim_end();
    assert!(code.len() > 3_000 && bank.contains(code), "doc/bank.rs differs from the README");
}

//! What a path means in the file where it stands: something of this crate, or something of another.

use std::collections::HashMap;
use syn::{UseTree, visit::Visit};

/// A path from the crate's root, such as `["store", "redis"]`.
pub type Module = Vec<String>;

/// What a path turned out to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// In this crate, from its root. Empty: the root itself.
    Own(Vec<String>),
    /// In another crate (its name comes first), or a name that only the compiler knows.
    Foreign(Vec<String>),
}

/// The module that the file at `path` (`src/a/b.rs`) holds. `None` outside `src/`.
pub fn module_of(path: &str) -> Option<Module> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut module: Module = inner.split('/').map(str::to_owned).collect();
    if inner == "lib" || module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    Some(module)
}

/// One entry of a `use`: the path it names, the name it gets here (`None` for a glob) and where it stands.
pub struct Import {
    pub path: Vec<String>,
    pub absolute: bool,
    pub alias: Option<String>,
    pub line: usize,
}

/// Every entry of a `use` item.
pub fn imports(item: &syn::ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    flatten(&item.tree, &mut Vec::new(), item.leading_colon.is_some(), &mut found);
    found
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, absolute: bool, found: &mut Vec<Import>) {
    let mut push = |ident: &syn::Ident, alias: &syn::Ident| {
        let mut path = prefix.clone();
        if ident != "self" || path.is_empty() {
            path.push(plain(ident));
        }
        let alias = if alias == "self" { path.last().cloned() } else { Some(plain(alias)) };
        found.push(Import { path, absolute, alias, line: ident.span().start().line });
    };
    match tree {
        UseTree::Name(name) => push(&name.ident, &name.ident),
        UseTree::Rename(name) => push(&name.ident, &name.rename),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            found.push(Import { path: prefix.clone(), absolute, alias: None, line });
        }
        UseTree::Path(path) => {
            prefix.push(plain(&path.ident));
            flatten(&path.tree, prefix, absolute, found);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, absolute, found)),
    }
}

/// An identifier without `r#`.
pub fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}

/// What the modules of one file import and declare. A `use` inside a function counts for its whole module.
pub struct Names {
    scopes: HashMap<Module, Scope>,
    /// `main.rs` is a crate of its own: `crate` there is not the library.
    is_main: bool,
}

#[derive(Default)]
struct Scope {
    aliases: HashMap<String, (Vec<String>, bool)>,
    modules: Vec<String>,
}

impl Names {
    pub fn collect(module: &Module, file: &syn::File) -> Self {
        let mut collector = Collector { module: module.clone(), scopes: HashMap::new() };
        collector.visit_file(file);
        Self { scopes: collector.scopes, is_main: module.first().is_some_and(|first| first == "main") }
    }

    /// What `path`, written in `module`, names. `absolute` is a leading `::`.
    pub fn resolve(&self, module: &Module, path: &[String], absolute: bool) -> Name {
        self.resolve_within(module, path, absolute, 8)
    }

    fn resolve_within(&self, module: &Module, path: &[String], absolute: bool, depth: usize) -> Name {
        let Some((first, rest)) = path.split_first() else { return Name::Own(Vec::new()) };
        if absolute && first != "keygate" {
            return Name::Foreign(path.to_vec());
        }
        let below = |base: &[String]| Name::Own(base.iter().chain(rest).cloned().collect());
        match first.as_str() {
            "keygate" => below(&[]),
            "crate" if self.is_main => below(&["main".to_owned()]),
            "crate" => below(&[]),
            "self" => self.climb(module, rest),
            "super" => self.climb(module, path),
            _ if depth == 0 => Name::Foreign(path.to_vec()),
            name => match self.find(module, name) {
                Some(Found::Module(parent)) => below(&[parent, vec![name.to_owned()]].concat()),
                Some(Found::Alias(_, target, _)) if target.first() == Some(first) => {
                    Name::Foreign(target.iter().chain(rest).cloned().collect())
                }
                Some(Found::Alias(home, target, absolute)) => {
                    let full: Vec<String> = target.iter().chain(rest).cloned().collect();
                    self.resolve_within(&home, &full, absolute, depth - 1)
                }
                None => Name::Foreign(path.to_vec()),
            },
        }
    }

    /// Follows the leading `super`s of `path` up from `module`.
    fn climb(&self, module: &Module, path: &[String]) -> Name {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let kept = module.len().saturating_sub(ups).max(usize::from(self.is_main));
        Name::Own(module[..kept].iter().chain(&path[ups..]).cloned().collect())
    }

    /// Looks `name` up in `module` and then outwards, since inner modules often begin with `use super::*`.
    fn find(&self, module: &Module, name: &str) -> Option<Found> {
        (0..=module.len()).rev().map(|length| module[..length].to_vec()).find_map(|home| {
            let scope = self.scopes.get(&home)?;
            if let Some((target, absolute)) = scope.aliases.get(name) {
                return Some(Found::Alias(home, target.clone(), *absolute));
            }
            scope.modules.iter().any(|module| module == name).then_some(Found::Module(home))
        })
    }
}

enum Found {
    /// A module that this parent declares.
    Module(Module),
    /// A name imported in this module, the path it stands for, and whether that began with `::`.
    Alias(Module, Vec<String>, bool),
}

struct Collector {
    module: Module,
    scopes: HashMap<Module, Scope>,
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let scope = self.scopes.entry(self.module.clone()).or_default();
        for import in imports(item) {
            if let Some(alias) = import.alias {
                scope.aliases.insert(alias, (import.path, import.absolute));
            }
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = plain(&item.ident);
        self.scopes.entry(self.module.clone()).or_default().modules.push(name.clone());
        self.module.push(name);
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

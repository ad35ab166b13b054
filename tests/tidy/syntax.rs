//! Judges one file by its syntax tree: what it uses, what it calls, what it silences.

use crate::{
    Violation, law,
    names::{self, Import, Module, Name, Names},
};
use proc_macro2::Span;
use syn::{Attribute, Item, Meta, punctuated::Punctuated, spanned::Spanned, visit::Visit};

const PANIC_METHODS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err", "unwrap_unchecked"];
const PANIC_MACROS: &[&str] = &["panic", "todo", "unimplemented", "unreachable"];
const PRINT_MACROS: &[&str] = &["print", "println", "eprint", "eprintln"];
const CLOCK_CRATES: &[&str] = &["std", "tokio", "jiff", "chrono", "time", "quanta"];
const CLOCK_TYPES: &[&str] = &["Instant", "SystemTime", "Zoned"];

/// Judges the file at `path`. Outside `src/` only the attributes count. In a `test_only` file the rules for production
/// code are off; the law between rooms and crates holds there too.
pub fn check(path: &str, source: &str, test_only: bool) -> Vec<Violation> {
    let file = match syn::parse_file(source) {
        Ok(file) => file,
        Err(error) => {
            let line = error.span().start().line;
            let message = format!("this is not Rust that can be read: {error}");
            return vec![Violation { path: path.to_owned(), line, rule: "syntax", message }];
        }
    };
    let module = names::module_of(path);
    let in_src = module.is_some();
    let module = module.unwrap_or_default();
    let names = Names::collect(&module, &file);
    let test_depth = usize::from(test_only || is_test_only(&file.attrs));
    let mut checker = Checker { path, in_src, module, names, test_depth, found: Vec::new() };
    checker.visit_file(&file);
    checker.found
}

/// The modules below `module` in `items` that exist only in tests and have a file of their own.
pub fn test_only_modules(module: &Module, items: &[Item], inherited: bool) -> Vec<Module> {
    let modules = items.iter().filter_map(|item| if let Item::Mod(item) = item { Some(item) } else { None });
    let below = modules.flat_map(|item| {
        let child = [module.clone(), vec![names::plain(&item.ident)]].concat();
        let only_test = inherited || is_test_only(&item.attrs);
        match &item.content {
            Some((_, items)) => test_only_modules(&child, items, only_test),
            None if only_test => vec![child],
            None => Vec::new(),
        }
    });
    below.collect()
}

/// Do these attributes keep an item out of every build but tests?
pub fn is_test_only(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        Meta::List(list) if list.path.is_ident("cfg") => list.parse_args::<Meta>().is_ok_and(|meta| needs_test(&meta)),
        Meta::List(list) => list.path.segments.last().is_some_and(|last| last.ident == "test"),
        Meta::NameValue(_) => false,
    })
}

/// Is this `cfg` condition false whenever `test` is?
fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => nested(list).iter().any(needs_test),
        Meta::List(list) if list.path.is_ident("any") => {
            let branches = nested(list);
            !branches.is_empty() && branches.iter().all(needs_test)
        }
        Meta::List(_) | Meta::NameValue(_) => false,
    }
}

fn nested(list: &syn::MetaList) -> Vec<Meta> {
    let parsed = list.parse_args_with(Punctuated::<Meta, syn::Token![,]>::parse_terminated);
    parsed.map(|metas| metas.into_iter().collect()).unwrap_or_default()
}

/// What is known while one file is read.
pub struct Checker<'a> {
    path: &'a str,
    in_src: bool,
    module: Module,
    names: Names,
    /// How many items around here exist only in tests.
    test_depth: usize,
    found: Vec<Violation>,
}

impl Checker<'_> {
    fn report(&mut self, line: usize, rule: &'static str, message: String) {
        self.found.push(Violation { path: self.path.to_owned(), line, rule, message });
    }

    fn production(&self) -> bool {
        self.in_src && self.test_depth == 0
    }

    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// The law: what a name that is written out here may belong to.
    fn check_name(&mut self, name: &Name, line: usize) {
        match name {
            Name::Foreign(path) => {
                let Some(krate) = path.first() else { return };
                if let Some(allowed) = law::crate_forbidden(krate, &self.module) {
                    self.report(line, "crate", format!("`{}`: `{krate}` may be named {allowed}", path.join("::")));
                }
            }
            Name::Own(path) => self.check_own(path, line),
        }
    }

    fn check_own(&mut self, path: &[String], line: usize) {
        let room = self.room().to_owned();
        let Some(target) = path.first() else {
            let message = "the whole crate is named here: name the room and the item".to_owned();
            return self.report(line, "law", message);
        };
        if *target == room || (room == "lib" && law::room(target).is_none()) {
            return;
        }
        let shown = path.join("::");
        if law::room(target).is_none() {
            self.report(line, "law", format!("`crate::{shown}` is in no room; the rooms are {}", law::rooms()));
        } else if !law::may_use(&room, path) {
            let allowed = law::allowance(&room);
            self.report(line, "law", format!("`{room}` may not use `crate::{shown}`; it may use {allowed}"));
        }
    }

    fn check_import(&mut self, import: &Import, public: bool) {
        let name = self.names.resolve(&self.module, &import.path, import.absolute);
        self.check_name(&name, import.line);
        let Name::Own(path) = name else { return };
        let room = self.room().to_owned();
        let elsewhere = path.first().is_some_and(|target| *target != room && law::room(target).is_some());
        if public
            && elsewhere
            && let Some(user) = law::smuggled_to(&room, &path)
        {
            let shown = path.join("::");
            let message = format!("re-exporting `crate::{shown}` hands it to `{user}`, which may not use it");
            self.report(import.line, "law", message);
        }
    }

    /// A path in code, as opposed to a `use`.
    pub fn check_path(&mut self, path: &[String], absolute: bool, line: usize) {
        if !self.in_src || (path.len() < 2 && !absolute) {
            return;
        }
        let name = self.names.resolve(&self.module, path, absolute);
        // What came in by `use` was judged there.
        let keyword = ["crate", "keygate", "self", "super"].contains(&path[0].as_str());
        if keyword || self.module.is_empty() || name == Name::Foreign(path.to_vec()) {
            self.check_name(&name, line);
        }
        if let Name::Foreign(full) = &name {
            self.check_clock(full, line);
        }
        if let Some(last) = path.last() {
            self.check_panic_method(last, line);
        }
    }

    fn check_clock(&mut self, path: &[String], line: usize) {
        let [.., kind, last] = path else { return };
        let known = CLOCK_TYPES.contains(&kind.as_str()) || CLOCK_CRATES.contains(&path[0].as_str());
        if last == "now" && known {
            self.report_clock(&format!("`{}`", path.join("::")), line);
        }
    }

    fn report_clock(&mut self, what: &str, line: usize) {
        let Some(allowed) = law::clock_forbidden(&self.module).filter(|_| self.production()) else { return };
        self.report(
            line,
            "clock",
            format!("{what} reads a clock, which only {allowed} may: take `now` as an argument"),
        );
    }

    pub fn check_panic_method(&mut self, name: &str, line: usize) {
        if self.production() && PANIC_METHODS.contains(&name) {
            self.report(line, "panic", format!("`{name}` can panic: return an error, or make the case impossible"));
        }
    }

    pub fn check_method(&mut self, name: &str, no_arguments: bool, line: usize) {
        self.check_panic_method(name, line);
        if name == "elapsed" && no_arguments {
            self.report_clock("`elapsed()`", line);
        }
    }

    pub fn check_macro(&mut self, name: &str, line: usize) {
        if !self.production() {
            return;
        }
        if PANIC_MACROS.contains(&name) {
            self.report(line, "panic", format!("`{name}!` panics: return an error, or make the case impossible"));
        } else if name == "dbg" {
            self.report(
                line,
                "print",
                "`dbg!` is for debugging: remove it, or write an event with `tracing`".to_owned(),
            );
        } else if name == "include" && self.room() != "proto" {
            self.report(line, "include", "`include!` hides code from this test: only `proto` may".to_owned());
        } else if PRINT_MACROS.contains(&name)
            && let Some(allowed) = law::print_forbidden(&self.module)
        {
            self.report(line, "print", format!("`{name}!` may stand only in {allowed}: write an event with `tracing`"));
        }
    }

    fn check_async(&mut self, span: Span) {
        if self.production() && law::must_not_wait(&self.module) {
            let message = format!("`{}` never waits: no `async` here, that is for `app` and outwards", self.room());
            self.report(span.start().line, "async", message);
        }
    }

    fn check_reason(&mut self, meta: &Meta) {
        let Meta::List(list) = meta else { return };
        if list.path.is_ident("cfg_attr") {
            return nested(list).iter().for_each(|meta| self.check_reason(meta));
        }
        let Some(name) = ["allow", "expect"].into_iter().find(|name| list.path.is_ident(name)) else { return };
        let reasoned = nested(list).iter().any(|meta| match meta {
            Meta::NameValue(pair) if pair.path.is_ident("reason") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => !text.value().trim().is_empty(),
                _ => true,
            },
            _ => false,
        });
        if !reasoned {
            let line = list.path.span().start().line;
            self.report(line, "reason", format!("`#[{name}]` without a reason: add `reason = \"…\"`"));
        }
    }
}

impl<'ast> Visit<'ast> for Checker<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let depth = usize::from(is_test_only(attributes(item)));
        self.test_depth += depth;
        syn::visit::visit_item(self, item);
        self.test_depth -= depth;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let depth = usize::from(is_test_only(&item.attrs));
        self.test_depth += depth;
        syn::visit::visit_impl_item_fn(self, item);
        self.test_depth -= depth;
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let line = item.ident.span().start().line;
        if self.in_src && item.content.is_none() {
            if item.attrs.iter().any(|attr| attr.path().is_ident("path")) {
                let message = "`#[path]` puts a file into another room than its place says: move the file".to_owned();
                self.report(line, "place", message);
            }
            if self.room() == "main" {
                let message = "`main.rs` declares no modules: the rooms belong to the library".to_owned();
                self.report(line, "place", message);
            }
        }
        self.module.push(names::plain(&item.ident));
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        item.attrs.iter().for_each(|attr| self.visit_attribute(attr));
        if self.in_src {
            let public = !matches!(item.vis, syn::Visibility::Inherited);
            names::imports(item).iter().for_each(|import| self.check_import(import, public));
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let name = names::plain(&item.ident);
        let line = item.ident.span().start().line;
        if self.in_src {
            let named = if name == "self" { Name::Own(Vec::new()) } else { Name::Foreign(vec![name]) };
            self.check_name(&named, line);
        }
    }

    /// `pub(in path)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| names::plain(&segment.ident)).collect();
        self.check_path(&segments, path.leading_colon.is_some(), path.span().start().line);
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.check_method(&names::plain(&call.method), call.args.is_empty(), call.method.span().start().line);
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(last) = called.path.segments.last() {
            self.check_macro(&names::plain(&last.ident), last.ident.span().start().line);
        }
        self.check_tokens(called.tokens.clone(), &[]);
        syn::visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.check_reason(&attribute.meta);
        if let Meta::List(list) = &attribute.meta {
            self.check_tokens(list.tokens.clone(), &[]);
        }
        syn::visit::visit_attribute(self, attribute);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(keyword) = signature.asyncness {
            self.check_async(keyword.span);
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.check_async(block.async_token.span);
        syn::visit::visit_expr_async(self, block);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

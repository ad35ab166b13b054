//! Snippets that break the law, and the rule that must notice. Each stands in a file where only its place or its
//! words make it wrong.

use crate::{Violation, syntax, text, tree};

/// Asserts that `source` at `path` breaks exactly `rule`, exactly once, on line `line`.
#[track_caller]
fn breaks(rule: &str, path: &str, line: usize, source: &str) {
    let found = syntax::check(path, source, false);
    one(&found, rule, line, source);
}

#[track_caller]
fn one(found: &[Violation], rule: &str, line: usize, source: &str) {
    match found {
        [only] => assert_eq!((only.rule, only.line), (rule, line), "{only}\nin:\n{source}"),
        found => panic!("expected one `{rule}`, found {found:#?}\nin:\n{source}"),
    }
}

#[test]
fn a_use_against_the_law() {
    breaks("law", "src/domain/id.rs", 1, "use crate::app::ports::Store;");
    breaks("law", "src/config/mod.rs", 1, "use crate::grpc;");
    breaks("law", "src/app/keys/create.rs", 1, "use crate::proto::v1::Key;");
    breaks("law", "src/grpc/mod.rs", 1, "use crate::store::Backend;");
    breaks("law", "src/grpc/mod.rs", 1, "use crate::server::Limits;");
    breaks("law", "src/server/mod.rs", 1, "use crate::cli::Command;");
    breaks("law", "src/telemetry/mod.rs", 1, "use crate::app::house::House;");
    breaks("law", "src/cli/mod.rs", 1, "use crate::store::Backend;");
    breaks("law", "src/cli/mod.rs", 1, "use crate::app::ports::Clock;");
    breaks("law", "src/cli.rs", 1, "use crate::grpc::Service;");
    breaks("law", "src/proto.rs", 1, "use crate::domain::Key;");
    breaks("law", "src/main.rs", 1, "use keygate::server::run;");
    breaks("law", "src/lib.rs", 1, "pub mod cli; pub use cli::run;");
    breaks("law", "src/lib.rs", 1, "pub use crate::cli::run;");
}

#[test]
fn a_store_may_use_only_the_ports_of_app() {
    breaks("law", "src/store/mod.rs", 1, "use crate::app::keys::create;");
    breaks("law", "src/store/mod.rs", 1, "use crate::app;");
    breaks("law", "src/store/mod.rs", 1, "use crate::app::*;");
    breaks("law", "src/store/mod.rs", 3, "use crate::{\n    app::ports::Store,\n    app::error::Error,\n};");
}

#[test]
fn every_way_to_write_a_path_that_leaves_the_room() {
    breaks("law", "src/domain/key/format.rs", 1, "fn f() { crate::app::run() }");
    breaks("law", "src/domain/key/format.rs", 1, "fn f(x: &crate::config::Config) {}");
    breaks("law", "src/domain/key/format.rs", 1, "use super::super::super::app::run;");
    breaks("law", "src/domain/key/format.rs", 1, "fn f() { super::super::super::app::run() }");
    breaks("law", "src/domain/mod.rs", 1, "use super::app::run;");
    breaks("law", "src/domain.rs", 1, "mod inner { use super::super::app::run; }");
    breaks("law", "src/domain/id.rs", 1, "use self::super::super::app::run;");
    breaks("law", "src/domain/id.rs", 1, "use ::keygate::app::run;");
    breaks("law", "src/domain/id.rs", 1, "use crate::{domain::Id as _, app::{run as start}};");
    breaks("law", "src/domain/id.rs", 1, "impl crate::app::Port for Id {}");
    breaks("law", "src/domain/id.rs", 1, "fn f() { matches!(x, crate::app::Error::Bug) }");
    breaks("law", "src/domain/id.rs", 1, "macro_rules! m { () => { $crate::app::run() }; }");
    breaks("law", "src/domain/id.rs", 1, "macro_rules! m { () => { use crate::{domain::Id, app::run}; }; }");
    breaks("law", "src/domain/id.rs", 1, "#[derive(crate::app::Port)] struct X;");
    breaks("law", "src/domain/id.rs", 2, "#[cfg(test)]\nmod tests { use crate::app::run; }");
}

#[test]
fn ways_around_the_law() {
    breaks("law", "src/domain/id.rs", 1, "use crate as k;");
    breaks("law", "src/domain/id.rs", 1, "use crate::*;");
    breaks("law", "src/domain/mod.rs", 1, "use super::*;");
    breaks("law", "src/domain/id.rs", 1, "extern crate self as k;");
    breaks("law", "src/domain/id.rs", 1, "use crate::helpers::join;");
    breaks("law", "src/server/mod.rs", 1, "pub use crate::store::Backend;");
    breaks("law", "src/server/mod.rs", 1, "pub(crate) use crate::grpc::Service;");
    breaks("place", "src/domain/mod.rs", 1, "#[path = \"../app/keys.rs\"] mod keys;");
    breaks("place", "src/main.rs", 1, "mod store;");
    breaks("include", "src/domain/mod.rs", 1, "include!(\"../app/keys.rs\");");
}

#[test]
fn a_crate_outside_its_place() {
    breaks("crate", "src/app/mod.rs", 1, "use tonic::Status;");
    breaks("crate", "src/store/mod.rs", 1, "fn f() -> tonic::Status { g() }");
    breaks("crate", "src/config/mod.rs", 1, "use tonic_types::StatusExt;");
    breaks("crate", "src/app/mod.rs", 1, "use prost::Message;");
    breaks("crate", "src/store/redis/mod.rs", 1, "use prost_types::Timestamp;");
    breaks("crate", "src/telemetry/log.rs", 1, "use prost::Message;");
    breaks("crate", "src/app/ports/trace.rs", 1, "use opentelemetry_sdk::trace::SpanData;");
    breaks("crate", "src/server/mod.rs", 1, "use tracing_subscriber::fmt;");
    breaks("crate", "src/cli/mod.rs", 1, "#[derive(prost::Message)] struct X;");
    breaks("crate", "src/store/mod.rs", 1, "use ::redis::Client;");
    breaks("crate", "src/store/embedded/mod.rs", 1, "use redis;");
    breaks("crate", "src/server/mod.rs", 1, "use redis::{self as r};");
    breaks("crate", "src/store/redis/mod.rs", 1, "use redb::Database;");
    breaks("crate", "src/domain/mod.rs", 1, "fn f() { tokio::spawn(g()); }");
    breaks("crate", "src/domain/mod.rs", 1, "fn f() { tokio::select! {} }");
    breaks("crate", "src/domain/mod.rs", 1, "fn f() { vec![tokio::spawn(g)] }");
    breaks("crate", "src/config/mod.rs", 1, "use tokio::fs;");
    breaks("crate", "src/config/mod.rs", 1, "extern crate tokio;");
    breaks("crate", "src/domain/mod.rs", 1, "fn f() { tracing::info!(\"x\"); }");
}

#[test]
fn a_clock_outside_the_server() {
    breaks("clock", "src/store/embedded/mod.rs", 1, "fn f() { std::time::Instant::now(); }");
    breaks("clock", "src/app/mod.rs", 2, "use std::time::SystemTime;\nfn f() { SystemTime::now(); }");
    breaks("clock", "src/app/mod.rs", 2, "use std::time::Instant as I;\nfn f() { I::now(); }");
    breaks("clock", "src/app/mod.rs", 2, "use std::{time};\nfn f() { g(time::Instant::now) }");
    breaks("clock", "src/app/mod.rs", 2, "use std::time::*;\nfn f() { g(Instant::now) }");
    breaks("clock", "src/store/redis/mod.rs", 1, "fn f() { tokio::time::Instant::now(); }");
    breaks("clock", "src/config/mod.rs", 2, "use jiff::Timestamp;\nfn f() { Timestamp::now(); }");
    breaks("clock", "src/cli/mod.rs", 1, "fn f() { jiff::Zoned::now(); }");
    breaks("clock", "src/app/mod.rs", 1, "fn f(started: Instant) { started.elapsed(); }");
    breaks("clock", "src/app/mod.rs", 1, "fn f() { vec![std::time::Instant::now()]; }");
    breaks("clock", "src/app/mod.rs", 1, "fn f() { vec![started.elapsed()]; }");
}

#[test]
fn randomness_outside_the_server() {
    breaks("crate", "src/domain/key/format.rs", 1, "fn f() { getrandom::fill(&mut bytes); }");
    breaks("crate", "src/app/mod.rs", 1, "use rand::Rng;");
    breaks("crate", "src/app/mod.rs", 1, "use rand_core::RngCore;");
}

#[test]
fn a_panic_in_production_code() {
    for call in ["x.unwrap()", "x.expect(\"y\")", "x.unwrap_err()", "x.expect_err(\"y\")", "x.map(Option::unwrap)"] {
        breaks("panic", "src/app/mod.rs", 1, &format!("fn f() {{ {call}; }}"));
        breaks("panic", "src/app/mod.rs", 1, &format!("fn f() {{ vec![{call}]; }}"));
    }
    for name in ["panic", "todo", "unimplemented", "unreachable"] {
        breaks("panic", "src/main.rs", 1, &format!("fn f() {{ {name}!(); }}"));
        breaks("panic", "src/server/mod.rs", 1, &format!("fn f() {{ std::{name}!(\"x\") }}"));
        breaks("panic", "src/server/mod.rs", 1, &format!("fn f() {{ tokio::select! {{ _ = x => {name}!() }} }}"));
    }
    breaks("panic", "src/app/mod.rs", 2, "#[cfg(not(test))]\nfn f() { x.unwrap(); }");
    breaks("panic", "src/app/mod.rs", 2, "#[cfg(any(test, unix))]\nfn f() { x.unwrap(); }");
    breaks("panic", "src/app/mod.rs", 2, "#[cfg(test)] mod tests { fn f() { x.unwrap(); } }\nfn g() { x.unwrap(); }");
}

#[test]
fn a_panic_behind_a_type_argument() {
    breaks("panic", "src/app/mod.rs", 1, "fn f() { x.map(Option::<u8>::unwrap); }");
    breaks("panic", "src/app/mod.rs", 1, "fn f() { vec![x.map(Option::<u8>::unwrap)]; }");
    breaks("panic", "src/app/mod.rs", 1, "fn f() { vec![x.parse::<u8>().unwrap()]; }");
}

#[test]
fn print_outside_the_command_line() {
    for name in ["print", "println", "eprint", "eprintln"] {
        breaks("print", "src/server/mod.rs", 1, &format!("fn f() {{ {name}!(\"x\"); }}"));
    }
    breaks("print", "src/cli/mod.rs", 1, "fn f() { dbg!(x); }");
    breaks("print", "src/telemetry/mod.rs", 1, "macro_rules! m { () => { println!(\"x\") }; }");
}

#[test]
fn async_in_the_domain() {
    breaks("async", "src/domain/mod.rs", 1, "async fn f() {}");
    breaks("async", "src/domain/mod.rs", 1, "trait T { async fn f(); }");
    breaks("async", "src/domain/mod.rs", 1, "fn f() -> impl Future { async { 1 } }");
}

#[test]
fn a_lint_silenced_without_a_reason() {
    for path in ["src/proto.rs", "tests/api.rs", "benches/speed.rs"] {
        breaks("reason", path, 1, "#![allow(dead_code)]");
        breaks("reason", path, 2, "struct A;\n#[expect(clippy::all, clippy::pedantic)]\nstruct B;");
        breaks("reason", path, 1, "#[allow(dead_code, reason = \" \")] fn f() {}");
        breaks("reason", path, 1, "#[cfg_attr(unix, allow(dead_code))] fn f() {}");
        breaks("reason", path, 1, "fn f() { #[allow(unused)] let x = 1; }");
        breaks("reason", path, 1, "struct S { #[allow(dead_code)] x: u8 }");
    }
}

#[test]
fn a_file_that_is_too_long() {
    let long = "//! A room.\n".to_owned() + &"\n".repeat(500);
    for path in ["src/domain/mod.rs", "src/store/redis/lua/charge.lua", "tests/api/main.rs", "benches/speed.rs"] {
        one(&text::check(path, &long), "length", 501, "501 lines");
    }
}

#[test]
fn unfinished_work() {
    for word in ["TODO", "FIXME", "XXX"] {
        let source = format!("//! A room.\nfn f() {{}} // {word}: more\n");
        one(&text::check("src/domain/mod.rs", &source), "unfinished", 2, &source);
        one(&text::check("src/store/redis/lua/charge.lua", &format!("-- {word}")), "unfinished", 1, word);
    }
}

#[test]
fn a_room_without_an_opening() {
    for path in ["src/domain/mod.rs", "src/proto.rs", "src/cli.rs"] {
        one(&text::check(path, "use std::fmt;\n//! late\n"), "opening", 1, path);
        one(&text::check(path, ""), "opening", 1, path);
    }
}

#[test]
fn a_room_that_is_not_in_the_law() {
    one(&text::check("src/util/strings.rs", "//! Helpers."), "place", 1, "src/util/strings.rs");
    one(&text::check("src/util.rs", "//! Helpers."), "place", 1, "src/util.rs");
}

#[test]
fn unsafe_code_not_forbidden() {
    for path in ["src/lib.rs", "src/main.rs"] {
        for source in ["//! A.", "//! A.\n#![deny(unsafe_code)]", "//! A.\n// #![forbid(unsafe_code)]"] {
            one(&text::check(path, source), "unsafe", 1, source);
        }
    }
}

#[test]
fn a_file_that_is_not_rust() {
    breaks("syntax", "src/domain/mod.rs", 2, "fn f() {}\nfn {");
}

#[test]
fn all_violations_of_a_tree_are_reported_in_order() {
    let files = [
        ("src/domain/mod.rs", "//! Nouns.\nuse crate::app::X;\nfn f() { x.unwrap(); }\n"),
        ("src/app/mod.rs", "use tonic::Status;\n"),
    ];
    let found = tree::check(&files.map(|(path, source)| (path.to_owned(), source.to_owned())));
    let shown: Vec<_> = found.iter().map(|one| format!("{}:{} {}", one.path, one.line, one.rule)).collect();
    assert_eq!(
        shown,
        ["src/app/mod.rs:1 crate", "src/app/mod.rs:1 opening", "src/domain/mod.rs:2 law", "src/domain/mod.rs:3 panic"]
    );
    assert_eq!(
        found[2].to_string(),
        "src/domain/mod.rs:2: [law] `domain` may not use `crate::app::X`; it may use no other room"
    );
}

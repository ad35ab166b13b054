//! Snippets that keep the law although they look like those that break it: a rule that cries wolf is soon ignored.

use crate::{syntax, text, tree};

#[track_caller]
fn keeps(path: &str, source: &str) {
    let found = syntax::check(path, source, false);
    assert!(found.is_empty(), "{found:#?}\nin:\n{source}");
}

#[test]
fn a_use_along_the_law() {
    keeps("src/main.rs", "use keygate::cli; fn main() { cli::run() }");
    keeps("src/main.rs", "fn helper() {} fn main() { crate::helper(); self::helper(); }");
    keeps("src/lib.rs", "pub mod domain; pub mod app; pub mod cli;");
    keeps("src/cli/mod.rs", "use crate::{config::Config, domain::Id, proto::v1, server, telemetry};");
    keeps("src/server/mod.rs", "use crate::{app::keys, config, domain, grpc, proto, store::Backend, telemetry};");
    keeps("src/grpc/status.rs", "use crate::{app::error::Error, domain::Deny, proto::v1::Key};");
    keeps("src/store/mod.rs", "use crate::{app::ports::{self, Store}, domain::Id, proto::store_v1};");
    keeps("src/app/mod.rs", "use crate::domain::realm::Realm;");
    keeps("src/config/mod.rs", "use crate::domain::realm::Realm;");
    keeps("src/telemetry/traces/mod.rs", "use crate::{app::ports::trace::Tracer, dial::Site, domain::trace::TraceId};");
}

#[test]
fn a_path_that_stays_in_the_room() {
    keeps("src/domain/key/format.rs", "use super::super::id::Id; use super::digest; use crate::domain::time;");
    keeps("src/domain/mod.rs", "mod app; use app::X; fn f() { app::g(); self::app::g() }");
    keeps("src/domain/mod.rs", "pub(crate) mod a; pub(in crate::domain) fn f() {} pub(super) fn g() {}");
    keeps("src/domain/mod.rs", "#[cfg(test)] mod tests { use super::*; fn f() { super::g() } }");
    keeps("src/app/mod.rs", "pub use crate::domain::Id; pub use keys::create; mod keys;");
}

#[test]
fn a_module_called_like_a_crate() {
    keeps("src/store/mod.rs", "mod redis; use redis::Redis; fn f() { redis::open(); vec![redis::open()]; }");
    keeps("src/server/mod.rs", "use crate::store::redis; fn f() { redis::open() }");
    keeps("src/server/mod.rs", "use crate::store; fn f() { let redis = store::open(); redis.close(); }");
    keeps("src/domain/mod.rs", "fn f(tokio: u8) { tokio.count_ones(); println(tokio); }");
}

#[test]
fn a_crate_in_its_place() {
    for path in ["src/grpc/mod.rs", "src/server/mod.rs", "src/cli/client.rs"] {
        keeps(path, "use tonic::Status; use tonic_types::StatusExt;");
    }
    for path in ["src/grpc/mod.rs", "src/store/record.rs", "src/store/record/key.rs", "src/proto.rs"] {
        keeps(path, "use prost::Message;");
    }
    keeps("src/proto.rs", "pub mod v1 { tonic::include_proto!(\"keygate.v1\"); include!(\"x.rs\"); }");
    keeps("src/store/redis/keyspace.rs", "use redis::Client; fn f() { redis::cmd(\"X\"); }");
    keeps("src/store/embedded.rs", "use redb::Database;");
    keeps("src/server/entropy.rs", "fn f() { getrandom::fill(x); }");
    keeps("src/app/mod.rs", "use tokio::time::timeout; fn f() { tracing::info!(\"x\"); }");
}

#[test]
fn time_without_a_clock() {
    keeps("src/server/clock.rs", "fn f() { std::time::SystemTime::now(); x.elapsed(); }");
    keeps("src/app/mod.rs", "fn f(clock: &impl Clock) { clock.now(); Clock::now(clock); x.elapsed(since); }");
    keeps("src/app/mod.rs", "use crate::domain::time::Timestamp; fn f() { Timestamp::now(); }");
    keeps("src/domain/mod.rs", "fn f(now: std::time::Duration) { let later = now; }");
    keeps("src/app/mod.rs", "#[cfg(test)] mod tests { fn f() { std::time::Instant::now(); } }");
}

#[test]
fn calls_that_cannot_panic() {
    keeps("src/app/mod.rs", "fn f() { x.unwrap_or(1); x.unwrap_or_default(); x.unwrap_or_else(|| 2); assert!(x); }");
    keeps("src/app/mod.rs", "fn f() { let unwrap = 1; vec![unwrap, s.expect]; g(\"x.unwrap()\"); } // x.unwrap()");
    keeps("src/app/mod.rs", "fn f(panic: bool) -> bool { vec![panic != true]; panic != false }");
    keeps("src/cli/mod.rs", "fn f() { println!(\"x\"); eprintln!(\"{}\", y); write!(out, \"z\"); }");
    keeps("src/main.rs", "fn f() { eprintln!(\"x\"); }");
}

#[test]
fn code_that_exists_only_in_tests() {
    let body = "{ x.unwrap(); panic!(); println!(\"x\"); dbg!(y); }";
    keeps("src/app/mod.rs", &format!("#[cfg(test)] mod tests {{ fn f() {body} }}"));
    keeps("src/app/mod.rs", &format!("#[cfg(all(test, unix))] fn f() {body}"));
    keeps("src/app/mod.rs", &format!("#[cfg(any(test, all(unix, test)))] fn f() {body}"));
    keeps("src/app/mod.rs", &format!("#[test] fn f() {body}"));
    keeps("src/app/mod.rs", &format!("#[tokio::test] async fn f() {body}"));
    keeps("src/app/mod.rs", &format!("#[tokio::test(flavor = \"x\")] async fn f() {body}"));
    keeps("src/app/mod.rs", &format!("#![cfg(test)] fn f() {body}"));
    keeps("src/app/mod.rs", &format!("impl A {{ #[cfg(test)] fn f() {body} }}"));
    keeps("tests/api.rs", &format!("use tonic::Status; use keygate::store::X; fn f() {body}"));
}

#[test]
fn a_file_of_tests_is_known_from_its_parents() {
    let tree = |parent: &'static str, declaration: &str, child: &str| {
        let files = [
            (parent, format!("//! A room.\n{declaration}\n")),
            (child, "//! Tests.\nfn f() { x.unwrap(); }\n".to_owned()),
        ];
        tree::check(&files.map(|(path, source)| (path.to_owned(), source))).len()
    };
    assert_eq!(tree("src/app/mod.rs", "#[cfg(test)] mod tests;", "src/app/tests.rs"), 0);
    assert_eq!(tree("src/app/mod.rs", "#[cfg(test)] mod tests;", "src/app/tests/mod.rs"), 0);
    assert_eq!(tree("src/app/mod.rs", "#[cfg(test)] mod tests;", "src/app/tests/rotate.rs"), 0);
    assert_eq!(tree("src/app/keys.rs", "#[cfg(test)] mod tests;", "src/app/keys/tests.rs"), 0);
    assert_eq!(tree("src/app/mod.rs", "#[cfg(test)] mod a { mod b; }", "src/app/a/b.rs"), 0);

    assert_eq!(tree("src/app/mod.rs", "mod tests;", "src/app/tests.rs"), 1);
    assert_eq!(tree("src/app/mod.rs", "#[cfg(test)] mod tests;", "src/app/tests_too.rs"), 1);
    assert_eq!(tree("src/app/keys.rs", "#[cfg(test)] mod tests;", "src/app/tests.rs"), 1);
}

#[test]
fn a_lint_silenced_with_a_reason() {
    keeps("src/app/mod.rs", "#![allow(dead_code, reason = \"generated\")] #[warn(clippy::all)] fn f() {}");
    keeps("src/app/mod.rs", "#[cfg_attr(test, expect(unused, reason = concat!(\"a\", \"b\")))] fn f() {}");
}

#[test]
fn a_file_as_it_should_be() {
    let whole = "//! A room.\n".to_owned() + &"\n".repeat(499);
    assert_eq!(text::check("src/domain/mod.rs", &whole), []);
    assert_eq!(text::check("src/domain/key/format.rs", "use std::fmt; // pk_live_XXXX, todo, XXX_1\n"), []);
    assert_eq!(text::check("src/store/redis/lua/charge.lua", "-- charge\n"), []);
    assert_eq!(text::check("src/lib.rs", "//! The map.\n#![forbid(unsafe_code)]\n"), []);
    assert_eq!(text::check("tests/api.rs", "// TODO is a word that tests may write\n"), []);
}

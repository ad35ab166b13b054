//! The one law as tables. A room that needs a door which is not listed here is a decision: change the design first,
//! write down why, then change the table.

/// Every room and what it may use of the others. `a::b` opens only that part of `a`.
const LAW: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["server", "config", "dial", "domain", "telemetry", "proto"]),
    (
        "server",
        &["grpc", "store", "tokens", "courier", "kms", "metrics", "app", "config", "telemetry", "domain", "proto"],
    ),
    ("grpc", &["app", "domain", "proto"]),
    ("store", &["dial", "app::ports", "domain", "proto"]),
    ("tokens", &["dial", "app::ports", "domain"]),
    ("courier", &["dial", "app::ports", "domain"]),
    ("kms", &["dial", "app::ports", "domain"]),
    ("metrics", &["app::meter", "domain"]),
    ("dial", &[]),
    ("app", &["domain"]),
    ("config", &["domain"]),
    ("telemetry", &["dial", "app::ports", "domain"]),
    ("domain", &[]),
    ("proto", &[]),
];

/// Where a crate may be named.
pub enum Places {
    /// In these modules and below them, nowhere else.
    Only(&'static [&'static str]),
    /// Everywhere but in these modules and below them.
    NotIn(&'static [&'static str]),
}

use Places::{NotIn, Only};

/// A crate, with all crates that continue its name with `_`, and where it may be named.
const CRATES: &[(&str, Places)] = &[
    ("tonic", Only(&["grpc", "server", "cli", "proto"])),
    ("prost", Only(&["grpc", "store::record", "proto", "telemetry::traces"])),
    ("opentelemetry", Only(&["telemetry"])),
    ("tracing_subscriber", Only(&["telemetry"])),
    ("envoy_types", Only(&["grpc"])),
    ("redis", Only(&["store::redis"])),
    ("redb", Only(&["store::embedded"])),
    ("getrandom", Only(&["server"])),
    ("rand", Only(&["server"])),
    ("fastrand", Only(&["server"])),
    ("rustix", Only(&["server"])),
    ("jsonwebtoken", Only(&["tokens"])),
    ("rustls", Only(&["dial", "server::tls"])),
    ("aes_gcm", Only(&["domain::seal"])),
    ("tokio", NotIn(&["domain", "config"])),
    ("tracing", NotIn(&["domain"])),
];

/// The only modules that may read a clock.
const CLOCK: &[&str] = &["server"];
/// The only modules that may print.
const PRINT: &[&str] = &["cli", "main"];
/// Rooms that never wait.
const SYNC: &[&str] = &["domain"];

/// The room called `name`, if there is one.
pub fn room(name: &str) -> Option<&'static str> {
    LAW.iter().map(|(room, _)| *room).find(|room| *room == name)
}

/// The names of all rooms under `src/`.
pub fn rooms() -> String {
    LAW.iter().map(|(room, _)| format!("`{room}`")).collect::<Vec<_>>().join(", ")
}

/// May code in `from` use the item at `target`, a path from the crate's root?
pub fn may_use(from: &str, target: &[String]) -> bool {
    allowed(from).iter().any(|part| lies_in(target, part))
}

/// What `from` may use, as words for a message.
pub fn allowance(from: &str) -> String {
    list(allowed(from))
}

/// Who could reach `target` through a re-export in `from` and may not use it directly.
pub fn smuggled_to(from: &str, target: &[String]) -> Option<&'static str> {
    let users = LAW.iter().filter(|(_, doors)| doors.iter().any(|door| door.split("::").next() == Some(from)));
    users.map(|(user, _)| *user).find(|user| *user != target[0] && !may_use(user, target))
}

/// If `krate` may not be named in `module`: the places where it may.
pub fn crate_forbidden(krate: &str, module: &[String]) -> Option<String> {
    let family = |name: &str| krate == name || krate.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
    let (_, places) = CRATES.iter().find(|(name, _)| family(name))?;
    match places {
        Only(modules) if !in_any(module, modules) => Some(format!("only in {}", list(modules))),
        NotIn(modules) if in_any(module, modules) => Some(format!("everywhere but in {}", list(modules))),
        Only(_) | NotIn(_) => None,
    }
}

/// If a clock may not be read in `module`: the places where it may.
pub fn clock_forbidden(module: &[String]) -> Option<String> {
    (!in_any(module, CLOCK)).then(|| list(CLOCK))
}

/// If nothing may be printed in `module`: the places where it may.
pub fn print_forbidden(module: &[String]) -> Option<String> {
    (!in_any(module, PRINT)).then(|| list(PRINT))
}

/// If code in `module` may not be `async`: why.
pub fn must_not_wait(module: &[String]) -> bool {
    in_any(module, SYNC)
}

fn allowed(from: &str) -> &'static [&'static str] {
    LAW.iter().find(|(room, _)| *room == from).map_or(&[], |(_, doors)| doors)
}

fn in_any(module: &[String], places: &[&str]) -> bool {
    places.iter().any(|place| lies_in(module, place))
}

/// Does `path` lie at or below `place`, written `a::b`?
fn lies_in(path: &[String], place: &str) -> bool {
    let place: Vec<&str> = place.split("::").collect();
    path.len() >= place.len() && place.iter().zip(path).all(|(a, b)| a == b)
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "no other room".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

//! What changed from one state of the files to the next.

use crate::config::{Loaded, RealmChanges, RealmFiles, Settings, check_files, read};
use std::{fs, path::Path, sync::Arc, time::Duration};

const REALM: &str = r#"realm = "NAME"
[[environments]]
name = "live"
prefix = "NAME_"
[[credentials]]
header = "x-key"
[[scopes]]
name = "read"
[[operations]]
name = "read"
routes = ["GET /things"]
scopes = ["read"]
[[limits]]
name = "reads"
limit = 100
window = "1h"
per = ["account"]
operations = ["read"]
"#;

fn write(folder: &Path, name: &str, change: (&str, &str)) {
    let text = REALM.replace(change.0, change.1).replace("NAME", name);
    fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

fn load(folder: &Path) -> Loaded {
    let realms = RealmFiles::Paths(vec![folder.to_owned()]);
    read(&Settings { realms, ..Settings::default() }).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn every_change_is_named_and_what_did_not_change_stays_the_very_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "one", ("", ""));
    write(folder, "two", ("", ""));
    let before = load(folder);
    for (change, parts) in [
        (("limit = 100", "limit = 50"), &["limits.reads.limit (100 -> 50)"][..]),
        (
            ("\"1h\"", "\"2h\"\nprecision = 10"),
            &["limits.reads.precision (new)", "limits.reads.window (\"1h\" -> \"2h\")"],
        ),
        (("name = \"read\"\n", "name = \"read\"\ndefault = true\n"), &["scopes.read.default (new)"]),
        (("/things", "/others"), &["operations.read.routes"]),
        (("NAME_\"", "NAME_x_\""), &["environments.live.prefix"]),
        (("\"reads\"", "\"more\""), &["limits.more (new)", "limits.reads (gone)"]),
    ] {
        // Of a text that stands there several times, the first counts.
        let text = REALM.replacen(change.0, change.1, 1).replace("NAME", "one");
        fs::write(folder.join("one.toml"), text).unwrap();
        let mut now = load(folder);
        let changes = now.changes_since(&before);
        let changed: Vec<&[String]> = changes.changed.iter().map(|(_, parts)| parts.as_slice()).collect();
        assert_eq!(changed, [parts]);
        assert_ne!(now.fingerprint(), before.fingerprint());
        now.keep_equals_of(&before);
        let same = |name| Arc::ptr_eq(now.realms.get(name).unwrap(), before.realms.get(name).unwrap());
        assert!(!same("one") && same("two") && same("keygate"), "{change:?}");
    }
    // Only a comment: another fingerprint, and nothing changed.
    write(folder, "one", ("[[limits]]", "# the limits\n[[limits]]"));
    let mut now = load(folder);
    now.keep_equals_of(&before);
    assert_eq!(now.changes_since(&before), RealmChanges::default());
    assert!(Arc::ptr_eq(now.realms.get("one").unwrap(), before.realms.get("one").unwrap()));
    assert_ne!(now.fingerprint(), before.fingerprint());
}

#[test]
fn realms_that_come_and_go_are_named_and_give_the_built_in_one_other_roles() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "one", ("", ""));
    write(folder, "two", ("", ""));
    let before = load(folder);
    fs::remove_file(folder.join("two.toml")).unwrap();
    write(folder, "three", ("", ""));
    let mut now = load(folder);
    let changes = now.changes_since(&before);
    let names = |realms: &[crate::domain::id::RealmName]| realms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names(&changes.added), names(&changes.removed)), (vec!["three".to_owned()], vec!["two".to_owned()]));
    assert!(changes.changed.is_empty());
    now.keep_equals_of(&before);
    assert!(!Arc::ptr_eq(now.realms.get("keygate").unwrap(), before.realms.get("keygate").unwrap()));
    assert!(Arc::ptr_eq(now.realms.get("one").unwrap(), before.realms.get("one").unwrap()));
}

#[test]
fn a_fingerprint_does_not_hang_on_where_the_files_lie() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&here, &there] {
        write(folder.path(), "one", ("", ""));
        write(folder.path(), "two", ("", ""));
    }
    fs::rename(there.path().join("one.toml"), there.path().join("zzz.toml")).unwrap();
    let (_, checked) = check_files(&[there.path().to_owned()]).unwrap();
    assert_eq!((load(here.path()).fingerprint(), checked.len()), (checked.as_str(), 16));
    // Relative paths are taken from the file's place: in another one it may say something else.
    let (before, mut now) = (load(here.path()), load(there.path()));
    now.keep_equals_of(&before);
    assert!(!Arc::ptr_eq(now.realms.get("two").unwrap(), before.realms.get("two").unwrap()));
}

#[test]
fn settings_that_a_running_server_cannot_take_over_stay_and_are_named() {
    let running = Settings::default();
    let text = "listen = \"127.0.0.1:1\"\nthreads = 3\nrealms = [\"realms\"]\n[log]\nlevel = \"warn\"\n[reload]\ncheck_every = \"1m\"\n\
                [vault]\nremember = \"1s\"\nrelease_on = [\"listen\"]\n[envoy.hosts]\n\"h\" = \"one\"\n";
    let read = Settings::parse("keygate.toml", text, Path::new("")).unwrap();
    let (settings, take_restart) = running.reloaded(read.clone());
    assert_eq!(take_restart, ["listen", "threads", "vault.release_on"]);
    assert_eq!((settings.listen, settings.threads, &settings.log), (running.listen, None, &read.log));
    assert_eq!((&settings.realms, &settings.routing), (&read.realms, &read.routing));
    assert_eq!((settings.check_every, settings.vault.remember), (Duration::from_secs(60), Duration::from_secs(1)));
    assert!(settings.vault.release_on.is_empty());
    assert_eq!(running.reloaded(running.clone()), (running.clone(), Vec::new()));
}

#[test]
fn how_often_files_are_looked_at_is_bounded() {
    let every = |text: &str| {
        let text = format!("[reload]\ncheck_every = {text}\n");
        Settings::parse("k", &text, Path::new(""))
            .map(|settings| settings.check_every)
            .map_err(|found| found.to_string())
    };
    for (text, wanted) in [("\"0s\"", 0), ("\"100ms\"", 100), ("\"5s\"", 5_000), ("\"1h\"", 3_600_000)] {
        assert_eq!(every(text), Ok(Duration::from_millis(wanted)));
    }
    let short = "k:2:15: reload.check_every: is too short; must be \"0s\" for never, or \"100ms\" to \"1h\"";
    assert_eq!(every("\"99ms\""), Err(short.to_owned()));
    for wrong in ["\"61m\"", "5", "\"often\"", "true"] {
        assert!(every(wrong).is_err_and(|said| said.starts_with("k:2:15: reload.check_every: ")), "{wrong}");
    }
}

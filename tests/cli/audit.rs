//! V9 with the command line: exports of the audit log, and everything that `audit verify` finds in one that was tampered with.

use crate::{
    forge::{field, rehash, sign_anew, with},
    on_both_stores,
    run::{Ran, fields, keygate},
    support::{calls::key_for, keygate::Keygate, python, stack::Stack},
};
use keygate::proto::v1::{CreateKey, ManageKeysRequest, manage_keys_request::Operation};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const EVENT: [&str; 12] = [
    "realm",
    "account_id",
    "sequence",
    "at",
    "actor",
    "act",
    "environment",
    "key_id",
    "other_account_id",
    "fields",
    "previous_hash",
    "hash",
];

/// Six events of acme, three of beta, two of gamma: lines 1 to 6, 8 to 10 and 12 to 13; checkpoints behind each, the seal last.
async fn some_history(server: &Keygate) {
    let (id, _) = server.key_in_recovea("acme");
    server.made(&["keys", "rotate", "--realm", "recovea", &id]);
    server.json(&["keys", "suspend", "--realm", "recovea", &id]);
    server.json(&["keys", "update", "--realm", "recovea", &id, "--name", "deploy"]);
    server.json(&["keys", "revoke", "--realm", "recovea", &id, "--reason", "leaked"]);
    server.key_in_recovea("beta");
    server.key_in_recovea("beta");
    server.key_in_recovea("gamma");
}

/// The key that verifies, as `--public-key` takes it.
fn public_key(server: &Keygate) -> String {
    let keys = server.json(&["audit", "public-keys"]);
    assert_eq!((fields(&keys), fields(&keys["keys"][0])), (vec!["keys"], vec!["secret_version", "public_key"]));
    keys["keys"][0]["public_key"].as_str().unwrap().to_owned()
}

/// Exports the realm to a new file and gives its lines.
fn export(server: &Keygate, file: &Path) -> Vec<String> {
    server.ask(&["audit", "export", "--realm", "recovea", file.to_str().unwrap()]).ends(0);
    let text = fs::read_to_string(file).unwrap();
    server.assert_no_secret("an export", &text);
    text.lines().map(ToOwned::to_owned).collect()
}

/// An export, and what judges changed copies of it.
struct Bench {
    lines: Vec<String>,
    key: String,
    folder: TempDir,
}

impl Bench {
    async fn of(stack: &Stack) -> Self {
        some_history(stack).await;
        let folder = tempfile::tempdir().unwrap();
        let lines = export(stack, &folder.path().join("export.jsonl"));
        Self { lines, key: public_key(stack), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, lines: &[String]) -> PathBuf {
        let file = self.file(name);
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        file
    }

    fn verify(&self, files: &[&Path]) -> Ran {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let arguments: Vec<&str> =
            ["audit", "verify", "--public-key", &self.key, "--output", "json"].into_iter().chain(files).collect();
        keygate(&arguments).run()
    }

    /// What is wrong with the export after a change: line, account, event, fault.
    #[track_caller]
    fn after(&self, change: impl FnOnce(&mut Vec<String>)) -> (u64, String, Option<u64>, String) {
        let mut lines = self.lines.clone();
        change(&mut lines);
        assert_ne!(lines, self.lines, "nothing was changed");
        let file = self.write("changed.jsonl", &lines);
        let found = self.verify(&[&file]).ends(3).json();
        assert_eq!(found["verified"], false);
        broken(&found)
    }
}

fn broken(found: &Value) -> (u64, String, Option<u64>, String) {
    let broken = &found["broken"];
    assert_eq!(fields(broken), ["file", "line", "realm", "account_id", "sequence", "fault", "problem"]);
    let text = |name: &str| broken[name].as_str().unwrap_or_default().to_owned();
    (broken["line"].as_u64().unwrap(), text("account_id"), broken["sequence"].as_u64(), text("fault"))
}

fn told(line: u64, account: &str, sequence: u64, fault: &str) -> (u64, String, Option<u64>, String) {
    (line, account.to_owned(), (sequence > 0).then_some(sequence), fault.to_owned())
}

on_both_stores! {
    async fn v9_an_export_is_verified_without_a_server_and_every_tampering_is_named(stack) {
        let bench = Bench::of(&stack).await;
        let kinds: Vec<String> = bench.lines.iter().map(|line| field(line, "type").as_str().unwrap()[..1].to_owned()).collect();
        assert_eq!(kinds.concat(), "eeeeeeceeeceecs");
        assert_eq!(fields(&serde_json::from_str(&bench.lines[0]).unwrap())[1..], EVENT);
        let whole = bench.verify(&[&bench.file("export.jsonl")]).ends(0).json();
        assert_eq!((fields(&whole), &whole["verified"], &whole["broken"]), (vec!["verified", "files", "broken"], &json!(true), &json!(null)));
        let file = &whole["files"][0];
        assert_eq!((&file["realm"], &file["account_id"], &file["accounts"], &file["events"]), (&json!("recovea"), &json!(""), &json!(3), &json!(11)));

        // Each field of an event, of a checkpoint and of the seal.
        for (name, value) in [
            ("at", json!("2030-01-31T12:00:00.000000Z")),
            ("actor", json!("keygate")),
            ("act", json!("key_created")),
            ("environment", json!("test")),
            ("key_id", json!("key_00000000000000000000000000")),
            ("other_account_id", json!("beta")),
            ("fields", json!(["name"])),
            ("fields", json!([])),
            ("previous_hash", json!("00".repeat(32))),
            ("hash", json!("00".repeat(32))),
        ] {
            let changed = bench.after(|lines| lines[2] = with(&lines[2], name, value.clone()));
            assert_eq!(changed, told(3, "acme", 3, "changed"), "{name}");
        }
        assert_eq!(bench.after(|it| it[2] = with(&it[2], "sequence", json!(9))), told(3, "acme", 9, "changed"));
        assert_eq!(bench.after(|it| it[2] = with(&it[2], "account_id", json!("beta"))), told(3, "beta", 3, "changed"));
        assert_eq!(bench.after(|it| it[2] = with(&it[2], "realm", json!("recover"))), told(3, "acme", 3, "changed"));
        for (name, value) in [
            ("length", json!(5)),
            ("head", json!("00".repeat(32))),
            ("at", json!("2030-01-31T12:00:00.000000Z")),
            ("signature", json!("00".repeat(64))),
        ] {
            let (line, _, _, fault) = bench.after(|lines| lines[6] = with(&lines[6], name, value.clone()));
            assert_eq!((line, fault.as_str()), (7, "signature"), "{name}");
        }
        for (name, value) in [
            ("accounts", json!(2)),
            ("digest", json!("00".repeat(32))),
            ("at", json!("2030-01-31T12:00:00.000000Z")),
            ("account_id", json!("acme")),
            ("realm", json!("recover")),
        ] {
            let changed = bench.after(|lines| lines[14] = with(&lines[14], name, value.clone()));
            assert_eq!(changed, told(15, "", 0, "signature"), "{name}");
        }
        let other = json!("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c");
        assert_eq!(bench.after(|it| it[6] = with(&it[6], "public_key", other.clone())), told(7, "acme", 6, "unknown_key"));

        // Deleted, swapped, repeated, cut, added.
        assert_eq!(bench.after(|it| drop(it.remove(1))), told(2, "acme", 3, "missing"));
        assert_eq!(bench.after(|it| drop(it.remove(0))), told(1, "acme", 2, "missing"));
        assert_eq!(bench.after(|it| it.swap(1, 3)), told(2, "acme", 4, "reordered"));
        assert_eq!(bench.after(|it| it.insert(4, it[3].clone())), told(5, "acme", 4, "reordered"));
        assert_eq!(bench.after(|it| drop(it.remove(5))), told(6, "acme", 6, "checkpoint_beyond_chain"));
        assert_eq!(bench.after(|it| drop(it.drain(4..6))), told(5, "acme", 5, "checkpoint_beyond_chain"));
        assert_eq!(bench.after(|it| drop(it.drain(4..7))), told(5, "acme", 5, "cut"));
        assert_eq!(bench.after(|it| drop(it.remove(6))), told(7, "acme", 7, "cut"));
        assert_eq!(bench.after(|it| it.truncate(9)), told(9, "beta", 3, "cut"));
        assert_eq!(bench.after(|it| it.truncate(14)), told(14, "", 0, "cut"));
        assert_eq!(bench.after(Vec::clear), told(0, "", 0, "cut"));
        assert_eq!(bench.after(|it| drop(it.drain(7..11))), told(11, "", 0, "missing"));
        assert_eq!(bench.after(|it| it[..11].rotate_left(7)), told(5, "acme", 1, "reordered"));
        assert_eq!(bench.after(|it| it.push(it[0].clone())), told(16, "", 0, "unsigned"));

        // Two accounts' chains spliced: at the end, and one in the other's place.
        let renamed = |lines: &[String], name: &str| -> Vec<String> {
            lines.iter().map(|line| with(line, "account_id", json!(name))).collect()
        };
        assert_eq!(bench.after(|it| it[9] = renamed(&it[2..3], "beta").remove(0)), told(10, "beta", 3, "spliced"));
        let exchanged = |it: &mut Vec<String>| drop(it.splice(7..10, renamed(&it[0..3], "beta")));
        assert_eq!(bench.after(exchanged), told(11, "beta", 3, "rewritten"));

        // Everything hashed anew after a change: what was signed tells; also when it is changed to fit, or signed by another.
        let rewritten = |it: &mut Vec<String>| {
            it[2] = with(&it[2], "actor", json!("keygate"));
            rehash(&mut it[..6]);
        };
        assert_eq!(bench.after(rewritten), told(7, "acme", 6, "rewritten"));
        let stated = |it: &mut Vec<String>| {
            rewritten(it);
            it[6] = with(&it[6], "head", field(&it[5], "hash"));
        };
        assert_eq!(bench.after(stated), told(7, "acme", 6, "signature"));
        let signed = |it: &mut Vec<String>| {
            rewritten(it);
            sign_anew(it);
        };
        assert_eq!(bench.after(signed), told(7, "acme", 6, "unknown_key"));

        // What is no line of keygate's.
        for change in ["", "nonsense", "{}", "[1]", "{\"type\":\"event\"}"] {
            assert_eq!(bench.after(|it| it[2] = change.to_owned()), told(3, "", 0, "malformed"), "{change}");
        }
        assert_eq!(bench.after(|it| it[2].push(' ')), told(3, "", 0, "malformed"));
        assert_eq!(bench.after(|it| it[2] = it[2].replacen('{', "{\"note\":1,", 1)), told(3, "", 0, "malformed"));
        assert_eq!(bench.after(|it| it[2] = "x".repeat(100_000)), told(3, "", 0, "malformed"));

        // For people: one line that says where and what.
        let mut lines = bench.lines.clone();
        lines.remove(1);
        let file = bench.write("changed.jsonl", &lines);
        let ran = keygate(&["audit", "verify", "--public-key", &bench.key, file.to_str().unwrap()]).run().ends(3);
        let expected = format!("broken: {}:2: account `acme`, event 3: missing: event 2 is not there\n", file.display());
        assert_eq!((ran.stdout, ran.stderr), (expected, String::new()));
    }

    async fn v9_an_older_export_contradicts_a_log_that_was_turned_back_or_made_anew(stack) {
        let bench = Bench::of(&stack).await;
        let old = bench.file("export.jsonl");
        stack.key_in_recovea("acme");
        stack.key_in_recovea("delta");
        let lines = export(&stack, &bench.file("newer.jsonl"));
        let newer = bench.file("newer.jsonl");
        let whole = bench.verify(&[&old, &newer]).ends(0).json();
        assert_eq!((&whole["files"][0]["events"], &whole["files"][1]["events"]), (&json!(11), &json!(14)));
        // The other way round the log has lost what the first file states.
        let error = bench.verify(&[&newer, &old]).ends(3).json();
        assert_eq!(broken(&error), told(7, "acme", 7, "checkpoint_beyond_chain"));
        // An account in its older state, with the signed checkpoint of that time, is not what was sealed.
        let mut mixed = lines;
        mixed.splice(..8, bench.lines[..7].to_vec());
        let mixed = bench.write("mixed.jsonl", &mixed);
        let (_, account, _, fault) = broken(&bench.verify(&[&mixed]).ends(3).json());
        assert_eq!((account.as_str(), fault.as_str()), ("", "spliced"));
    }

    async fn v9_the_lines_of_python_in_the_documentation_verify_an_export(stack) {
        let bench = Bench::of(&stack).await;
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).unwrap();
        let blocks: Vec<&str> = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let [chains, signatures] = blocks[..] else { panic!("{} blocks", blocks.len()) };
        let script = format!("{chains}\n{signatures}");
        let run = |lines: &[String]| {
            let file = bench.write("python.jsonl", lines);
            let mut python = std::process::Command::new(python::environment("audit").join("bin/python"));
            let done = python.arg("-c").arg(&script).arg(file).arg(&bench.key).output().unwrap();
            (done.status.success(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
        };
        assert_eq!(run(&bench.lines), (true, "every chain follows\nevery signature holds\n".to_owned()));
        let after = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = bench.lines.clone();
            change(&mut lines);
            let (well, told) = run(&lines);
            assert!(!well, "{told}");
            told
        };
        assert!(after(&|it| it[2] = with(&it[2], "act", json!("key_created"))).contains("broken at event 3 of acme"));
        assert!(after(&|it| drop(it.remove(5))).contains("the checkpoint of acme does not fit"));
        assert!(after(&|it| it[6] = with(&it[6], "signature", json!("00".repeat(64)))).contains("InvalidSignature"));
        assert!(after(&|it| drop(it.drain(7..11))).contains("the seal does not fit"));
        assert!(after(&|it| drop(it.pop())).contains("the file was cut off"));
    }
}

#[tokio::test]
async fn one_account_is_exported_and_verified_alone_and_through_pipes() {
    let server = Keygate::start(&[]).await;
    some_history(&server).await;
    let key = public_key(&server);
    let ran = server.ask(&["audit", "export", "--realm", "recovea", "--account", "beta", "-"]).ends(0);
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (5, ""));
    let call = keygate(&["audit", "verify", "--public-key", &key, "-"]).stdin(&ran.stdout).run().ends(0);
    let row: Vec<&str> = call.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["-", "recovea", "beta", "1", "3"]);
    // Two keys: the right one need not be the first.
    let other = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let both = ["audit", "verify", "--public-key", other, "--public-key", &key, "-"];
    keygate(&both).stdin(&ran.stdout).run().ends(0);
    let wrong = keygate(&["audit", "verify", "--public-key", other, "-"]).stdin(&ran.stdout).run().ends(3);
    assert!(wrong.stdout.contains("none of the given public keys"), "{wrong:#?}");
}

#[tokio::test]
async fn an_export_is_for_its_owner_and_never_replaces_another() {
    let server = Keygate::start(&[]).await;
    some_history(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl");
    let path = file.to_str().unwrap();
    let export = ["audit", "export", "--realm", "recovea", path];
    server.ask(&export).ends(0).complains("3 accounts, 11 events");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    server.ask(&export).ends(1).complains("cannot make");
    assert_eq!(fs::read(&file).unwrap(), before);
    // What is refused leaves nothing behind.
    let other = folder.path().join("other.jsonl");
    let nobody = ["audit", "export", "--realm", "recovea", "--account", "nobody", other.to_str().unwrap()];
    server.ask(&nobody).ends(5);
    server.ask(&["audit", "export", "--realm", "nowhere", other.to_str().unwrap()]).ends(2);
    assert!(!other.exists());
}

#[tokio::test]
async fn the_log_is_listed_in_tables_and_as_json() {
    let server = Keygate::start(&[]).await;
    some_history(&server).await;
    let all = server.json(&["audit", "list", "--realm", "recovea"]);
    assert_eq!((fields(&all), fields(&all["events"][0])), (vec!["events", "next_page_token"], EVENT.to_vec()));
    assert_eq!(all["events"].as_array().unwrap().len(), 11);
    let first = &all["events"][0];
    assert_eq!(
        (&first["act"], &first["sequence"], &first["key_id"]),
        (&json!("account_created"), &json!(1), &json!(""))
    );
    let count = |more: &[&str]| {
        let list = [&["audit", "list", "--realm", "recovea", "--all", "--page-size", "2"], more].concat();
        server.json(&list)["events"].as_array().unwrap().len()
    };
    assert_eq!((count(&[]), count(&["--account", "beta"])), (11, 3));
    assert_eq!(count(&["--act", "key_revoked", "--act", "key_rotated"]), 2);
    assert_eq!(count(&["--environment", "test"]), 0);
    assert_eq!(count(&["--actor", first["actor"].as_str().unwrap(), "--since", "2020-01-01T00:00:00Z"]), 11);
    assert_eq!(count(&["--until", "2020-01-01T00:00:00Z"]), 0);
    let id = all["events"][1]["key_id"].as_str().unwrap();
    assert_eq!(count(&["--key-id", id]), 5);

    let table = server.ask(&["audit", "list", "--realm", "recovea", "--page-size", "2"]).ends(0);
    assert!(table.stdout.starts_with("ACCOUNT ") && table.stdout.lines().count() == 3, "{table:#?}");
    table.complains("--page-token");
    server.ask(&["audit", "list", "--realm", "recover"]).ends(0).complains("no events");
    assert!(server.ask(&["audit", "public-keys"]).ends(0).stdout.contains(&public_key(&server)));
}

#[tokio::test]
async fn following_shows_a_line_for_each_event_as_it_comes() {
    let server = Keygate::start(&[]).await;
    let (id, _) = server.key_in_recovea("acme");
    for (format, begins) in
        [("table", "     1  "), ("json", "{\"realm\":\"recovea\",\"account_id\":\"acme\",\"sequence\":1,")]
    {
        let follow = ["audit", "follow", "--realm", "recovea", "--account", "acme", "--after", "0", "--output", format];
        let mut child = server.call(&follow).spawn();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().starts_with(begins));
        assert!(lines.next().unwrap().contains(&id));
        let name = ["keys", "update", "--realm", "recovea", &id, "--name", format];
        server.json(&name);
        let updated = lines.find(|line| line.contains("key_updated")).unwrap();
        assert!(updated.contains(&id) && updated.contains("name"), "{updated}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    server.ask(&["audit", "follow", "--realm", "recovea", "--account", "nobody"]).ends(5);
    server
        .ask(&["audit", "follow", "--realm", "recovea", "--account", "acme", "--after", "9"])
        .ends(2)
        .complains("at most 4");
}

#[tokio::test]
async fn denial_and_failure_of_a_verification_differ() {
    let folder = tempfile::tempdir().unwrap();
    let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let missing = folder.path().join("nothing.jsonl");
    let ran = keygate(&["audit", "verify", "--public-key", key, missing.to_str().unwrap()]).run().ends(1);
    ran.complains("cannot open");
    keygate(&["audit", "verify", "--public-key", key, folder.path().to_str().unwrap()]).run().ends(1);
    keygate(&["audit", "verify", "--public-key", key, "-"]).run().ends(3);
    keygate(&["audit", "verify", "-"]).run().ends(2).complains("--public-key");
    for wrong in ["", "8a88", &"00".repeat(32), &format!("01{}", "00".repeat(31)), &"zz".repeat(32)] {
        keygate(&["audit", "verify", "--public-key", wrong, "-"]).run().ends(2);
    }
    let nobody = ["audit", "list", "--realm", "recovea", "--endpoint", "http://127.0.0.1:1"];
    keygate(&nobody).env("KEYGATE_KEY", "x").run().ends(1);
    let server = Keygate::start(&[]).await;
    let call = server.call(&["audit", "list", "--realm", "recovea"]).env("KEYGATE_KEY", "nonsense");
    call.run().ends(4);
    let create = ["keys", "create", "--realm", "keygate", "--account", "staff", "--name", "r", "--scope", "revoker"];
    let (_, revoker) = server.made(&create);
    server
        .ran(server.call(&["audit", "list", "--realm", "recovea"]).env("KEYGATE_KEY", &revoker))
        .ends(4)
        .complains("reader");
}

#[tokio::test]
async fn v9_an_export_from_before_contradicts_a_store_that_was_turned_back() {
    let stack = Stack::redis(&[]).await;
    let redis = stack.redis.as_ref().unwrap();
    some_history(&stack).await;
    let parts: Vec<(String, String)> = ["a", "k", "h", "i", "j", "l"]
        .map(|part| (format!("kg1:{{recovea/beta}}:{part}"), format!("saved:{part}")))
        .into();
    parts.iter().for_each(|(name, saved)| drop(redis.cli(&["COPY", name, saved])));
    stack.key_in_recovea("beta");
    let bench = Bench { lines: Vec::new(), key: public_key(&stack), folder: tempfile::tempdir().unwrap() };
    let (before, after) = (bench.file("before.jsonl"), bench.file("after.jsonl"));
    export(&stack, &before);
    // The account as it was, every record of it whole: keygate itself cannot tell.
    for (name, saved) in &parts {
        redis.cli(&["DEL", name]);
        redis.cli(&["COPY", saved, name]);
    }
    export(&stack, &after);
    bench.verify(&[&after]).ends(0);
    let found = bench.verify(&[&before, &after]).ends(3).json();
    assert_eq!(broken(&found), told(11, "beta", 4, "checkpoint_beyond_chain"));
    // And when it goes on from there, another way.
    stack.key_in_recovea("beta");
    let later = bench.file("later.jsonl");
    export(&stack, &later);
    let found = bench.verify(&[&before, &later]).ends(3).json();
    assert_eq!(broken(&found), told(11, "beta", 4, "rewritten"));
    assert_eq!(found["broken"]["file"], later.to_str().unwrap());
}

#[tokio::test]
async fn a_new_server_secret_signs_with_a_new_key_and_older_exports_keep_theirs() {
    let mut server = Keygate::start(&[]).await;
    some_history(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.jsonl"), folder.path().join("new.jsonl"));
    export(&server, &old);
    let first = public_key(&server);
    server.kill();
    let secrets = server.data_dir().join("secrets");
    let text = fs::read_to_string(&secrets).unwrap();
    fs::write(&secrets, format!("{text}2 {}\n", "5a".repeat(32))).unwrap();
    server.restart().await;
    export(&server, &new);
    let keys = server.json(&["audit", "public-keys"]);
    let of = |at: usize| {
        (keys["keys"][at]["secret_version"].as_u64().unwrap(), keys["keys"][at]["public_key"].as_str().unwrap())
    };
    assert_eq!((of(0).0, of(1)), (2, (1, first.as_str())));
    let (old, new, second) = (old.to_str().unwrap(), new.to_str().unwrap(), of(0).1);
    keygate(&["audit", "verify", "--public-key", &first, "--public-key", second, old, new]).run().ends(0);
    let verify =
        |key: &str, file: &str| keygate(&["audit", "verify", "--public-key", key, file, "--output", "json"]).run();
    verify(&first, old).ends(0);
    verify(second, new).ends(0);
    for (key, file) in [(second, old), (&first, new)] {
        assert_eq!(broken(&verify(key, file).ends(3).json()), told(7, "acme", 6, "unknown_key"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v9_an_export_is_whole_while_others_go_on_writing() {
    let server = Keygate::start(&[]).await;
    some_history(&server).await;
    let (mut client, operator) = (server.client(), server.operator().to_owned());
    let writing = tokio::spawn(async move {
        for number in 0_u64.. {
            let name = format!("key {number}");
            let create = CreateKey { name, ..key_for(["acme", "beta", "new"][number as usize % 3], "live") };
            let act = ManageKeysRequest { realm: "recovea".to_owned(), operation: Some(Operation::Create(create)) };
            client.manage_keys(Keygate::with_key(Some(&operator), act)).await.unwrap();
        }
    });
    let bench = Bench { lines: Vec::new(), key: public_key(&server), folder: tempfile::tempdir().unwrap() };
    let files: Vec<PathBuf> = (0..5).map(|number| bench.file(&format!("{number}.jsonl"))).collect();
    files.iter().for_each(|file| drop(export(&server, file)));
    assert!(!writing.is_finished());
    writing.abort();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let whole = bench.verify(&files).ends(0).json();
    let events: Vec<u64> = (0..5).map(|at| whole["files"][at]["events"].as_u64().unwrap()).collect();
    assert!(events.is_sorted() && events[0] < events[4], "{events:?}");
}

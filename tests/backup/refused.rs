//! What is refused, and in which words: files that are no backups or were tampered with, and whoever may not.

use crate::{
    bench::{Kind, Place, Ran, backing_up, backup, command, folder},
    support::calls::key_for,
};
use keygate::proto::v1::{CreateKey, manage_keys_request::Operation};
use std::{fs, ops::Range, os::unix::fs::PermissionsExt};

const LINE: usize = "keygate backup 1\n".len();

/// Where the parts of a file stand, their lengths included.
fn ranges(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = LINE;
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        found.push(at..at + 4 + length);
        at += 4 + length;
    }
    found
}

#[tokio::test]
async fn every_wrong_file_is_refused_and_nothing_is_written() {
    let (old, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let server = old.serve().await;
    for account in ["acme", "beta"] {
        server.create("recovea", key_for(account, "live")).await;
    }
    backup(&server, &file("good"));
    let good = fs::read(file("good")).unwrap();
    let at = ranges(&good);
    let (count, part) = (at.len(), |number: usize| good[at[number - 1].clone()].to_vec());
    let joined = |numbers: &[usize]| {
        let parts: Vec<Vec<u8>> = numbers.iter().map(|number| part(*number)).collect();
        [good[..LINE].to_vec(), parts.concat()].concat()
    };
    let all: Vec<usize> = (1..=count).collect();
    let without = |number: usize| joined(&all.iter().copied().filter(|one| *one != number).collect::<Vec<_>>());
    let swapped = |one: usize| {
        let mut order = all.clone();
        order.swap(one - 1, one);
        joined(&order)
    };
    let changed = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        bytes
    };
    let not_ours = |number: usize| {
        format!("part {number} is not what keygate wrote there: it was changed, moved, left out or added")
    };
    let cut = |number: usize| format!("it was cut off: part {number} is not whole, or missing");
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        ("empty", Vec::new(), "it is empty".to_owned()),
        ("no backup", b"# keygate server secrets".to_vec(), "it is not a backup of keygate".to_owned()),
        ("no number", b"keygate backup x\n".to_vec(), "it is not a backup of keygate".to_owned()),
        (
            "a long first line",
            [b"keygate backup ".to_vec(), vec![b'1'; 100]].concat(),
            "it is not a backup of keygate".to_owned(),
        ),
        (
            "newer",
            [b"keygate backup 2\n", &good[LINE..]].concat(),
            "it has format 2, and this keygate knows formats up to 1: use the keygate that wrote it, or a newer one"
                .to_owned(),
        ),
        ("the first line alone", good[..LINE].to_vec(), cut(1)),
        ("cut in the first part", good[..LINE + 30].to_vec(), cut(1)),
        ("cut between parts", good[..at[3].start].to_vec(), cut(4)),
        ("cut in a length", good[..at[3].start + 2].to_vec(), cut(4)),
        ("cut in a part", good[..at[3].end - 1].to_vec(), cut(4)),
        ("without its end", good[..at[count - 1].start].to_vec(), cut(count)),
        ("a byte of the header", changed(at[0].start + 24), not_ours(1)),
        ("a byte of a part", changed(at[4].end - 1), not_ours(5)),
        ("a byte of a MAC", changed(at[4].start + 4), not_ours(5)),
        ("a huge length", changed(at[4].start), not_ours(5)),
        ("a part left out", without(3), not_ours(3)),
        ("the header left out", without(1), not_ours(1)),
        ("two parts swapped", swapped(4), not_ours(4)),
        ("a part twice", joined(&[&all[..4], &[4], &all[4..]].concat()), not_ours(5)),
        ("two headers", joined(&[&[1], &all[..]].concat()), not_ours(2)),
        ("two backups", [good.clone(), good.clone()].concat(), format!("it goes on behind its end, part {count}")),
        ("a byte behind the end", [good.clone(), vec![0]].concat(), format!("it goes on behind its end, part {count}")),
    ];
    drop(server);
    for kind in [Kind::Embedded, Kind::Redis] {
        let new = old.sibling(kind);
        for (name, bytes, flaw) in &cases {
            fs::write(file("wrong"), bytes).unwrap();
            let refused = new.restore(&file("wrong"), &[]).ends(1);
            let told = format!("`{}` is not restored: {flaw}", file("wrong").display());
            assert_eq!(refused.message(), told, "{name}");
            assert!(!new.data.path().join("keygate.redb").exists(), "{name}: a store was made");
        }
        // Had anything been written, it would be refused now.
        assert_eq!(new.restore(&file("good"), &[]).ends(0).counts(), [3, 0, 0, 0, 0]);
    }

    // Somebody else's server secret.
    let other = Place::new(Kind::Embedded);
    drop(other.serve().await);
    let theirs = other.restore(&file("good"), &["--merge"]).ends(1).message();
    let flaw = "it hangs on version 1 of the server secret, which this configuration does not have: its keys would not work. Put \
                the server secrets of the server that it was taken of in place";
    assert_eq!(theirs, format!("`{}` is not restored: {flaw}", file("good").display()));
}

#[tokio::test]
async fn places_that_cannot_be_restored_from_or_to_are_named() {
    let (old, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let server = old.serve().await;
    backup(&server, &file("good"));
    let busy = old.restore(&file("good"), &["--merge"]).ends(1).message();
    assert!(busy.ends_with("is in use by another keygate process; stop that one, or name another directory"), "{busy}");
    let missing = old.restore(&file("nothing"), &[]).ends(1).message();
    assert_eq!(
        missing,
        format!("`{}` cannot be opened: No such file or directory (os error 2)", file("nothing").display())
    );
    let pipe = std::process::Command::new("mkfifo").arg(file("pipe")).status().unwrap();
    assert!(pipe.success());
    let held = fs::OpenOptions::new().read(true).write(true).open(file("pipe")).unwrap();
    let pipe = old.restore(&file("pipe"), &[]).ends(1).message();
    drop(held);
    assert!(pipe.ends_with("cannot be restored: it is read twice, so it must be a file on a disk, no pipe"), "{pipe}");
    let empty = Place::new(Kind::Embedded);
    let secretless = empty.restore(&file("good"), &[]).ends(1).message();
    assert!(secretless.contains("secrets` is missing, and everything hangs on it"), "{secretless}");
}

#[tokio::test]
async fn a_backup_is_for_operators_and_there_only_once_it_is_whole() {
    let (old, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let server = old.serve().await;
    let create = CreateKey { scopes: vec!["reader".to_owned()], ..key_for("watchers", "live") };
    let made = server.try_manage_as(Some(server.operator()), "keygate", Operation::Create(create)).await;
    let keygate::proto::v1::manage_keys_response::Result::Created(reader) = made.unwrap() else { panic!("not made") };
    let mut asking = backing_up(&server, &file("theirs"));
    asking.env("KEYGATE_KEY", &reader.secret);
    let refused = Ran::of(asking).ends(4);
    assert_eq!(refused.message(), "this management key lacks the role `operator` for the realm `keygate`");
    assert!(!file("theirs").exists() && !file("theirs.draft").exists());

    backup(&server, &file("mine"));
    assert_eq!(fs::metadata(file("mine")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!file("mine.draft").exists());
    let twice = Ran::of(backing_up(&server, &file("mine"))).ends(1).message();
    assert!(twice.starts_with("cannot make `") && twice.contains("exists"), "{twice}");

    let mut piped = command(&["backup", "--endpoint", &server.endpoint(), "-"]);
    piped.env("KEYGATE_KEY", server.operator());
    fs::write(file("piped"), Ran::of(piped).ends(0).stdout).unwrap();
    let new = old.sibling(Kind::Embedded);
    assert_eq!(new.restore(&file("piped"), &[]).ends(0).counts()[0], 2);
}

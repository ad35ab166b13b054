//! The commands that change the file.

use crate::run::{done, secrets, shows_no_secret, version};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::ExitStatusExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const A: &str = "abababababababababababababababababababababababababababababababab";

fn folder(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secrets");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    (folder, file)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_rotation_adds_a_version_that_waits_and_leaves_all_else() {
    let before = format!("# ours\n1 {A}");
    let (folder, file) = folder(&before);
    let told = done(&file, &["rotate", "--retire-after", "90d"]);
    assert_eq!(version(&told, 2)["state"], "pending");
    assert_eq!(version(&told, 1)["state"], "current");
    assert_eq!(done(&file, &["show"]), told);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "# ours"));
    assert!(lines[1].starts_with(&format!("1 {A} until=")), "{}", lines[1]);
    let (from, until) =
        (version(&told, 2)["used_from"].as_str().unwrap(), version(&told, 1)["retires_at"].as_str().unwrap());
    let words: Vec<&str> = lines[2].split(' ').collect();
    assert_eq!((words[0], words[1].len(), words[2]), ("2", 64, &*format!("from={from}")));
    let instant = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(instant(until).duration_since(instant(from)), jiff::SignedDuration::from_hours(90 * 24));
    let wait = instant(from).duration_since(jiff::Timestamp::now());
    assert!(wait <= jiff::SignedDuration::from_mins(11) && wait > jiff::SignedDuration::from_mins(5), "{wait:?}");
    // Mode kept, nothing left behind.
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&folder), ["secrets"]);

    done(&file, &["retire", "1", "--at", "never"]);
    assert!(!fs::read_to_string(&file).unwrap().contains("until="));
    let told = done(&file, &["retire", "1", "--at", "2999-01-31"]);
    assert_eq!(version(&told, 1)["retires_at"], "2999-01-31T00:00:00Z");
    let table = secrets(&["show", "--file"]).arg(&file).output().unwrap();
    shows_no_secret(&file, &table);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("VERSION  STATE") && table.contains("2999-01-31T00:00:00Z"), "{table}");
}

#[test]
fn the_owner_stays_or_nothing_is_written() {
    let (_folder, file) = folder(&format!("1 {A}\n"));
    if chown(&file, Some(12_345), Some(12_346)).is_err() {
        // Only root gives files away; whoever else runs this has nothing to lose.
        return;
    }
    done(&file, &["rotate"]);
    let owner = fs::metadata(&file).unwrap();
    assert_eq!((owner.uid(), owner.gid(), owner.mode() & 0o777), (12_345, 12_346, 0o640));
}

#[test]
fn a_link_stays_a_link() {
    let (folder, file) = folder(&format!("1 {A}\n"));
    let link = folder.path().join("link");
    symlink("secrets", &link).unwrap();
    done(&link, &["rotate", "--use-from", "now"]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(version(&done(&file, &["show"]), 2)["state"], "current");
}

#[test]
fn what_cannot_be_done_is_told_and_changes_nothing() {
    let one = format!("1 {A}\n");
    let waits = format!("1 {A}\n2 {} from=2999-01-01T00:00:00Z\n", "cd".repeat(32));
    let both = format!("1 {A}\n2 {}\n", "cd".repeat(32));
    let last = format!("{} {A}\n", u32::MAX);
    for (text, arguments, said) in [
        (&waits, &["rotate"][..], "version 2 waits to be used from 2999-01-01T00:00:00Z on; rotate again after that"),
        (
            &one,
            &["rotate", "--use-from", "2020-01-01T00:00:00Z"],
            "the time to use the new version from is over; name one to come, or `now`",
        ),
        (
            &one,
            &["rotate", "--use-from", "2y"],
            "allowed are a span such as `10m`, a time such as `2030-01-31T12:00:00Z`, or `now`",
        ),
        (&one, &["rotate", "--use-from", "60w"], "a new version has to be used within a year"),
        (&one, &["rotate", "--retire-after", "soon"], "allowed are whole numbers with a unit"),
        (&last, &["rotate"], "there is no number left for another version"),
        (&both, &["retire", "7", "--at", "now"], "holds no version 7; it holds 1, 2"),
        (&both, &["retire", "1", "--at", "2020-01-01"], "the time to retire it at is over; name one to come, or `now`"),
        (&both, &["retire", "1", "--at", "soon"], "a day such as `2030-01-31`, or `never`"),
        (&both, &["retire", "1"], "--at"),
        (
            &both,
            &["retire", "2", "--at", "2999-01-01"],
            "line 2: the newest version must not have `until`: nothing takes its place",
        ),
        (
            &waits,
            &["retire", "1", "--at", "2998-01-01"],
            "line 1: `until` must not come before a newer version is used",
        ),
        (&"1 dead\n".to_owned(), &["rotate"], "line 1: must be `VERSION SECRET`"),
        (&String::new(), &["show"], "line 0: must hold at least one secret, and each version once"),
    ] {
        let (folder, file) = folder(text);
        let output = secrets(arguments).arg("--file").arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{arguments:?}: {output:?}");
        shows_no_secret(&file, &output);
        assert_eq!((&fs::read_to_string(&file).unwrap(), names(&folder)), (text, vec!["secrets".to_owned()]));
    }
    let output = secrets(&["rotate", "--file", "/nowhere/secrets"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("`/nowhere/secrets` is missing"), "{told}");
}

#[test]
fn one_at_a_time() {
    let (folder, file) = folder(&format!("1 {A}\n"));
    let held = fs::File::open(folder.path()).unwrap();
    held.lock().unwrap();
    let output = secrets(&["rotate", "--file"]).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("somebody else is changing it just now; try again when they are done"), "{told}");
    held.unlock().unwrap();

    // Whoever is done has added a version; nobody's is lost.
    let run = || {
        secrets(&["rotate", "--use-from", "now", "--file"])
            .arg(&file)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let all: Vec<_> = (0..8).map(|_| run()).collect();
    let done_count = all.into_iter().filter_map(|mut child| child.wait().unwrap().success().then_some(())).count();
    assert!(done_count > 0);
    assert_eq!(done(&file, &["show"])["versions"].as_array().unwrap().len(), 1 + done_count);
}

#[test]
fn a_rotation_that_is_killed_half_way_leaves_the_old_file() {
    let before = format!("1 {A}\n");
    let (folder, file) = folder(&before);
    // No file may grow: the first byte of the draft kills it.
    let shell = format!(
        "ulimit -c 0; ulimit -f 0; exec {} secrets rotate --file {}",
        crate::support::keygate::BINARY,
        file.display()
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    assert!(output.status.signal().is_some(), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(names(&folder).len(), 2, "its draft stays for now");

    // Wherever it is killed: the file is the old one or the new one, whole.
    let mut versions = 1;
    for round in 0..20_u64 {
        let mut child =
            secrets(&["rotate", "--use-from", "now", "--file"]).arg(&file).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(700 * round));
        let _ = child.kill();
        child.wait().unwrap();
        let found = done(&file, &["show"])["versions"].as_array().unwrap().len();
        assert!(found == versions || found == versions + 1, "{found} after {versions}");
        versions = found;
    }
    done(&file, &["rotate", "--use-from", "now"]);
}

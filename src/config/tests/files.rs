//! Mistakes of files beside each other: they clash, or cannot be read.

use super::mistakes::{SOUND, lines};
use crate::config::{RealmFiles, Settings, check_files, load};
use std::fs;

#[test]
fn files_that_clash_with_each_other_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("a.toml", SOUND);
    put("b.toml", SOUND);
    put("c.toml", &SOUND.replace("acme", "keygate").replace("ac_live_", "kgop_x_"));
    put("d.toml", &SOUND.replace("acme", "dale").replace("ac_live_", "ac_"));
    put("e.toml", "realm = 5");
    put("ignored.txt", "nothing");
    let settings = Settings { realms: RealmFiles::Paths(vec![directory.path().to_owned()]), ..Settings::default() };
    let place = format!("{}/", directory.path().display());
    let found: Vec<_> = lines(load(&settings)).iter().map(|line| line.replace(&place, "")).collect();
    let expected = [
        "b.toml:2:9: realm: `acme` is the realm of a.toml:2:9 already; must be another name",
        "b.toml:5:10: environments[0].prefix: `ac_live_` and `ac_live_` of a.toml:5:10 begin alike; no prefix may begin with another one",
        "c.toml:2:9: realm: `keygate` is the built-in realm; must be another name",
        "c.toml:5:10: environments[0].prefix: `kgop_x_` and `kgop_` of built-in realm `keygate`:8:10 begin alike; no prefix may begin with another one",
        "d.toml:5:10: environments[0].prefix: `ac_` and `ac_live_` of a.toml:5:10 begin alike; no prefix may begin with another one",
        "e.toml:1:1: credentials: is missing; must be at least one `[[credentials]]` with `header` and, if there is one, `scheme`",
        "e.toml:1:1: environments: is missing; must be at least one `[[environments]]` with `name`, `prefix` and `body_length`",
        "e.toml:1:9: realm: is a whole number; must be a text in quotes",
    ];
    assert_eq!(found, expected);

    let summaries = check_files(&[directory.path().join("a.toml")]).unwrap().0;
    assert_eq!(summaries[0].name.as_str(), "acme");
    assert_eq!(summaries[0].environments, [("live".to_owned(), "ac_live_".to_owned())]);
}

#[test]
fn files_that_cannot_be_read_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, odd) = (directory.path().join("empty"), directory.path().join("odd.toml"));
    fs::create_dir(&empty).unwrap();
    fs::write(&odd, b"realm = \"\xff\"").unwrap();
    let found = lines(check_files(&[directory.path().join("absent.toml"), empty, odd]));
    let ends = [
        "absent.toml: cannot be read: No such file or directory (os error 2); must be a readable file",
        "empty: holds no realm; must be a file, or a directory with `*.toml` files",
        "odd.toml: is not UTF-8 from byte 9 on; must be UTF-8 text",
    ];
    assert_eq!(found.len(), ends.len(), "{found:?}");
    assert!(found.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{found:#?}");
}

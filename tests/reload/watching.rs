//! Changes that nobody tells of: files replaced, written in place, and swapped by a link as Kubernetes does it.

use crate::{
    support::calls::Answered,
    world::{NEVER, OFTEN, RELOADED, World, read, realm},
};
use std::{fs, os::unix::fs::symlink, time::Duration};

#[tokio::test]
async fn files_that_are_replaced_or_written_in_place_are_taken_over_unasked() {
    let world = World::start(OFTEN, &[("one", realm("one", 100))]).await;
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    world.write("one", &realm("one", 90));
    world.until_count(RELOADED, 1).await;
    assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].limit, 90);
    // In place, and in two steps: what stands there in between is a mistake or half a realm.
    let text = realm("one", 80);
    fs::write(world.realm_file("one"), &text[..text.len() / 2]).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::write(world.realm_file("one"), &text).unwrap();
    world.until_count(RELOADED, 2).await;
    assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].limit, 80);
    // The same again is nothing new.
    world.write("one", &text);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.count(RELOADED), 2);
}

#[tokio::test]
async fn a_volume_of_kubernetes_is_taken_over_when_its_link_is_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let revision = |name: &str, limit| {
        fs::create_dir(at(name)).unwrap();
        for realm_name in ["one", "two"] {
            fs::write(at(name).join(format!("{realm_name}.toml")), realm(realm_name, limit)).unwrap();
        }
    };
    revision("..2024_01", 100);
    symlink("..2024_01", at("..data")).unwrap();
    for name in ["one.toml", "two.toml"] {
        symlink(format!("..data/{name}"), at(name)).unwrap();
    }
    let world = World::start(OFTEN, &[("own", realm("own", 100))]).await;
    // The settings name the volume; flags went before them.
    let settings = format!("realms = [\"{}\"]\n[reload]\ncheck_every = \"100ms\"\n", folder.path().display());
    let config = world.at("mounted.toml");
    fs::write(&config, settings).unwrap();
    let keygate = crate::support::keygate::Keygate::start(&["--config", config.to_str().unwrap()]).await;
    let keys = [keygate.new_key("one", "acme", "live").await.1, keygate.new_key("two", "acme", "live").await.1];
    revision("..2024_02", 200);
    symlink("..2024_02", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..2024_01")).unwrap();
    keygate.wait_for_output(RELOADED).await;
    for (name, key) in ["one", "two"].into_iter().zip(&keys) {
        let answer = keygate.authenticate(read(name, key)).await;
        assert_eq!(answer.limits[0].limit, 200);
        answer.allowed();
    }
}

#[tokio::test]
async fn without_looking_only_the_signal_counts() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    world.write("one", &realm("one", 90));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.count(RELOADED), 0);
    world.reload().await;
    // Nothing changed since: it is told all the same that the files were read.
    world.reload().await;
    assert!(world.line(RELOADED).contains("added: nothing; removed: nothing; changed: nothing"));
}

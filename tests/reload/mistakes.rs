//! Files that are wrong: each is refused with every mistake named, and what was there before goes on.

use crate::{
    support::calls::Answered,
    world::{NEVER, OFTEN, REFUSED, RELOADED, World, read, realm},
};
use std::fs;
use tonic_health::pb::health_check_response::ServingStatus;

#[tokio::test]
async fn every_mistake_is_named_and_the_old_files_serve_until_the_new_ones_are_right() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    let good = realm("one", 100);
    let with = |more: &str| format!("{good}\n{more}");
    // A realm file, and what is said of it.
    let rows: [(String, &[&str]); 8] = [
        (String::new(), &["one.toml:1:1: realm: is missing", "environments: is missing", "credentials: is missing"]),
        (good.replace("limit = 100", "limit = \"many\""), &["limits[0].limit: is a text; must be"]),
        (good.replace("limit = 100", "limit = 100\nlimit = 5"), &["duplicate key"]),
        (
            good.replace("limit = 100", "limit = 0").replace("status = 401", "status = 7"),
            &["limits[0].limit: `0` is out of range", "errors[0].status: `7` is out of range"],
        ),
        (good.replace("\"one\"", "\"keygate\""), &["realm: `keygate` is the built-in realm"]),
        (
            with("[[tokens]]\nissuer = \"https://i.test\"\naudiences = [\"a\"]\nalgorithms = [\"ES256\"]\njwks_file = \"gone.json\"")
                .replace("header = \"x-key\"", "header = \"x-key\"\naccepts = [\"key\", \"token\"]"),
            &["gone.json` cannot be read: No such file or directory"],
        ),
        (
            with("[[webhooks]]\nname = \"w\"\nurl = \"https://w.test/\"\nsecret_file = \"gone\"\nevents = [\"key.revoked\"]"),
            &["the webhook `w` of realm `one` cannot be sent to: its secret is missing"],
        ),
        (good[..good.len() / 2].to_owned(), &["one.toml:"]),
    ];
    for (refused, (text, said)) in rows.iter().enumerate() {
        world.write("one", text);
        world.told().await;
        assert_eq!(world.count(REFUSED), refused + 1, "{text}\n{}", world.stack.output());
        for problem in *said {
            assert!(world.stack.output().contains(problem), "`{problem}` was not said:\n{}", world.stack.output());
        }
        // Health can be asked a moment before it was told.
        tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while world.configuration().await != ServingStatus::NotServing {}
        })
        .await
        .unwrap();
        assert_eq!(world.stack.health().await, ServingStatus::Serving);
        world.stack.authenticate(read("one", &key)).await.allowed();
    }
    world.write("one", &realm("one", 90));
    world.reload().await;
    assert!(world.line(RELOADED).contains("generation=2"), "what was refused is no generation");
    assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].limit, 90);
    tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while world.configuration().await != ServingStatus::Serving {}
    })
    .await
    .unwrap();
}

/// What is said at a reload is what `realm check` says.
#[tokio::test]
async fn the_command_that_checks_says_the_same() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    world.write("one", &realm("one", 0).replace("status = 401", "status = 7"));
    world.write("two", &realm("one", 5));
    world.told().await;
    let realms = world.at("realms");
    let mut check = std::process::Command::new(crate::support::keygate::BINARY);
    let checked = check.args(["realm", "check"]).arg(realms).output().unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let text = String::from_utf8(checked.stderr).unwrap();
    let mistakes: Vec<&str> = text.lines().filter(|line| line.contains(".toml:")).map(str::trim).collect();
    assert!(mistakes.len() >= 3, "{text}");
    for mistake in mistakes {
        assert!(world.stack.output().contains(mistake), "`{mistake}` was not said:\n{}", world.stack.output());
    }
}

#[tokio::test]
async fn mistakes_of_all_kinds_of_files_are_told_at_once_and_once() {
    let world = World::start(OFTEN, &[("one", realm("one", 100))]).await;
    fs::write(world.at("keygate.toml"), "listen = 7\nnonsense = true\n[reload]\ncheck_every = \"1ms\"\n").unwrap();
    world.until_count(REFUSED, 1).await;
    for problem in
        ["keygate.toml:1:10: listen:", "nonsense", "reload.check_every: is too short; must be \"0s\" for never, or"]
    {
        assert!(world.stack.output().contains(problem), "{problem}:\n{}", world.stack.output());
    }
    fs::write(world.at("keygate.toml"), "[reload]\ncheck_every = \"100ms\"\n").unwrap();
    world.until_count(RELOADED, 1).await;

    world.write("one", &realm("one", 0));
    fs::remove_file(world.stack.data_dir().join("secrets")).unwrap();
    world.until(|| world.stack.output().contains("secrets` is missing, and everything hangs on it")).await;
    world.until(|| world.stack.output().contains("limits[0].limit: `0` is out of range")).await;
    // Looked at many times more: what is known is not said again.
    let said = world.stack.output().matches("limits[0].limit: `0` is out of range").count();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.stack.output().matches("limits[0].limit: `0` is out of range").count(), said);
}

/// What flags say stays in place of what the file says, or nothing is taken over: never the file alone.
#[tokio::test]
async fn a_file_that_does_not_go_together_with_the_flags_is_refused() {
    let world = World::on_redis(NEVER, &[("one", realm("one", 100))]).await;
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    let settings = format!("[reload]\ncheck_every = \"{NEVER}\"\n[store.redis.tls]\nca_file = \"ca.pem\"\n");
    fs::write(world.at("keygate.toml"), settings).unwrap();
    let refused = world.count(REFUSED);
    world.told().await;
    assert_eq!(world.count(REFUSED), refused + 1, "{}", world.stack.output());
    assert!(world.stack.output().contains("rediss://"), "{}", world.stack.output());
    world.stack.authenticate(read("one", &key)).await.allowed();
}

#[tokio::test]
async fn settings_that_take_a_restart_are_named_and_keep_nothing_from_being_taken_over() {
    let settings = "threads = 2\n[limits]\nacts = 50\n[envoy.domains]\nd = \"one\"";
    let world = World::with(None, NEVER, &[("one", realm("one", 100))], settings).await;
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    let settings = settings.replace("threads = 2", "threads = 3\nlisten_unix = \"k.sock\"").replace("50", "60");
    let settings = settings.replace("d = ", "e = ");
    fs::write(world.at("keygate.toml"), format!("{settings}\n[reload]\ncheck_every = \"{NEVER}\"\n")).unwrap();
    world.write("one", &realm("one", 70));
    world.reload().await;
    let warning = world.line("take a restart");
    assert!(warning.contains("WARN") && warning.ends_with("`listen_unix`, `threads`, `limits`"), "{warning}");
    assert!(world.line(RELOADED).contains("`[envoy]`"), "{}", world.line(RELOADED));
    assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].limit, 70);
    assert!(!world.at("k.sock").exists());
    // Back as they were: there is nothing to warn of.
    fs::write(world.at("keygate.toml"), "threads = 2\n[limits]\nacts = 50\n[reload]\ncheck_every = \"0s\"\n").unwrap();
    world.reload().await;
    assert_eq!(world.count("take a restart"), 1);
}

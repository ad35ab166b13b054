//! Realms that come, change and go.

use crate::{
    support::calls::{Answered, by_key, well_formed},
    world::{NEVER, World, read, realm, write},
};
use keygate::proto::v1::DenyReason;
use std::time::Duration;
use tonic::Code;

macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($world:ident, $realms:expr) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn row($world: World) $body

            #[tokio::test]
            async fn embedded() {
                row(World::start(NEVER, &$realms).await).await;
            }

            #[tokio::test]
            async fn redis() {
                row(World::on_redis(NEVER, &$realms).await).await;
            }
        }
    )*};
}

on_both! {
    async fn a_realm_comes_goes_and_comes_back_with_its_keys(world, [("one", realm("one", 100))]) {
        let (_, one) = world.stack.new_key("one", "acme", "live").await;
        let nobodys = |realm: &str| by_key(realm, &well_formed("two_live_", &"a".repeat(22)));
        let unknown = world.stack.try_authenticate(nobodys("two")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::InvalidArgument);

        world.write("two", &realm("two", 50));
        world.reload().await;
        let said = world.line("was reloaded");
        for part in ["added: realm `two`;", "removed: nothing;", "changed: nothing", "generation=2", "fingerprint="] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (_, two) = world.stack.new_key("two", "acme", "live").await;
        assert_eq!(world.stack.authenticate(read("two", &two)).await.limits[0].limit, 50);

        world.remove("two");
        world.reload().await;
        assert!(world.line("was reloaded").contains("removed: realm `two`;"));
        let gone = world.stack.try_authenticate(by_key("two", &two)).await.unwrap_err();
        assert_eq!((gone.code(), gone.message()), (unknown.code(), unknown.message()));
        world.stack.authenticate(read("one", &one)).await.allowed();

        world.write("two", &realm("two", 60));
        world.reload().await;
        let back = world.stack.authenticate(read("two", &two)).await;
        // What was counted before still counts: the window is not over.
        assert_eq!((back.limits[0].limit, back.limits[0].remaining), (60, 58));
        back.allowed();
    }

    async fn a_change_holds_from_the_next_request_on(world, [("one", realm("one", 100))]) {
        let (_, key) = world.stack.new_key("one", "acme", "live").await;
        for left in [99, 98, 97] {
            assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].remaining, left);
        }
        // Lowered below what was used, raised, and counted over another window.
        let text = realm("one", 3);
        world.write("one", &text);
        world.reload().await;
        assert!(world.stack.output().contains("changed: limits.reads.limit (100 -> 3)"), "{}", world.stack.output());
        assert!(world.line("was reloaded").contains("changed: realm `one`"));
        world.stack.authenticate(read("one", &key)).await.denied_for(DenyReason::RateLimited);
        world.write("one", &realm("one", 5));
        world.reload().await;
        assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].remaining, 1);
        world.write("one", &realm("one", 5).replace("\"1h\"", "\"2h\""));
        world.reload().await;
        assert_eq!(world.stack.authenticate(read("one", &key)).await.limits[0].remaining, 4);

        // Scopes, routes, the words of errors.
        world.stack.authenticate(write("one", &key)).await.denied_for(DenyReason::InsufficientScope);
        world.write("one", &realm("one", 5).replace("scopes = [\"write\"]", "scopes = [\"read\"]"));
        world.reload().await;
        world.stack.authenticate(write("one", &key)).await.allowed();
        world.write("one", &realm("one", 5).replace("GET /things", "GET /others"));
        world.reload().await;
        world.stack.authenticate(read("one", &key)).await.denied_for(DenyReason::UnknownOperation);
        let stranger = || by_key("one", &well_formed("one_live_", &"b".repeat(22)));
        assert!(world.stack.authenticate(stranger()).await.denied().body.contains("who are you"));
        world.write("one", &realm("one", 5).replace("who are you", "never heard of you"));
        world.reload().await;
        assert!(world.stack.authenticate(stranger()).await.denied().body.contains("never heard of you"));

        // Another prefix: keys are told apart by it, so the old ones are no keys, until it is back.
        world.write("one", &realm("one", 5).replace("one_live_", "other_live_"));
        world.reload().await;
        world.stack.authenticate(read("one", &key)).await.denied();
        world.write("one", &realm("one", 5));
        world.reload().await;
        world.stack.authenticate(read("one", &key)).await.allowed();
    }
}

/// What is kept of a state of the configuration goes with it: numbers are the plainest sign of it.
#[tokio::test]
async fn nothing_is_kept_of_a_realm_that_went() {
    let settings = "[operations]\nlisten = \"127.0.0.1:0\"\n";
    let world = World::with(None, NEVER, &[("one", realm("one", 100)), ("two", realm("two", 50))], settings).await;
    let shown = async |realm: &str| {
        world.stack.operations("GET /metrics", "").await.body.contains(&format!("realm=\"{realm}\""))
    };
    assert!(shown("one").await && shown("two").await);
    world.remove("two");
    world.reload().await;
    // With the next step of the work in the background, a second at most, nobody holds the old state any more.
    let mut looks = 0;
    while shown("two").await {
        looks += 1;
        assert!(looks < 100, "it is shown for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(shown("one").await);
    world.write("two", &realm("two", 50));
    world.reload().await;
    assert!(shown("two").await);
}

#[tokio::test]
async fn operators_roles_follow_the_realms() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    world.write("two", &realm("two", 100));
    world.reload().await;
    let mut role = crate::support::calls::key_for("platform", "default");
    role.environment = String::new();
    role.scopes = vec!["reader@two".to_owned()];
    // The scope is one since the realm is.
    world.stack.create("keygate", role).await;
}

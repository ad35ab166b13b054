//! Redis exactly as `deploy/redis` sets it up, without the user of the tests.

use crate::{
    support::{
        calls::{Answered, by_key},
        keygate::Keygate,
        redis::{RedisServer, binary, shipped_users},
    },
    until,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Redis reads its append-only file as the default user, and leaves out every transaction in it that this user may not run:
/// with `user default off` alone a restart forgets keys, without an error to anybody.
#[tokio::test]
async fn a_restart_with_the_shipped_users_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, users) = (folder.path().join("redis.sock"), folder.path().join("users.acl"));
    let socket = socket.to_str().unwrap();
    let mut redis = RedisServer::start_with(&["--unixsocket", socket]);
    let url = redis.url();
    let (_, login) = url.split_once("//").unwrap();
    let (user, password) = login.split_once('@').unwrap().0.split_once(':').unwrap();
    let url = format!("unix://{socket}?user={user}&pass={password}");
    let keygate = Keygate::start(&["--store", "redis", "--redis-url", &url]).await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let (gone, dead) = keygate.new_key("recurr", "acme", "live").await;
    keygate.revoke("recurr", &gone).await;

    redis.kill();
    fs::write(&users, shipped_users()).unwrap();
    let mut command = Command::new(binary());
    command.args(["--port", "0", "--unixsocket", socket, "--appendonly", "yes", "--maxmemory-policy", "noeviction"]);
    command.arg("--aclfile").arg(&users).arg("--dir").arg(redis.dir());
    let _redis = Running(command.stdout(Stdio::null()).spawn().unwrap());
    until("it answers again", async || keygate.try_authenticate(by_key("recurr", &key)).await.is_ok()).await;
    assert_eq!(keygate.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
    keygate.authenticate(by_key("recurr", &dead)).await.denied();
}

//! keygate on one of its stores, and the macro that runs a test on each.

use super::{
    keygate::{DataDir, Keygate},
    redis::RedisServer,
};
use std::fs;

/// A server and, where it stores in one, its Redis.
pub struct Stack {
    // The order matters: keygate ends before its store.
    pub keygate: Keygate,
    pub redis: Option<RedisServer>,
}

impl Stack {
    /// On the embedded store.
    pub async fn embedded(arguments: &[&str]) -> Self {
        Self { keygate: Keygate::start(arguments).await, redis: None }
    }

    /// On a Redis of its own.
    pub async fn redis(arguments: &[&str]) -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        let store = ["--store", "redis", "--redis-url", &url];
        let keygate = Keygate::start(&[&store, arguments].concat()).await;
        Self { keygate, redis: Some(redis) }
    }
}

impl Stack {
    /// A second server on the same Redis.
    pub async fn second(&self, arguments: &[&str]) -> Keygate {
        let data = DataDir::new();
        fs::copy(self.data_dir().join("secrets"), data.path().join("secrets")).expect("the first server has secrets");
        let url = self.redis.as_ref().expect("two servers share a Redis").url();
        let store = ["--store", "redis", "--redis-url", &url];
        let started = Keygate::try_start(data, &[&store, arguments].concat()).await;
        started.unwrap_or_else(|ended| panic!("the second server ended: {ended:#?}"))
    }
}

impl std::ops::Deref for Stack {
    type Target = Keygate;

    fn deref(&self) -> &Keygate {
        &self.keygate
    }
}

/// `on_both_stores! { async fn name(stack) { … } }` makes the tests `name::embedded` and `name::redis`, where `stack` is a
/// `Stack` of their own.
#[macro_export]
macro_rules! on_both_stores {
    ($($(#[$attribute:meta])* async fn $name:ident($stack:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "what the body uses stands in the file")]
            use super::*;

            #[allow(unused_mut, reason = "some bodies restart the server")]
            async fn row(mut $stack: $crate::support::stack::Stack) $body

            #[tokio::test]
            async fn embedded() {
                row($crate::support::stack::Stack::embedded(&[]).await).await;
            }

            #[tokio::test]
            async fn redis() {
                row($crate::support::stack::Stack::redis(&[]).await).await;
            }
        }
    )*};
}

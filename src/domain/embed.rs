//! Embed tokens: short-lived credentials that the owner of a key hands on, each for one account that the key reaches. One is
//! never wider than its key, and dead when the key is: every decision reads the key.

use super::{
    id::{AccountId, KeyId},
    token::Token,
};
use std::{sync::Arc, time::Duration};

/// How far the clocks of two servers may be apart: a token begins to hold that much before it was minted.
pub const EMBED_LEEWAY: Duration = Duration::from_secs(30);

/// What a realm says of the embed tokens that are minted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedRules {
    /// How long a token holds, unless whoever mints it says otherwise.
    pub lifetime: Duration,
    /// How long it may hold at most.
    pub longest: Duration,
}

/// An embed token, its signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedToken {
    /// What it says as any token does. The account is that of the key.
    pub token: Arc<Token>,
    /// The key that it was minted from.
    pub key: KeyId,
    /// The one account that it is for.
    pub target: AccountId,
}

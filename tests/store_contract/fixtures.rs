//! Small values that the cases are made of.

use keygate::domain::{
    account::Account,
    audit::Actor,
    commit::Change,
    envelope::{Envelope, Template},
    id::{AccountId, AccountRef, Environment, KeyId, RealmName},
    key::{
        Acting, Creation, Digest, DigestScheme, HintStyle, KeyFormat, KeyRecord, Minted, SecretRing, ServerSecret,
        create,
    },
    limit::{LimitRule, OnStoreFailure, Part, Plan, Shape, Subject},
    realm::{EnvironmentRules, KeyPolicy, OperationSet, Operations, RateHeaders, Realm, Scopes, WhenFull},
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use zeroize::Zeroizing;

pub const REALM: &str = "contract";

pub fn realm_name() -> RealmName {
    RealmName::new(REALM).unwrap()
}

pub fn owner(account: &str) -> AccountRef {
    AccountRef { realm: realm_name(), account: AccountId::new(account).unwrap() }
}

pub fn live() -> Environment {
    Environment::new("live").unwrap()
}

/// A server secret that is made of one byte.
pub fn ring(versions: &[(u32, u8)]) -> SecretRing {
    let secrets = versions.iter().map(|(version, byte)| ServerSecret::new(*version, Zeroizing::new([*byte; 32])));
    SecretRing::new(secrets.collect()).unwrap()
}

static POLICY: KeyPolicy = KeyPolicy {
    max_active_keys: None,
    when_full: WhenFull::Refuse,
    default_grace: Duration::ZERO,
    max_grace: Duration::from_secs(86_400),
    default_lifetime: None,
    max_lifetime: None,
    suspend_unused_after: None,
};

/// keygate itself, acting on an account.
pub fn acting<'a>(owner: &'a AccountRef, account: Option<&'a Account>, now: Timestamp) -> Acting<'a> {
    Acting { owner, account, policy: &POLICY, actor: &Actor::System, now }
}

pub fn realm() -> Realm {
    realm_named(REALM)
}

pub fn realm_named(name: &str) -> Realm {
    let format = KeyFormat::new("ct_live_", 32).unwrap();
    Realm {
        name: RealmName::new(name).unwrap(),
        title: "Contract".to_owned(),
        environments: vec![EnvironmentRules { name: live(), format }],
        legacy_formats: Vec::new(),
        credentials: Vec::new(),
        access: keygate::domain::access::AccessRules::default(),
        members: None,
        onboarding: None,
        scopes: Scopes::default(),
        operations: Operations::default(),
        limits: Vec::new(),
        tokens: Vec::new(),
        embed_tokens: None,
        management: keygate::domain::realm::Management::default(),
        keys: POLICY.clone(),
        hint: HintStyle::None,
        envelope: Envelope::new(Template::new("application/json", Template::DEFAULT_BODY).unwrap(), Vec::new()),
        rate_headers: RateHeaders::default(),
        webhooks: Vec::new(),
        upstream: keygate::domain::realm::Upstream::default(),
        providers: keygate::domain::realm::Providers::default(),
        max_staleness: Duration::ZERO,
    }
}

/// A digest that no two numbers share.
pub fn digest(number: u64) -> Digest {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    Digest::from_bytes(bytes)
}

pub fn key_id(number: u64) -> KeyId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    KeyId::from_bytes(bytes)
}

pub fn minted(number: u64) -> Minted {
    Minted {
        digest: digest(number),
        scheme: DigestScheme::Native,
        secret_version: 1,
        hint: format!("ct_live_…{number}"),
    }
}

pub fn creation(number: u64) -> Creation {
    Creation {
        id: key_id(number),
        environment: live(),
        name: format!("key {number}"),
        scopes: Vec::new(),
        metadata: BTreeMap::new(),
        expires_at: None,
        not_before: None,
        networks: Vec::new(),
        member: None,
    }
}

/// The change that makes key `number`, found under digest `number`.
pub fn creating(owner: &AccountRef, account: Option<&Account>, number: u64, now: Timestamp) -> (Change, KeyRecord) {
    create(&acting(owner, account, now), &[], creation(number), minted(number)).unwrap()
}

/// At most `limit` a minute per free subject, in 60 buckets.
pub fn rule(name: &str, limit: u32) -> LimitRule {
    LimitRule {
        name: Arc::from(name),
        limit,
        window: Duration::from_secs(60),
        shape: Shape::new(Duration::from_secs(60), 60).unwrap(),
        per: vec![Part::Subject],
        operations: OperationSet::All,
        descriptor: None,
        on_store_failure: OnStoreFailure::Deny,
        shadow: false,
    }
}

/// A plan over `rules`, all for one free subject.
pub fn plan<'a>(realm: &'a Realm, rules: &[&'a LimitRule], subject: &'a str, cost: u32, charging: bool) -> Plan<'a> {
    let mut plan = Plan::new(realm, None, cost, charging);
    for rule in rules {
        plan.add(Some(&live()), rule, &Subject { custom: Some(subject), ..Subject::default() }).unwrap();
    }
    plan
}

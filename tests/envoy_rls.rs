//! The very messages that Envoy's rate limit filter sends, and the answers that it acts on.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use envoy_types::pb::{
    envoy::{
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::RateLimitOverride},
        service::ratelimit::v3::{
            RateLimitResponse,
            rate_limit_response::{Code, DescriptorStatus, rate_limit::Unit},
        },
    },
    google::protobuf::UInt64Value,
};
use support::{
    calls::assert_invalid,
    envoy::{descriptor, limit},
    files::PATIENT,
    stack::Stack,
};

const REALM: &str = r#"
realm = "shop"
[[environments]]
name = "live"
prefix = "shop_live_"
[[environments]]
name = "test"
prefix = "shop_test_"
[[credentials]]
header = "X-Key"
[envelope]
content_type = "application/json"
body = '{"code":"{code}"}'
[[limits]]
name = "tenant"
limit = 10
window = "1m"
descriptors = [{ key = "tenant" }]
[[limits]]
name = "acme"
limit = 20
window = "1m"
descriptors = [{ key = "tenant", value = "acme" }]
[[limits]]
name = "uploads"
limit = 3
window = "90s"
descriptors = [{ key = "tenant" }, { key = "path", value = "/uploads/*" }]
[[limits]]
name = "watched"
limit = 1
window = "1h"
descriptors = [{ key = "watched" }]
shadow = true
[[limits]]
name = "soft"
limit = 5
window = "1m"
descriptors = [{ key = "soft" }]
on_store_failure = "allow"
[rate_headers]
ietf = false
"#;

struct Shop {
    stack: Stack,
    _files: tempfile::TempDir,
}

impl std::ops::Deref for Shop {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

async fn shop(redis: bool) -> Shop {
    let files = tempfile::tempdir().unwrap();
    let (realm, settings) = (files.path().join("shop.toml"), files.path().join("keygate.toml"));
    std::fs::write(&realm, REALM).unwrap();
    let text = "realms = [\"shop.toml\"]\n[envoy.domains]\n\"edge/shop\" = \"shop\"\n";
    std::fs::write(&settings, format!("{text}{PATIENT}")).unwrap();
    let arguments = ["--config", settings.to_str().unwrap()];
    let stack = if redis { Stack::redis(&arguments).await } else { Stack::embedded(&arguments).await };
    Shop { stack, _files: files }
}

/// Code, limit's name, limit and what remains of each descriptor.
fn told(answer: &RateLimitResponse) -> Vec<(Code, &str, u32, u32)> {
    answer.statuses.iter().map(one).collect()
}

fn one(status: &DescriptorStatus) -> (Code, &str, u32, u32) {
    let code = Code::try_from(status.code).unwrap();
    let limit = status.current_limit.as_ref();
    let (name, most) = limit.map_or(("", 0), |limit| (limit.name.as_str(), limit.requests_per_unit));
    (code, name, most, status.limit_remaining)
}

fn costing(descriptor: &RateLimitDescriptor, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(UInt64Value { value: hits }), ..descriptor.clone() }
}

macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($shop:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn row($shop: Shop) $body

            #[tokio::test]
            async fn embedded() {
                row(shop(false).await).await;
            }

            #[tokio::test]
            async fn redis() {
                row(shop(true).await).await;
            }
        }
    )*};
}

on_both! {
    async fn the_pattern_that_says_most_counts_and_every_value_apart(shop) {
        let ask = |entries: &'static [(&str, &str)]| shop.envoy_limit(limit("shop", &[descriptor(entries)]));
        let answer = ask(&[("tenant", "beta")]).await;
        assert_eq!(told(&answer), [(Code::Ok, "tenant", 10, 9)]);
        assert_eq!(answer.overall_code, i32::from(Code::Ok));
        let status = &answer.statuses[0];
        assert_eq!(status.current_limit.as_ref().unwrap().unit, i32::from(Unit::Minute));
        assert!((59..=61).contains(&status.duration_until_reset.as_ref().unwrap().seconds), "{status:?}");
        let headers: Vec<&str> = answer.response_headers_to_add.iter().map(|header| header.key.as_str()).collect();
        assert_eq!(headers, ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]);

        assert_eq!(told(&ask(&[("tenant", "gamma")]).await), [(Code::Ok, "tenant", 10, 9)]);
        assert_eq!(told(&ask(&[("tenant", "acme")]).await), [(Code::Ok, "acme", 20, 19)]);
        assert_eq!(told(&ask(&[("tenant", "beta")]).await), [(Code::Ok, "tenant", 10, 8)]);
        // Another window than a unit has no unit.
        let nested = ask(&[("tenant", "beta"), ("path", "/uploads/1")]).await;
        assert_eq!(told(&nested), [(Code::Ok, "uploads", 3, 2)]);
        assert_eq!(nested.statuses[0].current_limit.as_ref().unwrap().unit, i32::from(Unit::Unknown));
        // Each file has a counter of its own.
        assert_eq!(told(&ask(&[("tenant", "beta"), ("path", "/uploads/2")]).await), [(Code::Ok, "uploads", 3, 2)]);
        for nothing in [&[("tenants", "beta")][..], &[("path", "/uploads/1"), ("tenant", "beta")]] {
            let answer = ask(nothing).await;
            assert_eq!(told(&answer), [(Code::Ok, "", 0, 0)]);
            assert!(answer.response_headers_to_add.is_empty());
        }
    }

    async fn all_descriptors_are_charged_or_none(shop) {
        let (beta, acme) = (descriptor(&[("tenant", "beta")]), descriptor(&[("tenant", "acme")]));
        let both = |hits| shop.envoy_limit(limit("shop", &[costing(&beta, hits), acme.clone()]));
        assert_eq!(told(&both(9).await), [(Code::Ok, "tenant", 10, 1), (Code::Ok, "acme", 20, 19)]);
        let over = both(2).await;
        assert_eq!(told(&over), [(Code::OverLimit, "tenant", 10, 1), (Code::Ok, "acme", 20, 19)]);
        assert_eq!(over.overall_code, i32::from(Code::OverLimit));
        assert_eq!(over.raw_body, br#"{"code":"rate_limited"}"#);
        let header = |name: &str| over.response_headers_to_add.iter().find(|h| h.key == name).map(|h| h.value.clone());
        assert_eq!(header("content-type").as_deref(), Some("application/json"));
        assert!((1..=61).contains(&header("retry-after").unwrap().parse().unwrap()));
        // What was denied cost nothing, and 0 only looks.
        assert_eq!(told(&both(0).await)[0], (Code::Ok, "tenant", 10, 1));
        assert_eq!(told(&both(1).await), [(Code::Ok, "tenant", 10, 0), (Code::Ok, "acme", 20, 17)]);
    }

    async fn a_descriptor_that_stands_there_twice_costs_twice(shop) {
        let one = descriptor(&[("tenant", "beta")]);
        let twice = limit("shop", &[costing(&one, 4), costing(&one, 5)]);
        assert_eq!(told(&shop.envoy_limit(twice.clone()).await), [(Code::Ok, "tenant", 10, 1); 2]);
        assert_eq!(told(&shop.envoy_limit(twice).await), [(Code::OverLimit, "tenant", 10, 1); 2]);
        let mut whole = limit("shop", &[one.clone(), costing(&descriptor(&[("tenant", "acme")]), 7)]);
        whole.hits_addend = 1;
        assert_eq!(told(&shop.envoy_limit(whole).await), [(Code::Ok, "tenant", 10, 0), (Code::Ok, "acme", 20, 13)]);
    }

    async fn a_limit_in_the_request_takes_the_place_of_the_realms(shop) {
        let with = |entries: &[(&str, &str)], requests_per_unit, unit: Unit| {
            let instead = RateLimitOverride { requests_per_unit, unit: unit.into() };
            RateLimitDescriptor { limit: Some(instead), ..descriptor(entries) }
        };
        let ask = |descriptor| shop.envoy_limit(limit("shop", &[descriptor]));
        assert_eq!(told(&ask(with(&[("tenant", "beta")], 2, Unit::Hour)).await), [(Code::Ok, "tenant", 2, 1)]);
        assert_eq!(told(&ask(with(&[("tenant", "beta")], 2, Unit::Hour)).await), [(Code::Ok, "tenant", 2, 0)]);
        assert_eq!(told(&ask(with(&[("tenant", "beta")], 2, Unit::Hour)).await), [(Code::OverLimit, "tenant", 2, 0)]);
        // Of another shape, it has another counter; and so has the realm's own, unless it is of the same shape.
        assert_eq!(told(&ask(with(&[("tenant", "beta")], 2, Unit::Day)).await), [(Code::Ok, "tenant", 2, 1)]);
        assert_eq!(told(&ask(descriptor(&[("tenant", "beta")])).await), [(Code::Ok, "tenant", 10, 9)]);
        // It needs no limit of the realm.
        let answer = ask(with(&[("nothing", "known")], 7, Unit::Year)).await;
        assert_eq!(told(&answer), [(Code::Ok, "(override)", 7, 6)]);
        assert_eq!(answer.statuses[0].current_limit.as_ref().unwrap().unit, i32::from(Unit::Year));
        assert_eq!(told(&ask(with(&[("closed", "")], 0, Unit::Second)).await), [(Code::OverLimit, "(override)", 0, 0)]);
    }

    async fn odd_values_reach_no_counter_but_their_own(shop) {
        let long = "x".repeat(40_000);
        let other = format!("{long}y");
        let lists: [&[(&str, &str)]; 7] = [
            &[("tenant", "a"), ("path", "/uploads/b")],
            &[("tenant", "a/uploads/b"), ("path", "/uploads/")],
            &[("tenant", ""), ("path", "/uploads/a\u{0}")],
            &[("tenant", "\u{0}\u{0}\u{0}\u{1}a"), ("path", "/uploads/")],
            &[("tenant", "a_path_/uploads/b"), ("path", "/uploads/_")],
            &[("tenant", &long), ("path", "/uploads/")],
            &[("tenant", &other), ("path", "/uploads/")],
        ];
        for entries in lists {
            assert_eq!(told(&shop.envoy_limit(limit("shop", &[descriptor(entries)])).await), [(Code::Ok, "uploads", 3, 2)]);
        }
    }

    async fn a_shadow_limit_denies_nobody(shop) {
        for _ in 0..3 {
            let answer = shop.envoy_limit(limit("shop", &[descriptor(&[("watched", "x")])])).await;
            assert_eq!(answer.overall_code, i32::from(Code::Ok));
            assert_eq!(told(&answer), [(Code::Ok, "", 0, 0)]);
        }
    }

    async fn a_domain_is_a_realm_or_another_name_of_one(shop) {
        let beta = descriptor(&[("tenant", "beta")]);
        shop.envoy_limit(limit("shop", std::slice::from_ref(&beta))).await;
        let aliased = shop.envoy_limit(limit("edge/shop", std::slice::from_ref(&beta))).await;
        assert_eq!(told(&aliased), [(Code::Ok, "tenant", 10, 8)]);
        let unknown = shop.envoy_limit(limit("elsewhere", &[beta.clone(), beta.clone()])).await;
        assert_eq!(told(&unknown), [(Code::Ok, "", 0, 0); 2]);
        assert_eq!(unknown.overall_code, i32::from(Code::Ok));
        shop.wait_for_output("elsewhere").await;
        assert_invalid(&shop.try_envoy_limit(limit("", &[beta])).await.unwrap_err(), &["domain"]);
    }

    async fn what_is_wrong_is_named(shop) {
        let good = descriptor(&[("tenant", "beta")]);
        let unit = RateLimitOverride { requests_per_unit: 1, unit: 99 };
        let cases = [
            (descriptor(&[]), "descriptors[0].entries"),
            (descriptor(&[("", "x")]), "descriptors[0].entries"),
            (descriptor(&[("tenant", "x"); 33]), "descriptors[0].entries"),
            (RateLimitDescriptor { is_negative_hits: true, ..good.clone() }, "descriptors[0].is_negative_hits"),
            (costing(&good, 1_000_000_001), "descriptors[0].hits_addend"),
            (costing(&good, u64::MAX), "descriptors[0].hits_addend"),
            (RateLimitDescriptor { limit: Some(unit), ..good.clone() }, "descriptors[0].limit.unit"),
        ];
        for (wrong, field) in cases {
            assert_invalid(&shop.try_envoy_limit(limit("shop", &[wrong])).await.unwrap_err(), &[field]);
        }
        let many = vec![good.clone(); 65];
        assert_invalid(&shop.try_envoy_limit(limit("shop", &many)).await.unwrap_err(), &["descriptors"]);
        let mut dear = limit("shop", std::slice::from_ref(&good));
        dear.hits_addend = u32::MAX;
        assert_invalid(&shop.try_envoy_limit(dear).await.unwrap_err(), &["hits_addend"]);
        assert_eq!(told(&shop.envoy_limit(limit("shop", &[good])).await), [(Code::Ok, "tenant", 10, 9)]);
    }
}

#[tokio::test]
async fn a_silent_store_is_an_error_unless_every_limit_allows_it() {
    let mut shop = shop(true).await;
    shop.stack.redis.as_mut().unwrap().kill();
    let (hard, soft) = (descriptor(&[("tenant", "beta")]), descriptor(&[("soft", "x")]));
    let refused = shop.try_envoy_limit(limit("shop", &[soft.clone(), hard])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let passed = shop.envoy_limit(limit("shop", &[soft])).await;
    assert_eq!(told(&passed), [(Code::Ok, "", 0, 0)]);
}

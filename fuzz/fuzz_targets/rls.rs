//! Messages to the rate limit service, as bytes: one status for each descriptor, and no limit ever passed.

#![no_main]

use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, rate_limit_response::Code};
use keygate_fuzz::Envoy;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use std::sync::LazyLock;
use tonic::{Code as Grpc, Request};

static ENVOY: LazyLock<Envoy> = LazyLock::new(Envoy::new);

fuzz_target!(|data: &[u8]| {
    let Ok(message) = RateLimitRequest::decode(data) else { return };
    let descriptors = message.descriptors.len();
    match ENVOY.run(ENVOY.rate_limits.answer(&Request::new(message))) {
        Ok(answer) => {
            assert_eq!(answer.statuses.len(), descriptors);
            let over = answer.statuses.iter().any(|status| status.code == i32::from(Code::OverLimit));
            assert_eq!(answer.overall_code == i32::from(Code::OverLimit), over);
            for status in &answer.statuses {
                let most = status.current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit);
                assert!(status.limit_remaining <= most);
            }
        }
        Err(status) => assert_eq!(status.code(), Grpc::InvalidArgument, "the embedded store always answers: {status}"),
    }
});

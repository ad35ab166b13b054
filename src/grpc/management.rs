//! Which calls manage, for listeners on which nothing is managed.

use tonic::Status;

/// What is answered everywhere: who is calling, how often, in which words, and whether the server is well. Methods, or services.
const EVERYWHERE: &[&str] = &[
    "/keygate.v1.Authorization/Authenticate",
    "/keygate.v1.Authorization/CheckRateLimit",
    "/keygate.v1.EmbedTokens/KeySet",
    "/keygate.v1.Realms/",
];
/// Services of others, health and reflection among them, manage nothing.
const OURS: &str = "/keygate.";

/// The refusal of a call that manages. What is not known to manage nothing does: a method that is added later is not open by
/// mistake.
pub(super) fn refusal(path: &str) -> Option<Status> {
    let everywhere = |known: &str| if known.ends_with('/') { path.starts_with(known) } else { path == known };
    if !path.starts_with(OURS) || EVERYWHERE.iter().any(|known| everywhere(known)) {
        return None;
    }
    Some(Status::permission_denied(
        "nothing is managed on this listener: `management.serve_on` in the server's settings does not name it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_decides_is_answered_and_whatever_else_is_ours_is_not() {
        for path in [
            "/keygate.v1.Authorization/Authenticate",
            "/keygate.v1.Authorization/CheckRateLimit",
            "/keygate.v1.Realms/RenderError",
            "/keygate.v1.EmbedTokens/KeySet",
            "/envoy.service.auth.v3.Authorization/Check",
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/nobody.knows/This",
        ] {
            assert!(refusal(path).is_none(), "{path}");
        }
        for path in [
            "/keygate.v1.Authorization/ManageKeys",
            "/keygate.v1.Authorization/AuthenticateAnybody",
            "/keygate.v1.EmbedTokens/Mint",
            "/keygate.v1.Directory/GetAccount",
            "/keygate.v1.Vault/PutCredential",
            "/keygate.v1.AuditLog/List",
            "/keygate.v1.Webhooks/Test",
            "/keygate.v1.Onboarding/Signup",
            "/keygate.v2.Whatever/Comes",
        ] {
            assert!(refusal(path).is_some(), "{path}");
        }
    }
}

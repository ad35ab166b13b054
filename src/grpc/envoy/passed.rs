//! The answer of `Check` to a request that passes, as a message and straight in its bytes: it is made at every request of every
//! guarded product. Decides nothing. Both must say the same: a debug build compares them at every answer.

use super::message::{Metadata, set};
use crate::{
    app::authenticate::{Decision, Verdict},
    domain::{
        id::{AccountId, Environment, Scope},
        realm::{Identity, Operation, Realm},
        token::Token,
    },
    grpc::{plain::Answer, render, writer::MessageWriter},
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::header_value_option::HeaderAppendAction,
        service::auth::v3::{CheckResponse, OkHttpResponse, check_response::HttpResponse},
    },
    google::rpc,
};
use std::borrow::Cow;
use tonic::Code;

/// Bytes that nearly every answer stays below.
const USUAL_BYTES: usize = 1_536;

/// What an answer that lets a request pass depends on.
pub(super) struct Passed<'d> {
    realm: &'d Realm,
    decision: &'d Decision<'d>,
    caller: Option<Caller<'d>>,
    operation: Option<&'d Operation>,
}

/// Whoever was found to be calling.
struct Caller<'d> {
    account: &'d AccountId,
    environment: &'d Environment,
    scopes: &'d [Scope],
    /// The key's id in words; empty for a token.
    key_id: String,
    token: Option<&'d Token>,
    target: &'d AccountId,
}

impl<'d> Passed<'d> {
    /// A decision by which the request passes; nothing of any other.
    pub(super) fn of(realm: &'d Realm, decision: &'d Decision<'d>) -> Option<Self> {
        let (caller, operation) = match &decision.verdict {
            Verdict::Allowed { key, target, operation } => {
                let (account, environment, scopes) = (&key.owner.account, &key.key.environment, &key.key.scopes[..]);
                let key_id = key.key.id.to_string();
                (Some(Caller { account, environment, scopes, key_id, token: None, target }), *operation)
            }
            Verdict::Bearer(bearer) => {
                let (token, target) = (&*bearer.token, &bearer.target);
                let (account, environment, scopes) = (&token.account, &token.environment, &bearer.scopes[..]);
                let key_id = bearer.key.as_ref().map(|key| key.key.id.to_string()).unwrap_or_default();
                (Some(Caller { account, environment, scopes, key_id, token: Some(token), target }), bearer.operation)
            }
            Verdict::Public { operation } => (None, Some(*operation)),
            Verdict::Denied(_) => return None,
        };
        Some(Self { realm, decision, caller, operation })
    }

    /// `CheckResponse` in its bytes.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = Answer::with_capacity(USUAL_BYTES);
        let mut message = MessageWriter::new(answer.buffer());
        // The status: its code is that of `OK`, which is not written.
        message.nested(1, |_| {});
        message.nested(3, |ok| self.write_effects(ok));
        message.nested(4, |told| self.write_metadata(told));
        answer
    }

    /// `OkHttpResponse`.
    fn write_effects(&self, ok: &mut MessageWriter<'_>) {
        for (identity, name) in self.realm.upstream.headers() {
            match self.tell(identity) {
                Some(value) => write_header(ok, 2, name, &value),
                None => ok.text(5, name),
            }
        }
        self.each_credential(|header| ok.text(5, header));
        match self.decision.released.as_ref().map(|released| (released, released.header())) {
            None => {}
            Some((_, Some((name, value)))) => write_header(ok, 2, name, value),
            Some((released, None)) => ok.text(5, &released.provider.header),
        }
        let Decision { limits, now, .. } = self.decision;
        let put = |name: &str, value: &str| write_header(ok, 6, name, value);
        render::each_rate_header(&self.realm.rate_headers, limits, *now, put);
    }

    /// `Struct`.
    fn write_metadata(&self, told: &mut MessageWriter<'_>) {
        self.each_text(|name, text| {
            told.nested(1, |field| {
                field.text(1, name);
                field.nested(2, |value| value.text(3, text));
            });
        });
        if let Some(Caller { scopes, .. }) = &self.caller {
            told.nested(1, |field| {
                field.text(1, "scopes");
                field.nested(2, |value| {
                    value.nested(6, |list| {
                        for scope in *scopes {
                            list.nested(1, |value| value.text(3, scope.as_str()));
                        }
                    });
                });
            });
        }
    }

    /// The same by way of the message.
    pub(super) fn message(&self) -> CheckResponse {
        let mut answer = OkHttpResponse::default();
        for (identity, name) in self.realm.upstream.headers() {
            match self.tell(identity) {
                Some(value) => answer.headers.push(set(name, value)),
                None => answer.headers_to_remove.push(name.to_owned()),
            }
        }
        self.each_credential(|header| answer.headers_to_remove.push(header.to_owned()));
        match self.decision.released.as_ref().map(|released| (released, released.header())) {
            None => {}
            Some((_, Some((name, value)))) => answer.headers.push(set(name, value)),
            Some((released, None)) => answer.headers_to_remove.push(released.provider.header.clone()),
        }
        let Decision { limits, now, .. } = self.decision;
        let put = |name: &str, value: &str| answer.response_headers_to_add.push(set(name, value));
        render::each_rate_header(&self.realm.rate_headers, limits, *now, put);

        let mut metadata = Metadata::default();
        self.each_text(|name, text| metadata.text(name, text));
        if let Some(Caller { scopes, .. }) = &self.caller {
            metadata.list("scopes", scopes.iter().map(ToString::to_string));
        }
        CheckResponse {
            status: Some(rpc::Status { code: Code::Ok.into(), ..rpc::Status::default() }),
            dynamic_metadata: Some(metadata.finish()),
            http_response: Some(HttpResponse::OkResponse(answer)),
        }
    }

    /// The value of a header of ours, which takes the place of what the client sent under its name. Without one the header is
    /// taken out: what the client sent never arrives.
    fn tell(&self, identity: Identity) -> Option<Cow<'d, str>> {
        let value = if identity == Identity::Operation {
            Cow::Borrowed(&*self.operation?.name)
        } else {
            let Caller { account, environment, scopes, key_id, target, .. } = self.caller.as_ref()?;
            match identity {
                Identity::Account => Cow::Borrowed(account.as_str()),
                Identity::TargetAccount => Cow::Borrowed(target.as_str()),
                Identity::KeyId => Cow::Owned(key_id.clone()),
                Identity::Environment => Cow::Borrowed(environment.as_str()),
                Identity::Scopes => match scopes {
                    [one] => Cow::Borrowed(one.as_str()),
                    scopes => {
                        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                        Cow::Owned(scopes.join(" "))
                    }
                },
                Identity::Operation => return None,
            }
        };
        Some(value).filter(|value| !value.is_empty())
    }

    /// The headers that carried a credential, and may not go on. Envoy takes headers out after it has set others: what goes on
    /// in the place of the caller's own is set alone.
    fn each_credential(&self, take_out: impl FnMut(&str)) {
        if !self.realm.upstream.keeps_credential {
            let set = self.decision.released.as_ref().map(|released| released.provider.header.as_str());
            let headers = self.realm.credentials.iter().map(|source| source.header.as_str());
            headers.filter(|header| !set.is_some_and(|set| set.eq_ignore_ascii_case(header))).for_each(take_out);
        }
    }

    /// What is told beside the answer, but for the scopes. An empty text is not told.
    fn each_text(&self, mut tell: impl FnMut(&str, &str)) {
        let mut text = |name, text: &str| {
            if !text.is_empty() {
                tell(name, text);
            }
        };
        text("realm", self.realm.name.as_str());
        text("operation", self.operation.map_or("", |operation| &operation.name));
        if let Some(Caller { account, environment, key_id, token, target, .. }) = &self.caller {
            text("account", account.as_str());
            text("target_account", target.as_str());
            text("key_id", key_id);
            text("environment", environment.as_str());
            if let Some(token) = token {
                text("token_issuer", &token.issuer);
                text("token_subject", &token.subject);
                text("token_expires_at", &token.expires_at.as_secs_ceil().to_string());
            }
        }
    }
}

/// `HeaderValueOption` of a header that takes the place of whatever stands under its name.
fn write_header(message: &mut MessageWriter<'_>, tag: u32, name: &str, value: &str) {
    message.nested(tag, |option| {
        option.pair(1, name, value);
        option.number(3, HeaderAppendAction::OverwriteIfExistsOrAdd as u64);
    });
}

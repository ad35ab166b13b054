//! A realm: one guarded API product, as its configuration states it. Everything here was checked when it was loaded.

mod operations;
mod policy;
mod providers;
mod routing;
mod scopes;
mod set;
mod upstream;

pub use operations::{Matched, Operation, OperationSet, Operations, ParameterSource, RouteError};
pub use policy::{EnvironmentRules, KeyPolicy, Management, RateHeaders, ResetForm, WhenFull, ceil_seconds};
pub use providers::{NoSuchProvider, Provider, Providers};
pub use routing::Routing;
pub use scopes::{ScopeRule, Scopes};
pub use set::Realms;
pub use upstream::{Identity, Upstream};

use super::{
    access::AccessRules,
    credential::CredentialSource,
    embed::EmbedRules,
    envelope::Envelope,
    id::{Environment, RealmName},
    key::{HintStyle, LegacyFormat, TextForm},
    limit::LimitRule,
    member::MemberRules,
    onboarding::OnboardingRules,
    request::{HeaderRole, is_or_mimics},
    token::TokenRules,
    webhook::Webhook,
};
use std::time::Duration;

/// One guarded API product.
#[derive(Debug)]
pub struct Realm {
    /// Its name in requests.
    pub name: RealmName,
    /// Its name for people.
    pub title: String,
    /// Its environments, at least one.
    pub environments: Vec<EnvironmentRules>,
    /// Formats of keys that were made elsewhere, each with the index of its environment.
    pub legacy_formats: Vec<(usize, LegacyFormat)>,
    /// Where requests carry the credential, at least one place.
    pub credentials: Vec<CredentialSource>,
    /// The issuers whose access tokens it takes, and on which terms.
    pub tokens: Vec<TokenRules>,
    /// What it says of embed tokens, if there are any.
    pub embed_tokens: Option<EmbedRules>,
    /// What keys may be allowed.
    pub scopes: Scopes,
    /// Which accounts keys reach beside their own.
    pub access: AccessRules,
    /// Who issues keys, where accounts have members.
    pub members: Option<MemberRules>,
    /// How somebody without a credential obtains a first key.
    pub onboarding: Option<OnboardingRules>,
    /// The named classes of requests.
    pub operations: Operations,
    /// The limits, in the order of the configuration.
    pub limits: Vec<LimitRule>,
    /// Who manages keys.
    pub management: Management,
    /// What may happen to keys.
    pub keys: KeyPolicy,
    /// What may be shown of a key.
    pub hint: HintStyle,
    /// Errors in the realm's own words.
    pub envelope: Envelope,
    /// How limits are told to the end client.
    pub rate_headers: RateHeaders,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
    /// What a proxy passes on.
    pub upstream: Upstream,
    /// Whose credentials requests go on with.
    pub providers: Providers,
    /// How old remembered data may be that decides while the store cannot answer. Zero: nobody passes then.
    pub max_staleness: Duration,
}

impl Realm {
    /// The environment of that name and its index.
    #[must_use]
    pub fn environment(&self, name: &str) -> Option<(usize, &EnvironmentRules)> {
        self.environments.iter().enumerate().find(|(_, environment)| environment.name.as_str() == name)
    }

    /// The environment's name at that index.
    #[must_use]
    pub fn environment_at(&self, index: usize) -> Option<&Environment> {
        self.environments.get(index).map(|rules| &rules.name)
    }

    /// Whether requests may carry an access token in place of a key.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.credentials.iter().any(|source| source.accepts.token)
    }

    /// The limit of that name.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<&LimitRule> {
        self.limits.iter().find(|limit| &*limit.name == name)
    }

    /// The header that this name is, or could be taken for, if the realm's rules know one.
    #[must_use]
    pub fn heeds(&self, name: &str) -> Option<(&str, HeaderRole)> {
        let credentials = self.credentials.iter().map(|source| (source.header.as_str(), HeaderRole::Credential));
        let parameters = self.operations.headers().map(|header| (header, HeaderRole::Parameter));
        let identities = self.upstream.headers().map(|(_, header)| (header, HeaderRole::Identity));
        let released = self.providers.list().iter().map(|provider| (provider.header.as_str(), HeaderRole::Identity));
        let naming = self.providers.named_by().map(|header| (header, HeaderRole::Parameter));
        let mut known = credentials.chain(parameters).chain(identities).chain(naming).chain(released);
        known.find(|(header, _)| is_or_mimics(name, header))
    }

    /// Judges a key's text without asking anyone: which of the realm's formats it has, if any. keygate's own format,
    /// whose checksum proves it, goes before legacy ones.
    #[must_use]
    pub fn recognize(&self, key: &str) -> Option<TextForm<'_>> {
        let own = self
            .environments
            .iter()
            .enumerate()
            .find(|(_, rules)| rules.format.recognizes(key))
            .map(|(environment, rules)| TextForm { environment, prefix: rules.format.prefix(), legacy: None });
        own.or_else(|| {
            let mut legacy = self.legacy_formats.iter();
            legacy.find(|(_, format)| format.recognizes(key)).map(|(environment, format)| TextForm {
                environment: *environment,
                prefix: format.prefix(),
                legacy: Some(format.schemes()),
            })
        })
    }
}

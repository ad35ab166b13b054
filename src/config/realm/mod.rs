//! One realm file: what its text says, checked, or everything that is wrong with it. `docs/realms.md` is its reference.

mod access;
mod answers;
mod embed;
mod keys;
mod limits;
mod members;
mod onboarding;
mod providers;
mod requests;
mod tokens;
mod upstream;
mod webhooks;

pub use requests::legal_header;

use super::{
    caps,
    mistake::Mistake,
    reader::{Table, Value},
    report::{Mark, Report},
    text::quoted,
};
use crate::domain::{
    id::RealmName,
    key::HintStyle,
    realm::{Realm, ScopeRule, Scopes},
};
use std::{path::Path, time::Duration};

const KEYS: &[&str] = &[
    "realm",
    "title",
    "hint",
    "max_staleness",
    "environments",
    "legacy_formats",
    "credentials",
    "tokens",
    "embed_tokens",
    "access",
    "members",
    "onboarding",
    "scopes",
    "operations",
    "limits",
    "upstream",
    "management",
    "provider_header",
    "providers",
    "keys",
    "rate_headers",
    "envelope",
    "errors",
    "webhooks",
];
const MAX_STALENESS: Duration = Duration::from_secs(3_600);

/// What was read of one file. Names and prefixes are kept even when something else is wrong, so that clashes with other
/// files show in the same run.
pub struct Draft {
    /// The realm, unless the file has a mistake.
    pub realm: Option<Realm>,
    /// Its name and where it stands.
    pub name: Option<(RealmName, Mark)>,
    /// The prefixes of its environments and where they stand.
    pub prefixes: Vec<(String, Mark)>,
    /// Its scopes as written.
    pub scopes: Vec<ScopeRule>,
    /// Every mistake of the file.
    pub mistakes: Vec<Mistake>,
}

/// Reads a realm file. Relative paths in it begin at `base`.
pub fn read(file: &str, text: &str, base: &Path) -> Draft {
    let report = Report::new(file, text);
    let (document, syntax) = report.parse();
    let root = Table::root(&report, &document, KEYS);
    let mut draft = read_realm(&root, base);
    drop(document);
    draft.mistakes = report.finish(syntax);
    draft.realm = draft.realm.filter(|_| draft.mistakes.is_empty());
    draft
}

fn read_realm(root: &Table<'_>, base: &Path) -> Draft {
    let name_value = root.need("realm", RealmName::ALLOWED);
    let name = name_value.as_ref().and_then(|value| value.parsed(|text| RealmName::new(text).map_err(must_be)));
    let title = root.get("title").map(|value| value.line(caps::TITLE_BYTES));
    let hints = HintStyle::ALL.map(|style| (style.name(), style));
    let hint = root.get("hint").map_or(Some(HintStyle::PrefixLast4), |value| value.word(&hints));
    let staleness = root.get("max_staleness");
    let max_staleness = staleness.map_or(Some(Duration::ZERO), |value| value.duration(Duration::ZERO..=MAX_STALENESS));

    let environments = keys::environments(root);
    let legacy_formats = keys::legacy_formats(root, &environments);
    let credentials = requests::credentials(root);
    let tokens = tokens::tokens(root, base, &environments);
    let management = keys::management(root);
    let embed_tokens = embed::embed_tokens(root, &credentials);
    tokens::used(root, &tokens, embed_tokens.is_some(), credentials.iter().chain(&management.credentials));
    let access = access::access(root);
    let members = members::members(root);
    let (scopes, default_scopes) = requests::scopes(root);
    let operations = requests::operations(root, &scopes, &credentials);
    let limits = limits::limits(root, &operations);
    let known = onboarding::Known {
        environments: &environments,
        scopes: &scopes,
        limits: &limits,
        members: members.as_ref().and_then(Option::as_ref),
    };
    let onboarding = onboarding::onboarding(root, base, &known);
    let policy = keys::policy(root);
    let rate_headers = answers::rate_headers(root);
    let envelope = answers::envelope(root);
    let webhooks = webhooks::webhooks(root, base);
    let upstream = upstream::upstream(root, &credentials, &operations);

    let providers = providers::providers(root, &credentials, &operations, &upstream);

    let assemble = || {
        let name = name.clone()?;
        Some(Realm {
            title: title.map_or_else(|| Some(name.to_string()), |title| title.map(str::to_owned))?,
            name,
            environments: environments.iter().map(|found| found.rules.clone()).collect::<Option<_>>()?,
            legacy_formats,
            credentials,
            tokens,
            embed_tokens,
            access,
            members: members?,
            onboarding: onboarding?,
            scopes: Scopes::new(&scopes, default_scopes),
            operations,
            limits,
            management,
            keys: policy?,
            hint: hint?,
            envelope: envelope?,
            rate_headers,
            webhooks,
            upstream,
            providers,
            max_staleness: max_staleness?,
        })
    };
    let realm = assemble();
    Draft {
        realm,
        name: name.zip(name_value.map(|value| value.mark())),
        prefixes: environments.into_iter().filter_map(|found| found.prefix).collect(),
        scopes,
        mistakes: Vec::new(),
    }
}

fn must_be(allowed: impl std::fmt::Display) -> String {
    format!("must be {allowed}")
}

/// The name of an operation, a limit or an error code.
fn plain_name<'t>(value: &Value<'t>) -> Option<&'t str> {
    value.parsed(|text| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = (1..=caps::NAME_BYTES).contains(&text.len()) && text.bytes().all(legal);
        fits.then_some(text).ok_or_else(|| format!("must be 1 to {} of `a-z A-Z 0-9 . _ -`", caps::NAME_BYTES))
    })
}

/// Notes when a name was used before.
fn once<N: PartialEq + AsRef<str>>(seen: &mut Vec<N>, name: N, value: &Value<'_>) -> bool {
    let fresh = !seen.contains(&name);
    if fresh {
        seen.push(name);
    } else {
        value.wrong(format!("{} is used twice", quoted(name.as_ref())), "each must be there once");
    }
    fresh
}

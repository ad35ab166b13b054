//! `keygate secrets status`: how far re-keying is.

use super::{HEADER, Version};
use crate::{
    cli::{
        client::{Connection, Management, Manager},
        exit::{Exit, help},
        failure::Failure,
        output::{self, Output},
        values,
    },
    proto::v1::{HangingKey, SecretPhase, SecretVersion, SurveyRequest, SurveyResponse},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Keys that one answer looks at.
const PAGE: i32 = 1_000;

/// Show which versions of the server secret a server knows, and how many keys hang on each
///
/// A key moves to the current version when it is next let through; one that is not used stays. A key is counted under the oldest
/// version that one of its working secrets is stored under. All keys are looked at, 1,000 with each answer.
///
/// With `--version` the keys that hang on that version are listed in place of the count.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate secrets status
  keygate secrets status --realm recurr --version 1"
))]
pub struct Args {
    /// Only this realm; without: every realm that the management key may read
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    realm: String,
    /// List the keys that hang on this version
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// With `--version`: end after the answer with which so many keys were listed
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "version")]
    at_least: usize,
    /// With `--version`: go on where an earlier list ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true, requires = "version")]
    page_token: String,
    /// What counts as used lately
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = values::parse_span)]
    used_within: Duration,
    #[command(flatten)]
    connection: Connection,
    /// File with the management key; without it `KEYGATE_KEY` holds the key, or ./keygate-data/operator.key does
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    key_file: Option<PathBuf>,
}

/// Pages of a survey, one after the other.
struct Pages {
    manager: Manager,
    request: SurveyRequest,
}

impl Pages {
    async fn next(&mut self) -> Result<SurveyResponse, Failure> {
        let page = self.manager.survey_secrets(self.request.clone()).await?;
        // A server that gives the same token again would be asked for ever.
        if !page.next_page_token.is_empty() && page.next_page_token == self.request.page_token {
            return Err(Failure::odd_answer());
        }
        self.request.page_token.clone_from(&page.next_page_token);
        Ok(page)
    }
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { realm, version, at_least, page_token, used_within, connection, key_file } = self;
        let management = Management { realm: realm.clone(), connection, key_file, key_header: None };
        let request = SurveyRequest {
            realm,
            page_size: PAGE,
            page_token,
            version: version.unwrap_or_default(),
            used_within: Some(values::to_proto(used_within)),
        };
        let pages = Pages { manager: management.open().await?, request };
        if version.is_some() { list(pages, at_least, output).await } else { count(pages, used_within, output).await }
    }
}

async fn count(mut pages: Pages, used_within: Duration, output: &mut Output) -> Result<Exit, Failure> {
    let mut found: BTreeMap<(String, u32), (u64, u64)> = BTreeMap::new();
    let versions = loop {
        let page = pages.next().await?;
        for tally in page.tallies {
            let (keys, lately) = found.entry((tally.realm, tally.version)).or_default();
            (*keys, *lately) = (keys.saturating_add(tally.keys), lately.saturating_add(tally.used_lately));
        }
        if page.next_page_token.is_empty() {
            break page.versions;
        }
    };
    let versions: Vec<Version> = versions.iter().map(told).collect();
    let current = versions.iter().find(|version| version.state == "current").map(|version| version.version);
    let of = |wanted: u32| {
        let parts = found.iter().filter(|((_, version), _)| *version == wanted).map(|(_, counts)| *counts);
        parts.fold((0_u64, 0_u64), |(keys, lately), part| (keys.saturating_add(part.0), lately.saturating_add(part.1)))
    };
    let all: u64 = found.values().map(|(keys, _)| *keys).fold(0, u64::saturating_add);
    // A version that another server uses already is as new as the current one.
    let moved = found.iter().filter(|((_, version), _)| current.is_some_and(|current| *version >= current));
    let moved: u64 = moved.map(|(_, (keys, _))| *keys).fold(0, u64::saturating_add);
    // Rounded down: 100 means all.
    let percent = moved.saturating_mul(100).checked_div(all).unwrap_or(100);
    if output.is_json() {
        let version = |version: &Version| {
            let (keys, lately) = of(version.version);
            version.json([("keys", keys), ("used_lately", lately)])
        };
        let realm = |((realm, version), (keys, lately)): (&(String, u32), &(u64, u64))| json!({ "realm": realm, "version": version, "keys": keys, "used_lately": lately });
        output.json(&json!({
            "versions": versions.iter().map(version).collect::<Value>(),
            "realms": found.iter().map(realm).collect::<Value>(),
            "keys": all,
            "on_current": moved,
            "percent": percent,
        }))?;
        return Ok(Exit::Success);
    }
    output.table(&HEADER, versions.iter().map(Version::row))?;
    output.line("")?;
    if found.is_empty() {
        output.line("no key hangs on any of them")?;
        return Ok(Exit::Success);
    }
    let lately = format!("USED WITHIN {}", values::span_for_people(&values::to_proto(used_within)).replace(' ', ""));
    let row = |((realm, version), (keys, lately)): (&(String, u32), &(u64, u64))| {
        vec![realm.clone(), version.to_string(), keys.to_string(), lately.to_string()]
    };
    output.table(&["REALM", "VERSION", "KEYS", &lately], found.iter().map(row))?;
    output.line("")?;
    output.line(&format!("{percent} % of {} on the current version", output::count(all, "key")))?;
    Ok(Exit::Success)
}

async fn list(mut pages: Pages, at_least: usize, output: &mut Output) -> Result<Exit, Failure> {
    let mut keys: Vec<HangingKey> = Vec::new();
    let token = loop {
        let page = pages.next().await?;
        keys.extend(page.keys);
        if page.next_page_token.is_empty() || keys.len() >= at_least {
            break page.next_page_token;
        }
    };
    let used = |key: &HangingKey| key.last_used_at.as_ref().map(values::instant);
    if output.is_json() {
        let key = |key: &HangingKey| {
            json!({ "realm": key.realm, "account_id": key.account_id, "id": key.key_id, "hint": key.hint,
                "last_used_at": used(key) })
        };
        output.json(&json!({ "keys": keys.iter().map(key).collect::<Value>(), "next_page_token": token }))?;
        return Ok(Exit::Success);
    }
    if keys.is_empty() {
        output::note("no key hangs on that version");
    } else {
        let row = |key: &HangingKey| {
            let used = used(key).unwrap_or_else(|| "never".to_owned());
            vec![key.realm.clone(), key.account_id.clone(), key.key_id.clone(), key.hint.clone(), used]
        };
        output.table(&["REALM", "ACCOUNT", "KEY", "HINT", "LAST USED"], keys.iter().map(row))?;
    }
    if !token.is_empty() {
        output::note(&format!("there may be more: go on with `--page-token {token}`"));
    }
    Ok(Exit::Success)
}

fn told(version: &SecretVersion) -> Version {
    let state = match version.phase() {
        SecretPhase::Pending => "pending",
        SecretPhase::Current => "current",
        SecretPhase::Older => "older",
        SecretPhase::Retired => "retired",
        SecretPhase::Unspecified => "unknown",
    };
    Version {
        version: version.version,
        state: state.to_owned(),
        used_from: version.used_from.as_ref().map(values::instant),
        retires_at: version.retires_at.as_ref().map(values::instant),
        fingerprint: version.fingerprint.clone(),
    }
}

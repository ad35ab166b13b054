//! Keys as messages.

use crate::{
    app::keys::{Created, KeyPage, OwnedKey, Revoked, Verdict},
    domain::{
        id::{AccountId, KeyId},
        key::{DigestScheme, KeySecret, KeyState, LastUse, SecretUse},
        realm::Realm,
        time::Timestamp,
    },
    grpc::render::instant,
    proto::v1,
};

/// Keys of a realm, as of one instant.
pub(in crate::grpc) struct KeyWriter<'r> {
    pub(in crate::grpc) realm: &'r Realm,
    pub(in crate::grpc) now: Timestamp,
}

impl KeyWriter<'_> {
    pub(super) fn key(&self, owned: &OwnedKey) -> v1::Key {
        let key = &owned.key;
        let used = |at| owned.uses.secrets.get(at).copied().flatten();
        let secret_used = |(at, stored)| secret(stored, used(at));
        v1::Key {
            id: key.id.to_string(),
            realm: self.realm.name.to_string(),
            environment: key.environment.to_string(),
            account_id: owned.account.to_string(),
            name: key.name.clone(),
            hint: key.hint().to_owned(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            metadata: key.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            state: state(owned.state(&self.realm.keys, self.now)).into(),
            created_at: Some(instant(key.created_at)),
            updated_at: Some(instant(key.updated_at)),
            expires_at: key.expires_at.map(instant),
            version: key.version,
            secrets: key.secrets.iter().enumerate().map(secret_used).collect(),
            created_by: key.created_by.clone(),
            revoked_at: key.revoked.as_ref().map(|revocation| instant(revocation.at)),
            revoke_reason: key.revoked.as_ref().map(|revocation| revocation.reason.clone()).unwrap_or_default(),
            last_used_at: owned.uses.last.map(|last| instant(last.at)),
            last_used_address: address(owned.uses.last),
            not_before: key.not_before.map(instant),
            allowed_networks: key.networks.iter().map(ToString::to_string).collect(),
            suspends_at: owned.rests_at(&self.realm.keys).map(instant),
            member_id: key.member.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    pub(in crate::grpc) fn created(&self, created: Created) -> v1::KeyWithSecret {
        v1::KeyWithSecret {
            key: Some(self.key(&created.owned)),
            repeated: created.secret.is_none(),
            replaced_key_ids: created.replaced.iter().map(ToString::to_string).collect(),
            // The one place where a secret leaves keygate; it is consumed here.
            secret: created.secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        }
    }

    pub(super) fn page(&self, page: &KeyPage) -> v1::KeyPage {
        v1::KeyPage {
            keys: page.keys.iter().map(|owned| self.key(owned)).collect(),
            next_page_token: page.next.as_ref().map(page_token).unwrap_or_default(),
        }
    }

    pub(super) fn revoked(&self, revoked: &Revoked) -> v1::KeysRevoked {
        v1::KeysRevoked { keys: revoked.keys.iter().map(|owned| self.key(owned)).collect(), more: revoked.more }
    }
}

/// A page token names the last key of the page before. It gives no access: whoever uses it is authenticated anew.
fn page_token((account, key): &(AccountId, KeyId)) -> String {
    format!("{key}.{account}")
}

/// Reads a page token.
pub(super) fn read_page_token(token: &str) -> Result<(AccountId, KeyId), &'static str> {
    let parts = token.split_once('.').and_then(|(key, account)| {
        let (key, account) = (KeyId::parse(key), AccountId::new(account));
        account.ok().zip(key.ok())
    });
    parts.ok_or("`next_page_token` of the page before, unchanged")
}

/// What became of the rows of an import.
pub(super) fn import_report(verdicts: &[Verdict], dry_run: bool) -> v1::ImportReport {
    let count = |matches: fn(&Verdict) -> bool| {
        u32::try_from(verdicts.iter().filter(|verdict| matches(verdict)).count()).unwrap_or(u32::MAX)
    };
    let write = |verdict: &Verdict| {
        let (outcome, key_id, problem) = match verdict {
            Verdict::Imported(id) => {
                (v1::ImportOutcome::Imported, id.map(|id| id.to_string()).unwrap_or_default(), String::new())
            }
            Verdict::AlreadyPresent(id) => (v1::ImportOutcome::AlreadyPresent, id.to_string(), String::new()),
            Verdict::Refused(problem) => (v1::ImportOutcome::Refused, String::new(), problem.clone()),
        };
        v1::ImportVerdict { outcome: outcome.into(), key_id, problem }
    };
    v1::ImportReport {
        verdicts: verdicts.iter().map(write).collect(),
        imported: count(|verdict| matches!(verdict, Verdict::Imported(_))),
        already_present: count(|verdict| matches!(verdict, Verdict::AlreadyPresent(_))),
        refused: count(|verdict| matches!(verdict, Verdict::Refused(_))),
        dry_run,
    }
}

fn address(last: Option<LastUse>) -> String {
    last.and_then(|last| last.address).map(|address| address.to_string()).unwrap_or_default()
}

fn secret(secret: &KeySecret, used: Option<SecretUse>) -> v1::KeySecret {
    v1::KeySecret {
        hint: secret.hint.clone(),
        created_at: Some(instant(secret.created_at)),
        retires_at: secret.retires_at.map(instant),
        imported: secret.scheme != DigestScheme::Native,
        number: secret.number,
        last_used_at: used.map(|used| instant(used.last.at)),
        last_used_address: address(used.map(|used| used.last)),
        uses: used.map_or(0, |used| used.count),
    }
}

fn state(state: KeyState) -> v1::KeyState {
    match state {
        KeyState::Active => v1::KeyState::Active,
        KeyState::Pending => v1::KeyState::Pending,
        KeyState::Suspended => v1::KeyState::Suspended,
        KeyState::Expired => v1::KeyState::Expired,
        KeyState::Revoked => v1::KeyState::Revoked,
    }
}

//! `keygate.v1.Secrets`: which versions of the server secret there are, and which keys hang on them.

use super::{
    acts::Desk,
    fields::{Fields, LARGEST_PAGE},
    render,
};
use crate::{
    app::{
        error::AppError,
        house::{Guarded, House},
        keys::OwnedKey,
        manager::{ManagePermit, Manager, Reader},
        ports::Store,
        secrets::{Survey, SurveyPage, Tally},
    },
    domain::{
        id::{AccountId, KeyId},
        key::{SecretPhase, SecretState},
        time::Timestamp,
    },
    proto::v1::{self, secrets_server::Secrets},
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use std::time::Duration;
use tonic::{Request, Response, Status};

/// What counts as used lately where the request does not say.
const LATELY: Duration = Duration::from_secs(30 * 86_400);

/// The service.
pub struct SecretsService<S> {
    desk: Desk<S>,
}

impl<S: Store> SecretsService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(desk: Desk<S>) -> Self {
        Self { desk }
    }
}

#[tonic::async_trait]
impl<S: Store> Secrets for SecretsService<S> {
    async fn survey(&self, request: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyResponse>, Status> {
        self.desk
            .act(("Survey", "survey_secrets"), request, |app, manager, message| async move {
                let mut fields = Fields::default();
                let page_size = fields.page_size(message.page_size, LARGEST_PAGE);
                let lately = message.used_within.map_or(Some(LATELY), |span| {
                    let span = Duration::try_from(span);
                    fields.check("used_within", span.map_err(|_| "must not be negative"))
                });
                let position = fields.check("page_token", Position::read(&message.page_token, &message.realm));
                let (position, lately) = fields.finish(position.zip(lately))?;
                let permit = permit(&app.house, &manager, &message.realm, &position.realm)?;
                let survey = Survey {
                    after: position.after,
                    version: Some(message.version).filter(|version| *version > 0),
                    used_since: app.house.clock.now().before(lately),
                    page_size,
                };
                let page = app.survey_secrets(&permit, &survey).await?;
                let next = next(&app.house, &manager, &message.realm, permit.realm_name(), &page);
                let realm = permit.realm_name().to_owned();
                Ok(v1::SurveyResponse {
                    versions: app.house.secrets.iter().map(version).collect(),
                    tallies: page.tallies.iter().map(|(version, tally)| counted(&realm, *version, *tally)).collect(),
                    keys: page.keys.iter().map(|owned| hanging(&realm, owned)).collect(),
                    next_page_token: next.map(|next| next.token()).unwrap_or_default(),
                })
            })
            .await
    }
}

/// Where a page begins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Position {
    /// Empty: at the first realm.
    realm: String,
    after: Option<(AccountId, KeyId)>,
}

impl Position {
    fn read(token: &str, realm: &str) -> Result<Self, &'static str> {
        const ALLOWED: &str = "must be `next_page_token` of the page before, unchanged";
        if token.is_empty() {
            return Ok(Self { realm: realm.to_owned(), after: None });
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| ALLOWED)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(text).ok().filter(|name| !name.is_empty()).ok_or(ALLOWED)?;
        if !realm.is_empty() && realm != name {
            return Err("must come from a page of the same realm");
        }
        let rest = bytes.get(text.len().saturating_add(1)..).unwrap_or_default();
        let after = || {
            let (id, account) = rest.split_first_chunk::<16>()?;
            Some((AccountId::new(std::str::from_utf8(account).ok()?).ok()?, KeyId::from_bytes(*id)))
        };
        let after = if rest.is_empty() { None } else { Some(after().ok_or(ALLOWED)?) };
        Ok(Self { realm: name.to_owned(), after })
    }

    fn token(&self) -> String {
        let mut bytes = [self.realm.as_bytes(), &[0]].concat();
        if let Some((account, key)) = &self.after {
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(account.as_str().as_bytes());
        }
        BASE64URL_NOPAD.encode(&bytes)
    }
}

/// The right to read the realm that is asked for; where none is, the one that the walk has come to, or the first of those that the
/// caller may read.
fn permit<'g>(
    house: &'g House,
    manager: &Manager,
    asked: &str,
    at: &str,
) -> Result<ManagePermit<'g, Reader>, AppError> {
    if !asked.is_empty() || !at.is_empty() {
        return manager.permit::<Reader>(house.realm_to_manage(at, manager)?);
    }
    let mut refused = AppError::Unauthenticated;
    for guard in house.all_to_manage(manager) {
        match manager.permit::<Reader>(guard) {
            Ok(permit) => return Ok(permit),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Where the page behind this one begins.
fn next(house: &House, manager: &Manager, asked: &str, realm: &str, page: &SurveyPage) -> Option<Position> {
    if let Some(after) = &page.next {
        return Some(Position { realm: realm.to_owned(), after: Some(after.clone()) });
    }
    let may_read = |guard: &&Guarded| manager.permit::<Reader>(guard).is_ok();
    let mut behind = house.all_to_manage(manager).filter(|guard| guard.realm.name.as_str() > realm).filter(may_read);
    let next = behind.next().filter(|_| asked.is_empty())?;
    Some(Position { realm: next.realm.name.as_str().to_owned(), after: None })
}

fn version(state: &SecretState) -> v1::SecretVersion {
    let phase = match state.phase {
        SecretPhase::Pending => v1::SecretPhase::Pending,
        SecretPhase::Current => v1::SecretPhase::Current,
        SecretPhase::Older => v1::SecretPhase::Older,
        SecretPhase::Retired => v1::SecretPhase::Retired,
    };
    let instant = |time: Option<Timestamp>| time.map(render::instant);
    v1::SecretVersion {
        version: state.mark.version,
        phase: phase.into(),
        used_from: instant(state.used_from),
        retires_at: instant(state.retires_at),
        fingerprint: HEXLOWER.encode(&state.mark.fingerprint),
    }
}

fn counted(realm: &str, version: u32, tally: Tally) -> v1::SecretTally {
    v1::SecretTally { realm: realm.to_owned(), version, keys: tally.keys, used_lately: tally.used_lately }
}

fn hanging(realm: &str, owned: &OwnedKey) -> v1::HangingKey {
    v1::HangingKey {
        realm: realm.to_owned(),
        account_id: owned.account.to_string(),
        key_id: owned.key.id.to_string(),
        hint: owned.key.hint().to_owned(),
        last_used_at: owned.uses.last.map(|last| render::instant(last.at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_and_no_other_text_does() {
        let after = Some((AccountId::new("acme").unwrap(), KeyId::from_bytes([0; 16])));
        for position in
            [Position { realm: "recurr".to_owned(), after }, Position { realm: "recurr".to_owned(), after: None }]
        {
            for asked in ["", "recurr"] {
                assert_eq!(Position::read(&position.token(), asked).as_ref(), Ok(&position));
            }
            assert!(Position::read(&position.token(), "recover").is_err());
        }
        let cut = BASE64URL_NOPAD.encode(b"recurr\0short");
        for odd in ["?", "AAAA", &cut] {
            assert!(Position::read(odd, "").is_err(), "{odd}");
        }
        assert_eq!(Position::read("", ""), Ok(Position::default()));
    }
}

//! The messages of an import.

use super::manage::read_repeatable;
use crate::{
    app::{
        error::AppError,
        house::Guarded,
        keys::{ImportKeys, ImportRow, ImportedSecret},
    },
    domain::{
        id::MemberId,
        key::{DigestScheme, HashAlgorithm, HashedPart, Limits},
        realm::Realm,
        secret::Secret,
    },
    grpc::fields::Fields,
    proto::v1::{self, import_row::Secret as Wire},
};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

/// Characters of a hint that comes with a hash, at most.
const HINT_CHARS: usize = 32;

/// How the hashes of a batch were made.
struct Hashes {
    algorithm: HashAlgorithm,
    part: HashedPart,
    encoding: v1::HashEncoding,
}

pub(super) fn read(guard: &Guarded, message: v1::ImportKeys) -> Result<ImportKeys, AppError> {
    let mut fields = Fields::of("import.");
    let repeatable = read_repeatable(guard, &mut fields, "import", &message.idempotency_key, &message);
    if !(1..=Limits::KEYS_PER_ACT).contains(&message.rows.len()) {
        fields.wrong("rows", format_args!("must be 1 to {} rows", Limits::KEYS_PER_ACT));
    }
    let hashes = message.hash.as_ref().and_then(|hash| read_hashes(&mut fields, hash));
    let has_hashes = message.rows.iter().any(|row| matches!(row.secret, Some(Wire::Hash(_))));
    if has_hashes && message.hash.is_none() {
        fields.wrong("hash", "is needed where a row carries a hash");
    }
    fields.finish(Some(()))?;
    let rows = message.rows.into_iter().map(|row| read_row(&guard.realm, hashes.as_ref(), row)).collect();
    Ok(ImportKeys { rows, dry_run: message.dry_run, repeatable })
}

fn read_hashes(fields: &mut Fields, hash: &v1::ImportedHash) -> Option<Hashes> {
    let algorithm = match hash.algorithm() {
        v1::HashAlgorithm::Sha256 => Ok(HashAlgorithm::Sha256),
        v1::HashAlgorithm::Sha512 => Ok(HashAlgorithm::Sha512),
        v1::HashAlgorithm::Unspecified => Err("must be SHA256 or SHA512"),
    };
    let part = match hash.part() {
        v1::HashedPart::Whole => Ok(HashedPart::Whole),
        v1::HashedPart::Body => Ok(HashedPart::Body),
        v1::HashedPart::Unspecified => Err("must be WHOLE or BODY"),
    };
    let encoding = match hash.encoding() {
        v1::HashEncoding::Unspecified => Err("must be HEX, BASE64 or BASE64URL"),
        known => Ok(known),
    };
    let algorithm = fields.check("hash.algorithm", algorithm);
    let part = fields.check("hash.part", part);
    let encoding = fields.check("hash.encoding", encoding);
    Some(Hashes { algorithm: algorithm?, part: part?, encoding: encoding? })
}

/// A row that is wrong is that row's problem, not the batch's.
fn read_row(realm: &Realm, hashes: Option<&Hashes>, row: v1::ImportRow) -> Result<ImportRow, String> {
    let mut fields = Fields::default();
    let environment = fields.one_environment("environment", &row.environment, realm).map(|(index, _)| index);
    let hint = fields.text("hint", &row.hint, HINT_CHARS.saturating_mul(4)).unwrap_or_default();
    if hint.chars().count() > HINT_CHARS {
        fields.wrong("hint", format_args!("must be at most {HINT_CHARS} characters"));
    }
    let secret = match row.secret {
        None => {
            fields.wrong("secret", "must be `raw_key` or `hash`");
            None
        }
        Some(Wire::RawKey(text)) => {
            let problem = format!("must be at most {} bytes", Secret::MAX_BYTES);
            fields.check("raw_key", Secret::new(text).ok_or(problem)).map(ImportedSecret::Raw)
        }
        Some(Wire::Hash(text)) => read_hash(&mut fields, realm, environment, hashes, &text, hint),
    };
    let account = fields.account("account_id", &row.account_id);
    let name = fields.name("name", &row.name);
    let mut scopes = fields.scopes("scopes", &row.scopes, realm);
    if row.scopes.is_empty() {
        scopes = realm.scopes.defaults().to_vec();
    }
    let metadata = fields.metadata("metadata", row.metadata);
    let expires_at = row.expires_at.as_ref().and_then(|at| fields.instant("expires_at", at));
    let not_before = row.not_before.as_ref().and_then(|at| fields.instant("not_before", at));
    let networks = fields.networks("allowed_networks", &row.allowed_networks, realm);
    let member = fields.optional("member_id", &row.member_id, MemberId::new);
    if let Some(problem) = fields.into_problem() {
        return Err(problem);
    }
    match (secret, account, environment, name) {
        (Some(secret), Some(account), Some(environment), Some(name)) => Ok(ImportRow {
            secret,
            account,
            environment,
            name,
            scopes,
            metadata,
            expires_at,
            not_before,
            networks,
            member,
        }),
        _ => Err("the row was not read whole".to_owned()),
    }
}

fn read_hash(
    fields: &mut Fields,
    realm: &Realm,
    environment: Option<usize>,
    hashes: Option<&Hashes>,
    text: &str,
    hint: String,
) -> Option<ImportedSecret> {
    let hashes = hashes?;
    let scheme = DigestScheme::Imported(hashes.algorithm, hashes.part);
    let taken_over = |(index, format): &(usize, crate::domain::key::LegacyFormat)| {
        Some(*index) == environment && format.schemes().contains(&scheme)
    };
    if !realm.legacy_formats.iter().any(taken_over) {
        let (algorithm, part) = (hashes.algorithm.name(), hashes.part.name());
        fields.wrong("hash", format_args!(
            "{algorithm} over {part} is in none of the realm's `[[legacy_formats]]` of this environment: keys stored so could never be found"
        ));
        return None;
    }
    let decoded = match hashes.encoding {
        v1::HashEncoding::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()),
        v1::HashEncoding::Base64 => BASE64.decode(text.as_bytes()).or_else(|_| BASE64_NOPAD.decode(text.as_bytes())),
        v1::HashEncoding::Base64url | v1::HashEncoding::Unspecified => {
            BASE64URL.decode(text.as_bytes()).or_else(|_| BASE64URL_NOPAD.decode(text.as_bytes()))
        }
    };
    let length = hashes.algorithm.length();
    let hash = decoded.ok().filter(|hash| hash.len() == length);
    let problem = format!("must be {length} bytes in the batch's encoding");
    fields.check("hash", hash.ok_or(problem)).map(|hash| ImportedSecret::Hash { scheme, hash, hint })
}

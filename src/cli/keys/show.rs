//! How keys are shown.

use crate::{
    cli::{failure::Failure, json, names, output, output::Output, values},
    proto::v1::{Key, KeyState, KeyWithSecret},
};

/// Whether an answer tells the uses of keys: those to `get` and `list` do, those to acts do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// Told: none means that there was none.
    Told,
    /// Not told: none means nothing.
    Untold,
}

/// Shows one key.
pub fn one(output: &mut Output, key: &Key, uses: Uses) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::key(key));
    }
    let instant = |at: &Option<_>| at.as_ref().map(values::instant).unwrap_or_default();
    let metadata: Vec<_> = key.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let revoked = key.state == i32::from(KeyState::Revoked);
    let secrets: Vec<_> = key
        .secrets
        .iter()
        .map(|secret| {
            let ends = secret
                .retires_at
                .as_ref()
                .filter(|_| !revoked)
                .map(|at| format!(", works until {}", values::instant(at)));
            let imported = if secret.imported { ", stored under an imported hash" } else { "" };
            let made = instant(&secret.created_at);
            let from = Some(&secret.last_used_address).filter(|from| !from.is_empty());
            let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
            let times = if secret.uses == 1 { "once" } else { &format!("{} times", secret.uses) };
            let used = match (&secret.last_used_at, uses) {
                (Some(at), _) => format!(", used {times}, last {}{from}", values::instant(at)),
                (None, Uses::Told) => ", not used yet".to_owned(),
                (None, Uses::Untold) => String::new(),
            };
            let hint = if secret.hint.is_empty() { String::new() } else { format!(" {}", secret.hint) };
            format!("{}{hint} made {made}{}{imported}{used}", secret.number, ends.unwrap_or_default())
        })
        .collect();
    let mut fields = vec![
        ("id", key.id.clone()),
        ("realm", key.realm.clone()),
        ("environment", key.environment.clone()),
        ("account", key.account_id.clone()),
        ("name", key.name.clone()),
        ("state", names::key_state(key.state)),
        ("hint", key.hint.clone()),
        ("scopes", key.scopes.join(", ")),
        ("metadata", metadata.join(", ")),
        ("created", instant(&key.created_at)),
        ("created by", key.created_by.clone()),
        ("member", key.member_id.clone()),
        ("updated", instant(&key.updated_at)),
        ("expires", key.expires_at.as_ref().map_or_else(|| "never".to_owned(), values::instant)),
        ("not before", instant(&key.not_before)),
        ("networks", key.allowed_networks.join(", ")),
        ("rests unused from", instant(&key.suspends_at)),
        ("revoked", instant(&key.revoked_at)),
        ("reason", key.revoke_reason.clone()),
        ("last used", instant(&key.last_used_at)),
        ("used from", key.last_used_address.clone()),
        ("version", key.version.to_string()),
    ];
    fields.extend(secrets.into_iter().map(|secret| ("secret", secret)));
    output.fields(&fields)
}

/// Shows several keys as a table.
pub fn table(output: &mut Output, keys: &[Key], uses: Uses) -> Result<(), Failure> {
    let header = ["ID", "ACCOUNT", "ENVIRONMENT", "NAME", "STATE", "HINT", "SCOPES", "CREATED", "EXPIRES"];
    let last = (uses == Uses::Told).then_some("LAST USED");
    let instant = |at: &Option<_>| at.as_ref().map_or_else(|| "-".to_owned(), values::instant);
    let rows = keys.iter().map(|key| {
        let mut row = vec![
            key.id.clone(),
            key.account_id.clone(),
            key.environment.clone(),
            key.name.clone(),
            names::key_state(key.state),
            dash(&key.hint),
            dash(&key.scopes.join(",")),
            instant(&key.created_at),
            instant(&key.expires_at),
        ];
        row.extend(last.map(|_| instant(&key.last_used_at)));
        row
    });
    output.table(&header.into_iter().chain(last).collect::<Vec<_>>(), rows)
}

/// A cell that is never empty, so that columns can be counted.
fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Shows a key with its secret, once. The secret stands alone on the last line.
pub fn with_secret(output: &mut Output, made: &KeyWithSecret) -> Result<(), Failure> {
    let id = made.key.as_ref().map_or("", |key| key.id.as_str());
    show_with_secret(output, made).map_err(|failure| lost(failure, id, made))?;
    if output.closed() && !made.secret.is_empty() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        return Err(lost(Failure::io("cannot write the result", &closed), id, made));
    }
    Ok(())
}

fn show_with_secret(output: &mut Output, made: &KeyWithSecret) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::key_with_secret(made));
    }
    if let Some(key) = &made.key {
        one(output, key, Uses::Untold)?;
    }
    if !made.replaced_key_ids.is_empty() {
        output::note(&format!("ended in its favour: {}", made.replaced_key_ids.join(", ")));
    }
    if made.repeated {
        output::note("this was done before under the same idempotency key: the secret cannot be shown again");
    }
    if made.secret.is_empty() {
        return Ok(());
    }
    output::note("the key itself follows. It is shown once: store it now");
    output.line(&made.secret)
}

fn lost(failure: Failure, id: &str, made: &KeyWithSecret) -> Failure {
    if made.secret.is_empty() {
        return failure;
    }
    failure.after(&format!("the key `{id}` exists, but its secret is lost: rotate or revoke it"))
}

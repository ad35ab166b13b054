//! `keygate authenticate`: asks the server whether a key is allowed a request.

use super::{
    client::Connection,
    decision,
    exit::{Exit, help},
    failure::Failure,
    json, output,
    output::Output,
    secrets, values,
};
use crate::proto::v1::{
    Allowed, AuthenticateRequest, AuthenticateResponse, Header, Headers, authenticate_request::Credential,
    authenticate_response::Outcome,
};
use tonic::metadata::{Ascii, MetadataValue};

/// Ask who is calling, and whether they may
///
/// The key is taken from standard input (`--key-stdin`), from the variable `KEYGATE_API_KEY`, or from the argument; other
/// users of this machine can read arguments in the list of processes, so use the argument for test keys only. With
/// `--header` the realm's own rules take the credential from the headers, as they do for real traffic. The exit code is
/// 0 when the request is allowed and 3 when it is denied.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate authenticate --realm recurr --key-stdin < test.key
  keygate authenticate --realm recurr --key-stdin --method GET --path /v1/invoices --check-rate-limit < test.key
  keygate authenticate --realm recoup --header \"x-api-key: $KEY\" --explain --output json"
))]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    /// The realm whose rules apply
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    realm: String,
    /// The key to judge; better given by `--key-stdin` or `KEYGATE_API_KEY`
    #[arg(value_name = "KEY", conflicts_with_all = ["key_stdin", "headers"])]
    key: Option<String>,
    /// Read the key from standard input
    #[arg(long, conflicts_with = "headers")]
    key_stdin: bool,
    /// Read an access token from standard input, in place of a key; without, `KEYGATE_ACCESS_TOKEN` may hold one
    #[arg(long, conflicts_with_all = ["key", "key_stdin", "headers"])]
    token_stdin: bool,
    /// A header of the request that carries the credential; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// HTTP method of the request; goes with `--path`. For gRPC traffic `POST`
    #[arg(long, value_name = "METHOD", requires = "path", default_value = "", hide_default_value = true)]
    method: String,
    /// Path of the request; goes with `--method`. For gRPC traffic `/package.Service/Method`
    #[arg(long, value_name = "PATH", requires = "method", default_value = "", hide_default_value = true)]
    path: String,
    /// The account that the request acts on; without: the key's own
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// The organization that the request acts within
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    organization: String,
    /// Deny keys of any other environment
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// A scope that is needed beside those of the operation; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// What the request costs against each limit; without: 1
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cost: Option<i64>,
    /// Also charge the limits that apply
    #[arg(long)]
    check_rate_limit: bool,
    /// IPv4 or IPv6 address of the client, without a port
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    source_address: String,
    /// Show the steps that led to the decision
    #[arg(long)]
    explain: bool,
    /// What the server shall call this request in its log, and its traces, in place of an id of its own
    #[arg(long, value_name = "ID", value_parser = values::parse_request_id)]
    request_id: Option<MetadataValue<Ascii>>,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let credential = credential(self.key, self.key_stdin, self.token_stdin, &self.headers)?;
        let request = AuthenticateRequest {
            realm: self.realm,
            method: self.method,
            path: self.path,
            source_address: self.source_address,
            account_id: self.account,
            organization_id: self.organization,
            environment: self.environment,
            required_scopes: self.scopes,
            cost: self.cost,
            check_rate_limit: self.check_rate_limit,
            explain: self.explain,
            credential: Some(credential),
            // What a terminal shows, others read.
            release_credential: false,
        };
        let id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let answer = self.connection.open().await?.authenticate(request, self.request_id.as_ref()).await?;
        let exit = match answer.outcome {
            Some(Outcome::Allowed(_)) => Exit::Success,
            Some(Outcome::Denied(_)) => Exit::Denied,
            None => return Err(Failure::odd_answer()),
        };
        if output.is_json() {
            output.json(&json::authenticated(&answer, id))?;
        } else {
            show(output, &answer, id)?;
        }
        Ok(exit)
    }
}

fn credential(key: Option<String>, stdin: bool, token: bool, headers: &[String]) -> Result<Credential, Failure> {
    if !headers.is_empty() {
        let entries = headers.iter().map(|line| {
            let (name, value) = values::parse_header(line).map_err(Failure::usage)?;
            Ok(Header { name, value })
        });
        return Ok(Credential::Headers(Headers { entries: entries.collect::<Result<_, _>>()? }));
    }
    if let Some(token) = secrets::judged_token(token, key.is_some() || stdin)? {
        return Ok(Credential::AccessToken(token.to_string()));
    }
    let key = secrets::judged_key(key, stdin)?;
    let key = key.ok_or_else(|| {
        Failure::usage("no key to judge: use `--key-stdin` or `--token-stdin`, set KEYGATE_API_KEY, or give `--header 'Name: value'`")
    })?;
    Ok(Credential::ApiKey(key.to_string()))
}

fn show(output: &mut Output, answer: &AuthenticateResponse, id: Option<&str>) -> Result<(), Failure> {
    match &answer.outcome {
        Some(Outcome::Allowed(allowed)) => show_allowed(output, allowed, id)?,
        Some(Outcome::Denied(denied)) => decision::denied(output, denied, id)?,
        None => {}
    }
    let age = answer.data_age.as_ref().filter(|age| age.seconds > 0);
    if let Some(age) = age {
        output::note(&format!("decided from data that was {} old", values::span_for_people(age)));
    }
    decision::degraded(answer.degraded);
    decision::limits(output, &answer.limits)?;
    if answer.explanation.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let steps = answer.explanation.iter().map(|step| vec![step.stage.clone(), step.finding.clone()]);
    output.table(&["STAGE", "FINDING"], steps)
}

fn show_allowed(output: &mut Output, allowed: &Allowed, id: Option<&str>) -> Result<(), Failure> {
    output.line("allowed")?;
    let metadata: Vec<_> = allowed.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = if allowed.target_account_id == allowed.account_id { "" } else { &allowed.target_account_id };
    let mut fields = vec![
        ("key", allowed.key_id.clone()),
        ("name", allowed.name.clone()),
        ("hint", allowed.hint.clone()),
        ("environment", allowed.environment.clone()),
        ("account", allowed.account_id.clone()),
        ("acts on", target.to_owned()),
        ("scopes", allowed.scopes.join(", ")),
        ("metadata", metadata.join(", ")),
        ("operation", allowed.operation.clone()),
        ("request id", id.unwrap_or_default().to_owned()),
    ];
    fields.extend(decision::token(allowed.token.as_ref()));
    fields.extend(decision::headers(&allowed.headers));
    output.fields(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_as_they_are() {
        let lines = ["Authorization: Bearer a:b".to_owned(), "x-y:z".to_owned()];
        let Ok(Credential::Headers(headers)) = credential(None, false, false, &lines) else { panic!("not headers") };
        let entries: Vec<_> = headers.entries.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        assert_eq!(entries, [("Authorization", "Bearer a:b"), ("x-y", "z")]);
        assert!(credential(None, false, false, &["nonsense".to_owned()]).is_err());
    }
}

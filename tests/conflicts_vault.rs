//! Acts on what an account deposited, and on the account's status, that meet: on Redis through two servers. Then the history is
//! read: no act that was answered is lost, none is done twice, none lacks its record, and what can be used is what the history
//! says.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, AuditAct, AuditEvent, DeleteCredentialRequest, ListCredentialsRequest, SetAccountStatusRequest,
    authenticate_response::Outcome,
};
use support::{
    calls::signed,
    keygate::Keygate,
    vault::{putting, releasing, upstream},
};
use tonic::{Code, Status};

const ROUNDS: usize = 24;
const FIRST: &str = "sk-first-Kp3vXq8ZtLm2RwYb7NcDs5Hf";
const SECOND: &str = "sk-second-Zt8Lm2RwYb7NcDs5HfKp3vXq";

async fn set(keygate: &Keygate, operator: &str, account: &str, status: AccountStatus) -> Result<u32, Status> {
    let (realm, account_id) = ("recovea".to_owned(), account.to_owned());
    let request = SetAccountStatusRequest { realm, account_id, status: status.into(), ..Default::default() };
    let done = keygate.directory().set_account_status(signed(Some(operator), request)).await?;
    Ok(done.into_inner().removed_credentials)
}

async fn put(keygate: &Keygate, operator: &str, account: &str, credential: &str) -> Result<(), Status> {
    let request = signed(Some(operator), putting(account, "live", "openai", credential));
    keygate.vault().put_credential(request).await.map(drop)
}

async fn delete(keygate: &Keygate, operator: &str, account: &str) -> Result<(), Status> {
    let (realm, account_id) = ("recovea".to_owned(), account.to_owned());
    let (environment, provider) = ("live".to_owned(), "openai".to_owned());
    let request = DeleteCredentialRequest { realm, account_id, environment, provider };
    keygate.vault().delete_credential(signed(Some(operator), request)).await.map(drop)
}

/// Whether it was done; a refusal is legal, a failure is none.
#[track_caller]
fn was_done<T>(answer: Result<T, Status>) -> Option<T> {
    match answer {
        Ok(done) => Some(done),
        Err(status) => {
            let legal = [Code::FailedPrecondition, Code::NotFound];
            assert!(legal.contains(&status.code()), "{status:?}");
            None
        }
    }
}

fn count(events: &[AuditEvent], act: AuditAct) -> usize {
    events.iter().filter(|event| event.act() == act).count()
}

/// Whether a credential is there and the account works, by the history alone. An event that cannot follow on those before it fails
/// the test.
fn told(chain: &[AuditEvent]) -> (bool, bool) {
    let (mut stored, mut active, mut over) = (false, true, false);
    let mut head = vec![0; 32];
    for (number, event) in (1..).zip(chain) {
        assert_eq!((event.sequence, &event.previous_hash), (number, &head), "{chain:#?}");
        head.clone_from(&event.hash);
        match event.act() {
            AuditAct::CredentialStored => {
                assert!(!over, "{chain:#?}");
                stored = true;
            }
            AuditAct::CredentialRewrapped => assert!(stored, "{chain:#?}"),
            AuditAct::CredentialRemoved => assert!(std::mem::take(&mut stored), "{chain:#?}"),
            AuditAct::AccountSuspended => assert!(std::mem::take(&mut active), "{chain:#?}"),
            AuditAct::AccountActivated => assert!(!std::mem::replace(&mut active, true) && !over, "{chain:#?}"),
            AuditAct::AccountOffboarded => {
                assert!(!std::mem::replace(&mut over, true), "{chain:#?}");
                active = false;
            }
            AuditAct::AccountCreated | AuditAct::KeyCreated | AuditAct::KeyRevoked => {}
            other => panic!("{other:?} was not done: {chain:#?}"),
        }
    }
    (stored, active)
}

with_vault! {
    async fn deposits_and_statuses_that_meet_leave_what_their_history_says(stack, files) {
        let arguments = files.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let second = if stack.redis.is_some() { Some(stack.second(&arguments).await) } else { None };
        let (one, operator) = (&stack.keygate, stack.operator());
        let other = second.as_ref().unwrap_or(one);
        stack.remember(FIRST);
        stack.remember(SECOND);
        let mut ended = 0;
        for round in 0..ROUNDS {
            let account = format!("p{round}");
            let (_, key) = stack.new_key("recovea", &account, "live").await;
            put(one, operator, &account, FIRST).await.unwrap();
            let before = stack.chain("recovea", &account).await.len();
            let leaves = round % 3 == 0;
            let offboard = async {
                if leaves { was_done(set(one, operator, &account, AccountStatus::Offboarded).await) } else { None }
            };
            let (a, b, c, d, suspended, activated, gone, _) = tokio::join!(
                put(one, operator, &account, FIRST),
                put(other, operator, &account, SECOND),
                delete(one, operator, &account),
                delete(other, operator, &account),
                set(one, operator, &account, AccountStatus::Suspended),
                set(other, operator, &account, AccountStatus::Active),
                offboard,
                other.try_rewrap(1_000, ""),
            );
            let puts = [a, b].into_iter().filter_map(was_done).count();
            let deletes = [c, d].into_iter().filter_map(was_done).count();
            let (suspended, activated) = (was_done(suspended).is_some(), was_done(activated).is_some());

            let chain = stack.chain("recovea", &account).await;
            let (stored, active) = told(&chain);
            let done = &chain[before..];
            assert_eq!(count(done, AuditAct::CredentialStored), puts, "{chain:#?}");
            let removed = gone.unwrap_or(0) as usize;
            assert_eq!(count(done, AuditAct::CredentialRemoved), deletes + removed, "{chain:#?}");
            assert_eq!(count(done, AuditAct::AccountOffboarded), usize::from(gone.is_some()), "{chain:#?}");
            assert!(count(done, AuditAct::AccountSuspended) <= usize::from(suspended), "{chain:#?}");
            assert!(count(done, AuditAct::AccountActivated) <= usize::from(activated), "{chain:#?}");
            ended += usize::from(gone.is_some());

            for server in [one, other] {
                let request = ListCredentialsRequest { realm: "recovea".to_owned(), account_id: account.clone() };
                let listed = server.vault().list_credentials(signed(Some(operator), request)).await.unwrap().into_inner();
                assert_eq!(listed.credentials.len(), usize::from(stored), "{chain:#?}");
                let answer = server.decided(&releasing(&key)).await;
                let Some(Outcome::Allowed(allowed)) = answer.outcome else {
                    assert!(!active || !stored, "{answer:?} {chain:#?}");
                    continue;
                };
                assert!(active, "{chain:#?}");
                let released = upstream(&allowed);
                let is = |credential| released.iter().any(|line| line.contains(credential));
                assert_eq!(is(FIRST) || is(SECOND), stored, "{chain:#?}");
            }
        }
        assert_eq!(ended, ROUNDS.div_ceil(3));
    }
}

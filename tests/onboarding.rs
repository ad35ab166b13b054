//! Onboarding under attack, and asked wrongly.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    Denied, DenyReason, KeyWithSecret, ListKeys, SignupRequest, SignupStarted, VerifyRequest,
    onboarding_client::OnboardingClient, signup_response, verify_response,
};
use std::{fs, sync::Arc};
use support::{
    calls::{Answered, assert_invalid, by_key, violations},
    keygate::Keygate,
    mailbox::Mailbox,
    stack::Stack,
    stored::Stored,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

fn signing_up(address: &str) -> SignupRequest {
    SignupRequest {
        realm: "recoup".to_owned(),
        address: address.to_owned(),
        name: "an agent".to_owned(),
        source_address: "192.0.2.1".to_owned(),
    }
}

fn verifying(signup: &str, code: &str) -> VerifyRequest {
    VerifyRequest {
        realm: "recoup".to_owned(),
        signup_id: signup.to_owned(),
        code: code.to_owned(),
        source_address: "192.0.2.1".to_owned(),
    }
}

impl Keygate {
    async fn try_signup(&self, request: SignupRequest) -> Result<Result<SignupStarted, Denied>, Status> {
        let answer = OnboardingClient::new(self.channel()).signup(request).await?;
        Ok(match answer.into_inner().outcome.expect("an outcome") {
            signup_response::Outcome::Started(started) => Ok(started),
            signup_response::Outcome::Denied(denied) => Err(denied),
        })
    }

    async fn signup(&self, address: &str) -> String {
        self.try_signup(signing_up(address)).await.expect("it is answered").expect("it is not denied").signup_id
    }

    async fn try_verify(&self, request: VerifyRequest) -> Result<Result<KeyWithSecret, Denied>, Status> {
        let answer = OnboardingClient::new(self.channel()).verify(request).await?;
        Ok(match answer.into_inner().outcome.expect("an outcome") {
            verify_response::Outcome::Created(made) => {
                self.remember(&made.secret);
                Ok(made)
            }
            verify_response::Outcome::Denied(denied) => Err(denied),
        })
    }

    async fn verify(&self, signup: &str, code: &str) -> Result<KeyWithSecret, Denied> {
        self.try_verify(verifying(signup, code)).await.expect("it is answered")
    }
}

/// Something that is not the code, of the same form.
fn wrong(code: &str) -> String {
    let first = if code.starts_with('7') { '8' } else { '7' };
    format!("{first}{}", &code[1..])
}

async fn on_each_store<F: Future<Output = ()>>(row: impl Fn(Stack, Mailbox) -> F) {
    for redis in [false, true] {
        let mailbox = Mailbox::open().await;
        let file = mailbox.operated_realm_file();
        let arguments = ["--realm-file", file.to_str().unwrap()];
        let stack = if redis { Stack::redis(&arguments).await } else { Stack::embedded(&arguments).await };
        row(stack, mailbox).await;
    }
}

#[tokio::test]
async fn codes_cannot_be_guessed_not_even_many_at_the_same_time() {
    on_each_store(async |stack: Stack, mailbox: Mailbox| {
        let signup = stack.signup("agent@example.com").await;
        let code = mailbox.code();
        for _ in 0..5 {
            let denied = stack.verify(&signup, &wrong(&code)).await.unwrap_err();
            assert_eq!((denied.reason(), denied.http_status), (DenyReason::InvalidCode, 401));
        }
        let late = stack.verify(&signup, &code).await.unwrap_err();
        assert_eq!(late.reason(), DenyReason::InvalidCode, "five attempts, and no more");

        // Twenty guesses at once, of which each is a try: the right one comes too late afterwards.
        let signup = stack.signup("agent@example.com").await;
        let code = mailbox.code();
        let stack = Arc::new(stack);
        let mut guesses = JoinSet::new();
        for _ in 0..20 {
            let (stack, signup, guess) = (Arc::clone(&stack), signup.clone(), wrong(&code));
            guesses.spawn(async move { stack.try_verify(verifying(&signup, &guess)).await });
        }
        for guess in guesses.join_all().await {
            match guess {
                Ok(answer) => assert_eq!(answer.unwrap_err().reason(), DenyReason::InvalidCode),
                Err(status) => assert_eq!(status.code(), Code::Aborted),
            }
        }
        assert!(stack.verify(&signup, &code).await.is_err());
        assert_eq!(stack.list("recoup", ListKeys::default()).await.keys, []);
    })
    .await;
}

#[tokio::test]
async fn of_many_that_bring_the_right_code_at_the_same_time_one_gets_the_key() {
    on_each_store(async |stack: Stack, mailbox: Mailbox| {
        let second = if stack.redis.is_some() {
            let file = mailbox.operated_realm_file();
            Some(stack.second(&["--realm-file", file.to_str().unwrap()]).await)
        } else {
            None
        };
        for round in 0..4 {
            let signup = stack.signup(&format!("agent-{round}@example.com")).await;
            let code = mailbox.code();
            let servers = [Some(&*stack), second.as_ref().or(Some(&*stack))];
            let tries = (0..8).map(|number| servers[number % 2].unwrap().try_verify(verifying(&signup, &code)));
            let answers = futures_all(tries.collect()).await;
            let made: Vec<_> = answers.into_iter().filter_map(|answer| answer.ok()?.ok()).collect();
            assert_eq!(made.len(), 1, "round {round}");
            stack.authenticate(by_key("recoup", &made[0].secret)).await.allowed();
        }
        assert_eq!(stack.list("recoup", ListKeys::default()).await.keys.len(), 4);
    })
    .await;
}

/// All of them at once, in their order.
async fn futures_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (answer, future) in answers.iter_mut().zip(&mut waiting).filter(|(answer, _)| answer.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *answer = Some(value);
            }
        }
        if answers.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[tokio::test]
async fn floods_from_one_source_and_on_one_address_are_bounded() {
    on_each_store(async |stack: Stack, mailbox: Mailbox| {
        // One address, from wherever.
        for number in 0..5 {
            let request =
                SignupRequest { source_address: format!("198.51.100.{number}"), ..signing_up("Victim@Example.com ") };
            stack.try_signup(request).await.unwrap().unwrap();
        }
        let request = SignupRequest { source_address: "198.51.100.77".to_owned(), ..signing_up("victim@example.com") };
        let denied = stack.try_signup(request).await.unwrap().unwrap_err();
        assert_eq!((denied.reason(), denied.limit.as_str()), (DenyReason::RateLimited, "signups-per-address"));
        assert_eq!(denied.http_status, 429);
        // One source, whomever it names.
        for number in 0..20 {
            stack.signup(&format!("agent-{number}@example.com")).await;
        }
        let denied = stack.try_signup(signing_up("one-more@example.com")).await.unwrap().unwrap_err();
        assert_eq!((denied.reason(), denied.limit.as_str()), (DenyReason::RateLimited, "signups-per-source"));
        assert_eq!(mailbox.letters().len(), 25, "what was denied sent nothing");
        // Verifications of one source, of whatever signup.
        let nobody = format!("su_{}", "0".repeat(32));
        for _ in 0..60 {
            assert_eq!(stack.verify(&nobody, "12345678").await.unwrap_err().reason(), DenyReason::InvalidCode);
        }
        let denied = stack.verify(&nobody, "12345678").await.unwrap_err();
        assert_eq!((denied.reason(), denied.limit.as_str()), (DenyReason::RateLimited, "verifications-per-source"));
    })
    .await;
}

#[tokio::test]
async fn what_a_signup_says_does_not_depend_on_who_was_there_before_and_a_wrong_one_looks_like_none() {
    on_each_store(async |stack: Stack, mailbox: Mailbox| {
        let first = stack.try_signup(signing_up("agent@example.com")).await.unwrap().unwrap();
        let made = stack.verify(&first.signup_id, &format!(" {}\n", mailbox.code().to_lowercase())).await.unwrap();
        let second = stack.try_signup(signing_up("AGENT@example.com")).await.unwrap().unwrap();
        let stranger = stack.try_signup(signing_up("stranger@example.com")).await.unwrap().unwrap();
        for one in [&first, &second, &stranger] {
            assert!(one.signup_id.starts_with("su_") && one.signup_id.len() == 35 && one.expires_at.is_some());
        }
        // Used, never there, and wrong.
        let used = stack.verify(&first.signup_id, &mailbox.letters()[0].text("code")).await.unwrap_err();
        let never = stack.verify(&format!("su_{}", "a".repeat(32)), "12345678").await.unwrap_err();
        let other = stack.verify(&second.signup_id, &mailbox.code()).await.unwrap_err();
        assert_eq!(used.reason(), DenyReason::InvalidCode);
        assert_eq!((&used, &used), (&never, &other));
        // Whoever shows twice that an address is theirs gets a second key of the same account.
        let again = stack.verify(&second.signup_id, &mailbox.letters()[1].text("code")).await.unwrap();
        let (made, again) = (made.key.unwrap(), again.key.unwrap());
        assert_eq!((&made.account_id, made.id == again.id), (&again.account_id, false));
        assert!(made.account_id.starts_with("agent-") && !made.account_id.contains("example"), "{made:?}");
    })
    .await;
}

#[tokio::test]
async fn a_code_that_could_not_be_delivered_leaves_nothing_behind() {
    on_each_store(async |mut stack: Stack, mailbox: Mailbox| {
        mailbox.answers_with(500);
        let status = stack.try_signup(signing_up("agent@example.com")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the code could not be delivered"));
        stack.keygate.wait_for_output("a one-time code could not be delivered").await;
        mailbox.answers_with(204);
        let signup = stack.signup("agent@example.com").await;
        let code = mailbox.code();
        stack.verify(&signup, &code).await.unwrap();
        stack.keygate.terminate().await;
        assert!(!stack.output().contains(&code), "a code stands in the log");
        let stored = Stored::read(&stack);
        assert!(stored.holds(b"agent@example.com"), "what is read is not the store");
        assert!(!stored.holds(code.as_bytes()), "a code stands in the store");
    })
    .await;
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    on_each_store(async |stack: Stack, mailbox: Mailbox| {
        let odd = SignupRequest { realm: "nowhere".to_owned(), ..signing_up("agent@example.com") };
        assert_invalid(&stack.try_signup(odd).await.unwrap_err(), &["realm"]);
        let address = "must be an e-mail address such as `agent@example.com`, in ASCII and at most 254 bytes";
        let name = "must be 1 to 128 characters, none of them a control character";
        let source = "must be the client's IPv4 or IPv6 address without a port";
        for (request, expected) in [
            (
                SignupRequest { name: String::new(), source_address: String::new(), ..signing_up("") },
                vec![("address", address), ("name", name), ("source_address", source)],
            ),
            (signing_up("agent@localhost"), vec![("address", address)]),
            (signing_up("a@example.com\r\nBcc: b@example.com"), vec![("address", address)]),
            (
                SignupRequest { source_address: "1.2.3.4:5".to_owned(), ..signing_up("a@example.com") },
                vec![("source_address", source)],
            ),
        ] {
            let status = stack.try_signup(request).await.unwrap_err();
            let found = violations(&status);
            let found: Vec<_> = found.iter().map(|(field, problem)| (field.as_str(), problem.as_str())).collect();
            assert_eq!((status.code(), found), (Code::InvalidArgument, expected));
        }
        let (id, code) = (
            "must be `su_` and 32 characters, as `Signup` answered",
            "must be the code as it was delivered, 1 to 64 bytes",
        );
        for (request, expected) in [
            (
                VerifyRequest { source_address: "x".to_owned(), ..verifying("", " ") },
                vec![("signup_id", id), ("code", code), ("source_address", source)],
            ),
            (verifying("su_1", &"x".repeat(65)), vec![("signup_id", id), ("code", code)]),
        ] {
            let status = stack.try_verify(request).await.unwrap_err();
            let found = violations(&status);
            let found: Vec<_> = found.iter().map(|(field, problem)| (field.as_str(), problem.as_str())).collect();
            assert_eq!((status.code(), found), (Code::InvalidArgument, expected));
        }
        assert!(mailbox.letters().is_empty());
    })
    .await;
}

/// The shipped realms: recoup has no secret for its webhook yet, the others have no onboarding.
#[tokio::test]
async fn a_server_without_a_mail_service_starts_and_lets_nobody_sign_up() {
    let keygate = Keygate::start(&[]).await;
    let status = keygate.try_signup(signing_up("agent@example.com")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the code could not be delivered"));
    keygate.wait_for_output("nobody can sign up").await;
    let elsewhere = SignupRequest { realm: "recurr".to_owned(), ..signing_up("agent@example.com") };
    let status = keygate.try_signup(elsewhere).await.unwrap_err();
    let none = "this realm has no onboarding: its configuration has no `[onboarding]`";
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, none));
    let elsewhere = VerifyRequest { realm: "recurr".to_owned(), ..verifying(&format!("su_{}", "a".repeat(32)), "x") };
    assert_eq!(keygate.try_verify(elsewhere).await.unwrap_err().code(), Code::FailedPrecondition);
}

/// For development: who starts that is told so, and finds the code in the log.
#[tokio::test]
async fn codes_are_written_to_the_log_only_where_the_realm_says_so() {
    let files = tempfile::tempdir().unwrap();
    let shipped = include_str!("../deploy/realms/recoup.toml");
    let webhook = "delivery = \"webhook\"\nwebhook_url = \"http://127.0.0.1:8025/codes\"\nwebhook_secret_file = \"recoup-codes.secret\"\n";
    assert!(shipped.contains(webhook));
    let file = files.path().join("recoup.toml");
    fs::write(&file, shipped.replace(webhook, "delivery = \"log\"\n")).unwrap();
    let keygate = Keygate::start(&["--realm-file", file.to_str().unwrap()]).await;
    keygate.wait_for_output("only for development").await;
    let signup = keygate.signup("agent@example.com").await;
    keygate.wait_for_output("a one-time code, for development").await;
    let output = keygate.output();
    let (_, after) = output.split_once("code=").unwrap();
    let code: String = after.trim_start_matches('"').chars().take_while(char::is_ascii_alphanumeric).collect();
    let made = keygate.verify(&signup, &code).await.unwrap();
    keygate.authenticate(by_key("recoup", &made.secret)).await.allowed();
}

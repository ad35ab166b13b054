use super::*;
use crate::domain::{
    id::RealmName,
    key::{SecretRing, ServerSecret},
};
use zeroize::Zeroizing;

const NOW: Timestamp = Timestamp::from_micros(5);

fn rules() -> OnboardingRules {
    OnboardingRules {
        delivery: Delivery::Log,
        code: CodeFormat::new("0123456789", 6).unwrap(),
        lifetime: Duration::from_micros(10),
        attempts: 3,
        environment: 0,
        scopes: Vec::new(),
        account_prefix: "agent-".to_owned(),
        signup_limits: Vec::new(),
        verify_limits: Vec::new(),
    }
}

fn code(versions: &[u32], text: &str) -> Repeatable {
    let secrets = versions.iter().map(|version| ServerSecret::new(*version, Zeroizing::new([*version as u8; 32])));
    let ring = SecretRing::new(secrets.collect()).unwrap();
    ring.request_marker(&RealmName::new("recoup").unwrap()).mark("onboarding-code", "id", text.as_bytes())
}

fn id(byte: u8) -> SignupId {
    SignupId::new([byte; 16])
}

fn signup() -> Signup {
    let address = Address::new("agent@example.com").unwrap();
    Signup::begin(id(7), &code(&[1], "123456"), &address, "an agent", &rules(), NOW)
}

#[test]
fn case_tells_nothing_where_the_alphabet_has_one() {
    for (alphabet, typed, written) in [
        ("23456789ABCDEFGH", "2ab", "2AB"),
        ("23456789abcdefgh", "2AB", "2ab"),
        ("23456789abcdEFGH", "2aBE", "2aBE"),
        ("0123456789", "1x", "1x"),
    ] {
        assert_eq!(*CodeFormat::new(alphabet, 8).unwrap().as_written(typed), written, "{alphabet}");
    }
}

#[test]
fn an_address_has_one_form_and_odd_ones_are_refused() {
    for (text, form) in [
        ("agent@example.com", "agent@example.com"),
        ("  Agent.Smith+7@EXAMPLE.co.uk ", "agent.smith+7@example.co.uk"),
        ("a@b.c0m", "a@b.c0m"),
        ("o'neil{x}@xn--bcher-kva.example", "o'neil{x}@xn--bcher-kva.example"),
    ] {
        assert_eq!(Address::new(text).map(|address| address.to_string()), Ok(form.to_owned()), "{text}");
    }
    let long = format!("{}@{}.com", "a".repeat(64), "b".repeat(63));
    assert!(Address::new(&long).is_ok());
    let longer = format!("{}@example.com", "a".repeat(65));
    let longest = format!("a@{}.com", ["b".repeat(63), "c".repeat(63), "d".repeat(63), "e".repeat(63)].join("."));
    for text in [
        "",
        "agent",
        "@example.com",
        "agent@",
        "agent@example",
        "agent@.com",
        "agent@example..com",
        "agent@-example.com",
        "agent@example-.com",
        "agent@127.0.0.1",
        "agent@[127.0.0.1]",
        ".agent@example.com",
        "agent.@example.com",
        "a..b@example.com",
        "a b@example.com",
        "a@b@example.com",
        "\"a b\"@example.com",
        "agent@example.com\n",
        "agent@example.com\r\nBcc: all@example.com",
        "ägent@example.com",
        "agent@exämple.com",
        "agent\u{0}@example.com",
        &longer,
        &longest,
    ] {
        assert_eq!(Address::new(text), Err(Address::ALLOWED), "{text:?}");
    }
}

#[test]
fn codes_are_long_enough_and_every_letter_is_as_likely() {
    for (alphabet, length) in
        [("0123456789", 5), ("ab", 19), ("aa", 32), ("a", 64), ("a-b", 32), ("", 8), ("0123456789", 65)]
    {
        assert!(CodeFormat::new(alphabet, length).is_err(), "{alphabet} {length}");
    }
    let format = CodeFormat::new("0123456789", 6).unwrap();
    let mut byte = 0_u8;
    let mut counts = [0; 10];
    for _ in 0..2_500 {
        let next = |buffer: &mut [u8]| {
            buffer.fill(byte);
            byte = byte.wrapping_add(1);
            Ok::<_, ()>(())
        };
        let code = format.generate(next).unwrap();
        assert_eq!(code.expose().len(), 6);
        code.expose().bytes().for_each(|digit| counts[usize::from(digit - b'0')] += 1);
    }
    // All bytes came equally often: so did all digits.
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 6, "{counts:?}");
}

#[test]
fn an_id_survives_its_text_form_and_names_one_of_65536_places() {
    let id = SignupId::new(*b"\x12\x3f34567890abcdef");
    let text = id.to_string();
    assert_eq!(SignupId::parse(&text), Ok(id));
    assert_eq!((id.home().unwrap().as_str(), id.place().unwrap().as_str()), ("onboarding~f", "123"));
    for odd in ["", "su_", &text[3..], &text.to_uppercase(), &format!("{text}0"), &text[..34]] {
        assert!(SignupId::parse(odd).is_err(), "{odd}");
    }
}

#[test]
fn a_code_works_within_its_time_and_its_attempts_for_its_own_signup() {
    let (rules, signup) = (rules(), signup());
    let at = Timestamp::from_micros;
    assert!(signup.is_open(id(7), &rules, at(14)) && !signup.is_open(id(8), &rules, at(14)));
    assert!(!signup.is_open(id(7), &rules, at(15)) && signup.is_over(at(15)));

    let mut left = signup;
    for attempt in 1..3 {
        let (right, next) = left.tried(&code(&[1], "654321"), &rules);
        left = next.unwrap();
        assert_eq!((right, left.attempts), (false, attempt));
    }
    assert!(left.is_open(id(7), &rules, NOW));
    assert_eq!(left.tried(&code(&[1], "654321"), &rules), (false, None), "the last attempt was used up");
    let (right, stays) = left.tried(&code(&[1], "123456"), &rules);
    assert!(right && !stays.unwrap().is_open(id(7), &rules, NOW));
}

#[test]
fn a_code_works_although_the_server_secret_was_rotated() {
    let signup = signup();
    assert!(signup.tried(&code(&[1, 2], "123456"), &rules()).0);
    assert!(!signup.tried(&code(&[2], "123456"), &rules()).0);
}

//! No text, however odd, makes the readers panic; and what they refuse, they explain.

use crate::config::{Settings, parse_realm, sources::SHIPPED};
use proptest::prelude::*;
use std::path::Path;

fn read(text: &str) {
    if let Err(mistakes) = parse_realm("f", text) {
        assert!(mistakes.count() > 0 && !mistakes.to_string().is_empty(), "refused without a reason");
        assert!(mistakes.iter().all(|mistake| !mistake.problem.is_empty() && !mistake.to_string().contains('\n')));
    }
    if let Err(mistakes) = Settings::parse("f", text, Path::new("")) {
        assert!(mistakes.count() > 0);
    }
}

/// Replaces what lies between two places by something else.
fn mutate(text: &str, from: usize, length: usize, with: &str) -> String {
    let before: String = text.chars().take(from).collect();
    let after: String = text.chars().skip(from.saturating_add(length)).collect();
    format!("{before}{with}{after}")
}

fn files() -> impl Strategy<Value = &'static str> {
    let settings = include_str!("../../../deploy/keygate.toml");
    let texts: Vec<_> = SHIPPED.iter().map(|(_, text)| *text).chain([settings]).collect();
    prop::sample::select(texts)
}

fn fragments() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "\"",
        "'''",
        "[",
        "[[",
        "]]",
        "{",
        "}",
        "{*",
        "}}{{",
        "=",
        "\n",
        "\r\n",
        "\0",
        "ä",
        "-1",
        "99999999999999999999",
        "0x_",
        "1e9",
        "nan",
        "2020-01-01",
        "true",
        "a.b.c",
        "[[limits]]",
        "[keys]",
        "*",
        "/",
        "{a}{b}",
        "…",
    ];
    prop_oneof![prop::sample::select(odd.to_vec()).prop_map(str::to_owned), ".{0,12}", "[a-z_]{1,12} = .{0,8}\n"]
}

#[test]
fn a_file_of_nothing_but_mistakes_is_told_to_its_end() {
    // Were each looked for from the beginning of the file, this would not end in a minute.
    for (text, least) in [
        (format!("title = \"{}\"\n", "\\q".repeat(40_000)), 40_000),
        ("!\n".repeat(40_000), 40_000),
        (format!("[[errors]]\nfor = [{}]\n", "'x',".repeat(20_000)), 20_000),
    ] {
        let mistakes = parse_realm("f", &text).unwrap_err();
        assert!(mistakes.count() >= least, "{} of {least}", mistakes.count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,400}") {
        read(&text);
    }

    #[test]
    fn any_mutation_of_a_shipped_file_is_read_or_refused(
        text in files(),
        changes in prop::collection::vec((0usize..4_500, 0usize..40, fragments()), 1..6),
    ) {
        let changed = changes.iter().fold(text.to_owned(), |text, (from, length, with)| mutate(&text, *from, *length, with));
        read(&changed);
    }

    #[test]
    fn any_route_is_read_or_refused(routes in prop::collection::vec("[A-Z*]{1,3} /[a-z{}*/.%ä-]{0,12}", 1..8)) {
        let list: Vec<_> = routes.iter().map(|route| format!("'{route}'")).collect();
        read(&format!("[[operations]]\nname = 'x'\naccount = 'a'\nroutes = [{}]\n", list.join(", ")));
    }
}

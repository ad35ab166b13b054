//! The command line as a whole: what it accepts, and that its help teaches.

use super::*;
use clap::CommandFactory;

const KEY: &str = "key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM";

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn what_the_documentation_shows_is_accepted() {
    let documents = [include_str!("../../docs/cli.md").to_owned()].into_iter().chain(every_help());
    let mut seen = 0;
    for document in documents {
        let commands = document.lines().map(str::trim).filter(|line| line.starts_with("keygate "));
        for command in commands.filter(|line| !line.contains(['[', '…'])) {
            let words = words(command);
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} examples were found");
}

/// Takes a line apart as a shell would, up to where its output or input is redirected.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            (None, '<' | '>' | '|') => break,
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_explains_itself_with_examples_and_exit_codes() {
    let helps = every_help();
    assert_eq!(helps.len(), 52);
    for help in helps {
        for part in ["Examples:\n  ", "Exit codes:\n  0  ", "--output <OUTPUT>"] {
            assert!(help.contains(part), "{part:?} is missing in:\n{help}");
        }
    }
}

/// The long help of the program and of every command that does something.
fn every_help() -> Vec<String> {
    fn collect(command: &clap::Command, helps: &mut Vec<String>) {
        let acts = command.get_subcommands().count() == 0;
        if acts || command.get_name() == "keygate" {
            helps.push(command.clone().term_width(0).render_long_help().to_string());
        }
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            collect(inner, helps);
        }
    }
    let mut helps = Vec::new();
    let mut program = Cli::command();
    program.build();
    collect(&program, &mut helps);
    helps
}

#[test]
fn help_never_shows_what_a_secret_variable_holds() {
    // Keys are read from the environment by hand; the one variable that the parser reads and that may hold a secret:
    let serve = Cli::command();
    let serve = serve.find_subcommand("serve").unwrap();
    let url = serve.get_arguments().find(|argument| argument.get_id() == "redis_url").unwrap();
    assert!(url.is_hide_env_values_set());
}

#[test]
fn wrong_usage_is_told_apart() {
    for (line, kind) in [
        ("keygate", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("keygate keys", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("keygate keys create --account a --name n", ErrorKind::MissingRequiredArgument),
        ("keygate keys list --realm r --page-size 0", ErrorKind::ValueValidation),
        ("keygate keys list --realm r --page-size 1001", ErrorKind::ValueValidation),
        ("keygate keys list --realm r --state lost", ErrorKind::InvalidValue),
        ("keygate keys create --realm r --account a --name n --expires-in 1y", ErrorKind::ValueValidation),
        (
            "keygate keys create --realm r --account a --name n --expires-in 1d --expires-at 2030-01-01T00:00:00Z",
            ErrorKind::ArgumentConflict,
        ),
        ("keygate authenticate --realm r key --key-stdin", ErrorKind::ArgumentConflict),
        ("keygate authenticate --realm r key --method GET", ErrorKind::MissingRequiredArgument),
        ("keygate limit check --realm r", ErrorKind::MissingRequiredArgument),
        ("keygate limit check --realm r --limit a --operation b", ErrorKind::ArgumentConflict),
        ("keygate keys get --realm r --timeout 0s key_1", ErrorKind::ValueValidation),
        ("keygate serve --threads 0", ErrorKind::ValueValidation),
        ("keygate serve --listen localhost", ErrorKind::ValueValidation),
        ("keygate completions tcsh", ErrorKind::InvalidValue),
    ] {
        assert_eq!(parse(line).map(|_| ()).map_err(|error| error.kind()), Err(kind), "{line}");
    }
}

#[test]
fn an_argument_that_may_be_a_key_is_not_repeated() {
    assert!(is_stray(&parse("keygate authenticate --realm r rk_live_1 rk_live_2").unwrap_err()));
    assert!(is_stray(&parse("keygate keys list --realm r rk_live_1").unwrap_err()));
    assert!(!is_stray(&parse("keygate keys list --realm r --nonsense").unwrap_err()));
}

#[test]
fn an_update_needs_a_change_and_its_changes_may_be_combined() {
    let update =
        |rest: &str| parse(&format!("keygate keys update --realm r {KEY} {rest}")).map_err(|error| error.kind());
    assert!(update("--name a --scope b --scope c --metadata d=e --remove-metadata f --expires-in 1d").is_ok());
    assert!(update("--no-scopes --never-expires --expected-version 3").is_ok());
    assert_eq!(update("").unwrap_err(), ErrorKind::MissingRequiredArgument);
    assert_eq!(update("--expected-version 3").unwrap_err(), ErrorKind::MissingRequiredArgument);
    assert_eq!(update("--never-expires --expires-in 1d").unwrap_err(), ErrorKind::ArgumentConflict);
    assert_eq!(update("--no-scopes --scope a").unwrap_err(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_negative_cost_reaches_the_server_which_says_what_is_allowed() {
    assert!(parse("keygate authenticate --realm r key --cost -1").is_ok());
    assert!(parse("keygate limit check --realm r --limit l --cost -5").is_ok());
}

#[test]
fn errors_are_json_when_json_was_asked_for_however_wrong_the_rest_is() {
    let wants = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
    assert!(wants("keygate --output json nonsense") && wants("keygate keys list --output=json --nonsense"));
    assert!(!wants("keygate keys list --output table json") && !wants("keygate json"));
}

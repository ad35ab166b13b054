//! Help: of every command, with its exit codes, and with examples that are commands.

use crate::run::{Ran, keygate};

/// The commands that a help lists, without `help` itself.
fn commands(help: &Ran) -> Vec<String> {
    let lines = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Every command with its help, groups before what is in them.
fn all() -> Vec<(Vec<String>, Ran)> {
    let mut found: Vec<(Vec<String>, Ran)> = Vec::new();
    let mut waiting = vec![Vec::<String>::new()];
    while let Some(path) = waiting.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = keygate(&arguments).run().ends(0);
        waiting.extend(commands(&help).into_iter().map(|name| [&path[..], &[name]].concat()));
        found.push((path, help));
    }
    found
}

#[test]
fn every_command_explains_itself_and_its_exit_codes() {
    let all = all();
    assert_eq!(all.len(), 64, "{:#?}", all.iter().map(|(path, _)| path).collect::<Vec<_>>());
    for (path, help) in &all {
        assert_eq!(help.stderr, "", "{path:?}");
        assert!(help.stdout.contains("Usage: keygate"), "{path:?}");
        let (_, codes) = help.stdout.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{path:?}: no exit codes"));
        let numbers: Vec<_> = codes.lines().filter_map(|line| line.trim_start().split("  ").next()).collect();
        assert_eq!(numbers[..7], ["0", "1", "2", "3", "4", "5", "6"], "{path:?}");
        let mut short: Vec<&str> = path.iter().map(String::as_str).collect();
        short.push("-h");
        let short = keygate(&short).run().ends(0);
        assert!(short.stdout.lines().count() < help.stdout.lines().count(), "{path:?}");
    }
}

#[test]
fn no_help_shows_what_the_environment_holds_of_secrets() {
    let secret = "kgop_Kp3vXq8ZtLm2RwYb7NcDs5Hf";
    for (path, _) in all() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let call = keygate(&arguments).env("KEYGATE_KEY", secret).env("KEYGATE_API_KEY", secret);
        let help = call.env("KEYGATE_REDIS_URL", &format!("redis://:{secret}@h/0")).run().ends(0);
        assert!(!help.stdout.contains(secret), "{path:?}");
    }
}

#[test]
fn nothing_asked_is_answered_with_what_there_is() {
    for arguments in [&[][..], &["keys"], &["limit"], &["realm"], &["key"]] {
        let ran = keygate(arguments).run().ends(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("Usage: keygate"), "{ran:#?}");
    }
    let version = keygate(&["--version"]).run().ends(0);
    assert_eq!(version.stdout, concat!("keygate ", env!("CARGO_PKG_VERSION"), "\n"));
}

//! How whoever has no key yet comes by one.

use super::mistakes::with;

#[test]
fn onboarding_is_set_up_on_purpose_and_with_limits_that_know_what_they_count_per() {
    const LIMITS: &str = "[[limits]]\nname = \"s\"\nlimit = 5\nwindow = \"1h\"\nper = [\"address\", \"subject\"]\noperations = []\n\
                          [[limits]]\nname = \"a\"\nlimit = 5\nwindow = \"1h\"\nper = [\"account\"]\n";
    let told = |table: &str| with(&format!("{LIMITS}[onboarding]\n{table}"));
    let log = "delivery = \"log\"\nsignup_limits = [\"s\"]\nverify_limits = [";
    assert_eq!(told(&format!("{log}\"s\"]\n")).len(), 1, "what is verified has no address that was signed up with");
    let sound = "[[limits]]\nname = \"v\"\nlimit = 5\nwindow = \"1h\"\nper = [\"address\"]\n";
    assert_eq!(told(&format!("{log}\"v\"]\n{sound}")), Vec::<String>::new());
    for (table, paths) in [
        ("", &["onboarding.delivery", "onboarding.signup_limits", "onboarding.verify_limits"][..]),
        (
            "signup_limits = [\"a\"]\nverify_limits = [\"x\"]\ndelivery = \"mail\"\n",
            &["onboarding.delivery", "onboarding.signup_limits[0]", "onboarding.verify_limits[0]"],
        ),
        (
            "signup_limits = []\nverify_limits = []\ndelivery = \"webhook\"\nwebhook_url = \"https://u:p@h/\"\n",
            &[
                "onboarding.signup_limits",
                "onboarding.verify_limits",
                "onboarding.webhook_secret_file",
                "onboarding.webhook_url",
            ],
        ),
        (
            "signup_limits = [\"s\"]\nverify_limits = []\ndelivery = \"log\"\nwebhook_url = \"http://h/\"\ncode_length = 3\nlifetime = \"13h\"\nattempts = 11\nenvironment = \"moon\"\nscopes = [\"x\"]\naccount_prefix = \"a/\"\n",
            &[
                "onboarding.verify_limits",
                "onboarding.webhook_url",
                "onboarding.code_length",
                "onboarding.lifetime",
                "onboarding.attempts",
                "onboarding.environment",
                "onboarding.scopes[0]",
                "onboarding.account_prefix",
            ],
        ),
    ] {
        let found = told(table);
        let missing: Vec<_> =
            paths.iter().filter(|path| !found.iter().any(|mistake| mistake.contains(**path))).collect();
        assert!(missing.is_empty() && found.len() == paths.len(), "{missing:?} of {found:#?}");
    }
    let both = "[members]\nroles = [\"a\"]\nissuers = [\"a\"]\nrequired = true\n";
    assert_eq!(told(&format!("{log}\"v\"]\n{sound}{both}")).len(), 1, "keys are issued by members only");
}

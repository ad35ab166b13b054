//! Who is a member of an account, and as what.

use super::mistakes::with;

#[test]
fn roles_of_members_are_listed_once_and_issuers_are_some_of_them() {
    assert_eq!(
        with("[members]\nroles = [\"viewer\", \"admin\"]\nissuers = [\"admin\"]\nrequired = true\n"),
        Vec::<String>::new()
    );
    let found = with("[members]\nroles = [\"Admin\", \"viewer\", \"viewer\"]\nissuers = [\"owner\"]\nrequired = 1\n");
    let paths = ["members.roles[0]", "members.roles[2]", "members.issuers[0]", "members.required"];
    assert_eq!(found.len(), paths.len(), "{found:#?}");
    assert!(found.iter().zip(paths).all(|(mistake, path)| mistake.contains(path)), "{found:#?}");
    let found = with("[members]\nroles = []\n");
    assert!(found.len() == 2 && found.iter().any(|mistake| mistake.contains("must hold at least one")), "{found:#?}");
}

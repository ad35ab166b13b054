//! The files that ship with the program say what they are meant to say.

use crate::config::{Settings, load};
use std::path::Path;

#[test]
fn the_shipped_realms_load_together() {
    let realms = load(&Settings::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let names: Vec<_> = realms.iter().map(|realm| realm.name.as_str()).collect();
    assert_eq!(names, ["keygate", "recotap", "recoup", "recovea", "recover", "recurr"]);
}

#[test]
fn the_example_settings_are_the_defaults() {
    let text = include_str!("../../../deploy/keygate.toml");
    let read = Settings::parse("keygate.toml", text, Path::new("")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(read, Settings::default());
}

//! The shipped realms as tests serve them: with an issuer of tokens that exists.

use super::issuer::{AUDIENCE, ISSUER, Issuer};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// What the shipped files say in place of an issuer, and what is true in tests.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("privy.io", ISSUER),
    ("your-privy-app-id", AUDIENCE),
    ("https://accounts.recotap.invalid", ISSUER),
    ("recotap-workspace", AUDIENCE),
];
const ADDRESS: &str = "jwks_url = \"https://issuer.invalid/jwks.json\"";

/// The folder where they are.
pub fn shipped() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(write)
}

fn write() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("realms-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join("jwks.json"), Issuer::shared().key_set()).expect("the key set can be written");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/realms");
    for name in ["recotap", "recoup", "recovea", "recover", "recurr"] {
        let file = format!("{name}.toml");
        let mut text = fs::read_to_string(shipped.join(&file)).expect("the shipped realm can be read");
        for (placeholder, real) in PLACEHOLDERS {
            text = text.replace(&format!("\"{placeholder}\""), &format!("\"{real}\""));
        }
        text = text.replace(ADDRESS, "jwks_file = \"jwks.json\"");
        text = text.replace("by = \"owners\"", "by = \"owners\"\nimport = true");
        fs::write(folder.join(&file), text).expect("the realm can be written");
    }
    folder
}

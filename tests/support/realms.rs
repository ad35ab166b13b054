//! The shipped realms as tests serve them: with an issuer of tokens that exists.

use super::issuer::{AUDIENCE, ISSUER, Issuer};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the shipped files say in place of an issuer, and what is true in tests.
const PLACEHOLDERS: [(&str, &str); 2] = [("privy.io", ISSUER), ("your-privy-app-id", AUDIENCE)];
const ADDRESS: &str = "jwks_url = \"https://issuer.invalid/jwks.json\"";

/// Writes them into a folder below that one, and gives the folder.
pub fn write_shipped(below: &Path) -> PathBuf {
    let folder = below.join("test-realms");
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
        fs::write(folder.join(&file), text).expect("the realm can be written");
    }
    folder
}

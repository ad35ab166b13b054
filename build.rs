//! Compiles the protobuf files with a pure Rust compiler, so that no `protoc` is needed.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

const SERVICES: [&str; 10] = [
    "keygate/v1/authorization.proto",
    "keygate/v1/audit.proto",
    "keygate/v1/backup.proto",
    "keygate/v1/directory.proto",
    "keygate/v1/embed_tokens.proto",
    "keygate/v1/onboarding.proto",
    "keygate/v1/realms.proto",
    "keygate/v1/secrets.proto",
    "keygate/v1/webhooks.proto",
    "keygate/v1/vault.proto",
];
/// What carries a key, a token, a code or a credential: not to be formatted (`src/proto.rs`).
const SECRET: [&str; 8] = [
    "AuthenticateRequest",
    "Header",
    "ImportRow",
    "KeyWithSecret",
    "MintEmbedTokenResponse",
    "PutCredentialRequest",
    "TakeBackupResponse",
    "VerifyRequest",
];
const RECORDS: [&str; 3] =
    ["keygate/store/v1/records.proto", "keygate/store/v1/backup.proto", "keygate/store/v1/journal.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let api = protox::compile(SERVICES, ["proto"])?;
    fs::write(out.join("keygate_descriptors.bin"), api.encode_to_vec())?;
    // Ordered maps, so that the same message is always the same bytes.
    let secret = SECRET.map(|name| format!(".keygate.v1.{name}"));
    tonic_prost_build::configure().btree_map(".").skip_debug(secret).compile_fds(api)?;

    // Records are not part of the API: reflection must not show them, so they are compiled apart.
    let records = protox::compile(RECORDS, ["proto"])?;
    tonic_prost_build::configure().build_client(false).build_server(false).compile_fds(records)?;
    Ok(())
}

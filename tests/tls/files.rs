//! Files that cannot be used: the start ends and says which, and what is wrong; a running server goes on with those it has.

use crate::world::World;
use std::{fs, path::Path};

/// A name, what is done to the files, and what is said, in which `{}` stands for the folder.
type Row = (&'static str, fn(&World), &'static str);

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

const WRONG: [Row; 9] = [
    (
        "no certificate there",
        |world| fs::remove_file(&world.server.certificate).unwrap(),
        "`tls.certificate_file`: `{}/server.crt` cannot be read: No such file or directory (os error 2)",
    ),
    (
        "no key there",
        |world| fs::remove_file(&world.server.key).unwrap(),
        "`tls.key_file`: `{}/server.key` cannot be read: No such file or directory (os error 2)",
    ),
    (
        "an empty certificate",
        |world| write(&world.server.certificate, ""),
        "`tls.certificate_file`: `{}/server.crt` holds no certificate",
    ),
    (
        "a key in the place of the certificate",
        |world| copy(&world.server.key, &world.server.certificate),
        "`tls.certificate_file`: `{}/server.crt` holds no certificate",
    ),
    (
        "a certificate in the place of the key",
        |world| copy(&world.server.certificate, &world.server.key),
        "`tls.key_file`: `{}/server.key` holds no private key: it must be one in PEM, without a passphrase",
    ),
    (
        "half a certificate",
        |world| {
            let text = fs::read_to_string(&world.server.certificate).unwrap();
            write(&world.server.certificate, &text[..text.len() / 2]);
        },
        "`tls.certificate_file`: `{}/server.crt` ends in the middle of what it holds: is it whole?",
    ),
    (
        "something else under the name of a certificate",
        |world| write(&world.server.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "`tls.certificate_file`: `{}/server.crt` holds no legal certificate: invalid peer certificate: BadEncoding",
    ),
    (
        "another certificate's key",
        |world| copy(&world.authority.sign(world.at(), "other", &["x"]).key, &world.server.key),
        "`tls.key_file`: the key in `{}/server.key` is not that of the certificate in `{}/server.crt`",
    ),
    (
        "clients' authorities that are none",
        |world| write(&world.of_clients.file, "no certificate"),
        "`tls.client_ca_file`: `{}/of-clients.pem` holds no certificate",
    ),
];

const ASKING: &str = "client_ca_file = \"of-clients.pem\"";

#[tokio::test]
async fn a_start_ends_and_says_which_file_and_what_is_wrong() {
    for (what, spoil, told) in WRONG {
        let world = World::asking(ASKING);
        // Whoever waits for the server needs none of these.
        let _ = world.client_files();
        spoil(&world);
        let ended = world.try_start("", &[]).await.err().unwrap_or_else(|| panic!("it starts with {what}"));
        let told = told.replace("{}", &world.at().display().to_string());
        assert_eq!(ended.output.lines().last(), Some(format!("error: {told}").as_str()), "{what}");
        assert_eq!(ended.status.code(), Some(1), "{what}");
    }
}

#[tokio::test]
async fn settings_without_what_they_need_are_told() {
    let world = World::new();
    let half = "of `tls.certificate_file` and `tls.key_file` one is set without the other";
    let certificate = world.server.certificate.to_str().unwrap();
    let lonely = "`operations.tls.client_ca_file` is set without `operations.tls.certificate_file`: clients are asked for \
                  certificates only where TLS is spoken";
    for (settings, flags, told) in [
        ("[tls]\nkey_file = \"server.key\"", &[][..], half),
        ("", &["--tls-certificate-file", certificate], half),
        ("[operations.tls]\nclient_ca_file = \"x\"", &[], lonely),
    ] {
        let file = world.at().join("k.toml");
        write(&file, settings);
        let arguments = [&["--config", file.to_str().unwrap()], flags].concat();
        let data = crate::support::keygate::DataDir::new();
        let ended = crate::support::keygate::Keygate::try_start(data, &arguments).await.err().unwrap();
        assert_eq!(ended.output.lines().last(), Some(format!("error: {told}").as_str()));
    }
}

/// Every wrong file in turn, and after each the right ones again.
#[tokio::test]
async fn a_running_server_refuses_them_and_goes_on_with_those_it_has() {
    let world = World::asking(ASKING);
    let keygate = world.start("", &[]).await;
    let right = world.client_files();
    let all = [&world.server.certificate, &world.server.key, &world.of_clients.file];
    let saved: Vec<_> = all.iter().map(|file| fs::read(file).unwrap()).collect();
    let config = world.config(rustls::ALL_VERSIONS, &["h2"], Some(&right));
    let before = crate::world::shown(keygate.port(), &config).await;
    for (what, spoil, told) in WRONG {
        spoil(&world);
        assert!(!keygate.reload().await, "{what} was taken over");
        let told = told.replace("{}", &world.at().display().to_string());
        assert!(keygate.output().contains(&told), "{what}: {told}\n{}", keygate.output());
        assert_eq!(crate::world::shown(keygate.port(), &config).await, before, "{what}");
        for (file, text) in all.iter().zip(&saved) {
            fs::write(file, text).unwrap();
        }
    }
    // The right ones, once more, and then others.
    assert!(keygate.reload().await);
    let renewed = world.authority.sign(world.at(), "renewed", &["127.0.0.1"]);
    renewed.replace(&world.server);
    assert!(keygate.reload().await);
    assert_eq!(crate::world::shown(keygate.port(), &config).await, renewed.shown());
}

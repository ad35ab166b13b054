//! Certificates that are made for one test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// An authority that signs certificates, and its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub file: PathBuf,
}

/// What a client's certificate says, beside the name of its file as the common name.
#[derive(Default)]
pub struct Signing<'a> {
    pub uris: &'a [&'a str],
    pub organization: Option<&'a str>,
    /// For how long it is valid; absent: for long.
    pub seconds: Option<u64>,
}

/// The files of a certificate and its key.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// Its own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.file).unwrap()
    }

    /// A certificate for these names.
    pub fn sign(&self, folder: &Path, file: &str, names: &[&str]) -> Files {
        self.sign_until(folder, file, names, 2999)
    }

    /// One that is valid until that year.
    pub fn sign_until(&self, folder: &Path, file: &str, names: &[&str], year: i32) -> Files {
        let params = params(file, names, year);
        self.put(folder, file, &params)
    }

    /// One of a client.
    pub fn sign_as(&self, folder: &Path, file: &str, signing: Signing<'_>) -> Files {
        let mut params = params(file, &[], 2999);
        params.subject_alt_names.extend(signing.uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())));
        if let Some(organization) = signing.organization {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, organization);
            params.distinguished_name.push(DnType::CommonName, file);
        }
        if let Some(seconds) = signing.seconds {
            params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
        }
        self.put(folder, file, &params)
    }

    fn put(&self, folder: &Path, file: &str, params: &CertificateParams) -> Files {
        let key = KeyPair::generate().unwrap();
        let files = Files { certificate: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
        fs::write(&files.certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

fn params(file: &str, names: &[&str], year: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    // Without what the library has for the common name.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, file);
    (params.not_before, params.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(year, 1, 1));
    params
}

impl Files {
    /// Takes the place of other files, as a careful program does: whole or not at all.
    pub fn replace(&self, others: &Self) {
        for (from, to) in [(&self.key, &others.key), (&self.certificate, &others.certificate)] {
            let draft = to.with_extension("draft");
            fs::copy(from, &draft).unwrap();
            fs::rename(draft, to).unwrap();
        }
    }

    /// The certificate itself.
    pub fn shown(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).unwrap()
    }

    /// What a server needs that shows the certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }
}

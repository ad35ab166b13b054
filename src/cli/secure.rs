//! TLS to a server with an `https` address: who is trusted there, and what is shown.

use super::{client::HEADING, failure::Failure};
use crate::dial::{self, ConnectError, Flaw, Identity, Tls, Trust};
use http::Uri;
use hyper_util::rt::TokioIo;
use std::{path::PathBuf, sync::Arc};
use tonic::transport::{Channel, Endpoint, Error};
use tower::service_fn;

/// By which files TLS is spoken.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Secure {
    /// PEM file with the authorities that an `https` server's certificate is trusted by [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", help_heading = HEADING, env = "KEYGATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show, where the server asks its clients for one
    #[arg(long, value_name = "FILE", help_heading = HEADING, env = "KEYGATE_CERT_FILE", requires = "cert_key_file")]
    cert_file: Option<PathBuf>,
    /// PEM file with that certificate's private key
    #[arg(long, value_name = "FILE", help_heading = HEADING, env = "KEYGATE_CERT_KEY_FILE", requires = "cert_file")]
    cert_key_file: Option<PathBuf>,
    /// The name that must stand in the server's certificate [default: the host of the endpoint]
    #[arg(long, value_name = "NAME", help_heading = HEADING, env = "KEYGATE_SERVER_NAME")]
    server_name: Option<String>,
}

impl Secure {
    /// Connects to an `https` address. Takes as long as it takes: whoever asks bounds it.
    ///
    /// # Errors
    /// When a file cannot be used, nobody is there, or somebody who is not trusted.
    pub async fn connect(&self, address: &Uri, target: &Endpoint) -> Result<Channel, Failure> {
        let way = Arc::new(self.way(address)?);
        let connector = service_fn(move |_| {
            let way = Arc::clone(&way);
            async move { way.connect().await.map(TokioIo::new) }
        });
        target.connect_with_connector(connector).await.map_err(|error| failed(&address.to_string(), &error))
    }

    fn way(&self, address: &Uri) -> Result<dial::Endpoint, Failure> {
        let trust = self.ca_file.as_deref().map_or(Trust::Machine, Trust::File);
        let identity = self.cert_file.as_deref().zip(self.cert_key_file.as_deref());
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        let tls = Tls { trust, identity, name: self.server_name.as_deref() };
        let host = address.host().unwrap_or_default();
        let way = dial::Endpoint::to(host, address.port_u16().unwrap_or(443), Some(tls));
        let way = way.map_err(|error| Failure::usage(format!("cannot speak TLS to `{address}`: {error}")))?;
        Ok(way.speaking("h2"))
    }
}

fn failed(endpoint: &str, error: &Error) -> Failure {
    let failure = Failure::unreachable(endpoint.trim_end_matches('/'), error);
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = cause {
        if let Some(found) = one.downcast_ref::<ConnectError>() {
            return match found.flaw() {
                Flaw::Issuer => failure.with_hint("`--ca-file` or KEYGATE_CA_FILE names a file with whoever signed its certificate"),
                Flaw::Name => failure.with_hint(
                    "its certificate is for another name: `--server-name` or KEYGATE_SERVER_NAME says which, if it is the right server",
                ),
                Flaw::Time => failure.with_hint("its certificate is no longer valid, or not yet: is the clock of this machine right?"),
                Flaw::NoTls => failure.with_hint("it does not speak TLS there: begin the endpoint with `http://`"),
                Flaw::Other => failure,
            };
        }
        cause = one.source();
    }
    failure
}

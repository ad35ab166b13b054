//! How one connection is made: to whom, as whom, by which files. Everything is read anew for each, so that a password and
//! certificates that were changed meanwhile are those that are used.

use super::{
    OpenError, RedisOptions, TlsFiles, diagnose,
    sentinels::Sentinels,
    target::{Address, Place, Target},
};
use crate::{
    app::ports::{Problem, ProblemCode, StoreError},
    dial::{ConnectError, Endpoint, Flaw, Identity, Stream, Tls, Trust},
};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, aio::MultiplexedConnection};
use std::{fs, path::PathBuf, sync::Arc};
use tokio::{net::UnixStream, task::AbortHandle};
use zeroize::Zeroizing;

/// How connections to Redis are made.
pub(super) struct Dialer {
    place: Whereabouts,
    access: Access,
}

enum Whereabouts {
    Fixed(Address),
    Told(Arc<Sentinels>),
}

/// As whom, and by which files.
pub(super) struct Access {
    /// What is connected to, in words.
    pub(super) what: &'static str,
    pub(super) login: RedisConnectionInfo,
    pub(super) password_file: Option<PathBuf>,
    pub(super) tls: Option<TlsFiles>,
    /// The table of the settings that names the files.
    pub(super) table: &'static str,
}

/// A connection that was just made, and whom to.
pub(super) struct Made {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: Driver,
    pub(super) address: Address,
}

/// What moves the bytes of a connection; ends with the last who holds it.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dialer {
    /// Reads the address; asks nobody yet.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, OpenError> {
        let Target { place, login, tls } = Target::parse(&options.url)?;
        // The third version of the protocol tells of a connection that ends without being asked.
        let login = login.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let place = match place {
            Place::Fixed(address) => Whereabouts::Fixed(address),
            Place::Sentinels { sentinels, primary } => {
                Whereabouts::Told(Arc::new(Sentinels::new(sentinels, primary, options, tls)))
            }
        };
        let files = tls.then(|| options.tls.clone());
        let password_file = options.password_file.clone();
        Ok(Self {
            place,
            access: Access { what: "Redis", login, password_file, tls: files, table: "[store.redis.tls]" },
        })
    }

    /// The sentinels that tell where the primary is, if they do.
    pub(super) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        match &self.place {
            Whereabouts::Fixed(_) => None,
            Whereabouts::Told(sentinels) => Some(sentinels),
        }
    }

    /// Where Redis is, in words.
    pub(super) fn place(&self) -> String {
        match &self.place {
            Whereabouts::Fixed(address) => address.to_string(),
            Whereabouts::Told(sentinels) => sentinels.to_string(),
        }
    }

    /// Why a connection that was made came to nothing.
    pub(super) fn explain(&self, address: &Address, error: &redis::RedisError) -> OpenError {
        self.access.explain(address, error)
    }

    /// A connection to wherever Redis is now. Takes as long as it takes.
    pub(super) async fn connect(&self, config: AsyncConnectionConfig) -> Result<Made, OpenError> {
        let address = match &self.place {
            Whereabouts::Fixed(address) => address.clone(),
            Whereabouts::Told(sentinels) => sentinels.primary().await?,
        };
        let (connection, driver) = self.access.connect(&address, config).await?;
        Ok(Made { connection, driver, address })
    }
}

impl Access {
    /// A connection to somebody.
    pub(super) async fn connect(
        &self,
        address: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Driver), OpenError> {
        let login = self.login(address)?;
        let stream = self.stream(address).await?;
        let made = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (connection, driver) = made.map_err(|error| self.explain(address, &error))?;
        Ok((connection, Driver(tokio::spawn(driver).abort_handle())))
    }

    /// Why a connection that was made came to nothing.
    pub(super) fn explain(&self, address: &Address, error: &redis::RedisError) -> OpenError {
        let shows_nobody = self.tls.as_ref().is_some_and(|files| files.identity.is_none());
        if shows_nobody && error.to_string().contains("CertificateRequired") {
            return self.refused(
                ProblemCode::CertificateMissing,
                address,
                "demands a certificate of its clients",
                format!("name one and its private key in `certificate_file` and `key_file` of `{}`", self.table),
            );
        }
        diagnose::opening(self.what, address, error)
    }

    fn login(&self, address: &Address) -> Result<RedisConnectionInfo, OpenError> {
        /// Far more than a password has.
        const MOST_BYTES: u64 = 4_096;
        let Some(path) = &self.password_file else { return Ok(self.login.clone()) };
        let refused = |problem: String| {
            let what = format!("has no password: `{}` {problem}", path.display());
            self.refused(
                ProblemCode::PasswordFile,
                address,
                &what,
                "mend the file: its first line is the password".to_owned(),
            )
        };
        let size = fs::metadata(path).map_err(|error| refused(format!("cannot be read: {error}")))?.len();
        if size > MOST_BYTES {
            return Err(refused(format!("has more than {MOST_BYTES} bytes")));
        }
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| refused(format!("cannot be read: {error}")))?;
        match text.lines().next() {
            None | Some("") => Err(refused("is empty".to_owned())),
            Some(password) => Ok(self.login.clone().set_password(password)),
        }
    }

    async fn stream(&self, address: &Address) -> Result<Box<dyn Stream>, OpenError> {
        let away = |error: std::io::Error| {
            OpenError::Unreachable(StoreError::Unavailable(format!(
                "{} at `{address}` cannot be reached: {error}",
                self.what
            )))
        };
        let (host, port) = match address {
            Address::Socket(path) => return Ok(Box::new(UnixStream::connect(path).await.map_err(away)?)),
            Address::Host(host, port) => (host, *port),
        };
        let tls = self.tls.as_ref().map(|files| Tls {
            trust: files.ca_file.as_deref().map_or(Trust::Machine, Trust::File),
            identity: files.identity.as_ref().map(|(certificate, key)| Identity { certificate, key }),
            name: files.server_name.as_deref(),
        });
        let endpoint = Endpoint::to(host, port, tls).map_err(|error| {
            let remedy = format!("mend what `{}` names", self.table);
            self.refused(ProblemCode::TlsFiles, address, &format!("cannot be connected to by TLS: {error}"), remedy)
        })?;
        match endpoint.connect().await {
            Ok(stream) => Ok(stream),
            Err(ConnectError::Unreachable(error)) => Err(away(error)),
            Err(error) => Err(self.untrusted(address, &error)),
        }
    }

    fn untrusted(&self, address: &Address, error: &ConnectError) -> OpenError {
        let table = self.table;
        let trust = match self.tls.as_ref().and_then(|files| files.ca_file.as_ref()) {
            Some(path) => format!("the authorities in `{}`", path.display()),
            None => "the authorities that this machine trusts".to_owned(),
        };
        let remedy = match error.flaw() {
            Flaw::Issuer => format!(
                "none of {trust} signed its certificate: name a file with the one that did in `ca_file` of `{table}`"
            ),
            Flaw::Name => format!(
                "connect by a name that stands in its certificate, or say which one does in `server_name` of `{table}`"
            ),
            Flaw::Time => "give it a certificate that is valid today, and see that the clocks are right".to_owned(),
            Flaw::NoTls => "it does not speak TLS there: name the port that does, or connect in plain".to_owned(),
            Flaw::Other => format!("see its log, and what `{table}` names"),
        };
        self.refused(ProblemCode::Untrusted, address, &error.to_string(), remedy)
    }

    fn refused(&self, code: ProblemCode, address: &Address, what: &str, remedy: String) -> OpenError {
        OpenError::Refused(Problem::grave(code, format!("{} at `{address}`: {what}", self.what), remedy))
    }
}

//! Sentinels: who of several servers is the primary. All are asked at once, and what most of them say counts, since one
//! that was cut off may still name a primary that is none any more.

use super::{OpenError, RedisOptions, TlsFiles, dialer::Access, target::Address};
use crate::app::ports::{Problem, ProblemCode, StoreError};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo};
use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time};

/// How often it is asked whether the primary is still the same.
const PERIOD: Duration = Duration::from_secs(1);

/// The sentinels that watch one primary.
pub(super) struct Sentinels {
    sentinels: Vec<Address>,
    /// The primary's name among them.
    name: Arc<str>,
    access: Arc<Access>,
    patience: Duration,
    /// Where a majority said that the primary is.
    agreed: watch::Sender<Option<Address>>,
    watched: AtomicBool,
}

impl Sentinels {
    pub(super) fn new(sentinels: Vec<Address>, name: String, options: &RedisOptions, tls: bool) -> Self {
        let own = &options.sentinel;
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &own.user {
            login = login.set_username(user);
        }
        // The name that Redis' certificate holds is not theirs.
        let same = || TlsFiles { server_name: None, ..options.tls.clone() };
        let files = own.tls.unwrap_or(tls).then(|| own.files.clone().unwrap_or_else(same));
        let password_file = own.password_file.clone();
        let access = Access { what: "the sentinel", login, password_file, tls: files, table: "[store.redis.sentinel]" };
        Self {
            sentinels,
            name: name.into(),
            access: Arc::new(access),
            // The other half is for the primary itself.
            patience: options.connect_timeout.div_f32(2.0),
            agreed: watch::Sender::new(None),
            watched: AtomicBool::new(false),
        }
    }

    /// Where the primary is.
    pub(super) async fn primary(&self) -> Result<Address, OpenError> {
        let heard = self.ask().await;
        heard.best().cloned().ok_or_else(|| {
            let (what, remedy) = (
                format!("no sentinel told where `{}` is: {}", self.name, heard.failures.join("; ")),
                "see that the sentinels run, let this machine in, and watch a primary of that name",
            );
            match heard.failures.is_empty() {
                true => {
                    OpenError::Unreachable(StoreError::Unavailable(format!("{self}: no sentinel answered in time")))
                }
                false => OpenError::Refused(Problem::grave(ProblemCode::Sentinels, what, remedy)),
            }
        })
    }

    /// Tells again and again on which primary a majority agrees. Watches from the first call on, on the runtime that it is made on.
    pub(super) fn watch(self: &Arc<Self>) -> watch::Receiver<Option<Address>> {
        if !self.watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(look(Arc::downgrade(self)));
        }
        self.agreed.subscribe()
    }

    async fn ask(&self) -> Heard {
        let mut asking = JoinSet::new();
        for sentinel in &self.sentinels {
            let (sentinel, access, name) = (sentinel.clone(), Arc::clone(&self.access), Arc::clone(&self.name));
            asking.spawn(async move { ask_one(&sentinel, &access, &name).await });
        }
        let mut heard = Heard { needed: self.sentinels.len().div_euclid(2), ..Heard::default() };
        let all = async {
            while let Some(answer) = asking.join_next().await {
                match answer {
                    Ok(Ok(address)) => heard.addresses.push(address),
                    Ok(Err(failure)) => heard.failures.push(failure),
                    Err(_) => {}
                }
                if heard.majority().is_some() {
                    break;
                }
            }
        };
        // Whoever has not answered by then is counted out.
        let _ = time::timeout(self.patience, all).await;
        heard
    }
}

/// What sentinels said.
#[derive(Default)]
struct Heard {
    addresses: Vec<Address>,
    failures: Vec<String>,
    /// More than so many are a majority.
    needed: usize,
}

impl Heard {
    fn votes(&self, address: &Address) -> usize {
        self.addresses.iter().filter(|other| *other == address).count()
    }

    fn best(&self) -> Option<&Address> {
        self.addresses.iter().max_by_key(|address| self.votes(address))
    }

    fn majority(&self) -> Option<&Address> {
        self.best().filter(|best| self.votes(best) > self.needed)
    }
}

async fn look(sentinels: Weak<Sentinels>) {
    while let Some(sentinels) = sentinels.upgrade() {
        if let Some(primary) = sentinels.ask().await.majority() {
            // Every time: who listens may have connected to another one since, by the word of a minority.
            sentinels.agreed.send_replace(Some(primary.clone()));
        }
        drop(sentinels);
        time::sleep(PERIOD).await;
    }
}

async fn ask_one(sentinel: &Address, access: &Access, name: &str) -> Result<Address, String> {
    let (mut connection, _driver) =
        access.connect(sentinel, AsyncConnectionConfig::new()).await.map_err(|error| error.to_string())?;
    let mut command = Cmd::new();
    command.arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let told: Option<(String, u16)> =
        command.query_async(&mut connection).await.map_err(|error| access.explain(sentinel, &error).to_string())?;
    match told {
        Some((host, port)) => Ok(Address::Host(host, port)),
        None => Err(format!("the sentinel at `{sentinel}` watches no primary of that name")),
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.sentinels.iter().map(ToString::to_string).collect();
        write!(f, "{} of the sentinels {}", self.name, names.join(", "))
    }
}

//! The users of a run and their tokens.
//!
//! With the data folder at hand, accounts are made and tokens signed beside the running server, as
//! `ringway token` does; otherwise the users register, or log in, by HTTP, which the server limits.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use ringway_engine::ids::Uid;
use ringway_store::embedded::open_directory;
use ringway_store::ports::{Account, Directory as _, DirectoryError};
use ringway_store::token::Claims;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::Http;

/// Tokens outlive any run.
const TOKEN_TTL_S: u64 = 24 * 3_600;
/// The one device of every user; keeping it lets a run continue at the cursors of the run before.
pub(crate) const DEVICE: &str = "load";
/// Registrations are counted by the minute; one that is refused for longer is refused for good.
const LIMITED_MAX: Duration = Duration::from_secs(120);
const LIMITED_PAUSE: Duration = Duration::from_secs(1);
const PASSWORD: &str = "ringway-load-password";

/// A user who may connect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Person {
    /// User id.
    pub(crate) uid: String,
    /// Access token; of Ringway alone.
    pub(crate) token: String,
    /// Where the person sends or receives, `pair-N` or `room-NAME`; of peers alone.
    pub(crate) channel: String,
    /// Whether the person sends there.
    pub(crate) sends: bool,
    /// What the person's device has already: conversation, epoch, sequence; of Ringway alone.
    pub(crate) resume: Vec<(String, u64, u64)>,
    /// The device is reached as over a network card, by short segments and small buffers.
    pub(crate) narrow: bool,
}

impl Person {
    fn new(uid: String, token: String) -> Self {
        Self { uid, token, ..Self::default() }
    }
}

/// People by name alone, for a server that has no accounts of ours.
pub(crate) fn strangers(prefix: &str, count: usize) -> Vec<Person> {
    (0..count).map(|number| Person::new(format!("{prefix}-{number}"), String::new())).collect()
}

/// Makes `count` users named `prefix-0`, `prefix-1`, … or takes those that are there.
///
/// # Errors
/// The folder cannot be opened, or the API refuses.
pub(crate) fn prepare(prefix: &str, count: usize, data: Option<&Path>, api: &Http) -> anyhow::Result<Vec<Person>> {
    let uids = (0..count).map(|number| Uid::parse(&format!("{prefix}-{number}")));
    let uids: Vec<Uid> = uids.collect::<Result<_, _>>().with_context(|| format!("--prefix {prefix:?}"))?;
    match data {
        Some(folder) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(issue(folder, &uids))
        }
        None => {
            let mut told = false;
            uids.iter().map(|uid| register(api, uid, &mut told)).collect()
        }
    }
}

async fn issue(folder: &Path, uids: &[Uid]) -> anyhow::Result<Vec<Person>> {
    let (directory, key) = open_directory(folder).await.with_context(|| format!("{}", folder.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let created_ms = u64::try_from(now.as_millis())?;
    let mut people = Vec::with_capacity(uids.len());
    for uid in uids {
        if directory.account(uid).await?.is_none() {
            let account = Account { uid: uid.clone(), name: uid.to_string(), created_ms };
            match directory.create_account(&account, "").await {
                Ok(()) | Err(DirectoryError::Taken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (iat, sid) = (now.as_secs(), format!("load-{uid}"));
        let claims = Claims { sub: uid.clone(), iat, exp: iat + TOKEN_TTL_S, sid, dev: None };
        people.push(Person::new(uid.to_string(), key.sign(&claims)?));
    }
    Ok(people)
}

/// Registers a user, or signs in one of an earlier run. A server that limits registrations is waited for.
fn register(api: &Http, uid: &Uid, told: &mut bool) -> anyhow::Result<Person> {
    let uid = uid.as_str();
    let mut waited = Duration::ZERO;
    let (status, answer) = loop {
        let (status, answer) = api.post("/v1/auth/register", None, &json!({"user": uid, "password": PASSWORD}))?;
        match status {
            409 => {
                let login = json!({"user": uid, "password": PASSWORD, "device": DEVICE, "platform": "load"});
                break api.post("/v1/auth/login", None, &login)?;
            }
            429 if waited >= LIMITED_MAX => bail!("the server limits registrations: {answer}"),
            429 => {
                if !std::mem::replace(told, true) {
                    eprintln!(
                        "ringway-load: the server limits registrations: waiting; with --data the users are made in \
                         its data folder"
                    );
                }
                std::thread::sleep(LIMITED_PAUSE);
                waited += LIMITED_PAUSE;
            }
            _ => break (status, answer),
        }
    };
    let token = answer.get("access_token").and_then(|token| token.as_str());
    let token = token.with_context(|| format!("{uid} cannot sign in: HTTP {status}: {answer}"))?;
    Ok(Person::new(uid.to_owned(), token.to_owned()))
}

/// A group that was made.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its id.
    pub(crate) id: String,
    /// Its conversation.
    pub(crate) conv: String,
}

/// Makes a group of all people, the first of whom owns it.
///
/// # Errors
/// The API refuses.
pub(crate) fn make_group(api: &Http, people: &[Person]) -> anyhow::Result<Group> {
    let (owner, members) = people.split_first().context("a group needs an owner")?;
    let members: Vec<&str> = members.iter().map(|person| person.uid.as_str()).collect();
    let body = json!({"name": "load", "members": members});
    let (status, answer) = api.post("/v1/groups", Some(&owner.token), &body)?;
    let field = |name| answer.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let group = field("id").zip(field("conv")).map(|(id, conv)| Group { id, conv });
    group.with_context(|| format!("the group cannot be made: HTTP {status}: {answer}"))
}

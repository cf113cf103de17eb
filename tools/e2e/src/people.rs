//! Accounts and tokens made in the data folder itself, beside the server: by the thousand, and as forged
//! as a test wants them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ringway_engine::ids::Uid;
use ringway_store::embedded::open_directory;
use ringway_store::ports::{Account, Directory as _, DirectoryError};
use ringway_store::sqlite::SqliteDirectory;
use ringway_store::token::{Claims, TokenKey};

/// An hour, as the API gives.
const TTL_S: u64 = 3_600;

/// The directory of a data folder and its key.
#[derive(Debug)]
pub struct People {
    directory: SqliteDirectory,
    key: TokenKey,
}

impl People {
    /// Opens them; a server may be using the folder.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn of(data: &Path) -> Result<Self> {
        let (directory, key) = open_directory(data).await?;
        Ok(Self { directory, key })
    }

    /// An account without a password, and a token for it that serves any device.
    ///
    /// # Errors
    /// Not a user id, or the folder cannot be used.
    pub async fn add(&self, user: &str) -> Result<String> {
        let account = Account { uid: Uid::parse(user)?, name: user.to_owned(), created_ms: now_s() * 1_000 };
        match self.directory.create_account(&account, "").await {
            Ok(()) | Err(DirectoryError::Taken) => self.token(user, TTL_S),
            Err(error) => Err(error.into()),
        }
    }

    /// Several accounts; their tokens in the same order.
    ///
    /// # Errors
    /// As [`People::add`].
    pub async fn add_all(&self, users: &[&str]) -> Result<Vec<String>> {
        let mut tokens = Vec::with_capacity(users.len());
        for user in users {
            tokens.push(self.add(user).await?);
        }
        Ok(tokens)
    }

    /// A token that ends in `ttl_s` seconds.
    ///
    /// # Errors
    /// Not a user id.
    pub fn token(&self, user: &str, ttl_s: u64) -> Result<String> {
        let iat = now_s();
        let sid = format!("e2e-{user}");
        Ok(self.key.sign(&Claims { sub: Uid::parse(user)?, iat, exp: iat + ttl_s, sid, dev: None })?)
    }

    /// A token that ended `ago_s` seconds ago.
    ///
    /// # Errors
    /// Not a user id.
    pub fn expired_token(&self, user: &str, ago_s: u64) -> Result<String> {
        let exp = now_s() - ago_s;
        let claims = Claims { sub: Uid::parse(user)?, iat: exp - 1, exp, sid: "e2e-expired".into(), dev: None };
        Ok(self.key.sign(&claims)?)
    }
}

/// The conversation of two users.
#[must_use]
pub fn pair(a: &str, b: &str) -> String {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    format!("p2p:{low}:{high}")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

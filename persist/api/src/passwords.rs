//! Argon2id on the blocking pool: at most a core's worth at once, a bounded queue before it.
//!
//! A hash holds 19 MiB and a core for some 20 ms, so the number that run and the number that wait are
//! bounds against floods of logins. A dropped call frees its place in the queue; a hash already running
//! runs to its end and keeps its permit until then.

use std::sync::{Arc, OnceLock};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES};
use crate::problem::Problem;

/// Hashes and checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    decoy: Arc<OnceLock<String>>,
}

/// The right to run one hash.
#[derive(Debug)]
pub(crate) struct HashPermit(OwnedSemaphorePermit);

impl Passwords {
    /// `concurrent_max` hashes at once, `waiting_max` requests that wait for one.
    pub(crate) fn new(concurrent_max: usize, waiting_max: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(concurrent_max.max(1))),
            waiting: Semaphore::new(waiting_max.max(1)),
            decoy: Arc::default(),
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// 503 when too many wait already.
    pub(crate) async fn permit(&self) -> Result<HashPermit, Problem> {
        let _place = self.waiting.try_acquire().map_err(|_| Problem::busy("too many logins at once"))?;
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(Problem::internal)?;
        Ok(HashPermit(permit))
    }

    /// The PHC string of a password with a new salt.
    ///
    /// # Errors
    /// 500: the kernel gave no salt, or the pool is gone.
    pub(crate) async fn hash(&self, permit: HashPermit, password: String) -> Result<String, Problem> {
        blocking(permit, move || hash(&password)).await?
    }

    /// Whether the password is that of the PHC string. Without one (no such account, or none that has a
    /// password) the same work is done on a decoy, so that the time taken does not tell.
    ///
    /// # Errors
    /// 500: the pool is gone.
    pub(crate) async fn verify(
        &self,
        permit: HashPermit,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, Problem> {
        let decoy = Arc::clone(&self.decoy);
        blocking(permit, move || {
            let decoy = decoy.get_or_init(|| hash("decoy").unwrap_or_default());
            let known = stored.filter(|hash| !hash.is_empty());
            let target = known.as_deref().unwrap_or(decoy);
            let matches = Argon2::default().verify_password(password.as_bytes(), target).is_ok();
            matches && known.is_some()
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    permit: HashPermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let run = move || {
        let done = work();
        drop(permit.0);
        done
    };
    tokio::task::spawn_blocking(run).await.map_err(Problem::internal)
}

fn hash(password: &str) -> Result<String, Problem> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None).map_err(Problem::internal)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(argon2.hash_password(password.as_bytes()).map_err(Problem::internal)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_verifies_its_password_alone() {
        let passwords = Passwords::new(2, 4);
        let hash = passwords.hash(passwords.permit().await.unwrap(), "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let cases = [
            ("correct horse", Some(hash.clone()), true),
            ("wrong horse", Some(hash), false),
            ("decoy", None, false),
            ("decoy", Some(String::new()), false),
            ("x", Some("not a hash".into()), false),
        ];
        for (password, stored, expected) in cases {
            let permit = passwords.permit().await.unwrap();
            assert_eq!(passwords.verify(permit, password.into(), stored).await.unwrap(), expected, "{password}");
        }
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_are_refused_at_once() {
        let passwords = Arc::new(Passwords::new(1, 1));
        let running = passwords.permit().await.unwrap();
        let queued = passwords.permit();
        tokio::pin!(queued);
        assert!(futures_poll(queued.as_mut()).await.is_none(), "waits for its turn");
        assert_eq!(passwords.permit().await.unwrap_err().status().as_u16(), 503);
        drop(running);
        assert!(queued.await.is_ok());
    }

    /// Polls once.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}

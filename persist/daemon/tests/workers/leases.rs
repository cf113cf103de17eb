//! Leases in memory, held to the suite of the port.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringway_store::conformance::leases;
use ringway_store::limits::LEASE_NAME_BYTES_MAX;
use ringway_store::ports::{Leases, StoreError};

#[derive(Default)]
pub(crate) struct MemoryLeases {
    by_name: Mutex<BTreeMap<String, (String, Instant)>>,
    pub(crate) away: AtomicBool,
    /// Everybody is told that it holds what it asks for.
    pub(crate) generous: AtomicBool,
}

impl MemoryLeases {
    fn check(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        if self.away.load(Relaxed) {
            return Err(StoreError::new("memory", "away"));
        }
        let fits = name.len() <= LEASE_NAME_BYTES_MAX && owner.len() <= LEASE_NAME_BYTES_MAX;
        if fits { Ok(()) } else { Err(StoreError::new("memory", "too long")) }
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn hold(&self, name: &str, owner: &str, ttl_ms: u64) -> Result<bool, StoreError> {
        self.check(name, owner)?;
        let now = Instant::now();
        let until = now + Duration::from_millis(ttl_ms.min(1_000_000_000));
        let mut by_name = self.by_name.lock().unwrap();
        let is_others = by_name.get(name).is_some_and(|(holder, until)| holder != owner && *until > now);
        if is_others {
            return Ok(self.generous.load(Relaxed));
        }
        by_name.insert(name.to_owned(), (owner.to_owned(), until));
        Ok(true)
    }

    async fn let_go(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        self.check(name, owner)?;
        let mut by_name = self.by_name.lock().unwrap();
        if by_name.get(name).is_some_and(|(holder, _)| holder == owner) {
            by_name.remove(name);
        }
        Ok(())
    }

    async fn held(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.check(prefix, "")?;
        if self.generous.load(Relaxed) {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let by_name = self.by_name.lock().unwrap();
        let held = by_name.iter().filter(|(name, (_, until))| name.starts_with(prefix) && *until > now);
        Ok(held.map(|(name, (owner, _))| (name.clone(), owner.clone())).collect())
    }
}

#[tokio::test]
async fn leases_in_memory_are_leases() {
    leases::one_holder(&MemoryLeases::default()).await;
    leases::run_out(&MemoryLeases::default()).await;
    leases::listed_by_prefix(&MemoryLeases::default()).await;
    leases::one_winner(&[&MemoryLeases::default()]).await;
}

//! What the server says of itself on the admin listener.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::http;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A reading of `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    /// Reads them.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn read(admin: SocketAddr) -> Result<Self> {
        Ok(Self(http::call(admin, "", "GET", "/metrics", None).await?.expect(200)?.text))
    }

    /// A metric's value, added up over its labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.of(name, &[]).unwrap_or(0)
    }

    /// The same, over the rows that have these labels; `None` when there are none.
    #[must_use]
    pub fn of(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let mut rows = self.0.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let (bare, of) = metric.split_once('{').unwrap_or((metric, ""));
            let has = |(label, value): &(&str, &str)| of.contains(&format!("{label}=\"{value}\""));
            (bare == name && labels.iter().all(has)).then(|| value.parse::<u64>().ok())?
        });
        rows.next().map(|first| first + rows.sum::<u64>())
    }

    /// The same of a metric that need not be whole: seconds, for instance.
    #[must_use]
    pub fn total(&self, name: &str) -> f64 {
        let rows = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let own = rows.filter(|(metric, _)| metric.split('{').next() == Some(name));
        own.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// The names of all metrics.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.split(['{', ' ']).next() == Some(name))
    }
}

/// Waits until the metrics say so.
///
/// # Errors
/// They do not within `limit`.
pub async fn until(admin: SocketAddr, limit: Duration, mut holds: impl FnMut(&Metrics) -> bool) -> Result<Metrics> {
    let deadline = Instant::now() + limit;
    loop {
        let metrics = Metrics::read(admin).await?;
        if holds(&metrics) {
            return Ok(metrics);
        }
        if Instant::now() > deadline {
            bail!("the metrics did not come to it:\n{}", metrics.0);
        }
        tokio::time::sleep(POLL).await;
    }
}

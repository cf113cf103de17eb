//! Signs that a fault has landed, told by the very processes that it hurts: that sends go on while it lasts proves
//! nothing by itself, as other nodes take them.

use std::time::Duration;

use ringway_e2e::http;
use ringway_e2e::metrics::Metrics;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::deployment::Deployment;

/// A sign that comes after the fault is over is waited for so long.
const LATE: Duration = Duration::from_secs(30);

/// A metric that grows by so much at these processes, all together.
type Growth = (&'static [&'static str], &'static str, u64);

/// What shows that a fault has landed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    /// Nobody listens where this process does.
    Gone(&'static str),
    /// The readiness of this process names this part.
    Red(&'static str, &'static str),
    /// Metrics grow.
    Grows(Growth),
    /// All gateways and daemons number in a later epoch than any did before.
    Epoch,
}

/// A sign that is looked for.
pub(crate) struct Watched {
    sign: Sign,
    /// What was measured before the fault.
    before: u64,
    seen: bool,
}

impl Watched {
    /// Measures what is before the fault.
    pub(crate) async fn before(deployment: &Deployment, sign: Sign) -> Self {
        let before = match sign {
            Sign::Gone(_) | Sign::Red(..) => 0,
            Sign::Grows((names, metric, _)) => sum(deployment, names, metric).await,
            Sign::Epoch => deployment.epochs().await.into_iter().map(|(_, epoch)| epoch).max().unwrap(),
        };
        Self { sign, before, seen: false }
    }

    /// Looks whether it is there.
    pub(crate) async fn look(&mut self, deployment: &Deployment) {
        self.seen |= match self.sign {
            Sign::Gone(name) => TcpStream::connect(deployment.listens(name)).await.is_err(),
            Sign::Red(name, part) => reasons(deployment, name).await.contains(&format!("{part}: ")),
            Sign::Grows((names, metric, by)) => sum(deployment, names, metric).await >= self.before + by,
            Sign::Epoch => deployment.epochs().await.iter().all(|(_, epoch)| *epoch > self.before),
        };
    }

    /// Waits for a sign that stays when the fault is over; one that does not has to be seen by now.
    pub(crate) async fn until_seen(mut self, deployment: &Deployment, fault: &str) {
        let deadline = Instant::now() + if self.stays() { LATE } else { Duration::ZERO };
        while !self.seen {
            let state = format!("{:?} before {}, epochs {:?}", self.sign, self.before, deployment.epochs().await);
            assert!(Instant::now() < deadline, "{fault}: nothing shows that it landed: {state}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look(deployment).await;
        }
    }

    fn stays(&self) -> bool {
        matches!(self.sign, Sign::Grows(_) | Sign::Epoch)
    }
}

/// What the readiness of a process tells; nothing while it does not answer.
pub(crate) async fn reasons(deployment: &Deployment, name: &str) -> String {
    let answer = http::call(deployment.admin(name), "", "GET", "/readyz", None).await;
    answer.map_or_else(|_| String::new(), |answer| answer.text)
}

/// A metric of these processes, added up; one that does not answer counts nothing.
async fn sum(deployment: &Deployment, names: &[&str], metric: &str) -> u64 {
    let mut sum = 0;
    for name in names {
        sum += Metrics::read(deployment.admin(name)).await.map_or(0, |metrics| metrics.sum(metric));
    }
    sum
}

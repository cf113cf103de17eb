//! Reminders of one process: told what is archived, they look whether it is acknowledged in time.
//!
//! `archived` is called by the consumers and never waits. `run` owns the book and asks the state for cursors, a
//! bounded number of users at once, each once for all of their conversations. Dropping it forgets whom it waited for:
//! they find what they lack at the next connect.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_store::ports::{
    ArchiveBatch, DevicePoint, Directory, Nudge, Nudges, PushNotice, SharedState, StoreError, VendorPush,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::book::{Book, Effect, Noted};
use crate::config::RemindersConfig;
use crate::limits::{CHECKS_AT_ONCE, NOTED_MAX, PUSHES_WAITING_MAX, REMINDED_MS};
use crate::metrics::{Metrics, add};
use crate::pusher::Pusher;
use crate::recipients::Recipients;

/// Messages taken in before due entries are looked for again.
const INTAKE_MAX: usize = 1_024;
/// Asks where the user stands; no device has this name, so that the user's own cursors are answered.
const NO_DEVICE: &str = "reminders";

/// What reminders work on.
#[derive(Clone)]
pub struct RemindersPorts {
    /// Knows cursors.
    pub state: Arc<dyn SharedState>,
    /// Knows members.
    pub directory: Arc<dyn Directory>,
    /// Is nudged.
    pub nudges: Arc<dyn Nudges>,
    /// Gets notices; none: nothing is pushed.
    pub vendor: Option<Arc<dyn VendorPush>>,
}

/// See the module's doc.
pub struct Reminders {
    ports: RemindersPorts,
    config: RemindersConfig,
    metrics: Arc<Metrics>,
    noted: mpsc::Sender<Arc<Noted>>,
    intake: Mutex<Option<mpsc::Receiver<Arc<Noted>>>>,
}

type Looked = (Uid, Result<Vec<DevicePoint>, StoreError>);

/// What `run` owns.
struct Shift<'a> {
    reminders: &'a Reminders,
    book: Book,
    recipients: Recipients,
    looking: JoinSet<Looked>,
    nudging: JoinSet<()>,
    notices: Option<mpsc::Sender<PushNotice>>,
}

impl Reminders {
    /// Reminders on these ports.
    #[must_use]
    pub fn new(ports: RemindersPorts, config: RemindersConfig) -> Self {
        let (noted, intake) = mpsc::channel(NOTED_MAX);
        Self { ports, config, metrics: Arc::default(), noted, intake: Mutex::new(Some(intake)) }
    }

    /// A batch is archived: its recipients are waited for, but for those of old messages. Past the bound they are
    /// dropped, and counted.
    pub fn archived(&self, batch: &ArchiveBatch) {
        let now_ms = now_ms();
        let is_recent = |taken_ms: u64| now_ms.saturating_sub(taken_ms) < REMINDED_MS;
        for message in batch.messages.iter().filter(|message| is_recent(message.event.ts_ms)) {
            let event = &message.event;
            let Ok(conv) = ConversationId::parse(&event.conv) else { continue };
            let noted = Noted {
                conv,
                epoch: message.epoch,
                seq: message.seq,
                msg_id: event.msg_id,
                from: event.from.to_string(),
                kind: event.kind.to_string(),
                taken_ms: event.ts_ms,
            };
            if self.noted.try_send(Arc::new(noted)).is_err() {
                add(&self.metrics.dropped);
            }
        }
    }

    /// Its counters as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.metrics.text()
    }

    /// Reminds until `stop` turns true. Only the first call does anything.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(intake) = intake else { return };
        let (notices, waiting) = mpsc::channel(PUSHES_WAITING_MAX);
        let (notices, push) = match &self.ports.vendor {
            Some(vendor) => {
                let (vendor, retry_ms, metrics) = (vendor.clone(), self.config.push_retry_ms, self.metrics.clone());
                (Some(notices), Some(Pusher { vendor, retry_ms, metrics }.run(waiting)))
            }
            None => (None, None),
        };
        let recipients = Recipients::new(self.ports.directory.clone(), self.config.group_write_fanout_max);
        let book = Book::new(self.config.clone());
        let (looking, nudging) = (JoinSet::new(), JoinSet::new());
        let mut shift = Shift { reminders: self, book, recipients, looking, nudging, notices };
        let push = async move {
            match push {
                Some(push) => push.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shift.run(intake) => {}
            () = push => {}
            // An error means that nobody is left who could ask: that is a stop too.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

impl Shift<'_> {
    async fn run(&mut self, mut intake: mpsc::Receiver<Arc<Noted>>) {
        let mut tick = tokio::time::interval(Duration::from_millis(self.reminders.config.tick_ms));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut noted = Vec::with_capacity(INTAKE_MAX);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(looked) = self.looking.join_next() => if let Ok((uid, points)) = looked {
                    self.settle(&uid, points);
                },
                count = intake.recv_many(&mut noted, INTAKE_MAX) => {
                    if count == 0 {
                        return;
                    }
                    for message in noted.drain(..) {
                        self.note(&message).await;
                    }
                }
            }
            while self.nudging.try_join_next().is_some() {}
            self.look();
            self.reminders.metrics.waiting.store(self.book.len() as u64, Relaxed);
        }
    }

    async fn note(&mut self, message: &Arc<Noted>) {
        let metrics = &self.reminders.metrics;
        let now_ms = now_ms();
        match self.recipients.of(&message.conv, now_ms).await {
            Ok(uids) => {
                for uid in uids.iter().filter(|uid| uid.as_str() != message.from) {
                    if !self.book.add(uid, message, now_ms) {
                        add(&metrics.dropped);
                    }
                }
            }
            Err(error) => {
                add(&metrics.failures);
                tracing::warn!(conv = message.conv.as_str(), %error, "nobody is reminded of a message");
            }
        }
    }

    /// Begins to read cursors of those that are due.
    fn look(&mut self) {
        let now_ms = now_ms();
        let room = CHECKS_AT_ONCE.saturating_sub(self.looking.len());
        for uid in self.book.take_due(now_ms, room) {
            let state = Arc::clone(&self.reminders.ports.state);
            self.looking.spawn(async move {
                let points = match DeviceId::parse(NO_DEVICE) {
                    Ok(device) => state.points(&uid, &device, now_ms).await,
                    Err(error) => Err(StoreError::new("reminders", error)),
                };
                (uid, points)
            });
        }
    }

    fn settle(&mut self, uid: &Uid, points: Result<Vec<DevicePoint>, StoreError>) {
        let metrics = &self.reminders.metrics;
        let points = match points {
            Ok(points) => points,
            Err(error) => {
                add(&metrics.failures);
                tracing::warn!(uid = uid.as_str(), %error, "it is not known what a user has acknowledged");
                return self.book.settle_later(uid, now_ms());
            }
        };
        for effect in self.book.settle(uid, &points, now_ms()) {
            match effect {
                Effect::Nudge(nudge) => self.nudge(nudge),
                Effect::Push(notice) => {
                    if self.notices.as_ref().is_some_and(|notices| notices.try_send(notice).is_err()) {
                        add(&metrics.given_up);
                    }
                }
            }
        }
    }

    fn nudge(&mut self, nudge: Nudge) {
        let (nudges, metrics) = (Arc::clone(&self.reminders.ports.nudges), Arc::clone(&self.reminders.metrics));
        self.nudging.spawn(async move {
            match nudges.nudge(&nudge).await {
                Ok(0) => add(&metrics.absent),
                Ok(_) => add(&metrics.nudged),
                Err(error) => {
                    add(&metrics.failures);
                    tracing::warn!(uid = nudge.uid.as_str(), %error, "a user is not nudged");
                }
            }
        });
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! Cursors and read marks that are not in the database yet.
//!
//! Invariant: a mark is in the database, or here, at every moment: what is being written stays in
//! `flushing` until the write has succeeded. A reader that looks here first and into the database
//! second therefore misses none.

use std::collections::HashMap;

use ringway_engine::ids::{ConversationId, DeviceId, Uid};

use super::EPOCH;
use crate::limits::CURSORS_WAITING_MAX;
use crate::ports::CursorUpdate;

type OfUser = HashMap<ConversationId, Vec<(DeviceId, u64)>>;
type Cursors = HashMap<Uid, OfUser>;

/// Marks of one user that wait.
#[derive(Debug, Default)]
pub(super) struct UserMarks {
    cursors: HashMap<String, Vec<(DeviceId, u64)>>,
    reads: HashMap<String, u64>,
}

impl UserMarks {
    /// The device's and the user's waiting cursor in a conversation.
    pub(super) fn cursors(&self, conv: &str, device: &DeviceId) -> (Option<u64>, Option<u64>) {
        let cursors = self.cursors.get(conv).map_or(&[][..], Vec::as_slice);
        let own = cursors.iter().filter(|(name, _)| name == device).map(|(_, seq)| *seq).max();
        (own, cursors.iter().map(|(_, seq)| *seq).max())
    }

    /// The waiting read mark in a conversation, 0 for none.
    pub(super) fn read(&self, conv: &str) -> u64 {
        self.reads.get(conv).copied().unwrap_or(0)
    }
}

/// All marks that wait.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: Cursors,
    waiting_count: usize,
    flushing: Cursors,
    reads: HashMap<String, HashMap<String, u64>>,
}

impl Marks {
    pub(super) fn acknowledge(&mut self, update: CursorUpdate) {
        let devices = self.waiting.entry(update.uid).or_default().entry(update.conv).or_default();
        match devices.iter_mut().find(|(device, _)| *device == update.device) {
            Some((_, seq)) => *seq = update.seq.max(*seq),
            None if self.waiting_count < CURSORS_WAITING_MAX => {
                devices.push((update.device, update.seq));
                self.waiting_count += 1;
            }
            None => {}
        }
    }

    pub(super) fn mark_read(&mut self, conv: &str, uid: &str, seq: u64) {
        let mark = self.reads.entry(uid.to_owned()).or_default().entry(conv.to_owned()).or_default();
        *mark = seq.max(*mark);
    }

    /// The mark, up to `seq`, is in the archive now.
    pub(super) fn read_archived(&mut self, conv: &str, uid: &str, seq: u64) {
        let Some(marks) = self.reads.get_mut(uid) else { return };
        if marks.get(conv).is_some_and(|mark| *mark <= seq) {
            marks.remove(conv);
        }
        if marks.is_empty() {
            self.reads.remove(uid);
        }
    }

    pub(super) fn of_user(&self, uid: &Uid) -> UserMarks {
        let mut marks = UserMarks::default();
        for cursors in [&self.waiting, &self.flushing] {
            for (conv, devices) in cursors.get(uid).into_iter().flatten() {
                marks.cursors.entry(conv.to_string()).or_default().extend(devices.iter().cloned());
            }
        }
        if let Some(reads) = self.reads.get(uid.as_str()) {
            marks.reads.clone_from(reads);
        }
        marks
    }

    /// What is to be written now; `flushed` or `flush_failed` follows. What an earlier call was dropped
    /// with comes again.
    pub(super) fn flush(&mut self) -> Vec<CursorUpdate> {
        self.flush_failed();
        self.flushing = std::mem::take(&mut self.waiting);
        self.waiting_count = 0;
        let of_user = |(uid, convs): (&Uid, &OfUser)| -> Vec<CursorUpdate> {
            let devices = convs.iter().flat_map(|(conv, devices)| devices.iter().map(move |device| (conv, device)));
            devices.map(|(conv, (device, seq))| update(uid, conv, device, *seq)).collect()
        };
        self.flushing.iter().flat_map(of_user).collect()
    }

    pub(super) fn flushed(&mut self) {
        self.flushing.clear();
    }

    pub(super) fn flush_failed(&mut self) {
        for (uid, convs) in std::mem::take(&mut self.flushing) {
            for (conv, devices) in convs {
                for (device, seq) in devices {
                    self.acknowledge(update(&uid, &conv, &device, seq));
                }
            }
        }
    }
}

fn update(uid: &Uid, conv: &ConversationId, device: &DeviceId, seq: u64) -> CursorUpdate {
    CursorUpdate { uid: uid.clone(), device: device.clone(), conv: conv.clone(), epoch: EPOCH, seq }
}

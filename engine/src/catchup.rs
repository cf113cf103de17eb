//! Where a device starts in a conversation when it connects.

use crate::limits::CATCHUP_MESSAGES_MAX;
use crate::packet::schema::ResumePoint;

/// What the server knows of one device in one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Current epoch.
    pub epoch: u64,
    /// Highest number given out.
    pub head: u64,
    /// Nothing up to here is for this user.
    pub floor: u64,
    /// What this device acknowledged.
    pub device_cursor: Option<u64>,
    /// The most that any device of the user acknowledged.
    pub user_cursor: Option<u64>,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Push everything above this sequence, then live.
    From(u64),
    /// Push everything above this place of an epoch that is over, as far as the current one differs, then live.
    FromEarlier {
        /// The epoch.
        epoch: u64,
        /// The sequence.
        seq: u64,
    },
    /// Too far behind, or from a numbering that is not known here: `recovered: false`, the client pages with `sync`.
    Unrecovered,
}

/// Its own resume point, else the device's cursor, else (a device never seen) what any device of the user
/// has acknowledged, else all that is kept for the user.
#[must_use]
pub fn start(standing: &Standing, resume: Option<ResumePoint>) -> Start {
    let from = match resume {
        Some(point) if point.epoch > standing.epoch || point.seq < standing.floor => return Start::Unrecovered,
        Some(point) if point.epoch < standing.epoch => {
            // Numbers may have gone back: how far it is behind shows only when it is read.
            let behind = standing.head.saturating_sub(point.seq);
            let earlier = Start::FromEarlier { epoch: point.epoch, seq: point.seq };
            return if behind <= CATCHUP_MESSAGES_MAX { earlier } else { Start::Unrecovered };
        }
        Some(point) => point.seq,
        None => {
            let known = standing.device_cursor.or(standing.user_cursor).unwrap_or(standing.floor);
            known.max(standing.floor).min(standing.head)
        }
    };
    match standing.head.checked_sub(from) {
        Some(behind) if behind <= CATCHUP_MESSAGES_MAX => Start::From(from),
        _ => Start::Unrecovered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(device: Option<u64>, user: Option<u64>, resume: Option<(u64, u64)>, expected: Start) {
        let standing = Standing { epoch: 1, head: 100, floor: 10, device_cursor: device, user_cursor: user };
        assert_eq!(start(&standing, resume.map(ResumePoint::from)), expected);
    }

    #[test]
    fn the_resume_point_wins_then_the_device_then_the_user_then_the_floor() {
        check(Some(50), Some(60), Some((1, 40)), Start::From(40));
        check(Some(50), Some(60), None, Start::From(50));
        check(None, Some(60), None, Start::From(60));
        check(None, None, None, Start::From(10));
        check(Some(3), None, None, Start::From(10));
    }

    #[test]
    fn a_point_of_an_earlier_epoch_is_where_reading_begins() {
        check(None, None, Some((0, 40)), Start::FromEarlier { epoch: 0, seq: 40 });
        check(None, None, Some((0, 140)), Start::FromEarlier { epoch: 0, seq: 140 });
    }

    #[test]
    fn a_point_that_cannot_be_joined_to_the_numbers_is_unrecovered() {
        check(None, None, Some((2, 40)), Start::Unrecovered);
        check(None, None, Some((0, 9)), Start::Unrecovered);
        check(None, None, Some((1, 101)), Start::Unrecovered);
        check(None, None, Some((1, 9)), Start::Unrecovered);
        let far =
            Standing { epoch: 1, head: CATCHUP_MESSAGES_MAX + 1, floor: 0, device_cursor: None, user_cursor: None };
        assert_eq!(start(&far, None), Start::Unrecovered);
        assert_eq!(start(&far, Some((1, 1).into())), Start::From(1));
    }
}

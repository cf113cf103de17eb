//! What the spool writes into a record of its journal. Numbers are little-endian.
//!
//! ```text
//! a record that waits          everything before an ordinal is in the remote log
//! u8   1                       u8   2
//! u64  key                     u64  the ordinal
//! u64  taken at, Unix ms
//! ...  its bytes
//! ```
//!
//! The journal lets go whole segments only, and a restart finds what was released in the last one again. The
//! second kind is written whenever the spool has run empty, so that a start does not forward it once more.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use ringway_store::ports::NewRecord;

const WAITING: u8 = 1;
const FORWARDED: u8 = 2;

/// What a waiting record takes beside its bytes.
pub(crate) const WAITING_HEADER_BYTES: usize = 17;

/// A record of the spool's journal.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// It waits to be forwarded.
    Waiting { record: NewRecord, taken_ms: u64 },
    /// Everything before this ordinal is forwarded.
    Forwarded(u64),
}

impl Entry {
    pub(crate) fn encode_waiting(record: &NewRecord, taken_ms: u64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(WAITING_HEADER_BYTES + record.bytes.len());
        bytes.put_u8(WAITING);
        bytes.put_u64_le(record.key);
        bytes.put_u64_le(taken_ms);
        bytes.put_slice(&record.bytes);
        bytes.freeze()
    }

    pub(crate) fn encode_forwarded(before: u64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9);
        bytes.put_u8(FORWARDED);
        bytes.put_u64_le(before);
        bytes.freeze()
    }

    /// None: written by something else, or by a newer version.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        match bytes.try_get_u8().ok()? {
            WAITING => {
                let key = bytes.try_get_u64_le().ok()?;
                let taken_ms = bytes.try_get_u64_le().ok()?;
                Some(Self::Waiting { record: NewRecord { key, bytes }, taken_ms })
            }
            FORWARDED => {
                let before = bytes.try_get_u64_le().ok()?;
                bytes.is_empty().then_some(Self::Forwarded(before))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_back(key: u64, taken: u64, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let record = NewRecord { key, bytes: Bytes::from(bytes) };
            match Entry::decode(Entry::encode_waiting(&record, taken)) {
                Some(Entry::Waiting { record: read, taken_ms }) => {
                    prop_assert_eq!((read.key, read.bytes, taken_ms), (key, record.bytes, taken));
                }
                other => prop_assert!(false, "{other:?}"),
            }
            let marker = Entry::decode(Entry::encode_forwarded(key));
            prop_assert!(matches!(marker, Some(Entry::Forwarded(before)) if before == key));
        }

        #[test]
        fn other_bytes_are_no_entry_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let known = bytes.first().is_some_and(|kind| [WAITING, FORWARDED].contains(kind));
            let read = Entry::decode(Bytes::from(bytes));
            prop_assert!(known || read.is_none());
        }
    }
}

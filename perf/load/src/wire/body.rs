//! What a message's body carries, so that the other end can check and time it.
//!
//! ```text
//! +---------+--------+------------+------------------+---------- ... --+
//! | run     | stream | serial     | intended time ns | filler          |
//! | 8 hex   | 6 dec  | 10 dec     | 16 hex           | the same always |
//! +---------+--------+------------+------------------+---------- ... --+
//!  <--------- the client message id ------->
//! ```

/// Bytes of run, stream and serial.
pub(crate) const MARK_BYTES: usize = 24;
/// Bytes before the filler: the smallest body.
pub(crate) const HEAD_BYTES: usize = 40;
/// Streams that a body can name.
pub(crate) const STREAMS_MAX: usize = 999_999;

/// What a body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which sender's messages these are.
    pub(crate) stream: u64,
    /// From 0 in its stream.
    pub(crate) serial: u64,
    /// When it was to be sent.
    pub(crate) intended_ns: u64,
}

/// What a body turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Of this run, whole.
    Ours(Stamp),
    /// Of another run or another program.
    Foreign,
    /// Of this run, but not as it was sent.
    Corrupt,
}

/// Writes and reads the bodies of one run.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    run: String,
    filler: Vec<u8>,
}

impl Bodies {
    /// Bodies of `payload_bytes`; a run number tells runs apart.
    pub(crate) fn new(run: u32, payload_bytes: usize) -> Self {
        let filler = (0..payload_bytes.saturating_sub(HEAD_BYTES)).map(|at| b'a' + (at % 26) as u8).collect();
        Self { run: format!("{run:08x}"), filler }
    }

    /// Run, stream and a serial of 0: what stands at the start of the body and as the client message id.
    pub(crate) fn mark(&self, stream: usize) -> String {
        format!("{}{stream:06}{:010}", self.run, 0)
    }

    /// A body with serial and time 0.
    pub(crate) fn blank(&self, stream: usize) -> String {
        format!("{}{:016x}{}", self.mark(stream), 0, String::from_utf8_lossy(&self.filler))
    }

    /// Reads a body and compares its client message id, if it has one.
    pub(crate) fn read(&self, body: &[u8], client_msg_id: Option<&[u8]>) -> Reading {
        let Some(rest) = body.strip_prefix(self.run.as_bytes()) else { return Reading::Foreign };
        let whole = || {
            let (stream, rest) = rest.split_at_checked(6)?;
            let (serial, rest) = rest.split_at_checked(10)?;
            let (time, filler) = rest.split_at_checked(16)?;
            if filler != self.filler || client_msg_id.is_some_and(|id| body.get(..MARK_BYTES) != Some(id)) {
                return None;
            }
            let [stream, serial] = [digits(stream, 10)?, digits(serial, 10)?];
            Some(Stamp { stream, serial, intended_ns: digits(time, 16)? })
        };
        whole().map_or(Reading::Corrupt, Reading::Ours)
    }
}

fn digits(text: &[u8], radix: u32) -> Option<u64> {
    text.iter()
        .try_fold(0, |value, byte| Some(value * u64::from(radix) + u64::from(char::from(*byte).to_digit(radix)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_body_is_corrupt_and_another_runs_is_foreign() {
        let bodies = Bodies::new(1, 128);
        let body = bodies.blank(3).into_bytes();
        assert!(matches!(bodies.read(&body, None), Reading::Ours(_)));
        assert_eq!(bodies.read(&body, Some(b"another id")), Reading::Corrupt);
        for at in 8..body.len() {
            let mut changed = body.clone();
            changed[at] = b'?';
            assert_eq!(bodies.read(&changed, None), Reading::Corrupt, "byte {at}");
        }
        assert_eq!(bodies.read(&body[..100], None), Reading::Corrupt);
        assert_eq!(Bodies::new(2, 128).read(&body, None), Reading::Foreign);
        assert_eq!(bodies.read(b"{}", None), Reading::Foreign);
    }
}

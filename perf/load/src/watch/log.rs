//! The log of intervals: HdrHistogram's own format, which `HistogramLogProcessor` and every other tool of its family read.
//!
//! ```text
//! #[StartTime: 1790000000 …]
//! Tag=deliver,START,LENGTH,MAX,HISTOGRAM      seconds since StartTime, seconds, milliseconds, compressed and Base64
//! ```
//!
//! Values are nanoseconds. Tags are `deliver`, `sent` and `lag`, each absent in a second in which it has nothing.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::Moment;

const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds of a millisecond, in which the format shows the greatest value.
const MAX_DIVISOR: f64 = 1e6;

/// See the module's head.
pub(super) struct Log<W: Write> {
    out: W,
    serializer: V2DeflateSerializer,
    /// When the first interval began.
    began_ns: Option<u64>,
    /// When this one did, and the sums of that time.
    since_ns: u64,
    before: [Histogram<u64>; 3],
}

impl<W: Write> Log<W> {
    /// An empty one.
    ///
    /// # Errors
    /// No memory for histograms.
    pub(super) fn new(out: W) -> anyhow::Result<Self> {
        let before = [Histogram::new(3)?, Histogram::new(3)?, Histogram::new(3)?];
        Ok(Self { out, serializer: V2DeflateSerializer::new(), began_ns: None, since_ns: 0, before })
    }

    /// Ends the interval when it is a second long.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn look(&mut self, moment: &Moment) -> anyhow::Result<()> {
        if !moment.sends || moment.window.0 == u64::MAX || moment.at_ns < moment.window.0 {
            return Ok(());
        }
        if self.began_ns.is_none() {
            self.began_ns = Some(moment.window.0);
            self.since_ns = moment.window.0;
            self.begin(moment)?;
        }
        if moment.at_ns >= self.since_ns + SECOND_NS { self.interval(moment) } else { Ok(()) }
    }

    /// Ends the last interval.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn finish(mut self, last: &Moment) -> anyhow::Result<()> {
        if self.began_ns.is_some() {
            self.interval(last)?;
        }
        Ok(self.out.flush()?)
    }

    /// The head; what follows is written line by line, and needs none.
    fn begin(&mut self, moment: &Moment) -> anyhow::Result<()> {
        let ago = Duration::from_nanos(crate::clock::now_ns().saturating_sub(moment.window.0));
        let start = SystemTime::now().checked_sub(ago).ok_or_else(|| anyhow!("a clock before its epoch"))?;
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_start_time(start).with_base_time(start).add_comment("ringway-load; nanoseconds");
        builder.begin_log_with(&mut self.out, &mut self.serializer)?;
        Ok(())
    }

    fn interval(&mut self, moment: &Moment) -> anyhow::Result<()> {
        let began_ns = self.began_ns.unwrap_or(self.since_ns);
        let start = Duration::from_nanos(self.since_ns.saturating_sub(began_ns));
        let length = Duration::from_nanos(moment.at_ns.saturating_sub(self.since_ns));
        let mut lines = Vec::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_DIVISOR);
        let mut writer = builder.begin_log_with(&mut lines, &mut self.serializer)?;
        let sums = [("deliver", &moment.to_delivery), ("sent", &moment.to_sent), ("lag", &moment.lag)];
        for ((tag, sum), before) in sums.into_iter().zip(&mut self.before) {
            let mut grown = sum.clone();
            grown.subtract(&*before).map_err(|error| anyhow!("{error:?}"))?;
            if !grown.is_empty() {
                let written = writer.write_histogram(&grown, start, length, Tag::new(tag));
                written.map_err(|error| anyhow!("{error:?}"))?;
            }
            before.set_to(sum).map_err(|error| anyhow!("{error:?}"))?;
        }
        self.since_ns = moment.at_ns;
        // Each writer begins with its own head.
        for line in lines.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Tag=")) {
            self.out.write_all(line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn a_second_holds_what_came_in_it_and_any_reader_finds_it() {
        let mut out = Vec::new();
        let mut log = Log::new(&mut out).unwrap();
        let mut moment = Moment::new().unwrap();
        moment.sends = true;
        moment.to_delivery.record(7).unwrap();
        log.look(&moment).unwrap();
        moment.window = (1_000, 9 * SECOND_NS);
        for quarter in 0..10 {
            moment.at_ns = 1_000 + quarter * SECOND_NS / 4;
            moment.to_delivery.record(1_000_000 * (quarter + 1)).unwrap();
            log.look(&moment).unwrap();
        }
        moment.lag.record(5).unwrap();
        log.finish(&moment).unwrap();
        let mut seen = Vec::new();
        for entry in IntervalLogIterator::new(&out).map(Result::unwrap) {
            let LogEntry::Interval(interval) = entry else { continue };
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap();
            seen.push((tag, interval.start_timestamp().as_secs(), histogram.len()));
        }
        let deliver = |start, count| ("deliver".to_owned(), start, count);
        assert_eq!(seen, [deliver(0, 6), deliver(1, 4), deliver(2, 1), ("lag".to_owned(), 2, 1)]);
    }
}

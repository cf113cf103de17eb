//! The line on the terminal: how far the run is, what it does at this moment, and whether anything was found wrong.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;

use hdrhistogram::Histogram;

use super::Moment;
use crate::network::connections_max;
use crate::options::Options;

/// Looks that make a second.
const SECOND_LOOKS: usize = 4;
/// Begins the line anew, and lets nothing wrap.
const BEGIN: &str = "\r\x1b[?7l\x1b[2K";
const END: &str = "\x1b[?7h";

/// What was counted at one time.
struct Mark {
    at_ns: u64,
    sent: u64,
    delivered: u64,
    to_delivery: Histogram<u64>,
    lag: Histogram<u64>,
}

/// See the module's head.
pub(super) struct Line {
    connections: usize,
    /// Messages a second, as the schedule wants; `None` in a closed loop.
    rate: Option<f64>,
    /// The last second.
    marks: VecDeque<Mark>,
}

impl Line {
    /// For a run.
    pub(super) fn new(options: &Options) -> Self {
        let rate = options.inflight.is_none().then_some(options.rate);
        // The others are those of further processes.
        let connections = connections_max().map_or(options.connections, |room| options.connections.min(room));
        Self { connections, rate, marks: VecDeque::new() }
    }

    /// Draws it anew.
    pub(super) fn draw(&mut self, moment: &Moment) {
        let text = format!("{BEGIN}{}{END}", self.text(moment));
        // A terminal that is gone is no reason to end a run.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Takes it away.
    pub(super) fn clear(self) {
        let _ = std::io::stderr().write_all(format!("{BEGIN}{END}").as_bytes());
    }

    fn text(&mut self, moment: &Moment) -> String {
        let mut text = self.phase(moment);
        // Writing into a string has no way to fail.
        let _ = self.write_flow(moment, &mut text);
        text
    }

    fn phase(&self, moment: &Moment) -> String {
        let (begins, ends) = moment.window;
        let seconds = |ns: u64| ns as f64 / 1e9;
        // Later, those who are not there are away.
        if begins == u64::MAX && moment.ready < self.connections {
            format!("connecting {}/{}", moment.ready, self.connections)
        } else if !moment.sends {
            format!("resting, {} connected", moment.ready)
        } else if begins == u64::MAX {
            "settling".to_owned()
        } else if moment.at_ns < begins {
            format!("warm-up, {:.0} s left", seconds(begins - moment.at_ns))
        } else if moment.at_ns < ends {
            format!("measuring {:.0}/{:.0} s", seconds(moment.at_ns - begins), seconds(ends - begins))
        } else {
            "draining".to_owned()
        }
    }

    fn write_flow(&mut self, moment: &Moment, text: &mut String) -> std::fmt::Result {
        if !moment.sends || moment.sent == 0 {
            return Ok(());
        }
        let (to_delivery, lag) = (moment.to_delivery.clone(), moment.lag.clone());
        let mark = Mark { at_ns: moment.at_ns, sent: moment.sent, delivered: moment.delivered, to_delivery, lag };
        let Some(before) = self.marks.front() else {
            self.marks.push_back(mark);
            return Ok(());
        };
        let seconds = (mark.at_ns - before.at_ns) as f64 / 1e9;
        let a_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds.max(1e-9);
        if let Some(rate) = self.rate {
            write!(text, " | want {rate:.0}/s")?;
        }
        let (sent, delivered) = (a_second(mark.sent, before.sent), a_second(mark.delivered, before.delivered));
        write!(text, " | sent {sent:.0}/s | delivered {delivered:.0}/s")?;
        let last_second = |now: &Histogram<u64>, then: &Histogram<u64>| {
            let mut grown = now.clone();
            grown.subtract(then).ok().map(|()| grown).filter(|grown| !grown.is_empty())
        };
        let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        if let Some(grown) = last_second(&mark.to_delivery, &before.to_delivery) {
            write!(text, " | p50 {:.3} p99 {:.3} ms", ms(&grown, 0.5), ms(&grown, 0.99))?;
        }
        if let Some(grown) = last_second(&mark.lag, &before.lag) {
            write!(text, " | lag p99 {:.3} ms", ms(&grown, 0.99))?;
        }
        write!(text, " | under way {} | {}", moment.under_way, if moment.is_clean { "clean" } else { "WRONG" })?;
        self.marks.push_back(mark);
        if self.marks.len() > SECOND_LOOKS {
            self.marks.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &mut Line, moment: &Moment, expected: &str) {
        assert_eq!(line.text(moment), expected);
    }

    #[test]
    fn each_phase_is_named_and_the_last_second_is_shown() {
        let mut line = Line { connections: 4, rate: Some(10.0), marks: VecDeque::new() };
        let mut moment = Moment::new().unwrap();
        moment.ready = 3;
        check(&mut line, &moment, "connecting 3/4");
        moment.ready = 4;
        check(&mut line, &moment, "resting, 4 connected");
        moment.sends = true;
        check(&mut line, &moment, "settling");
        moment.window = (2_000_000_000, 4_000_000_000);
        check(&mut line, &moment, "warm-up, 2 s left");
        (moment.at_ns, moment.sent) = (2_500_000_000, 5);
        check(&mut line, &moment, "measuring 0/2 s");
        (moment.at_ns, moment.sent, moment.delivered, moment.under_way) = (3_000_000_000, 10, 9, 1);
        moment.to_delivery.record(2_000_000).unwrap();
        moment.lag.record(1_000).unwrap();
        let flow = "want 10/s | sent 10/s | delivered 18/s | p50 2.001 p99 2.001 ms | lag p99 0.001 ms | under way 1";
        check(&mut line, &moment, &format!("measuring 1/2 s | {flow} | clean"));
        (moment.at_ns, moment.is_clean) = (4_000_000_000, false);
        let text = line.text(&moment);
        assert!(text.starts_with("draining") && text.ends_with("WRONG"), "{text}");
        (moment.at_ns, moment.ready) = (3_500_000_000, 3);
        let text = line.text(&moment);
        assert!(text.starts_with("measuring"), "who is away is not connecting: {text}");
    }
}

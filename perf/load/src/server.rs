//! What the server spends: processor time and memory of its process, and its own counters.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use anyhow::Context as _;
use serde::Serialize;

use crate::http::Http;

/// Processor time of a process in seconds, all threads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// In user space.
    pub(crate) user_s: f64,
    /// In the kernel.
    pub(crate) system_s: f64,
}

impl Cpu {
    /// Of a process by its id, or `self`.
    ///
    /// # Errors
    /// No such process.
    pub(crate) fn of(process: &str) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        Ok(Self::read(&stat)?.1)
    }

    /// From the text of a `stat`, with the name that stands there.
    fn read(stat: &str) -> anyhow::Result<(&str, Self)> {
        // The name, in parentheses, may hold anything.
        let (head, rest) = stat.rsplit_once(')').context("/proc stat has no name")?;
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let mut fields = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut seconds = || Some(fields.next()?.ok()? / rustix::param::clock_ticks_per_second() as f64);
        let user_s = seconds().context("/proc stat is short")?;
        Ok((name, Self { user_s, system_s: seconds().context("/proc stat is short")? }))
    }

    /// Spent since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }

    /// Both together.
    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Processor time of a process by the names of its threads, in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Threads(BTreeMap<String, f64>);

impl Threads {
    /// Of a process by its id.
    ///
    /// # Errors
    /// No such process.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/task");
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(&path).with_context(|| path.clone())? {
            // One that has ended meanwhile spends nothing more.
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
            let (name, cpu) = Cpu::read(&stat)?;
            *threads.entry(name.to_owned()).or_insert(0.0) += cpu.total_s();
        }
        Ok(Self(threads))
    }

    /// Microseconds since `before`, a share for each of `count`; of those that spent any.
    pub(crate) fn since(&self, before: &Self, count: f64) -> BTreeMap<String, f64> {
        let grown = |(name, now): (&String, &f64)| {
            let grown = now - before.0.get(name).copied().unwrap_or(0.0);
            (grown > 0.0).then(|| (name.clone(), grown * 1e6 / count))
        };
        self.0.iter().filter_map(grown).collect()
    }
}

/// Memory in bytes: of one process, and of the kernel's networking and slabs on the whole machine.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss: i64,
    /// Proportional share of what is resident.
    pub(crate) pss: i64,
    /// Resident and not shared with any process: what the process itself costs.
    pub(crate) private: i64,
    /// Socket buffers of TCP in the kernel, both ends of loopback connections.
    pub(crate) kernel_tcp: i64,
    /// Slabs of the kernel: sockets, files, epoll and io_uring entries, of everybody.
    pub(crate) kernel_slab: i64,
}

impl Memory {
    /// Of several processes together, by their ids; the kernel's is the machine's, once.
    ///
    /// # Errors
    /// As [`Memory::of`].
    pub(crate) fn of_all(processes: &[u32]) -> anyhow::Result<Self> {
        let each: Vec<Self> = processes.iter().map(|process| Self::of(*process)).collect::<Result<_, _>>()?;
        let sum = |of: fn(&Self) -> i64| each.iter().map(of).sum();
        let kernel = each.last().copied().unwrap_or_default();
        Ok(Self { rss: sum(|one| one.rss), pss: sum(|one| one.pss), private: sum(|one| one.private), ..kernel })
    }

    /// Of a process by its id.
    ///
    /// # Errors
    /// No such process, or one of another user.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/smaps_rollup");
        let rollup = fs::read_to_string(&path).with_context(|| path.clone())?;
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp_pages =
            sockets.lines().find(|line| line.starts_with("TCP:")).and_then(|line| line.split(" mem ").nth(1));
        let tcp_pages = tcp_pages.and_then(|pages| pages.trim().parse::<i64>().ok()).unwrap_or(0);
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Ok(Self {
            rss: kibibytes(&rollup, "Rss:"),
            pss: kibibytes(&rollup, "Pss:"),
            private: kibibytes(&rollup, "Private_Clean:") + kibibytes(&rollup, "Private_Dirty:"),
            kernel_tcp: tcp_pages * rustix::param::page_size() as i64,
            kernel_slab: kibibytes(&machine, "Slab:"),
        })
    }

    /// The growth since `before`, a share for each of `count`.
    pub(crate) fn growth(&self, before: &Self, count: usize) -> Self {
        let share = |now: i64, then: i64| (now - then) / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
        Self {
            rss: share(self.rss, before.rss),
            pss: share(self.pss, before.pss),
            private: share(self.private, before.private),
            kernel_tcp: share(self.kernel_tcp, before.kernel_tcp),
            kernel_slab: share(self.kernel_slab, before.kernel_slab),
        }
    }
}

fn kibibytes(text: &str, name: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
}

/// The server's counters, each summed over shards.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sums: HashMap<String, f64>,
    /// By name and shard.
    shards: HashMap<String, Vec<f64>>,
}

impl Counters {
    /// Reads `/metrics`.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn read(admin: &Http) -> anyhow::Result<Self> {
        Ok(Self::parse(&admin.get("/metrics")?))
    }

    fn parse(text: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.contains("le=\"")) {
            if let Some((name, value)) = line.rsplit_once(' ')
                && let (Some(plain), Ok(value)) = (name.split('{').next(), value.parse::<f64>())
            {
                *counters.sums.entry(plain.to_owned()).or_insert(0.0) += value;
                // Shards come in their order.
                if name.contains("{shard=\"") {
                    counters.shards.entry(plain.to_owned()).or_default().push(value);
                }
            }
        }
        counters
    }

    /// One of them, if it is there.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.sums.get(name).copied()
    }

    /// One of them for each shard.
    pub(crate) fn by_shard(&self, name: &str) -> Vec<f64> {
        self.shards.get(name).cloned().unwrap_or_default()
    }

    /// Growth of one counter since `before`.
    pub(crate) fn grown(&self, before: &Self, name: &str) -> f64 {
        let of = |counters: &Self| counters.value(name).unwrap_or(0.0);
        of(self) - of(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_buckets_left_out() {
        let text = "# HELP a b\na{shard=\"0\"} 2\na{shard=\"1\"} 3\nb_bucket{le=\"1\"} 9\nb_sum 0.5\n";
        let counters = Counters::parse(text);
        assert_eq!(counters.grown(&Counters::default(), "a"), 5.0);
        assert_eq!(counters.by_shard("a"), [2.0, 3.0]);
        assert_eq!(counters.grown(&Counters::default(), "b_bucket"), 0.0);
        assert_eq!(counters.grown(&counters, "b_sum"), 0.0);
    }

    #[test]
    fn this_process_has_spent_time_and_memory() {
        assert!(Cpu::of("self").unwrap().total_s() >= 0.0);
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.rss > 0 && memory.private > 0 && memory.private <= memory.rss);
    }
}

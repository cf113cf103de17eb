//! The keys of reminders and of the push vendor, and what the two are told of them.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ringway_parts::sections::secret;
use ringway_push::{HttpVendor, HttpVendorConfig, RemindersConfig, limits};
use ringway_service::keys;
use ringway_service::sections::{LARGEST, to_usize};

/// An older message reminds nobody.
const AFTER_MS_MAX: u64 = limits::REMINDED_MS - 1;

keys! {
    /// The section `push`.
    pub(crate) Push {
        nudge_after_ms: u64 = limits::NUDGE_AFTER_MS, "milliseconds", Some((1, AFTER_MS_MAX)), restart,
            "When a recipient none of whose devices has acknowledged a message is nudged: gateways that hold one of \
             them read anew what it lacks.";
        push_after_ms: u64 = limits::PUSH_AFTER_MS, "milliseconds", Some((1, AFTER_MS_MAX)), restart,
            "When the vendor gets a notice, if still none has: one for a conversation while nothing of it is read. \
             Must be above push.nudge_after_ms.";
        group_write_fanout_max: u64 = limits::GROUP_WRITE_FANOUT_MAX, "members",
            Some((0, limits::WAITING_MAX as u64)), restart,
            "Members of a group that are reminded one by one. Larger groups are not reminded at all.";
        url: String = String::new(), "URL", None, restart,
            "Where notices are posted as JSON, `http://` or `https://`: who, in which conversation, from whom, which \
             type; never the text. Empty: nothing is pushed.";
        secret_file: Option<PathBuf> = None, "path", None, restart,
            "File with the secret that the vendor gets as a bearer token. Empty: none is sent.";
        timeout_ms: u64 = limits::HTTP_TIMEOUT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long the vendor may take to answer. Past it the notice is tried again, a few times.";
        at_once_max: u64 = limits::PUSHES_AT_ONCE as u64, "requests", Some((1, limits::PUSHES_AT_ONCE as u64)), restart,
            "Requests to the vendor at once. More wait for their turn.";
    }
}

impl Push {
    /// Checks what the values of single keys cannot say.
    ///
    /// # Errors
    /// Names the keys.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.push_after_ms > self.nudge_after_ms,
            "push.push_after_ms must be above push.nudge_after_ms: a nudge gets time to help"
        );
        if self.url.is_empty() {
            ensure!(self.secret_file.is_none(), "push.secret_file needs push.url: nobody gets the secret");
            return Ok(());
        }
        HttpVendorConfig::new(&self.url, "").check().context("push.url")
    }

    /// For the reminders.
    pub(crate) fn reminders(&self) -> RemindersConfig {
        RemindersConfig {
            nudge_after_ms: self.nudge_after_ms,
            push_after_ms: self.push_after_ms,
            group_write_fanout_max: self.group_write_fanout_max,
            ..RemindersConfig::default()
        }
    }

    /// The vendor, if there is one.
    ///
    /// # Errors
    /// The secret cannot be read or used.
    pub(crate) fn vendor(&self) -> anyhow::Result<Option<HttpVendor>> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let given = secret("push.secret_file", self.secret_file.as_ref())?;
        ensure!(given.as_deref() != Some(""), "push.secret_file: there is nothing in it");
        let config = HttpVendorConfig {
            timeout_ms: self.timeout_ms,
            at_once_max: to_usize(self.at_once_max),
            ..HttpVendorConfig::new(&self.url, given.unwrap_or_default())
        };
        HttpVendor::new(&config).map(Some).context("push.url and push.secret_file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(url: &str) -> Push {
        Push { url: url.to_owned(), ..Push::default() }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |push: Push, expected: &str| {
            let error = format!("{:#}", push.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(Push { nudge_after_ms: 5_000, push_after_ms: 5_000, ..Push::default() }, "must be above push.nudge");
        check(Push { secret_file: Some("secret".into()), ..Push::default() }, "push.secret_file needs push.url");
        check(push("vendor.example"), "push.url: \"vendor.example\" is no URL");
        push("https://vendor.example/notices").check().unwrap();
    }

    #[test]
    fn there_is_a_vendor_where_there_is_a_url_and_its_secret_comes_from_a_file() {
        assert!(Push::default().vendor().unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let with_secret = || Push { secret_file: Some(file.clone()), ..push("http://127.0.0.1:1/") };
        let check = |expected: &str| {
            let error = format!("{:#}", with_secret().vendor().map(drop).unwrap_err());
            assert!(error.contains("push.secret_file") && error.contains(expected), "{error}");
        };
        check("cannot read");
        std::fs::write(&file, "\n").unwrap();
        check("nothing in it");
        std::fs::write(&file, "two\nlines\n").unwrap();
        check("cannot stand in a header");
        std::fs::write(&file, "s3cret\n").unwrap();
        assert!(with_secret().vendor().unwrap().is_some() && push("http://127.0.0.1:1/").vendor().unwrap().is_some());
    }

    #[test]
    fn reminders_are_told_what_the_keys_say() {
        let push = Push { nudge_after_ms: 1, push_after_ms: 2, group_write_fanout_max: 3, ..Push::default() };
        let told = push.reminders();
        assert_eq!((told.nudge_after_ms, told.push_after_ms, told.group_write_fanout_max), (1, 2, 3));
    }
}

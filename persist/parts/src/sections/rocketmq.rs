//! RocketMQ: the event log.

use std::path::PathBuf;

use ringway_rocketmq::{Credentials, EVENT_TOPIC, RocketConfig, TlsFiles, limits};
use ringway_service::keys;
use ringway_service::sections::{LARGEST, to_usize};

use super::{pair, secret};

/// More queues than any deployment has consumers for.
const QUEUES_MAX: u64 = 1_024;

keys! {
    /// The section `rocketmq`.
    pub RocketMq {
        name_servers: Vec<String> = vec!["127.0.0.1:9876".to_owned()], "host:port", None, restart,
            "Name servers, asked in turn.";
        topic: String = EVENT_TOPIC.to_owned(), "", None, restart,
            "The topic of durable events. It must be there.";
        queues: u64 = 8, "queues", Some((1, QUEUES_MAX)), restart,
            "How many queues the topic has over all brokers. A conversation's queue depends on it, so a topic that has \
             another number is refused.";
        producer_group: String = "im_gateway".to_owned(), "", None, restart,
            "The group that gateways append under, as brokers show it.";
        consumer_group: String = "im_persist".to_owned(), "", None, restart,
            "The group whose consumed offsets brokers show.";
        access_key: String = String::new(), "", None, restart,
            "Who signs requests. Empty: the brokers ask for no signature.";
        secret_key_file: Option<PathBuf> = None, "path", None, restart,
            "File with the secret that requests are signed with.";
        tls: bool = false, "", None, restart,
            "Whether TLS is spoken with name servers and brokers. Their certificates must be for the addresses that are \
             dialled: the name servers' here, and those that brokers give themselves.";
        tls_ca: Option<PathBuf> = None, "path", None, restart,
            "PEM file of the authorities to trust. Empty: those of the system. Needs rocketmq.tls.";
        tls_cert: Option<PathBuf> = None, "path", None, restart,
            "PEM file of our own certificate, for servers that ask for one. Needs rocketmq.tls.";
        tls_key: Option<PathBuf> = None, "path", None, restart, "PEM file of its key.";
        send_timeout_ms: u64 = limits::SEND_TIMEOUT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a batch may take before it counts as failed.";
        batch_records_max: u64 = limits::BATCH_RECORDS_MAX as u64, "records", Some((1, LARGEST)), restart,
            "Records of one batch.";
        batch_bytes_max: u64 = limits::BATCH_BYTES_MAX as u64, "bytes", Some((1, LARGEST)), restart,
            "Bytes of one batch; a larger record goes alone.";
    }
}

impl RocketMq {
    /// Checks what the values of single keys cannot say.
    ///
    /// # Errors
    /// Names the keys.
    pub fn check(&self) -> anyhow::Result<()> {
        let wrong = self.name_servers.iter().find(|address| {
            address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        });
        match wrong {
            Some(address) => anyhow::bail!("rocketmq.name_servers expects a list of host:port, not {address:?}"),
            None if self.name_servers.is_empty() => anyhow::bail!("rocketmq.name_servers is empty"),
            None => {}
        }
        anyhow::ensure!(
            self.access_key.is_empty() == self.secret_key_file.is_none(),
            "rocketmq.access_key and rocketmq.secret_key_file belong together: one of them is empty"
        );
        self.tls()?;
        let names = [
            ("topic", &self.topic),
            ("producer_group", &self.producer_group),
            ("consumer_group", &self.consumer_group),
        ];
        match names.into_iter().find(|(_, name)| name.is_empty()) {
            Some((key, _)) => anyhow::bail!("rocketmq.{key} is empty"),
            None => Ok(()),
        }
    }

    fn tls(&self) -> anyhow::Result<Option<TlsFiles>> {
        let client = pair("rocketmq.tls_cert and rocketmq.tls_key", self.tls_cert.as_ref(), self.tls_key.as_ref())?;
        anyhow::ensure!(
            self.tls || (client.is_none() && self.tls_ca.is_none()),
            "rocketmq.tls_ca and rocketmq.tls_cert need rocketmq.tls: it is false"
        );
        Ok(self.tls.then(|| TlsFiles { authorities: self.tls_ca.clone(), client }))
    }

    /// For the adapter.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn config(&self) -> anyhow::Result<RocketConfig> {
        let secret_key = secret("rocketmq.secret_key_file", self.secret_key_file.as_ref())?;
        Ok(RocketConfig {
            topic: self.topic.clone(),
            queues: to_usize(self.queues),
            producer_group: self.producer_group.clone(),
            consumer_group: self.consumer_group.clone(),
            credentials: secret_key.map(|secret_key| Credentials { access_key: self.access_key.clone(), secret_key }),
            tls: self.tls()?,
            send_timeout_ms: self.send_timeout_ms,
            batch_records_max: to_usize(self.batch_records_max),
            batch_bytes_max: to_usize(self.batch_bytes_max),
            ..RocketConfig::new(self.name_servers.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_when_both_halves_are_given() {
        assert_eq!(RocketMq::default().config().unwrap().credentials, None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let keys = RocketMq { access_key: "me".into(), secret_key_file: Some(file), ..RocketMq::default() };
        keys.check().unwrap();
        let credentials = keys.config().unwrap().credentials.unwrap();
        assert_eq!((credentials.access_key.as_str(), credentials.secret_key.as_str()), ("me", "s3cret"));
    }

    #[test]
    fn tls_is_spoken_when_it_is_said_with_or_without_files() {
        assert_eq!(RocketMq::default().config().unwrap().tls, None);
        let keys = RocketMq { tls: true, ..RocketMq::default() };
        assert_eq!(keys.config().unwrap().tls, Some(TlsFiles::default()));
        let (tls_ca, tls_cert, tls_key) = (Some("ca".into()), Some("cert".into()), Some("key".into()));
        let keys = RocketMq { tls_ca, tls_cert, tls_key, ..keys };
        keys.check().unwrap();
        let files = TlsFiles { authorities: Some("ca".into()), client: Some(("cert".into(), "key".into())) };
        assert_eq!(keys.config().unwrap().tls, Some(files));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |keys: RocketMq, expected: &str| {
            let error = format!("{:#}", keys.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(RocketMq { name_servers: Vec::new(), ..RocketMq::default() }, "rocketmq.name_servers is empty");
        check(RocketMq { name_servers: vec!["a".into()], ..RocketMq::default() }, "host:port");
        check(RocketMq { access_key: "a".into(), ..RocketMq::default() }, "belong together");
        check(RocketMq { tls_ca: Some("a".into()), ..RocketMq::default() }, "need rocketmq.tls");
        check(RocketMq { tls: true, tls_key: Some("a".into()), ..RocketMq::default() }, "belong together");
        check(RocketMq { topic: String::new(), ..RocketMq::default() }, "rocketmq.topic is empty");
    }
}

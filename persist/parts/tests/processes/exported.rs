//! What the programs export of a message and of requests, as a collector sees it once they have ended.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use ringway_hops::ids::{root_span, trace_id};
use tokio::runtime::Runtime;

use crate::collector::{Collector, value};
use crate::deployment::keys;

/// A collector on a thread of its own.
pub(crate) struct Exported {
    collector: Collector,
    _runtime: Runtime,
}

impl Exported {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::answering(&[]));
        Self { collector, _runtime: runtime }
    }

    /// Arguments of a program that exports everything to it.
    pub(crate) fn added_to(&self, arguments: Vec<String>) -> Vec<String> {
        let own = [("otlp.endpoint", self.collector.endpoint.as_str()), ("otlp.sample_one_in", "1")];
        [arguments, keys(&own)].concat()
    }

    /// One trace of the message, from the gateway that took it to the other one and into the archive; each request a
    /// trace of its own; nothing of what was said or who said it.
    pub(crate) fn check(mut self, msg_id: u64, secrets: &[&str]) {
        let spans = self.collector.spans();
        let text = format!("{spans:?}");
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
        let (mut seen, mut roots) = (BTreeSet::new(), Vec::new());
        for (resource, span) in spans.iter().filter(|(_, span)| span.trace_id == trace_id(msg_id)) {
            seen.insert((value(resource, "service.instance.id").unwrap(), span.name.clone()));
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
            if span.name == "message" {
                roots.push(span.span_id.clone());
            } else {
                assert_eq!(span.parent_span_id, root_span(msg_id), "{span:?}");
            }
        }
        assert_eq!(roots, [root_span(msg_id).to_vec()]);
        let of = |node: &'static str, names: &[&'static str]| names.iter().map(move |name| (node, *name)).collect();
        let expected: [Vec<(&str, &str)>; 3] = [
            of("gateway-1", &["message", "batched", "logged", "numbered", "told", "fanned", "received", "sent"]),
            of("gateway-2", &["arrived", "fanned", "pushed", "acknowledged"]),
            of("persist-1", &["consumed", "numbered", "archived"]),
        ];
        for (node, name) in expected.into_iter().flatten() {
            assert!(seen.contains(&(node.to_owned(), name.to_owned())), "{node} {name} is not among {seen:?}");
        }
        let is_request =
            |(resource, _): &&(Vec<_>, Span)| value(resource, "service.name").as_deref() == Some("ringway-api");
        let requests: Vec<&Span> = spans.iter().filter(is_request).map(|(_, span)| span).collect();
        let traces: BTreeSet<&[u8]> = requests.iter().map(|span| &span.trace_id[..]).collect();
        assert_eq!(traces.len(), requests.len());
        for name in ["POST /v1/auth/register", "GET /v1/conversations/{conv}/messages"] {
            assert!(requests.iter().any(|span| span.name == name), "{name} is not among {requests:?}");
        }
    }
}

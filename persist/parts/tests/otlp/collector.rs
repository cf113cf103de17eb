//! A collector: takes OTLP/HTTP on a loopback port of its own, and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A loaded machine gets that long.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// What one request is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// Taken, but for so many spans.
    Without(i64),
}

#[derive(Clone)]
struct Heard {
    bodies: UnboundedSender<ExportTraceServiceRequest>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// A running collector; ends when dropped.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    bodies: UnboundedReceiver<ExportTraceServiceRequest>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Gives these answers, then takes everything.
    pub(crate) async fn answering(answers: &[Answer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, bodies) = unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let router = Router::new().route("/v1/traces", post(hear)).with_state(Heard { bodies: sender, answers });
        let (limits, never) = (ringway_api::ServeLimits::default(), std::future::pending());
        let task = tokio::spawn(ringway_api::serve(listener, router, limits, never));
        Self { endpoint, bodies, task }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> ExportTraceServiceRequest {
        timeout(LIMIT, self.bodies.recv()).await.expect("no request came").unwrap()
    }

    /// Attributes of the resource and spans of all requests that have come.
    pub(crate) fn spans(&mut self) -> Vec<(Vec<KeyValue>, Span)> {
        let mut spans = Vec::new();
        while let Ok(body) = self.bodies.try_recv() {
            for of in body.resource_spans {
                let resource = of.resource.unwrap().attributes;
                let all = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(all.map(|span| (resource.clone(), span)));
            }
        }
        spans
    }
}

async fn hear(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    heard.bodies.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
    let answer = heard.answers.lock().unwrap().pop_front();
    let partial = match answer {
        Some(Answer::Status(status)) => return (StatusCode::from_u16(status).unwrap(), Vec::new()),
        Some(Answer::Without(rejected_spans)) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() })
        }
        None => None,
    };
    (StatusCode::OK, ExportTraceServiceResponse { partial_success: partial }.encode_to_vec())
}

/// The value of an attribute, as text.
pub(crate) fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

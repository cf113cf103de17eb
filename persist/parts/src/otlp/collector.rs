//! One request to the collector, and what its answer says, as the OTLP specification has it.
//!
//! | Answer | Means |
//! |---|---|
//! | 2xx | taken, but for the spans that the body counts as rejected |
//! | 408, 429, 502, 503, 504; none in time | later, not before `Retry-After` if it is there |
//! | any other | refused for good: sent again it would be refused again |

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use prost::bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use ringway_service::failure::one_line;

use super::limits::{ANSWER, ANSWER_BYTES_MAX};

/// Where spans go.
pub(super) struct Collector {
    client: Client,
    url: Url,
    resource: Resource,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Taken; so many spans of it were not, and why.
    Taken(u64, String),
    /// To be sent again, after this time if the collector says so.
    Later(String, Option<Duration>),
    /// Not wanted.
    Refused(String),
}

impl Collector {
    /// For spans of this resource; nothing is sent yet.
    ///
    /// # Errors
    /// No client can be made.
    pub(super) fn new(url: Url, resource: Resource) -> anyhow::Result<Self> {
        let builder = Client::builder().timeout(ANSWER).redirect(Policy::none()).no_proxy();
        let client = builder.build().context("otlp.endpoint: no client can be made")?;
        Ok(Self { client, url, resource })
    }

    /// The body of a request with these spans.
    pub(super) fn encoded(&self, spans: Vec<Span>) -> Bytes {
        let scope = InstrumentationScope { name: "ringway".to_owned(), ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let of_resource =
            ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec().into()
    }

    /// Sends one. A dropped call may have been heard or not.
    pub(super) async fn send(&self, body: Bytes) -> Outcome {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Later(one_line(&error.into()), None),
        };
        let status = response.status();
        match status {
            _ if status.is_success() => taken(response).await,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                Outcome::Later(format!("answered {status}"), after.map(Duration::from_secs))
            }
            _ => Outcome::Refused(format!("answered {status}")),
        }
    }
}

/// What a good answer says of the spans. One that cannot be read says nothing: the status has said enough.
async fn taken(mut response: Response) -> Outcome {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Outcome::Taken(0, String::new());
        }
        body.extend_from_slice(&chunk);
    }
    let partial = ExportTraceServiceResponse::decode(body.as_slice()).unwrap_or_default().partial_success;
    let partial = partial.unwrap_or_default();
    Outcome::Taken(u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
}

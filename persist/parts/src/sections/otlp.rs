//! OpenTelemetry: where traces go.

use anyhow::{Context as _, ensure};
use reqwest::Url;
use ringway_hops::Sampler;
use ringway_service::keys;
use ringway_service::sections::LARGEST;

/// What OTLP/HTTP adds to an endpoint, for traces.
const TRACES: &str = "/v1/traces";

keys! {
    /// The section `otlp`.
    pub Otlp {
        endpoint: String = String::new(), "URL", None, restart,
            "The OTLP/HTTP endpoint of a collector that takes traces, like \"http://127.0.0.1:4318\"; `/v1/traces` is \
             added. Empty: nothing is exported.";
        sample_one_in: u64 = 1_000, "messages", Some((1, LARGEST)), restart,
            "One message in so many is traced, and one request to the API. All processes choose the same messages: let \
             them have the same value.";
    }
}

impl Otlp {
    /// Checks what the values of single keys cannot say.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        self.url().map(drop)
    }

    /// Where traces go; none where nothing is exported.
    ///
    /// # Errors
    /// An endpoint that is none.
    pub fn url(&self) -> anyhow::Result<Option<Url>> {
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let parsed = Url::parse(&self.endpoint).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let mut url = parsed.context("otlp.endpoint must begin with http:// or https:// and name a host")?;
        // The endpoint stands in configurations and in logs.
        let secret = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        ensure!(!secret, "otlp.endpoint may have neither a user nor a query");
        let path = format!("{}{TRACES}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_fragment(None);
        Ok(Some(url))
    }

    /// Which messages are traced.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler::one_in(self.sample_one_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(endpoint: &str) -> Otlp {
        Otlp { endpoint: endpoint.to_owned(), ..Otlp::default() }
    }

    #[test]
    fn the_path_of_traces_is_added_to_the_endpoint() {
        let check = |endpoint, expected: Option<&str>| {
            let url = keys(endpoint).url().unwrap();
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{endpoint}");
        };
        check("", None);
        check("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces"));
        check("https://otel.example/", Some("https://otel.example/v1/traces"));
        check("http://[::1]:4318/of/us/", Some("http://[::1]:4318/of/us/v1/traces"));
    }

    #[test]
    fn an_endpoint_that_is_none_or_has_a_secret_is_refused() {
        for endpoint in ["127.0.0.1:4318", "grpc://a:4317", "http://", "/v1/traces"] {
            let error = keys(endpoint).check().unwrap_err().to_string();
            assert!(error.contains("must begin with http://"), "{endpoint}: {error}");
        }
        for endpoint in ["http://me:pass@a", "http://me@a", "http://a/?key=1"] {
            assert!(keys(endpoint).check().unwrap_err().to_string().contains("neither a user"), "{endpoint}");
        }
    }
}

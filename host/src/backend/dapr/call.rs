//! One request to the sidecar, and what came back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;

use super::{BackendError, Sidecar, fault};

/// How long a call may take. The relay gives up on its own only after that, unless its lease is
/// shorter than by default.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// The most bytes of an answer: more than any value that Dapr keeps for the host.
const MOST: usize = 16 << 20;

/// What is written as it is in a path. Dapr decodes the rest twice where it is not encoded, takes
/// `+` for a space, and cleans paths.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What the sidecar answered.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Sidecar {
    /// A request to a path below the sidecar's address, each part percent-encoded.
    pub(super) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, BackendError> {
        let mut url = self.url.clone();
        for part in path {
            // Percent-encoded or not, they mean this folder and the one above to whoever reads URLs.
            if ["", ".", ".."].contains(part) {
                let text = format!("`{part}` cannot stand in a path of Dapr's API; rename it");
                return Err(BackendError::Refused(text));
            }
            url.push('/');
            url.extend(utf8_percent_encode(part, PLAIN));
        }
        if !query.is_empty() {
            url.push('?');
            url = form_urlencoded::Serializer::for_suffix(url.clone(), url.len())
                .extend_pairs(query)
                .finish();
        }
        Ok(self.http.request(method, url))
    }

    /// A POST of JSON.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, BackendError> {
        send(self.request(Method::POST, path, &[])?.json(body)).await
    }
}

/// Whatever the sidecar answers, as long as it does. What is too long is cut off: only a binding's
/// response can be, which is cut anyway.
pub async fn send(request: RequestBuilder) -> Result<Answer, BackendError> {
    let mut response = request.send().await.map_err(|error| unanswered(&error))?;
    let status = response.status();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(&error))? {
        if body.len() + chunk.len() > MOST {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: body.freeze() })
}

impl Answer {
    /// The answer if it is a success, else what its code means for `what` was asked.
    pub fn succeeded(self, what: &str) -> Result<Self, BackendError> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(fault::of(self.status, &self.body, what)),
        }
    }
}

fn unanswered(error: &reqwest::Error) -> BackendError {
    if error.is_builder() {
        return BackendError::Refused(format!("no request can be made of it: {}", chain(error)));
    }
    if error.is_connect() {
        return BackendError::Away(format!(
            "no sidecar answers; say where it is with DAPR_HTTP_ENDPOINT or DAPR_HTTP_PORT: {}",
            chain(error)
        ));
    }
    let why = match error.is_timeout() {
        true => format!("no answer within {DEADLINE:?}"),
        false => chain(error),
    };
    BackendError::Unavailable(format!("the sidecar does not answer: {why}"))
}

/// An error with its causes: reqwest's own text names only the address.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

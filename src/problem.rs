//! What goes wrong, and what of it the caller is told.

use std::borrow::Cow;

use osmynt_core::api;
use osmynt_core::{Code, Refusal};
use worker::{Headers, Response, ResponseBuilder};

/// Why a request was not fulfilled. What the caller reads and what the log says are different fields: an internal text
/// never leaves the service, and neither holds anything that a caller sent.
pub(crate) struct Problem {
    /// For the caller: a code, and a text that tells what to do.
    pub(crate) refusal: Refusal,
    /// For whoever runs the service.
    pub(crate) internal: Option<String>,
    /// After how many seconds the same request may succeed, if that is known.
    pub(crate) retry_after: Option<u32>,
}

impl Problem {
    /// The caller's fault, or the state of things.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal::new(code, detail).into()
    }

    /// The service's fault: `internal` goes to the log, the caller learns nothing but that.
    pub(crate) fn internal(internal: impl Into<String>) -> Self {
        let detail = "The service failed. Retry later; if it stays so, tell whoever runs the service.";
        Self { refusal: Refusal::new(Code::Internal, detail), internal: Some(internal.into()), retry_after: None }
    }

    /// Something that the service depends on failed; the same request may succeed later.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>, internal: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(Code::Unavailable, detail), internal: Some(internal.into()), retry_after: None }
    }

    /// Too many requests. `retry_after` is in seconds.
    pub(crate) fn rate_limited(retry_after: u32) -> Self {
        let refusal = Refusal::new(Code::RateLimited, "Too many requests. Wait a minute, then go on.");
        Self { refusal, internal: None, retry_after: Some(retry_after) }
    }

    /// It does not exist, or the caller has no access; the two look the same.
    pub(crate) fn not_found() -> Self {
        Self::new(Code::NotFound, "Not found, or you do not have access.")
    }

    /// The answer, as RFC 9457 has it.
    pub(crate) fn response(&self) -> worker::Result<Response> {
        let headers = Headers::new();
        headers.set("Content-Type", "application/problem+json")?;
        if self.refusal.code == Code::Unauthenticated {
            // RFC 9110 section 11.6.1 wants a challenge with every 401; RFC 9449 section 7.1 says what is in it.
            headers.set("WWW-Authenticate", r#"DPoP algs="ES256""#)?;
        }
        let body = serde_json::to_vec(&api::Problem::from(&self.refusal))?;
        Ok(ResponseBuilder::new().with_status(self.refusal.code.status()).with_headers(headers).fixed(body))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, internal: None, retry_after: None }
    }
}

impl From<worker::Error> for Problem {
    fn from(error: worker::Error) -> Self {
        Self::internal(describe(&error))
    }
}

impl From<worker::KvError> for Problem {
    fn from(_: worker::KvError) -> Self {
        Self::internal("KV failed")
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        // Not the error's text, which quotes the value: what comes from outside is refused before it gets here.
        Self::internal(format!("a stored value has an unexpected shape at column {}", error.column()))
    }
}

/// What the log may say of an error of the runtime. Messages of D1 name tables and columns; messages of other origin
/// (a conversion, say) may quote a value and are left out.
fn describe(error: &worker::Error) -> String {
    match error {
        worker::Error::D1(error) => format!("D1: {}", error.cause()),
        worker::Error::UnknownJsError { message, .. } if message.starts_with("D1_") => message.clone(),
        worker::Error::UnknownJsError { name, .. } => {
            format!("the runtime threw {}", name.as_deref().unwrap_or("a value"))
        }
        worker::Error::BindingError(name) => format!("the binding {name} is missing"),
        worker::Error::RustError(message) => message.clone(),
        _ => "the runtime failed".to_owned(),
    }
}

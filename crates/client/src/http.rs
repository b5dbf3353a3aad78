//! Talking to the service: JSON, problem documents, time-outs, limits and retries.
//!
//! Every request of the protocol but those that start and claim a sign-in is safe to send again: commits and user-log
//! entries succeed a second time, snippets are put under an id of the client's choice. So a lost answer costs a retry.

use std::{io::Read as _, time::Duration};

use osmynt_core::{Code, api, limits, snippet};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent,
    http::{HeaderMap, StatusCode, header},
};

use crate::{Error, Result, Server};

const USER_AGENT: &str = concat!("osmynt/", env!("CARGO_PKG_VERSION"));

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// 10 MiB over a slow line.
const BODY: Duration = Duration::from_mins(3);

/// Waits before the second, third and fourth attempt.
const BACKOFF: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// A service that wants a longer pause than this is reported instead of waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A page of a log or of a directory: at most 100 statements with what surrounds them, or 100 whole user logs.
const JSON_ANSWER_BYTES: u64 = 32 * 1024 * 1024;
const PROBLEM_BYTES: u64 = 64 * 1024;

/// A connection to one service.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    server: Server,
}

/// A request, without who sends it.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    body: Option<(&'static str, Vec<u8>)>,
    invite_proof: Option<String>,
    repeatable: bool,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Request {
    /// Reads `path`, which begins with a slash.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path.into())
    }

    /// Deletes.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::Delete, path.into())
    }

    /// Posts JSON to a route that may be sent the same twice.
    pub fn post(path: impl Into<String>, body: &impl Serialize) -> Result<Self> {
        Self::new(Method::Post, path.into()).with_json(body)
    }

    /// Posts JSON to a route that may not.
    pub fn post_once(path: impl Into<String>, body: &impl Serialize) -> Result<Self> {
        let mut request = Self::post(path, body)?;
        request.repeatable = false;
        Ok(request)
    }

    /// Puts JSON.
    pub fn put(path: impl Into<String>, body: &impl Serialize) -> Result<Self> {
        Self::new(Method::Put, path.into()).with_json(body)
    }

    /// Puts a snippet's bytes.
    pub fn put_snippet(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        let mut request = Self::new(Method::Put, path.into());
        request.body = Some((snippet::MEDIA_TYPE, bytes));
        request
    }

    /// Shows that the caller holds an invitation: a compact `osmynt-invite+jws`.
    #[must_use]
    pub fn with_invite_proof(mut self, proof: String) -> Self {
        self.invite_proof = Some(proof);
        self
    }

    fn new(method: Method, path: String) -> Self {
        Self { method, path, body: None, invite_proof: None, repeatable: true }
    }

    fn with_json(mut self, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Error::Internal { why: format!("a request cannot be written as JSON: {error}") })?;
        self.body = Some(("application/json", bytes));
        Ok(self)
    }
}

impl Http {
    /// Prepares to talk to `server`. Nothing is sent.
    pub fn new(server: Server) -> Self {
        let mut config = Agent::config_builder()
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            // The API redirects nobody; following would hand the token to whoever is named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .https_only(!server.is_plain())
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_send_body(Some(BODY))
            .timeout_recv_body(Some(BODY));
        if server.is_plain() {
            // This very machine is not behind a proxy.
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), server }
    }

    /// Sends, and reads a JSON answer.
    pub fn json<T: DeserializeOwned>(&self, request: &Request, token: Option<&str>) -> Result<T> {
        let bytes = self.exchange(request, token, JSON_ANSWER_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Internal {
            why: format!("the service's answer to {} makes no sense: {error}", request.path),
        })
    }

    /// Sends, and expects no content.
    pub fn empty(&self, request: &Request, token: Option<&str>) -> Result<()> {
        self.exchange(request, token, PROBLEM_BYTES).map(drop)
    }

    /// Sends, and reads a snippet's bytes.
    pub fn snippet(&self, request: &Request, token: Option<&str>) -> Result<Vec<u8>> {
        self.exchange(request, token, limits::SNIPPET_BYTES)
    }

    /// Sends until there is an answer worth having.
    fn exchange(&self, request: &Request, token: Option<&str>, limit: u64) -> Result<Vec<u8>> {
        let mut pauses = BACKOFF.into_iter();
        loop {
            let (error, pause) = match self.attempt(request, token, limit) {
                Ok(bytes) => return Ok(bytes),
                Err(Failure { error, retry: None }) => return Err(error),
                Err(Failure { error, retry: Some(wanted) }) => (error, wanted),
            };
            match pauses.next() {
                Some(backoff) if request.repeatable && pause <= LONGEST_WAIT => {
                    std::thread::sleep(backoff.max(pause));
                }
                _ => return Err(error),
            }
        }
    }

    fn attempt(&self, request: &Request, token: Option<&str>, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut built = ureq::http::Request::builder()
            .method(match request.method {
                Method::Get => "GET",
                Method::Post => "POST",
                Method::Put => "PUT",
                Method::Delete => "DELETE",
            })
            .uri(format!("{}{}", self.server.as_str(), request.path));
        if let Some(token) = token {
            built = built.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(proof) = &request.invite_proof {
            built = built.header("Osmynt-Invite", proof);
        }
        let malformed = |error: ureq::http::Error| {
            Failure::lasting(Error::Internal {
                why: format!("the request to {} cannot be made: {error}", request.path),
            })
        };
        let sent = match &request.body {
            Some((media_type, bytes)) => self
                .agent
                .run(built.header(header::CONTENT_TYPE, *media_type).body(bytes.as_slice()).map_err(malformed)?),
            None => self.agent.run(built.body(()).map_err(malformed)?),
        };
        let mut answer = sent.map_err(|error| transport(&error))?;
        if answer.status().is_success() {
            return read(answer.body_mut(), limit);
        }
        let status = answer.status();
        let pause = retry_after(answer.headers());
        let body = read(answer.body_mut(), PROBLEM_BYTES).unwrap_or_default();
        Err(refused(status, pause, &body))
    }
}

/// A failed attempt, and whether (after which pause at least) another one may help.
struct Failure {
    error: Error,
    retry: Option<Duration>,
}

impl Failure {
    fn lasting(error: Error) -> Self {
        Self { error, retry: None }
    }

    fn passing(error: Error, pause: Duration) -> Self {
        Self { error, retry: Some(pause) }
    }
}

fn transport(error: &ureq::Error) -> Failure {
    let why = match error {
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "nobody answers".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let unavailable = Error::Unavailable { why };
    match error {
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
            Failure::passing(unavailable, Duration::ZERO)
        }
        _ => Failure::lasting(unavailable),
    }
}

fn read(body: &mut ureq::Body, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there was more.
    let read = body.as_reader().take(limit.saturating_add(1)).read_to_end(&mut bytes);
    if let Err(error) = read {
        let why = format!("its answer broke off: {error}");
        return Err(Failure::passing(Error::Unavailable { why }, Duration::ZERO));
    }
    if bytes.len() as u64 > limit {
        return Err(Failure::lasting(Error::Internal {
            why: "the service's answer is larger than the protocol allows".to_owned(),
        }));
    }
    Ok(bytes)
}

/// What a status other than success means: the problem document if there is one, else the status alone.
fn refused(status: StatusCode, pause: Duration, body: &[u8]) -> Failure {
    let problem: Option<api::Problem> = serde_json::from_slice(body).ok();
    let known = problem.and_then(|problem| Some((Code::from_name(&problem.code)?, problem.detail)));
    let Some((code, detail)) = known else {
        let why = format!("it answered {status} without saying why");
        return if status.is_server_error() {
            Failure::passing(Error::Unavailable { why }, pause)
        } else {
            Failure::lasting(Error::Internal {
                why: format!("this is no Osmynt service, or something stands before it: {why}"),
            })
        };
    };
    let error = Error::Refused { code, detail };
    match code {
        Code::Unavailable | Code::RateLimited => Failure::passing(error, pause),
        _ => Failure::lasting(error),
    }
}

/// RFC 9110 section 10.2.3, the form in seconds.
fn retry_after(headers: &HeaderMap) -> Duration {
    headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_secs)
}

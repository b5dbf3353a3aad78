//! Talking to the service: proofs of possession, JSON, problem documents, time-outs, limits and retries.
//!
//! Every request of the protocol but those that start and claim a sign-in is safe to send again: commits and user-log
//! entries succeed a second time, snippets are put under an id of the client's choice. So a lost answer costs a retry.
//! What the service refuses for its rate it has not done, so that may always be sent again.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, Write as _},
    time::Duration,
};

use osmynt_core::{Code, Hash, api, b64u, dpop, limits, snippet, text};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use ureq::{
    Agent,
    http::{HeaderMap, StatusCode, header},
};

use crate::keys::Signer;
use crate::{Error, Result, Server, system};

const USER_AGENT: &str = concat!("osmynt/", env!("CARGO_PKG_VERSION"));

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// 10 MiB over a slow line.
const BODY: Duration = Duration::from_mins(3);

/// Waits before the second, third and fourth attempt.
const BACKOFF: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// A service that wants a longer pause than this is reported instead of waited for. The service counts by the minute.
const LONGEST_WAIT: Duration = Duration::from_secs(75);
/// A pause from this on is told the person.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// A page of a log or of a directory: at most 100 statements with what surrounds them, or 100 whole user logs.
const JSON_ANSWER_BYTES: u64 = 32 * 1024 * 1024;
const PROBLEM_BYTES: u64 = 64 * 1024;
/// A download takes as long as it takes, as long as something comes.
const DOWNLOAD: Duration = Duration::from_hours(6);
const SILENCE: Duration = Duration::from_mins(1);

/// A connection to one service.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    server: Server,
    on_wait: OnWait,
}

/// Is told of each wait that the service asks for, before it begins.
pub type OnWait = fn(Duration);

/// In whose name a request is sent: a device, which proves of every request that it made it, and the access token that
/// it was given, but where it asks for one.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Signs the proofs.
    pub device: &'a Signer,
    /// For `Authorization`.
    pub token: Option<&'a str>,
}

/// A request, without who sends it.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    body: Option<(&'static str, Vec<u8>)>,
    invite_proof: Option<String>,
    repeatable: bool,
    slow: bool,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
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
        Self { method, path, body: None, invite_proof: None, repeatable: true, slow: false }
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
    pub fn new(server: Server, on_wait: OnWait) -> Self {
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
        Self { agent: config.build().new_agent(), server, on_wait }
    }

    /// Sends, and reads a JSON answer.
    pub fn json<T: DeserializeOwned>(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<T> {
        let bytes = self.exchange(request, caller, |body| read(body, JSON_ANSWER_BYTES))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Internal {
            why: format!("the service's answer to {} makes no sense: {}", request.path, said(&error.to_string())),
        })
    }

    /// Sends, and expects no content.
    pub fn empty(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<()> {
        self.exchange(request, caller, |body| read(body, PROBLEM_BYTES)).map(drop)
    }

    /// Sends, and reads a snippet's bytes.
    pub fn snippet(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<Vec<u8>> {
        self.exchange(request, caller, |body| read(body, limits::SNIPPET_BYTES))
    }

    /// Sends, and writes a JSON answer to a file that is for nothing else. After a failure the file holds anything.
    pub fn download(&self, request: &Request, caller: Option<Caller<'_>>, mut file: &File, limit: u64) -> Result<()> {
        let unwritten = |error: std::io::Error| {
            Failure::lasting(Error::Internal { why: format!("what was received cannot be written: {error}") })
        };
        let request = Request { slow: true, ..request.clone() };
        self.exchange(&request, caller, |body| {
            // An earlier attempt may have come half way.
            file.set_len(0).and_then(|()| file.rewind()).map_err(unwritten)?;
            let mut reader = body.as_reader().take(limit.saturating_add(1));
            let mut chunk = vec![0; 64 * 1024];
            let mut written: u64 = 0;
            loop {
                let part = match reader.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => chunk.get(..length).unwrap_or_default(),
                    Err(error) => return Err(broken_off(&error)),
                };
                written = written.saturating_add(part.len() as u64);
                if written > limit {
                    return Err(too_long());
                }
                file.write_all(part).map_err(unwritten)?;
            }
            file.rewind().map_err(unwritten)?;
            whole_json(file)
        })
    }

    /// Sends until there is an answer worth having.
    fn exchange<T>(
        &self,
        request: &Request,
        caller: Option<Caller<'_>>,
        mut receive: impl FnMut(&mut ureq::Body) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut pauses = BACKOFF.into_iter();
        loop {
            let Failure { error, retry } = match self.attempt(request, caller, &mut receive) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let (Some(wanted), Some(backoff)) = (retry, pauses.next()) else { return Err(error) };
            let repeatable = request.repeatable || matches!(error, Error::RateLimited { .. });
            if !repeatable || wanted > LONGEST_WAIT {
                return Err(error);
            }
            if wanted >= NOTICEABLE {
                (self.on_wait)(wanted);
            }
            std::thread::sleep(backoff.max(wanted));
        }
    }

    fn attempt<T>(
        &self,
        request: &Request,
        caller: Option<Caller<'_>>,
        receive: &mut impl FnMut(&mut ureq::Body) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut built = ureq::http::Request::builder().method(request.method.as_str()).uri(format!(
            "{}{}",
            self.server.as_str(),
            request.path
        ));
        if let Some(caller) = caller {
            built = built.header("DPoP", self.proof(request, caller).map_err(Failure::lasting)?);
            if let Some(token) = caller.token {
                built = built.header(header::AUTHORIZATION, format!("DPoP {token}"));
            }
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
            Some((media_type, bytes)) => {
                let built = built.header(header::CONTENT_TYPE, *media_type);
                self.agent.run(built.body(bytes.as_slice()).map_err(malformed)?)
            }
            None if request.slow => {
                let built = self.agent.configure_request(built.body(()).map_err(malformed)?);
                let patient = built.timeout_recv_body(Some(DOWNLOAD)).timeout_per_read(Some(SILENCE));
                self.agent.run(patient.build())
            }
            None => self.agent.run(built.body(()).map_err(malformed)?),
        };
        let mut answer = sent.map_err(|error| transport(&error))?;
        if answer.status().is_success() {
            return receive(answer.body_mut());
        }
        let status = answer.status();
        let pause = retry_after(answer.headers());
        let body = read(answer.body_mut(), PROBLEM_BYTES).unwrap_or_default();
        Err(refused(status, pause, &body))
    }

    /// The proof for one attempt (`docs/protocol.md` section 8): each is taken once.
    fn proof(&self, request: &Request, caller: Caller<'_>) -> Result<String> {
        let path = request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path);
        caller.device.prove(&dpop::Proof {
            jti: b64u::encode(&system::random::<16>()?),
            htm: request.method.as_str().to_owned(),
            htu: format!("{}{path}", self.server.as_str()),
            iat: system::now(),
            ath: caller.token.map(|token| Hash::of(token.as_bytes())),
        })
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
    read.map_err(|error| broken_off(&error))?;
    if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
}

/// What a Worker begins and cannot go on with looks to HTTP like an answer that has come to its end.
fn whole_json(file: &File) -> Result<(), Failure> {
    serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file)).map(drop).map_err(|error| {
        if error.is_eof() {
            return broken_off(&error.into());
        }
        let why = format!("the service's answer makes no sense: {}", said(&error.to_string()));
        Failure::lasting(Error::Internal { why })
    })
}

fn broken_off(error: &std::io::Error) -> Failure {
    let why = format!("its answer broke off: {error}");
    Failure::passing(Error::Unavailable { why }, Duration::ZERO)
}

fn too_long() -> Failure {
    let why = "the service's answer is larger than the protocol allows".to_owned();
    Failure::lasting(Error::Internal { why })
}

/// What a status other than success means: the problem document if there is one, else the status alone.
fn refused(status: StatusCode, pause: Option<Duration>, body: &[u8]) -> Failure {
    let at_once = pause.unwrap_or_default();
    let problem: Option<api::Problem> = serde_json::from_slice(body).ok();
    let known = problem.and_then(|problem| Some((Code::from_name(&problem.code)?, problem.detail)));
    if matches!(known, Some((Code::RateLimited, _))) || known.is_none() && status == StatusCode::TOO_MANY_REQUESTS {
        return Failure::passing(Error::RateLimited { wait: pause }, pause.unwrap_or(NOTICEABLE));
    }
    let Some((code, detail)) = known else {
        let why = format!("it answered {status} without saying why");
        return if status.is_server_error() {
            Failure::passing(Error::Unavailable { why }, at_once)
        } else {
            Failure::lasting(Error::Internal {
                why: format!("this is no Osmynt service, or something stands before it: {why}"),
            })
        };
    };
    let error = Error::Refused { code, detail: format!("the service says {}", said(&detail)) };
    match code {
        Code::Unavailable => Failure::passing(error, at_once),
        _ => Failure::lasting(error),
    }
}

/// What the service said, or what repeats it, inside a sentence of ours.
fn said(words: &str) -> String {
    text::quoted(words, text::EXCERPT_CHARS)
}

/// RFC 9110 section 10.2.3, the form in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs)
}

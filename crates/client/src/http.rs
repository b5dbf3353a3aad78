//! Talking to the service: proofs of possession, JSON, problem documents, deadlines, limits and retries.
//!
//! Every request has a deadline for all of its attempts, however slowly the service reads or answers: two minutes, less
//! than 13 minutes with a snippet of 10 MiB, six hours for the export of an account ([`Patience`]).
//!
//! Every request of the protocol but those that start and claim a sign-in is safe to send again: commits and user-log
//! entries succeed a second time, snippets are put under an id of the client's choice. So a lost answer costs a retry.
//! What the service refuses for its rate it has not done, so that may always be sent again.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, Write as _},
    num::NonZeroU64,
    time::Duration,
};

use osmynt_core::{Code, Hash, Time, api, b64u, dpop, limits, snippet, text};
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

/// The longest time for the lookup of the service's name, and for connecting to it, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// See [`Patience::grace`].
const GRACE: Duration = Duration::from_secs(30);
/// See [`Patience::answer`].
const ANSWER: Duration = Duration::from_mins(1);
/// See [`Patience::request`]. Long enough for a wait of [`LONGEST_WAIT`] and another attempt.
const REQUEST: Duration = Duration::from_mins(2);
/// See [`Patience::speed`]. What a slow mobile connection reaches.
const SPEED: u64 = 16 * 1024;
/// See [`Patience::export`].
const EXPORT: Duration = Duration::from_hours(6);
/// See [`Patience::export_speed`]. The service collects an export while it sends it: a few small reads from each team.
const EXPORT_SPEED: u64 = 256;

/// Waits before the second, third and fourth attempt.
const BACKOFF: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// A service that wants a longer pause than this is reported instead of waited for. The service counts by the minute.
const LONGEST_WAIT: Duration = Duration::from_secs(75);
/// A pause from this on is told the person.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// A page of a log or of a directory, or a whole user log: the service gives out at most 1 MiB.
const JSON_ANSWER_BYTES: u64 = 2 * 1024 * 1024;
const PROBLEM_BYTES: u64 = 64 * 1024;
/// Bodies are sent and received in pieces of this many bytes at most. Deadlines are checked at each piece.
const PIECE: usize = 16 * 1024;

/// A connection to one service.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    server: Server,
    on_wait: OnWait,
    patience: Patience,
}

/// How long to wait for the service.
///
/// Each attempt and each request has a deadline. Large bodies (of snippets and of requests) extend it by the time that
/// they take at the least speed. A body that is slower than that is given up before the deadline.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The longest silence: before the head of an answer is complete, and between two pieces of a body.
    pub grace: Duration,
    /// The deadline of one attempt, from its start to the last byte of a JSON answer.
    pub answer: Duration,
    /// The deadline of a request: all attempts and the pauses between them.
    pub request: Duration,
    /// The least average speed of a body, in bytes per second. The first `grace` of a body is not counted.
    pub speed: NonZeroU64,
    /// The deadline of an account's export, for all attempts.
    pub export: Duration,
    /// The least speed of an account's export, measured like `speed`.
    pub export_speed: NonZeroU64,
}

/// What [`Patience`] means for one request.
#[derive(Debug, Clone, Copy)]
struct Terms {
    attempt: Duration,
    request: Duration,
    speed: NonZeroU64,
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
        Self { method, path, body: None, invite_proof: None, repeatable: true }
    }

    fn body_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64)
    }

    fn with_json(mut self, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Error::Internal { why: format!("a request cannot be written as JSON: {error}") })?;
        self.body = Some(("application/json", bytes));
        Ok(self)
    }
}

impl Default for Patience {
    fn default() -> Self {
        let per_second = |bytes| NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN);
        Self {
            grace: GRACE,
            answer: ANSWER,
            request: REQUEST,
            speed: per_second(SPEED),
            export: EXPORT,
            export_speed: per_second(EXPORT_SPEED),
        }
    }
}

impl Patience {
    /// The deadline of a request whose body and snippet have this many bytes together.
    pub fn longest(&self, bytes: u64) -> Duration {
        self.request.saturating_add(self.transfer(bytes))
    }

    /// The time that this many bytes take at the least speed.
    fn transfer(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes / self.speed)
    }

    fn terms(&self, request: &Request, answer_bytes: u64) -> Terms {
        let bytes = request.body_bytes().saturating_add(answer_bytes);
        let attempt = self.answer.saturating_add(self.transfer(bytes));
        Terms { attempt, request: self.longest(bytes), speed: self.speed }
    }

    fn terms_of_export(&self) -> Terms {
        Terms { attempt: self.export, request: self.export, speed: self.export_speed }
    }
}

impl Http {
    /// Prepares to talk to `server`. Nothing is sent.
    pub fn new(server: Server, on_wait: OnWait) -> Self {
        // A timeout of ureq is a budget for the whole of its phase; the global one covers an attempt up to the last byte
        // of its answer. Each read and write gets what is left of it. Only the timeouts per read and per write start
        // anew each time: they limit silence.
        let mut config = Agent::config_builder()
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            // The API redirects nobody; following would hand the token to whoever is named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .https_only(!server.is_plain())
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            // The system may take one write in several parts, and each part then has all of the time that was left.
            // Small pieces keep that from adding up.
            .output_buffer_size(PIECE);
        if server.is_plain() {
            // This very machine is not behind a proxy.
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), server, on_wait, patience: Patience::default() }
    }

    /// Replaces the deadlines and the least speeds.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sends, and reads a JSON answer.
    pub fn json<T: DeserializeOwned>(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<T> {
        let terms = self.patience.terms(request, 0);
        let bytes = self.exchange(request, caller, terms, |answer| answer.read(JSON_ANSWER_BYTES))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Internal {
            why: format!("the service's answer to {} makes no sense: {}", request.path, said(&error.to_string())),
        })
    }

    /// Sends, and expects no content.
    pub fn empty(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<()> {
        let terms = self.patience.terms(request, 0);
        self.exchange(request, caller, terms, |answer| answer.read(PROBLEM_BYTES)).map(drop)
    }

    /// Sends, and reads a snippet's bytes.
    pub fn snippet(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<Vec<u8>> {
        let terms = self.patience.terms(request, limits::SNIPPET_BYTES);
        self.exchange(request, caller, terms, |answer| answer.read(limits::SNIPPET_BYTES))
    }

    /// Sends, and reads a snippet's bytes, and when the service says to have received it.
    pub fn snippet_with_time(&self, request: &Request, caller: Option<Caller<'_>>) -> Result<(Vec<u8>, Time)> {
        let terms = self.patience.terms(request, limits::SNIPPET_BYTES);
        self.exchange(request, caller, terms, |answer| {
            let stated = answer.headers.get("Osmynt-Received-At").and_then(|value| value.to_str().ok()?.parse().ok());
            let unstated = || {
                let why = "the service does not say when it received the snippet".to_owned();
                Failure::lasting(Error::Internal { why })
            };
            let received_at = stated.map(Time).ok_or_else(unstated)?;
            Ok((answer.read(limits::SNIPPET_BYTES)?, received_at))
        })
    }

    /// Sends, and writes a JSON answer, the account's export, to a file that is for nothing else. After a failure the file
    /// holds anything.
    pub fn download(&self, request: &Request, caller: Option<Caller<'_>>, mut file: &File, limit: u64) -> Result<()> {
        let unwritten = |error: std::io::Error| {
            Failure::lasting(Error::Internal { why: format!("what was received cannot be written: {error}") })
        };
        self.exchange(request, caller, self.patience.terms_of_export(), |answer| {
            // An earlier attempt may have come half way.
            file.set_len(0).and_then(|()| file.rewind()).map_err(unwritten)?;
            answer.receive(limit, |piece| file.write_all(piece).map_err(unwritten))?;
            file.rewind().map_err(unwritten)?;
            whole_json(file)
        })
    }

    /// Sends until there is an answer that another attempt cannot improve, or no time left for another attempt.
    fn exchange<T>(
        &self,
        request: &Request,
        caller: Option<Caller<'_>>,
        terms: Terms,
        mut receive: impl FnMut(&mut Answer<'_>) -> Result<T, Failure>,
    ) -> Result<T> {
        let begun = system::instant();
        let mut pauses = BACKOFF.into_iter();
        loop {
            let left = terms.request.saturating_sub(begun.elapsed());
            let terms = Terms { attempt: terms.attempt.min(left), ..terms };
            let Failure { error, retry } = match self.attempt(request, caller, terms, &mut receive) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let (Some(wanted), Some(backoff)) = (retry, pauses.next()) else { return Err(error) };
            let repeatable = request.repeatable || matches!(error, Error::RateLimited { .. });
            let pause = backoff.max(wanted);
            let left = terms.request.saturating_sub(begun.elapsed());
            if !repeatable || wanted > LONGEST_WAIT || pause >= left {
                return Err(error);
            }
            if wanted >= NOTICEABLE {
                (self.on_wait)(wanted);
            }
            std::thread::sleep(pause);
        }
    }

    fn attempt<T>(
        &self,
        request: &Request,
        caller: Option<Caller<'_>>,
        terms: Terms,
        receive: &mut impl FnMut(&mut Answer<'_>) -> Result<T, Failure>,
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
                self.run(built.body(bytes.as_slice()).map_err(malformed)?, request, terms)
            }
            None => self.run(built.body(()).map_err(malformed)?, request, terms),
        };
        let answer = sent.map_err(|error| transport(&error))?;
        let (parts, mut body) = answer.into_parts();
        let (status, pause) = (parts.status, retry_after(&parts.headers));
        let mut body =
            Answer { headers: &parts.headers, body: &mut body, grace: self.patience.grace, speed: terms.speed };
        if status.is_success() {
            return receive(&mut body);
        }
        Err(refused(status, pause, &body.read(PROBLEM_BYTES).unwrap_or_default()))
    }

    /// Sends once and reads the head of the answer. The same deadline holds for the body, which is read later.
    fn run<S: ureq::AsSendBody>(
        &self,
        built: ureq::http::Request<S>,
        request: &Request,
        terms: Terms,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let grace = self.patience.grace;
        let sending = grace.saturating_add(self.patience.transfer(request.body_bytes()));
        let config = self.agent.configure_request(built);
        let config = config.timeout_global(Some(terms.attempt)).timeout_per_read(Some(grace));
        let config = config.timeout_per_write(Some(grace)).timeout_send_body(Some(sending));
        self.agent.run(config.timeout_recv_response(Some(grace)).build())
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
        ureq::Error::Timeout(_) => return too_slow(),
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "nobody answers".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let unavailable = Error::Unavailable { why };
    match error {
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => Failure::passing(unavailable, Duration::ZERO),
        _ => Failure::lasting(unavailable),
    }
}

/// An answer, whose body is still to be read.
struct Answer<'a> {
    headers: &'a HeaderMap,
    body: &'a mut ureq::Body,
    grace: Duration,
    speed: NonZeroU64,
}

impl Answer<'_> {
    /// Reads all of it, at most `limit` bytes.
    fn read(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.receive(limit, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Passes it to `take` piece by piece, at most `limit` bytes. Fails when it is slower than the least speed.
    fn receive(&mut self, limit: u64, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let begun = system::instant();
        let mut reader = self.body.as_reader();
        let mut buffer = [0; PIECE];
        let mut received: u64 = 0;
        loop {
            let piece = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) => return Err(broken_off(error)),
            };
            received = received.saturating_add(piece.len() as u64);
            if received > limit {
                return Err(too_long());
            }
            take(piece)?;
            if received < due(begun.elapsed(), self.grace, self.speed) {
                return Err(too_slow());
            }
        }
    }
}

/// How many bytes of a body must have arrived when it has taken `elapsed` so far.
fn due(elapsed: Duration, grace: Duration, speed: NonZeroU64) -> u64 {
    let milliseconds = u64::try_from(elapsed.saturating_sub(grace).as_millis()).unwrap_or(u64::MAX);
    milliseconds.saturating_mul(speed.get()) / 1000
}

/// What a Worker begins and cannot go on with looks to HTTP like an answer that has come to its end.
fn whole_json(file: &File) -> Result<(), Failure> {
    serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file)).map(drop).map_err(|error| {
        if error.is_eof() {
            return broken_off(error.into());
        }
        let why = format!("the service's answer makes no sense: {}", said(&error.to_string()));
        Failure::lasting(Error::Internal { why })
    })
}

fn broken_off(error: std::io::Error) -> Failure {
    let why = match ureq::Error::from(error) {
        ureq::Error::Timeout(_) => return too_slow(),
        ureq::Error::Io(error) => format!("its answer broke off: {error}"),
        other => format!("its answer broke off: {other}"),
    };
    Failure::passing(Error::Unavailable { why }, Duration::ZERO)
}

fn too_slow() -> Failure {
    let why = "it takes too long to answer".to_owned();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_at_most_two_minutes_and_one_with_a_snippet_less_than_thirteen() {
        let patience = Patience::default();
        assert_eq!(patience.longest(0), Duration::from_mins(2));
        assert!(patience.longest(limits::SNIPPET_BYTES) < Duration::from_mins(13));
        let request = Request::put_snippet("/", vec![0; 32 * 1024]);
        let terms = patience.terms(&request, 0);
        assert_eq!((terms.attempt, terms.request), (Duration::from_secs(62), Duration::from_secs(122)));
    }

    #[test]
    fn a_body_must_reach_the_least_speed_after_the_grace() {
        let after = |seconds| due(Duration::from_secs(seconds), GRACE, NonZeroU64::new(SPEED).unwrap());
        assert_eq!([0, 30, 31, 40].map(after), [0, 0, SPEED, 10 * SPEED]);
    }
}

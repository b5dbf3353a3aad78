//! What the client does about a service that is slow, busy, gone or not what it seems.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use osmynt_client::http::{Caller, Http, Patience, Request};
use osmynt_client::keys::{RustCrypto, Signer, checked};
use osmynt_client::{Class, Error};
use osmynt_core::api::MyTeams;
use osmynt_core::dpop::{Proof, UnverifiedProof};
use osmynt_core::{Code, Hash, b64u};

use support::service::{Received, Service};

fn serve(answers: &[&'static str]) -> (Http, Service) {
    let service = Service::answering(answers);
    (connect(&service), service)
}

fn connect(service: &Service) -> Http {
    Http::new(service.origin.parse().unwrap(), |_| {})
}

fn signer() -> Signer {
    Signer::from_scalar(&[7; 32]).unwrap()
}

/// What the proof of a request says, once its signature was checked.
fn proof(request: &Received) -> Proof {
    let proof = UnverifiedProof::parse(request.header("dpop").unwrap()).unwrap();
    let (proof, device) = checked(proof.verify(&RustCrypto)).unwrap();
    assert_eq!(device.0, signer().kid());
    proof
}

const TEAMS: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"teams\":[]}";
/// Ends with the connection, hence without a length.
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n\
    {\"type\":\"urn:osmynt:problem:forbidden\",\"title\":\"Not allowed\",\"status\":403,\
    \"code\":\"forbidden\",\"detail\":\"only an owner\\nRun \\\"curl x | sh\\\"\u{ad}\"}";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const LIMITED: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"type\":\"urn:osmynt:problem:rate-limited\",\"title\":\"Too many requests\",\"status\":429,\
    \"code\":\"rate-limited\",\"detail\":\"too many\"}";
const LIMITED_FOR_A_MINUTE: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const LIMITED_LONG: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 600\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const SKEW: &str = "HTTP/1.1 422 Unprocessable Content\r\nConnection: close\r\n\r\n\
    {\"type\":\"urn:osmynt:problem:clock-skew\",\"title\":\"The clocks differ\",\"status\":422,\
    \"code\":\"clock-skew\",\"detail\":\"sign one for each request\"}";
const CUT: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"tea";
/// What a Worker begins and cannot go on with: to HTTP it is whole.
const CUT_CLEANLY: &str =
    "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"tea\r\n0\r\n\r\n";

#[test]
fn every_attempt_carries_the_token_and_a_proof_of_its_own() {
    let (http, service) = serve(&[BUSY, TEAMS]);
    let signer = signer();
    let request = Request::get("/v1/teams?from=3").with_invite_proof("a.b.c".to_owned());
    let answer: MyTeams = http.json(&request, Some(Caller { device: &signer, token: Some("token") })).unwrap();
    assert!(answer.teams.is_empty());
    let requests = service.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/teams?from=3"));
        assert_eq!(request.header("authorization"), Some("DPoP token"));
        assert_eq!(request.header("osmynt-invite"), Some("a.b.c"));
        let proof = proof(request);
        assert_eq!((proof.htm.as_str(), proof.htu), ("GET", format!("{}/v1/teams", service.origin)));
        assert_eq!(proof.ath, Some(Hash::of(b"token")));
        assert_eq!(b64u::decode(&proof.jti).unwrap().len(), 16);
    }
    assert_ne!(proof(&requests[0]).jti, proof(&requests[1]).jti);
}

#[test]
fn a_request_for_tokens_carries_a_proof_without_one() {
    let (http, service) = serve(&[TEAMS]);
    let request = Request::post("/v1/tokens", &"body").unwrap();
    let _: MyTeams = http.json(&request, Some(Caller { device: &signer(), token: None })).unwrap();
    let request = &service.requests()[0];
    assert_eq!(request.header("authorization"), None);
    let proof = proof(request);
    assert_eq!((proof.htm.as_str(), proof.ath), ("POST", None));
}

#[test]
fn a_service_that_asks_to_wait_is_waited_for_and_the_person_is_told() {
    static WAITED: AtomicU64 = AtomicU64::new(0);
    let service = Service::answering(&[LIMITED, TEAMS]);
    let http = Http::new(service.origin.parse().unwrap(), |wait| {
        let _ = WAITED.fetch_add(wait.as_secs(), Ordering::SeqCst);
    });
    // It was not done, so it may be sent again whatever it is.
    let request = Request::post_once("/v1/handshakes", &"body").unwrap();
    assert!(http.json::<MyTeams>(&request, None).is_ok());
    assert_eq!((service.requests().len(), WAITED.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn a_service_that_asks_to_wait_for_long_is_not_waited_for() {
    let (http, service) = serve(&[LIMITED_LONG, TEAMS]);
    let limited = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    assert!(matches!(limited, Error::RateLimited { wait: Some(wait) } if wait == Duration::from_mins(10)));
    assert_eq!(limited.class(), Class::Unavailable);
    assert_eq!(limited.advice().unwrap(), "Try again in 10 minutes.");
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn a_wrong_clock_is_what_the_person_is_told_of() {
    let (http, _service) = serve(&[SKEW]);
    let refused = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    assert!(refused.to_string().contains("clocks"), "{refused}");
    assert_eq!(refused.advice().unwrap(), "Set this machine's clock, and try again.");
}

/// A file for a download, gone after the test.
fn scratch(name: &str) -> (std::path::PathBuf, File) {
    let path = std::env::temp_dir().join(format!("osmynt-download-{name}-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    (path, file)
}

#[test]
fn a_download_that_breaks_off_is_begun_anew() {
    let (http, service) = serve(&[CUT, CUT_CLEANLY, TEAMS]);
    let (path, file) = scratch("cut");
    http.download(&Request::get("/v1/me/export"), None, &file, 12).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"teams":[]}"#);
    assert_eq!(service.requests().len(), 3);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_download_of_more_than_is_allowed_is_cut_off() {
    let (http, _service) = serve(&[TEAMS]);
    let (path, file) = scratch("long");
    let failed = http.download(&Request::get("/v1/me/export"), None, &file, 11).unwrap_err();
    assert!(failed.to_string().contains("larger"), "{failed}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_busy_service_and_a_broken_connection_are_tried_again() {
    let (http, service) = serve(&[BUSY, CUT, TEAMS]);
    assert!(http.json::<MyTeams>(&Request::get("/v1/teams"), None).is_ok());
    assert_eq!(service.requests().len(), 3);
}

#[test]
fn what_must_not_be_sent_twice_is_sent_once() {
    let (http, service) = serve(&[BUSY]);
    let request = Request::post_once("/v1/handshakes", &"body").unwrap();
    let failed = http.json::<MyTeams>(&request, None).unwrap_err();
    assert_eq!(failed.class(), Class::Unavailable);
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn a_body_is_sent_with_its_length_and_type() {
    let (http, service) = serve(&[TEAMS]);
    let _: MyTeams = http.json(&Request::post("/v1/teams", &["x"]).unwrap(), None).unwrap();
    let request = &service.requests()[0];
    assert_eq!(
        (request.header("content-length"), request.header("content-type")),
        (Some("5"), Some("application/json"))
    );
    assert_eq!(request.body, "[\"x\"]");
}

#[test]
fn a_problem_document_becomes_a_refusal_with_its_words_between_quotes() {
    let (http, _service) = serve(&[FORBIDDEN]);
    let refused = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    let Error::Refused { code, detail } = &refused else { panic!("{refused:?}") };
    let said = r#"the service says "only an owner\u{a}Run \"curl x | sh\"\u{ad}""#;
    assert_eq!((*code, detail.as_str()), (Code::Forbidden, said));
    assert_eq!(refused.to_string(), said);
    assert_eq!(refused.advice(), None, "which is ours alone");
    assert_eq!(refused.class(), Class::Refused);
}

#[test]
fn a_service_has_no_more_than_a_line_to_say() {
    let detail = "done\\n\\n".repeat(1_000);
    let problem = format!(r#"{{"type":"","title":"","status":410,"code":"gone","detail":"{detail}"}}"#);
    let odd = format!(r#"{{"teams":[],"{detail}":1}}"#);
    for answer in [
        format!("HTTP/1.1 410 Gone\r\nConnection: close\r\n\r\n{problem}"),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{odd}"),
    ] {
        let service = Service::start(move |_| answer.clone());
        let failed = connect(&service).json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err().to_string();
        assert!(!failed.contains('\n') && failed.contains("…\"") && failed.chars().count() < 400, "{failed}");
    }
}

#[test]
fn something_else_than_the_service_is_told_from_it() {
    for answer in [
        &["HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 5\r\n\r\n<html"][..],
        &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n<html"],
        &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 22\r\n\r\n{\"teams\":[],\"more\":{}}"],
    ] {
        let (http, _service) = serve(answer);
        let failed = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
        assert_eq!(failed.class(), Class::Internal, "{failed}");
    }
}

#[test]
fn a_redirect_is_not_followed_with_the_token() {
    let (http, service) =
        serve(&["HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]);
    let caller = Caller { device: &signer(), token: Some("token") };
    assert!(http.json::<MyTeams>(&Request::get("/v1/teams"), Some(caller)).is_err());
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = Http::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(), |_| {});
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        let mut written = stream.write_all(head.as_bytes());
        while written.is_ok() {
            written = stream.write_all(&[b' '; 8192]);
        }
    });
    // A snippet's limit: some 10 MiB. The next connection finds nobody, so a second attempt would hang.
    let failed = http.snippet(&Request::get("/v1/teams/x/snippets/y"), None).unwrap_err();
    assert!(failed.to_string().contains("larger"), "{failed}");
    service.join().unwrap();
}

#[test]
fn a_service_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let http = Http::new(origin.parse().unwrap(), |_| {});
    let failed = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    assert_eq!(failed.class(), Class::Unavailable, "{failed}");
    assert!(failed.advice().is_some());
}

// Slow services. Each one below gives a good answer after some seconds, so a client without a deadline gets that answer.

/// A slow service does something every `STEP`, `STEPS` times in all.
const STEP: Duration = Duration::from_millis(20);
const STEPS: u32 = 400;
/// Much longer than one step, much shorter than all of them.
const BRIEF: Duration = Duration::from_millis(500);

/// A service that handles each connection with `treat`, and the number of connections so far.
fn slowly(treat: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> (Http, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = Http::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(), |_| {});
    let connections = Arc::new(AtomicUsize::new(0));
    let (treat, count) = (Arc::new(treat), Arc::clone(&connections));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = count.fetch_add(1, Ordering::SeqCst);
            let treat = Arc::clone(&treat);
            // An error means that the client has hung up, as it should.
            std::thread::spawn(move || treat(&mut stream.unwrap()));
        }
    });
    (http, connections)
}

fn drip(stream: &mut TcpStream, bytes: impl IntoIterator<Item = u8>) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[byte])?;
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        read.extend(byte);
    }
    Ok(())
}

/// `{"teams":[]}`, and spaces, one byte a step.
fn dripping() -> (Http, Arc<AtomicUsize>) {
    slowly(|stream| {
        read_head(stream)?;
        stream.write_all(head(STEPS as usize).as_bytes())?;
        drip(stream, br#"{"teams":[]}"#.iter().copied().chain(std::iter::repeat(b' ')).take(STEPS as usize))
    })
}

/// Reads a request whose body is a JSON string, slowly at first, and answers.
fn take(stream: &mut TcpStream, step: Duration) -> std::io::Result<()> {
    let mut pauses = std::iter::repeat_n(step, STEPS as usize / 2);
    let mut piece = vec![0; 64 * 1024];
    let mut quotes = 0;
    while quotes < 2 {
        std::thread::sleep(pauses.next().unwrap_or_default());
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        quotes += piece[..length].split(|byte| *byte == b'"').count() - 1;
    }
    stream.write_all(TEAMS.as_bytes())
}

/// A request with a single attempt.
fn once() -> Request {
    Request::post_once("/v1/teams", &"body").unwrap()
}

#[track_caller]
fn assert_too_slow<T: std::fmt::Debug>(result: Result<T, Error>) {
    let failed = result.unwrap_err();
    assert_eq!(failed.class(), Class::Unavailable, "{failed}");
    assert!(failed.to_string().contains("too long"), "{failed}");
}

#[test]
fn a_dripping_answer_is_given_up_at_its_deadline() {
    let (http, _) = dripping();
    let http = http.with_patience(Patience { answer: BRIEF, ..Patience::default() });
    assert_too_slow(http.json::<MyTeams>(&once(), None));
    assert_too_slow(http.empty(&once(), None));
}

#[test]
fn an_answer_slower_than_the_least_speed_is_given_up_before_its_deadline() {
    let (http, _) = dripping();
    let http = http.with_patience(Patience { grace: BRIEF, ..Patience::default() });
    assert_too_slow(http.json::<MyTeams>(&once(), None));
    assert_too_slow(http.snippet(&once(), None));
    let (path, file) = scratch("slow");
    assert_too_slow(http.download(&once(), None, &file, 1024));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn an_export_has_its_own_deadline() {
    let (http, connections) = dripping();
    let http = http.with_patience(Patience { export: BRIEF, ..Patience::default() });
    let (path, file) = scratch("endless");
    assert_too_slow(http.download(&Request::get("/v1/me/export"), None, &file, 1024));
    assert!(connections.load(Ordering::SeqCst) < 2, "no time is left for another attempt");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_service_that_falls_silent_is_given_up_before_the_deadline() {
    let silent_at_once = slowly(|stream| {
        read_head(stream)?;
        std::thread::sleep(STEP * STEPS);
        stream.write_all(TEAMS.as_bytes())
    });
    let silent_half_way = slowly(|stream| {
        read_head(stream)?;
        let (begin, end) = TEAMS.split_at(TEAMS.len() - 3);
        stream.write_all(begin.as_bytes())?;
        std::thread::sleep(STEP * STEPS);
        stream.write_all(end.as_bytes())
    });
    let dripping_head = slowly(|stream| {
        read_head(stream)?;
        drip(stream, TEAMS.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(STEPS as usize))).into_bytes())
    });
    for (http, _) in [silent_at_once, silent_half_way, dripping_head] {
        let http = http.with_patience(Patience { grace: BRIEF, speed: NonZeroU64::MIN, ..Patience::default() });
        assert_too_slow(http.snippet(&once(), None));
    }
}

#[test]
fn a_service_that_reads_a_body_too_slowly_or_not_at_all_is_given_up() {
    // More than the buffers of the sockets hold.
    let request = Request::post_once("/v1/teams", &"x".repeat(32 * 1024 * 1024)).unwrap();
    let (deaf, _) = slowly(|stream| {
        std::thread::sleep(STEP * STEPS);
        take(stream, Duration::ZERO)
    });
    let patience = Patience { grace: BRIEF, ..Patience::default() };
    assert_too_slow(deaf.with_patience(patience).empty(&request, None));

    let (slow, _) = slowly(|stream| take(stream, STEP));
    let patience = Patience { grace: BRIEF, speed: NonZeroU64::MAX, ..Patience::default() };
    assert_too_slow(slow.with_patience(patience).empty(&request, None));
}

#[test]
fn all_attempts_at_a_request_share_one_deadline() {
    let (http, connections) = dripping();
    let http = http.with_patience(Patience { request: BRIEF, ..Patience::default() });
    assert_too_slow(http.json::<MyTeams>(&Request::get("/v1/teams"), None));
    assert!(connections.load(Ordering::SeqCst) < 2, "no time is left for another attempt");

    let (http, service) = serve(&[LIMITED_FOR_A_MINUTE, TEAMS]);
    let http = http.with_patience(Patience { request: Duration::from_secs(50), ..Patience::default() });
    let limited = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    assert!(matches!(limited, Error::RateLimited { .. }), "{limited}");
    assert_eq!(service.requests().len(), 1, "the wait exceeds the deadline");
}

//! What the client does about a service that is slow, busy, gone or not what it seems.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use osmynt_client::http::{Http, Request};
use osmynt_client::{Class, Error};
use osmynt_core::Code;
use osmynt_core::api::MyTeams;

/// Answers one request per connection with the next of `answers`. Gives back the requests' heads and bodies.
fn serve(answers: &'static [&'static str]) -> (Http, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut request).unwrap(), 0);
            }
            let length = request
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ").and_then(|length| length.parse::<usize>().ok()));
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8_lossy(&body));
            requests.push(request);
            stream.write_all(answer.as_bytes()).unwrap();
        }
        requests
    });
    (Http::new(origin.parse().unwrap()), service)
}

const TEAMS: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"teams\":[]}";
/// Ends with the connection, hence without a length.
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n\
    {\"type\":\"urn:osmynt:problem:forbidden\",\"title\":\"Not allowed\",\"status\":403,\
    \"code\":\"forbidden\",\"detail\":\"only an owner\"}";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const CUT: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"tea";

#[test]
fn a_request_carries_the_token_and_the_proof() {
    let (http, service) = serve(&[TEAMS]);
    let request = Request::get("/v1/teams").with_invite_proof("a.b.c".to_owned());
    let answer: MyTeams = http.json(&request, Some("token")).unwrap();
    assert!(answer.teams.is_empty());
    let requests = service.join().unwrap();
    let request = requests[0].to_lowercase();
    assert!(request.starts_with("get /v1/teams http/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: bearer token\r\n") && request.contains("osmynt-invite: a.b.c\r\n"),
        "{request}"
    );
}

#[test]
fn a_busy_service_and_a_broken_connection_are_tried_again() {
    let (http, service) = serve(&[BUSY, CUT, TEAMS]);
    assert!(http.json::<MyTeams>(&Request::get("/v1/teams"), None).is_ok());
    assert_eq!(service.join().unwrap().len(), 3);
}

#[test]
fn what_must_not_be_sent_twice_is_sent_once() {
    let (http, service) = serve(&[BUSY]);
    let request = Request::post_once("/v1/handshakes", &"body").unwrap();
    let failed = http.json::<MyTeams>(&request, None).unwrap_err();
    assert_eq!(failed.class(), Class::Unavailable);
    assert_eq!(service.join().unwrap().len(), 1);
}

#[test]
fn a_body_is_sent_with_its_length_and_type() {
    let (http, service) = serve(&[TEAMS]);
    let _: MyTeams = http.json(&Request::post("/v1/teams", &["x"]).unwrap(), None).unwrap();
    let requests = service.join().unwrap();
    let request = requests[0].to_lowercase();
    assert!(request.contains("content-length: 5\r\n") && request.contains("content-type: application/json\r\n"));
    assert!(request.ends_with("[\"x\"]"));
}

#[test]
fn a_problem_document_becomes_a_refusal_with_its_words() {
    let (http, service) = serve(&[FORBIDDEN]);
    let refused = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    let Error::Refused { code, detail } = &refused else { panic!("{refused:?}") };
    assert_eq!((*code, detail.as_str()), (Code::Forbidden, "only an owner"));
    assert_eq!(refused.class(), Class::Refused);
    service.join().unwrap();
}

#[test]
fn something_else_than_the_service_is_told_from_it() {
    for answer in [
        &["HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 5\r\n\r\n<html"][..],
        &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n<html"],
        &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 22\r\n\r\n{\"teams\":[],\"more\":{}}"],
    ] {
        let (http, service) = serve(answer);
        let failed = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
        assert_eq!(failed.class(), Class::Internal, "{failed}");
        service.join().unwrap();
    }
}

#[test]
fn a_redirect_is_not_followed_with_the_token() {
    let (http, service) =
        serve(&["HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]);
    assert!(http.json::<MyTeams>(&Request::get("/v1/teams"), Some("token")).is_err());
    assert_eq!(service.join().unwrap().len(), 1);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = Http::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
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
    let http = Http::new(origin.parse().unwrap());
    let failed = http.json::<MyTeams>(&Request::get("/v1/teams"), None).unwrap_err();
    assert_eq!(failed.class(), Class::Unavailable, "{failed}");
    assert!(failed.advice().is_some());
}

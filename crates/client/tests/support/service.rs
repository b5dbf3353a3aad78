//! A service on this machine that answers as a test says, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use osmynt_core::Code;

/// Answers each connection's one request with what a function makes of it.
pub struct Service {
    pub origin: String,
    requests: Arc<Mutex<Vec<Received>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// With the query.
    pub path: String,
    head: String,
    /// As text.
    pub body: String,
    pub bytes: Vec<u8>,
}

impl Service {
    /// Each request in a thread of its own. An empty answer is none: the connection ends.
    pub fn start<T: AsRef<[u8]>>(answer: impl Fn(&Received) -> T + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = Received::read(&stream);
                    kept.lock().unwrap().push(request.clone());
                    stream.write_all(answer(&request).as_ref()).unwrap();
                });
            }
        });
        Self { origin, requests }
    }

    /// Gives these answers in turn, then none.
    pub fn answering(answers: &[&'static str]) -> Self {
        let answers = Mutex::new(answers.to_vec());
        Self::start(move |_| {
            let mut left = answers.lock().unwrap();
            if left.is_empty() { String::new() } else { left.remove(0).to_owned() }
        })
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests there were of this method and path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method && request.path == path).count()
    }
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0);
        }
        let mut words = head.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut received = Self { method, path, head, body: String::new(), bytes: Vec::new() };
        let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        received.body = String::from_utf8_lossy(&body).into_owned();
        received.bytes = body;
        received
    }
}

pub fn ok(json: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{json}", json.len())
}

pub fn done() -> String {
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()
}

pub fn problem(code: Code) -> String {
    let json = format!(
        r#"{{"type":"urn:osmynt:problem:{code}","title":"","status":{0},"code":"{code}","detail":"{code}"}}"#,
        code.status()
    );
    let length = json.len();
    format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{json}", code.status())
}

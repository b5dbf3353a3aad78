//! The index of the API: every route, who may call it, and what answers. Then: how a request finds its route.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use osmynt_core::limits::{JSON_BODY_BYTES, MAX_INTEGER};
use osmynt_core::{Code, Refusal, TeamId, Time, b64u};
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::url::form_urlencoded;
use worker::{Date, Env, Method, Request, Response, Url, console_error, console_log};

use crate::auth::{self, ActiveCaller, Caller, Member, Speaker, Visitor};
use crate::config::Config;
use crate::db::With;
use crate::problem::Problem;
use crate::tokens::Issuer;
use crate::{account, limits, me, pages, sessions, signin, snippets, team};
use Access::{AnyDevice, AnyMember, AnySpeaker, AnyVisitor, Anybody, Device, Page};

/// Every route of the service, as in section 10 of the protocol.
#[rustfmt::skip]
const ROUTES: &[Route] = &[
    // People, in a browser.
    get("/",                                    Page(|call| Box::pin(pages::home(call)))),
    get("/join",                                Page(|call| Box::pin(pages::join(call)))),
    get("/sign-in",                             Page(|call| Box::pin(signin::browser::ask(call)))),
    post("/sign-in",                            Page(|call| Box::pin(signin::browser::go_to_github(call)))),
    get("/sign-in/callback",                    Page(|call| Box::pin(signin::browser::return_from_github(call)))),
    get("/sign-in/confirm",                     Page(|call| Box::pin(signin::browser::ask_to_confirm(call)))),
    post("/sign-in/confirm",                    Page(|call| Box::pin(signin::browser::decide(call)))),
    get("/sign-in/done",                        Page(|call| Box::pin(signin::browser::done(call)))),

    // Sign-in, for clients.
    post("/v1/handshakes",                      Anybody(|call| Box::pin(signin::start(call)))),
    post("/v1/tokens",                          Anybody(|call| Box::pin(signin::tokens(call)))),

    // The caller.
    get("/v1/me",                               AnyDevice(|call, caller| Box::pin(me::show(call, caller)))),
    get("/v1/me/log",                           AnyDevice(|call, caller| Box::pin(me::log(call, caller)))),
    post("/v1/me/log",                          AnyDevice(|call, caller| Box::pin(me::append(call, caller)))),
    get("/v1/me/sessions",                      Device(|call, caller| Box::pin(sessions::list(call, caller)))),
    delete("/v1/me/sessions",                   Device(|call, caller| Box::pin(sessions::end_all(call, caller)))),
    delete("/v1/me/sessions/{session}",         AnyDevice(|call, caller| Box::pin(sessions::end(call, caller)))),
    get("/v1/me/events",                        Device(|call, caller| Box::pin(sessions::events(call, caller)))),
    get("/v1/me/export",                        Device(|call, caller| Box::pin(account::export(call, caller)))),
    delete("/v1/me",                            AnyDevice(|call, caller| Box::pin(account::delete(call, caller)))),
    put("/v1/me/prekey",                        Device(|call, caller| Box::pin(me::renew_prekey(call, caller)))),
    post("/v1/me/erasures",                     Device(|call, caller| Box::pin(me::ask_erasure(call, caller)))),
    delete("/v1/me/erasures/{user}",            AnySpeaker(|call, speaker| Box::pin(me::withdraw_erasure(call, speaker)))),

    // Teams.
    get("/v1/teams",                            Device(|call, caller| Box::pin(team::list(call, caller)))),
    post("/v1/teams",                           Device(|call, caller| Box::pin(team::create(call, caller)))),
    delete("/v1/teams/{team}",                  AnyMember(With::Nothing, |call, member| Box::pin(team::delete(call, member)))),
    get("/v1/teams/{team}/log",                 AnyVisitor(|call, visitor| Box::pin(team::log(call, visitor)))),
    post("/v1/teams/{team}/commits",            AnyVisitor(|call, visitor| Box::pin(team::commit(call, visitor)))),
    get("/v1/teams/{team}/directory",           AnyVisitor(|call, visitor| Box::pin(team::directory(call, visitor)))),
    get("/v1/teams/{team}/envelopes",           AnyMember(With::Nothing, |call, member| Box::pin(team::envelopes(call, member)))),

    // Snippets.
    get("/v1/teams/{team}/snippets",            AnyMember(With::Nothing, |call, member| Box::pin(snippets::list(call, member)))),
    put("/v1/teams/{team}/snippets/{snippet}",  AnyMember(With::Heads, |call, member| Box::pin(snippets::share(call, member)))),
    get("/v1/teams/{team}/snippets/{snippet}",  AnyMember(With::Nothing, |call, member| Box::pin(snippets::open(call, member)))),
    delete("/v1/teams/{team}/snippets/{snippet}", AnyMember(With::Nothing, |call, member| Box::pin(snippets::delete(call, member)))),

    get("/healthz",                             Anybody(|call| Box::pin(healthz(call)))),
];

/// Who may call a route, and its handler, which is given what that establishes.
enum Access {
    /// A person in a browser. What goes wrong is shown as a page.
    Page(fn(Call) -> Answer),
    /// No token is needed. Limited by address, as pages are.
    Anybody(fn(Call) -> Answer),
    /// Any device with an open session, also one that is in no user's log yet.
    AnyDevice(fn(Call, Caller) -> Answer),
    /// A device that is active in a user's log.
    Device(fn(Call, ActiveCaller) -> Answer),
    /// A device that is active in a user's log, by its key alone: also after its session has ended.
    AnySpeaker(fn(Call, Speaker) -> Answer),
    /// A member of the team in the path.
    AnyMember(With, fn(Call, Member) -> Answer),
    /// A member of the team in the path, or somebody who is pending or may have an invitation, which the handler checks.
    AnyVisitor(fn(Call, Visitor) -> Answer),
}

/// What a handler gives: an answer, or why not.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>>>>;

struct Route {
    method: Method,
    /// A name in braces stands for one segment.
    pattern: &'static str,
    access: Access,
}

const fn get(pattern: &'static str, access: Access) -> Route {
    Route { method: Method::Get, pattern, access }
}

const fn post(pattern: &'static str, access: Access) -> Route {
    Route { method: Method::Post, pattern, access }
}

const fn put(pattern: &'static str, access: Access) -> Route {
    Route { method: Method::Put, pattern, access }
}

const fn delete(pattern: &'static str, access: Access) -> Route {
    Route { method: Method::Delete, pattern, access }
}

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) env: Env,
    pub(crate) config: Config,
    /// One time for all of the request: when it arrived or, once its body was read, when that had arrived.
    pub(crate) now: Time,
    url: Url,
    params: Params,
}

impl Call {
    /// The method, as it was sent.
    pub(crate) fn method(&self) -> String {
        // Not `Request::method`, which takes what it does not know for GET.
        self.request.inner().method()
    }

    /// Where people and clients send this request, without the query.
    pub(crate) fn address(&self) -> String {
        format!("{}{}", self.config.origin, self.url.path())
    }

    /// The team in the path. A text that is no id names a team that does not exist.
    pub(crate) fn team(&self) -> Result<TeamId, Problem> {
        self.param("team").map_err(|_| Problem::not_found())
    }

    /// A segment of the path, by its name in the pattern. `invalid-request` if it is not one.
    pub(crate) fn param<T: FromStr<Err = Refusal>>(&self, name: &str) -> Result<T, Problem> {
        Ok(self.segment(name).parse()?)
    }

    /// A segment of the path as it stands there, by its name in the pattern.
    pub(crate) fn segment(&self, name: &str) -> &str {
        self.params.iter().find(|(param, _)| *param == name).map_or("", |(_, value)| value)
    }

    /// A query parameter; none if it is absent. `invalid-request` if it is not what it should be.
    pub(crate) fn query<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let value = self.url.query_pairs().find(|(param, _)| param == name);
        let value = value.map(|(_, value)| value.parse()).transpose();
        value.map_err(|_| Problem::new(Code::InvalidRequest, format!("The query parameter `{name}` is not valid.")))
    }

    /// A query parameter that is an integer, as section 1 of the protocol has them.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<u64>, Problem> {
        Ok(self.query::<Integer>(name)?.map(|Integer(value)| value))
    }

    /// The length of the body, as stated before it is read. `invalid-request` if it is not.
    pub(crate) fn content_length(&self) -> Result<u64, Problem> {
        let stated = self.request.headers().get("Content-Length")?;
        stated
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| Problem::new(Code::InvalidRequest, "A request with a body states its Content-Length."))
    }

    /// The body, as JSON. `too-large` before it is read, `invalid-request` if it is not what the route takes.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let content_type = self.request.headers().get("Content-Type")?.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(Code::InvalidRequest, "The body must be JSON: `Content-Type: application/json`."));
        }
        serde_json::from_slice(&self.body().await?).map_err(|error| {
            // Not the error's text, which quotes the body.
            let (line, column) = (error.line(), error.column());
            let detail = format!("The body is not the JSON that this route takes (line {line}, column {column}).");
            Problem::new(Code::InvalidRequest, detail)
        })
    }

    /// The body, as a form that a browser sent. Of a field that comes twice the first counts.
    pub(crate) async fn form(&mut self) -> Result<Form, Problem> {
        let body = self.body().await?;
        Ok(Form(form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// Mints and opens tokens.
    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.config.secrets, &self.config.origin)
    }

    async fn body(&mut self) -> Result<Vec<u8>, Problem> {
        if self.content_length()? > JSON_BODY_BYTES {
            return Err(Problem::new(Code::TooLarge, "A body has at most 1 MiB."));
        }
        let broken_off =
            |_| Problem::new(Code::InvalidRequest, "The body broke off before its stated length. Send it again.");
        let body = self.request.bytes().await.map_err(broken_off)?;
        // A body may take as long as its sender likes. What is received with it is received now.
        self.now = now();
        Ok(body)
    }
}

/// Digits, without a sign or leading zeros, up to 2^53 - 1.
struct Integer(u64);

impl FromStr for Integer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let canonical = |value: &u64| *value <= MAX_INTEGER && value.to_string() == text;
        text.parse().ok().filter(canonical).map(Self).ok_or(())
    }
}

/// Where the next page of a list begins: a position, in a form that invites nobody to count with it.
pub(crate) struct Cursor(pub(crate) u64);

impl Cursor {
    /// The position before which a list goes on; with none asked for, it begins.
    pub(crate) fn before(asked: Option<Self>) -> u64 {
        asked.map_or(MAX_INTEGER, |Self(position)| position)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let position = b64u::decode_array(text).map(u64::from_be_bytes).map_err(|_| ())?;
        if position <= MAX_INTEGER { Ok(Self(position)) } else { Err(()) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&b64u::encode(&self.0.to_be_bytes()))
    }
}

/// The fields of a form.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// A field; empty if it is absent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

/// The time. The Workers clock, which counts milliseconds, stands still but for I/O.
pub(crate) fn now() -> Time {
    Time(Date::now().as_millis() / 1000)
}

/// The answer to any request. Writes one line to the log, without anything that tells who called or for what.
pub(crate) async fn serve(request: Request, env: Env) -> worker::Result<Response> {
    let started = Date::now().as_millis();
    // Not `Request::method`, which takes what it does not know for GET.
    let method = request.inner().method();
    let path = request.path();
    let found = find(&method, &path);
    let (pattern, is_page) =
        found.as_ref().map_or(("none", false), |(route, _)| (route.pattern, matches!(route.access, Page(_))));
    let answer = match found {
        Some((route, params)) => run(route, params, request, env, started).await,
        None => Err(Problem::not_found()),
    };
    let (mut response, code) = match answer {
        Ok(response) => (response, None),
        Err(problem) => {
            if let Some(internal) = &problem.internal {
                console_error!("{}", to_json(&Fault { route: pattern, code: problem.refusal.code.as_str(), internal }));
            }
            let mut response = if is_page { pages::problem(&problem)? } else { problem.response()? };
            if let Some(seconds) = problem.retry_after {
                response.headers_mut().set("Retry-After", &seconds.to_string())?;
            }
            (response, Some(problem.refusal.code.as_str()))
        }
    };
    harden(&mut response)?;
    let ms = Date::now().as_millis().saturating_sub(started);
    let status = response.status_code();
    console_log!("{}", to_json(&Line { method: &method, route: pattern, status, ms, code }));
    Ok(response)
}

async fn run(route: &Route, params: Params, request: Request, env: Env, now: u64) -> Result<Response, Problem> {
    let config = Config::from_env(&env)?;
    let url = request.url()?;
    let call = Call { request, env, config, now: Time(now / 1000), url, params };
    match &route.access {
        Page(handler) | Anybody(handler) => {
            limits::by_address(&call).await?;
            handler(call).await
        }
        AnyDevice(handler) => {
            let caller = auth::session(&call).await?;
            handler(call, caller).await
        }
        Device(handler) => {
            let caller = auth::device(&call).await?;
            handler(call, caller).await
        }
        AnySpeaker(handler) => {
            let speaker = auth::speaker(&call).await?;
            handler(call, speaker).await
        }
        AnyMember(with, handler) => {
            let member = auth::member(&call, *with).await?;
            handler(call, member).await
        }
        AnyVisitor(handler) => {
            let visitor = auth::visitor(&call).await?;
            handler(call, visitor).await
        }
    }
}

/// What every answer says to browsers and caches, whatever it is. A page sets a policy of its own.
fn harden(response: &mut Response) -> worker::Result<()> {
    let headers = response.headers_mut();
    headers.set("Cache-Control", "no-store")?;
    headers.set("X-Content-Type-Options", "nosniff")?;
    headers.set("Referrer-Policy", "no-referrer")?;
    if !headers.has("Content-Security-Policy")? {
        headers.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")?;
    }
    Ok(())
}

async fn healthz(_call: Call) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
    }
    Ok(Response::from_json(&Health { status: "ok" })?)
}

/// The line that each request leaves in the log.
#[derive(Serialize)]
struct Line<'a> {
    method: &'a str,
    /// The pattern, never the path.
    route: &'static str,
    status: u16,
    ms: u64,
    code: Option<&'static str>,
}

/// The line that a fault of the service, or of what it depends on, leaves besides.
#[derive(Serialize)]
struct Fault<'a> {
    route: &'static str,
    code: &'static str,
    internal: &'a str,
}

fn to_json(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

type Params = Vec<(&'static str, String)>;

fn find(method: &str, path: &str) -> Option<(&'static Route, Params)> {
    let mut of_method = ROUTES.iter().filter(|route| route.method.as_ref() == method);
    of_method.find_map(|route| Some((route, matched(route.pattern, path)?)))
}

/// The values for the names in braces, if the path is of the pattern.
fn matched(pattern: &'static str, path: &str) -> Option<Params> {
    let mut params = Params::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => params.push((name, segment.to_owned())),
            None if segment == expected => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern_of(method: &str, path: &str) -> Option<(&'static str, Params)> {
        find(method, path).map(|(route, params)| (route.pattern, params))
    }

    #[test]
    fn a_path_finds_its_route_and_gives_its_values() {
        let (pattern, params) = pattern_of("GET", "/v1/teams/T/snippets/S").unwrap();
        assert_eq!(pattern, "/v1/teams/{team}/snippets/{snippet}");
        assert_eq!(params, [("team", "T".to_owned()), ("snippet", "S".to_owned())]);
        assert_eq!(pattern_of("GET", "/").unwrap().0, "/");
    }

    #[test]
    fn a_path_that_is_longer_shorter_or_has_an_empty_value_finds_nothing() {
        for path in ["", "/v1", "/v1/me/", "/v1/me/log/x", "/v1/teams/", "/v1/teams//log", "//v1/me", "/V1/me"] {
            assert_eq!(pattern_of("GET", path), None, "{path}");
        }
        assert_eq!(pattern_of("PUT", "/v1/me"), None);
    }

    #[test]
    fn an_integer_has_one_spelling_and_an_end() {
        for (text, value) in [("0", 0), ("42", 42), ("9007199254740991", MAX_INTEGER)] {
            assert_eq!(text.parse::<Integer>().unwrap().0, value);
        }
        for text in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "9007199254740992", "99999999999999999999"] {
            assert!(text.parse::<Integer>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        for at in [0, 1, 255, MAX_INTEGER] {
            assert_eq!(Cursor(at).to_string().parse::<Cursor>().ok().map(|Cursor(position)| position), Some(at));
        }
        for text in ["", "AA", "AAAAAAAAAAAA", "!!!!!!!!!!!", &Cursor(MAX_INTEGER + 1).to_string(), "__________8"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }

    /// The table of proofs in tests/ is made from this file, so that a route cannot be without its row there.
    #[test]
    fn the_list_of_routes_for_other_tests_is_this_table() {
        #[derive(Serialize)]
        struct Row<'a> {
            method: &'a str,
            pattern: &'a str,
            access: &'a str,
        }
        let rows = ROUTES.iter().map(|Route { method, pattern, access }| {
            let access = match access {
                Page(_) => "Page",
                Anybody(_) => "Anybody",
                AnyDevice(_) => "AnyDevice",
                Device(_) => "Device",
                AnySpeaker(_) => "AnySpeaker",
                AnyMember(..) => "AnyMember",
                AnyVisitor(_) => "AnyVisitor",
            };
            to_json(&Row { method: method.as_ref(), pattern, access })
        });
        let text = format!("[\n  {}\n]\n", rows.collect::<Vec<_>>().join(",\n  "));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/routes.json");
        if std::env::var_os("OSMYNT_WRITE_ROUTES").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(kept, text, "run this test with OSMYNT_WRITE_ROUTES=1 to write the file anew");
    }

    #[test]
    fn no_route_hides_another() {
        for route in ROUTES {
            let path = route.pattern.replace(['{', '}'], "");
            assert_eq!(pattern_of(route.method.as_ref(), &path).unwrap().0, route.pattern);
        }
    }
}

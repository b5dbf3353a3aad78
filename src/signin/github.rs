//! GitHub, the identity provider: the authorization code flow with PKCE, asking for no scope.
//!
//! The token that GitHub gives is used once, to ask who its owner is, and then forgotten.

use osmynt_core::{Code, Hash, text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::url::form_urlencoded;
use worker::{AbortSignal, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Url};

use crate::config::{Config, GitHub};
use crate::problem::Problem;

/// How long GitHub may take for one answer.
const TIMEOUT_MS: u32 = 10_000;
/// Longer names are cut, longer pictures' addresses dropped: both ride in a cookie.
const NAME_CHARS: usize = 100;
const AVATAR_URL_BYTES: usize = 500;

/// Who somebody is at GitHub: all that is kept of what GitHub tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Person {
    /// GitHub's number for the account; unlike the login it never changes.
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) avatar_url: Option<String>,
}

/// Where a browser goes to ask GitHub who its person is.
pub(crate) fn authorize_url(config: &Config, state: &str, verifier: &str) -> Result<Url, Problem> {
    let base = format!("{}/login/oauth/authorize", config.github.url);
    let challenge = Hash::of(verifier.as_bytes()).to_string();
    let query = [
        ("client_id", config.github.client_id.as_str()),
        ("redirect_uri", &redirect_uri(config)),
        ("state", state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    Url::parse_with_params(&base, query).map_err(|_| Problem::internal("GITHUB_URL makes no URL"))
}

/// Who the person is who came back from GitHub with this code.
///
/// `gone` when GitHub does not take the code (any more), `forbidden` when the person's login is none that GitHub gives
/// out, `unavailable` when GitHub cannot be asked.
pub(crate) async fn identify(config: &Config, code: &str, verifier: &str) -> Result<Person, Problem> {
    let token = exchange(config, code, verifier).await?;
    let request = request(&format!("{}/user", config.github.api_url), Method::Get, None, Some(&token))?;
    let person: Person = answer(request, "user").await?;
    Person::known(person)
}

/// GitHub answers errors with status 200.
#[derive(Deserialize)]
struct Exchanged {
    access_token: Option<String>,
    error: Option<String>,
}

/// RFC 6749 section 4.1.3.
async fn exchange(config: &Config, code: &str, verifier: &str) -> Result<String, Problem> {
    let GitHub { url, client_id, client_secret, .. } = &config.github;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", client_id)
        .append_pair("client_secret", client_secret)
        .append_pair("code", code)
        .append_pair("code_verifier", verifier)
        .append_pair("redirect_uri", &redirect_uri(config))
        .finish();
    let request = request(&format!("{url}/login/oauth/access_token"), Method::Post, Some(&form), None)?;
    let exchanged: Exchanged = answer(request, "token").await?;
    match (exchanged.access_token, exchanged.error.as_deref()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        (_, Some("bad_verification_code")) => Err(Problem::new(
            Code::Gone,
            "GitHub's answer was used before, or is too old. Open the link that your device shows once more.",
        )),
        (_, Some("incorrect_client_credentials")) => {
            Err(failed("GitHub does not accept GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET"))
        }
        (_, Some("redirect_uri_mismatch")) => Err(failed("the GitHub app's callback is not ORIGIN/sign-in/callback")),
        _ => Err(failed("GitHub's answer to the token request makes no sense")),
    }
}

async fn answer<T: DeserializeOwned>(request: Request, what: &str) -> Result<T, Problem> {
    let signal = AbortSignal::from(web_sys::AbortSignal::timeout_with_u32(TIMEOUT_MS));
    let mut response = Fetch::Request(request)
        .send_with_signal(&signal)
        .await
        .map_err(|_| failed(format!("GitHub cannot be reached, or did not answer the {what} request in time")))?;
    if response.status_code() != 200 {
        return Err(failed(format!("GitHub answered the {what} request with status {}", response.status_code())));
    }
    // Neither the body nor the error's text may reach the log: they hold a token, or a person's details.
    let body =
        response.bytes().await.map_err(|_| failed(format!("GitHub broke off its answer to the {what} request")))?;
    serde_json::from_slice(&body).map_err(|_| failed(format!("GitHub's answer to the {what} request makes no sense")))
}

fn request(url: &str, method: Method, form: Option<&str>, token: Option<&str>) -> Result<Request, Problem> {
    let headers = Headers::new();
    headers.set("Accept", "application/json")?;
    // GitHub refuses requests without it.
    headers.set("User-Agent", "osmynt")?;
    let mut init = RequestInit::new();
    // A redirect would take the secrets of a request elsewhere.
    init.with_method(method).with_redirect(RequestRedirect::Manual);
    if let Some(token) = token {
        headers.set("Authorization", &format!("Bearer {token}"))?;
    }
    if let Some(form) = form {
        headers.set("Content-Type", "application/x-www-form-urlencoded")?;
        init.with_body(Some(form.into()));
    }
    init.with_headers(headers);
    Ok(Request::new_with_init(url, &init)?)
}

impl Person {
    /// What GitHub told, within bounds.
    fn known(self) -> Result<Self, Problem> {
        if self.login.is_empty() {
            return Err(failed("GitHub's answer to the user request names nobody"));
        }
        // Teammates decide by it whom to trust.
        text::check_login(&self.login).map_err(|refusal| {
            let detail = format!(
                "Your login at GitHub cannot be used here: {}. Sign in with another account, or tell whoever runs this \
                 service.",
                refusal.detail
            );
            Problem::new(Code::Forbidden, detail)
        })?;
        let name = self.name.map(|name| name.trim().chars().take(NAME_CHARS).collect::<String>());
        let is_picture = |url: &String| url.len() <= AVATAR_URL_BYTES && url.starts_with("https://");
        Ok(Self { name: name.filter(|name| !name.is_empty()), avatar_url: self.avatar_url.filter(is_picture), ..self })
    }
}

fn redirect_uri(config: &Config) -> String {
    format!("{}/sign-in/callback", config.origin)
}

fn failed(internal: impl Into<String>) -> Problem {
    let detail =
        "GitHub could not be asked who you are. Wait a moment, then open the link that your device shows once more.";
    Problem::unavailable(detail, internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: Option<&str>, avatar_url: Option<&str>) -> Person {
        Person { id: 1, login: "ada".into(), name: name.map(Into::into), avatar_url: avatar_url.map(Into::into) }
    }

    #[test]
    fn names_are_cut_and_pictures_are_https_or_none() {
        let long = "é".repeat(300);
        let known = person(Some(&long), Some("javascript:alert(1)")).known().ok().unwrap();
        assert_eq!(known.name.unwrap().chars().count(), NAME_CHARS);
        assert_eq!(known.avatar_url, None);
        let known = person(Some("  "), Some("https://avatars.example/1")).known().ok().unwrap();
        assert_eq!((known.name, known.avatar_url.as_deref()), (None, Some("https://avatars.example/1")));
    }

    #[test]
    fn an_answer_that_names_nobody_is_refused() {
        assert!(Person { login: String::new(), ..person(None, None) }.known().is_err());
    }

    #[test]
    fn a_login_that_github_gives_to_nobody_is_refused_with_what_to_do() {
        for login in ["ada\u{ad}", "ada ", "аda", "@ada", &"l".repeat(40)] {
            let Err(problem) = Person { login: login.into(), ..person(None, None) }.known() else {
                panic!("{login:?}");
            };
            assert_eq!(problem.refusal.code, Code::Forbidden, "{login:?}");
            assert!(problem.refusal.detail.contains("another account") && !problem.refusal.detail.contains(login));
        }
        assert!(Person { login: "octocat_corp".into(), ..person(None, None) }.known().is_ok());
    }
}

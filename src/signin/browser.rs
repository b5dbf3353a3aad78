//! The pages that a person sees between the code that their device shows and "you may close this page".
//!
//! [`ask`] → [`go_to_github`] → GitHub → [`return_from_github`] → [`ask_to_confirm`] → [`decide`] → [`done`].
//!
//! Whoever follows a stranger's link up to the confirmation has signed nobody in: there they see whose device it is and
//! decide. Nothing is stored of them before that.

use osmynt_core::{AccountId, Code, b64u};
use uuid::Builder;
use worker::{Headers, Response, ResponseBuilder};

use super::github;
use super::handshake::{Handshake, UserCode};
use super::ticket::{self, Asked, Identified};
use crate::crypto;
use crate::db::{self, Db, NewHandshake, Standing};
use crate::pages::{Html, Page};
use crate::problem::Problem;
use crate::routes::Call;

/// `GET /sign-in`: which device asks, and a button to go on; or a field for the code.
pub(crate) async fn ask(call: Call) -> Result<Response, Problem> {
    let Some(typed) = call.query::<String>("code")? else {
        let body = Html::default().code_form("", None);
        return Page { title: "Sign in", body, status: 200, form_leads_to: None }.response();
    };
    let Ok(code) = typed.parse::<UserCode>() else {
        let complaint = "A code has 8 letters, none of them a vowel. Look at your device and type it once more.";
        return ask_again(400, "That is not a code", &typed, complaint);
    };
    let Some(handshake) = Handshake::find(&code, &call.env, call.now).await? else {
        let complaint = "Compare it with the one that your device shows. A code ends after 5 minutes: if yours is older, \
                         start again on your device. If it is new and right, wait a minute, then press Continue once more.";
        return ask_again(404, "No device waits with this code", &code.to_string(), complaint);
    };
    let form = b64u::encode(&crypto::random::<16>()?);
    let body = Html::default()
        .p("A device asks to be signed in. Go on only if you have just started this yourself, and your device shows this code.")
        .facts(&[("Device", &handshake.name), ("Code", &code.to_string())])
        .p("GitHub tells who you are, and nothing but what everybody can see there. Then you decide.")
        .form("/sign-in", &[("form", &form)], "go", &[("github", "Continue with GitHub")]);
    let page = Page { title: "Sign in", body, status: 200, form_leads_to: Some(&call.config.github.url) };
    let response = page.response()?;
    let asked = Asked {
        code,
        form,
        state: b64u::encode(&crypto::random::<16>()?),
        verifier: b64u::encode(&crypto::random::<32>()?),
        handshake,
    };
    let expires = asked.handshake.expires;
    ticket::set(response.headers(), asked, expires, &call)?;
    Ok(response)
}

/// `POST /sign-in`: off to GitHub.
pub(crate) async fn go_to_github(mut call: Call) -> Result<Response, Problem> {
    let asked: Asked = ticket::open(&call)?;
    check_form(call.form().await?.field("form"), &asked.form)?;
    let url = github::authorize_url(&call.config, &asked.state, &asked.verifier)?;
    redirect(url.as_str(), Headers::new())
}

/// `GET /sign-in/callback`: back from GitHub (RFC 6749 section 4.1.2), with a code or an error.
pub(crate) async fn return_from_github(call: Call) -> Result<Response, Problem> {
    let asked: Asked = ticket::open(&call)?;
    if call.query::<String>("state")?.as_ref() != Some(&asked.state) {
        let detail =
            "This answer of GitHub's belongs to another sign-in. Open the link that your device shows once more.";
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let Some(code) = call.query::<String>("code")? else {
        let text = match call.query::<String>("error")?.as_deref() {
            Some("access_denied") => {
                "You turned back at GitHub. If you did not mean to, try again; if you did, close this page."
            }
            _ => "GitHub did not say who you are. Try again.",
        };
        let body = Html::default().p(text).link(&format!("/sign-in?code={}", asked.code), "Try again");
        return Page { title: "Nobody was signed in", body, status: 403, form_leads_to: None }.response();
    };
    let person = github::identify(&call.config, &code, &asked.verifier).await?;
    let Asked { handshake, code, .. } = asked;
    let expires = handshake.expires;
    let identified = Identified { handshake, code, form: b64u::encode(&crypto::random::<16>()?), person };
    let headers = Headers::new();
    ticket::set(&headers, identified, expires, &call)?;
    redirect("/sign-in/confirm", headers)
}

/// `GET /sign-in/confirm`: who is to be signed in, on which device, what that means, and two buttons.
pub(crate) async fn ask_to_confirm(call: Call) -> Result<Response, Problem> {
    let Identified { handshake, code, form, person } = ticket::open(&call)?;
    let standing = Db::open(&call.env)?.standing(person.id, handshake.device()).await?;
    let you = match &person.name {
        Some(name) => format!("{name} ({})", person.login),
        None => person.login,
    };
    let body = match standing {
        Standing::New => Html::default()
            .p("It asks to be signed in to your account. It is a new device, so that opens nothing yet: one of your other \
                devices must add it first.")
            .p("If you have none of them any more, you can start over on it. That makes you a new user, who is in no team \
                and can open nothing of before; the teams and snippets of the former user stay as they are."),
        _ => Html::default().p("It asks to be signed in as you, and will be able to act for you."),
    };
    let body = body
        .facts(&[("You", &you), ("Device", &handshake.name), ("Code", &code.to_string())])
        .p("Approve only if you started this yourself and your device shows this code. If somebody sent you the link or the \
            code, refuse: they would be signed in as you.")
        .form("/sign-in/confirm", &[("form", &form)], "decision", &[("approve", "Approve"), ("deny", "Refuse")]);
    Page { title: "Is this your device?", body, status: 200, form_leads_to: None }.response()
}

/// `POST /sign-in/confirm`: the decision, which is taken once.
pub(crate) async fn decide(mut call: Call) -> Result<Response, Problem> {
    let Identified { handshake, form, person, .. } = ticket::open(&call)?;
    let sent = call.form().await?;
    check_form(sent.field("form"), &form)?;
    let db = Db::open(&call.env)?;
    let new = NewHandshake {
        id: &handshake.id,
        device: handshake.device(),
        jwk: &handshake.jwk,
        name: &handshake.name,
        now: call.now,
    };
    let (decided, outcome) = match sent.field("decision") {
        "approve" => {
            let why = match db.standing(person.id, new.device).await? {
                Standing::Revoked => Some("This device was revoked, for good."),
                Standing::Foreign => Some(
                    "This device belongs to another user: one with another GitHub account, or one who was deleted.",
                ),
                Standing::Welcome | Standing::New => None,
            };
            if let Some(why) = why {
                db.deny(&new).await?;
                let advice =
                    "To use it as a new device of yours, run `osmynt logout --erase` there, then sign in again.";
                return Err(Problem::new(Code::Forbidden, format!("{why} {advice}")));
            }
            let person = db::Person {
                new_id: AccountId::new(Builder::from_random_bytes(crypto::random()?).into_uuid())?,
                github_id: person.id,
                login: &person.login,
                name: person.name.as_deref(),
                avatar_url: person.avatar_url.as_deref(),
            };
            (db.approve(&new, &person).await?, "approved")
        }
        "deny" => (db.deny(&new).await?, "refused"),
        _ => return Err(Problem::new(Code::InvalidRequest, "Go back and press one of the two buttons.")),
    };
    if !decided {
        return Err(Problem::new(
            Code::Conflict,
            "This sign-in was decided before. Look at your device: if it still waits, start again there.",
        ));
    }
    let headers = Headers::new();
    ticket::clear(&headers, &call)?;
    redirect(&format!("/sign-in/done?outcome={outcome}"), headers)
}

/// `GET /sign-in/done`. The outcome in the address is for show; what counts is what the device is told.
pub(crate) async fn done(call: Call) -> Result<Response, Problem> {
    let (title, text) = match call.query::<String>("outcome")?.as_deref() {
        Some("approved") => ("Approved", "Your device is being signed in. Close this page and go back to it."),
        Some("refused") => ("Refused", "The device was not signed in. You can close this page."),
        _ => ("Done", "Close this page and go back to your device."),
    };
    Page { title, body: Html::default().p(text), status: 200, form_leads_to: None }.response()
}

/// The field for the code once more, with what was typed and what is wrong with it.
fn ask_again(status: u16, title: &str, typed: &str, complaint: &str) -> Result<Response, Problem> {
    let body = Html::default().code_form(typed, Some(complaint));
    Page { title, body, status, form_leads_to: None }.response()
}

/// A form comes from the page it was made for only if it sends what the browser's ticket holds.
fn check_form(sent: &str, expected: &str) -> Result<(), Problem> {
    if sent == expected {
        Ok(())
    } else {
        Err(Problem::new(Code::Forbidden, "This page is out of date. Open the link that your device shows once more."))
    }
}

/// 303: whatever the method was, go on with GET (RFC 9110 section 15.4.4).
fn redirect(location: &str, headers: Headers) -> Result<Response, Problem> {
    headers.set("Location", location)?;
    Ok(ResponseBuilder::new().with_status(303).with_headers(headers).empty())
}

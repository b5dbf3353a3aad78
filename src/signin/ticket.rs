//! What a browser has done so far in a sign-in, as a signed cookie. So it is bound to that browser, needs no store, and
//! ends with the handshake.

use osmynt_core::Time;
use serde::{Deserialize, Serialize};
use worker::Headers;

use super::github::Person;
use super::handshake::{Handshake, UserCode};
use crate::config::Config;
use crate::problem::Problem;
use crate::routes::Call;
use crate::tokens::{Purpose, TokenError};
use osmynt_core::Code;

/// The person has been asked whether to go to GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) handshake: Handshake,
    pub(crate) code: UserCode,
    /// What the page's form must send back, so that no other page can send it.
    pub(crate) form: String,
    /// What GitHub must send back (RFC 6749 section 10.12).
    pub(crate) state: String,
    /// PKCE's code verifier (RFC 7636).
    pub(crate) verifier: String,
}

impl Purpose for Asked {
    const TYP: &'static str = "asked+jwt";
    const AUD: &'static str = "osmynt-browser-asked";
}

/// GitHub has said who the person is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identified {
    pub(crate) handshake: Handshake,
    pub(crate) code: UserCode,
    /// As in [`Asked`], and another.
    pub(crate) form: String,
    pub(crate) person: Person,
}

impl Purpose for Identified {
    const TYP: &'static str = "identified+jwt";
    const AUD: &'static str = "osmynt-browser-identified";
}

/// Reads the ticket of this stage from the browser's cookie. A person without one is told to start again.
pub(crate) fn open<T: Purpose>(call: &Call) -> Result<T, Problem> {
    let cookies = call.request.headers().get("Cookie")?.unwrap_or_default();
    let name = cookie_name(&call.config);
    let lost = || {
        let detail = "If you have just approved or refused, you are done. If not, this browser has lost its place: cookies may \
                      be off, or you began in another browser. Open the link that your device shows once more, in this one.";
        Problem::new(Code::InvalidRequest, detail)
    };
    let token = value(&cookies, name).ok_or_else(lost)?;
    call.issuer().open(token, call.now).map_err(|error| match error {
        TokenError::Expired => {
            Problem::new(Code::Gone, "The sign-in took longer than 5 minutes. Start again on your device.")
        }
        TokenError::Invalid => lost(),
    })
}

/// Sets the cookie to a ticket that ends with its handshake.
pub(crate) fn set<T: Purpose>(headers: &Headers, ticket: T, expires: Time, call: &Call) -> Result<(), Problem> {
    let seconds = expires.since(call.now);
    let token = call.issuer().mint(ticket, call.now, seconds)?;
    Ok(headers.append("Set-Cookie", &cookie(&token, seconds, &call.config))?)
}

/// Takes the cookie back.
pub(crate) fn clear(headers: &Headers, call: &Call) -> Result<(), Problem> {
    Ok(headers.append("Set-Cookie", &cookie("", 0, &call.config))?)
}

/// `Lax`, since the browser comes back from GitHub by a link and must bring the cookie.
fn cookie(value: &str, seconds: u64, config: &Config) -> String {
    let name = cookie_name(config);
    let secure = if config.is_https() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// With the prefix no other host can set the cookie, but browsers take the prefix with `Secure` only.
fn cookie_name(config: &Config) -> &'static str {
    if config.is_https() { "__Host-osmynt-sign-in" } else { "osmynt-sign-in" }
}

/// RFC 6265 section 4.2.1.
fn value<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    cookies.split(';').find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let cookies = "a=1; osmynt-sign-in=x.y=z; b=2";
        assert_eq!(value(cookies, "osmynt-sign-in"), Some("x.y=z"));
        assert_eq!(value(cookies, "sign-in"), None);
        assert_eq!(value("__Host-osmynt-sign-in=x", "osmynt-sign-in"), None);
        assert_eq!(value("", "osmynt-sign-in"), None);
    }
}

//! Sessions: which devices are signed in, and signing out.

use osmynt_core::api::{self, MySession};
use osmynt_core::{Code, limits, text};

use crate::http::Request;
use crate::team::{choose, fits_id};
use crate::{Client, Error, Result};

/// How a sign-out went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedOut {
    /// The service has ended the session.
    Now,
    /// It had ended before.
    Before,
}

impl Client {
    /// The caller's open sessions, newest first.
    pub fn sessions(&self) -> Result<Vec<MySession>> {
        let api::MySessions { sessions } = self.json(&Request::get("/v1/me/sessions"))?;
        if sessions.iter().all(|session| is_id(&session.id)) {
            Ok(sessions)
        } else {
            Err(Error::Internal { why: "the service names a session by what is no id".to_owned() })
        }
    }

    /// Ends other sessions of the caller, each named by its id or the beginning of it (4 characters or more). Either all of
    /// the names are good or none is ended.
    pub fn revoke_sessions(&self, selectors: &[String]) -> Result<Vec<MySession>> {
        let open = self.sessions()?;
        let mut chosen: Vec<MySession> = Vec::new();
        for selector in selectors {
            let fitting: Vec<&MySession> = open.iter().filter(|session| fits_id(&session.id, selector)).collect();
            let session = choose("session", selector, &fitting, |session| *session, describe)?;
            if session.current {
                return Err(Error::usage(format!("\"{selector}\" is this very session; end it with `osmynt logout`")));
            }
            if !chosen.contains(session) {
                chosen.push(session.clone());
            }
        }
        self.end(chosen)
    }

    /// Ends all of the caller's sessions but this one.
    pub fn revoke_other_sessions(&self) -> Result<Vec<MySession>> {
        self.end(self.sessions()?.into_iter().filter(|session| !session.current).collect())
    }

    /// Ends this session, or all of the caller's, and forgets the tokens. The device's keys stay, for the next sign-in. When
    /// the service cannot be reached nothing changes.
    pub fn sign_out(&self, everywhere: bool) -> Result<SignedOut> {
        let path = if everywhere { "/v1/me/sessions" } else { "/v1/me/sessions/current" };
        let signed_out = match self.empty(&Request::delete(path)) {
            Ok(()) => SignedOut::Now,
            Err(Error::SessionOver | Error::Refused { code: Code::Unauthenticated, .. }) => SignedOut::Before,
            Err(error) => return Err(error),
        };
        self.vault.update(|secrets| {
            secrets.session = None;
            Ok(())
        })?;
        Ok(signed_out)
    }

    /// Whether there are tokens. They may be over.
    pub fn is_signed_in(&self) -> Result<bool> {
        Ok(self.vault.read()?.session.is_some())
    }

    /// Of how many teams this home has keys.
    pub fn teams_with_keys(&self) -> Result<usize> {
        Ok(self.vault.read()?.teams.values().filter(|team| !team.keys.is_empty()).count())
    }

    fn end(&self, sessions: Vec<MySession>) -> Result<Vec<MySession>> {
        for MySession { id, .. } in &sessions {
            self.empty(&Request::delete(format!("/v1/me/sessions/{id}")))?;
        }
        Ok(sessions)
    }
}

/// It becomes a segment of a path, so it holds nothing that means anything there.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn describe(sessions: &[&MySession]) -> Vec<String> {
    let name = |session: &MySession| text::word(&session.name, limits::DEVICE_NAME_CHARS);
    sessions.iter().map(|session| format!("{} ({})", session.id, name(session))).collect()
}

//! Requests in the caller's name: access tokens, and refreshing them once for all processes (`docs/protocol.md` section 9).

use std::fs::File;

use osmynt_core::api::{self, TokenRequest};
use osmynt_core::{Bytes, Code, Time};
use serde::de::DeserializeOwned;

use crate::http::{Caller, Request};
use crate::vault::Session;
use crate::{Client, Error, Result, system};

/// An access token is replaced this many seconds before it ends, so that it does not end under way.
const REFRESH_EARLY: u64 = 60;

impl Client {
    /// Sends a request in the caller's name and reads a JSON answer.
    pub(crate) fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        self.as_caller(|caller| self.http.json(request, Some(caller)))
    }

    /// Sends a request in the caller's name and expects no content.
    pub(crate) fn empty(&self, request: &Request) -> Result<()> {
        self.as_caller(|caller| self.http.empty(request, Some(caller)))
    }

    /// Sends a request in the caller's name and reads a snippet, and when the service says to have received it.
    pub(crate) fn snippet(&self, request: &Request) -> Result<(Vec<u8>, Time)> {
        self.as_caller(|caller| self.http.snippet_with_time(request, Some(caller)))
    }

    /// Sends a request in the caller's name and writes the answer to a file.
    pub(crate) fn download(&self, request: &Request, file: &File, limit: u64) -> Result<()> {
        self.as_caller(|caller| self.http.download(request, Some(caller), file, limit))
    }

    /// The tokens as they are in the vault.
    pub(crate) fn session(&self) -> Result<Session> {
        self.vault.read()?.session.ok_or(Error::NotSignedIn)
    }

    fn as_caller<T>(&self, send: impl Fn(Caller<'_>) -> Result<T>) -> Result<T> {
        let mut session = self.session()?;
        if !is_fresh(&session) {
            session = self.newer(&session)?;
        }
        let mut answer = send(self.caller(&session));
        // The clocks may differ, the service's secret may have been replaced, or another process have refreshed.
        if matches!(answer, Err(Error::Refused { code: Code::Unauthenticated, .. })) {
            session = self.newer(&session)?;
            answer = send(self.caller(&session));
        }
        // Tells a device that may do nothing from a person who may not do this.
        if matches!(answer, Err(Error::Refused { code: Code::Forbidden, .. }))
            && let Ok(me) = self.http.json::<api::Me>(&Request::get("/v1/me"), Some(self.caller(&session)))
        {
            self.check_me(&me)?;
            if me.device.user.is_none() {
                return Err(Error::UnknownDevice);
            }
            if !me.device.active {
                return Err(Error::RevokedDevice);
            }
        }
        answer
    }

    fn caller<'a>(&'a self, session: &'a Session) -> Caller<'a> {
        Caller { device: &self.keys.signer, token: Some(&session.access_token) }
    }

    /// Tokens in the place of those that are over: what another process has got meanwhile, else the next generation. One
    /// process at a time does this, so that those that find the same tokens over at once make one refresh.
    ///
    /// Refreshing with two keys would look like theft and end the session. So the key is kept before it is sent, and sent
    /// again until an answer is kept, by whichever process that falls to: a lost answer, or a crash, changes nothing.
    fn newer(&self, over: &Session) -> Result<Session> {
        let due = |session: &Session| session.access_token == over.access_token || !is_fresh(session);
        self.home.refreshing(|| {
            let session = self.session()?;
            if !due(&session) {
                return Ok(session);
            }
            if session.refresh_ends <= system::now() {
                return Err(Error::SessionOver);
            }
            let session = self.vault.update(|secrets| {
                let kept = secrets.session.as_mut().ok_or(Error::NotSignedIn)?;
                if kept.idempotency_key.is_none() {
                    kept.idempotency_key = Some(Bytes(system::random()?));
                }
                Ok(kept.clone())
            })?;
            let Some(idempotency_key) = session.idempotency_key.filter(|_| due(&session)) else { return Ok(session) };
            let refresh_token = session.refresh_token.clone();
            let request = Request::post("/v1/tokens", &TokenRequest::RefreshToken { refresh_token, idempotency_key })?;
            match self.http.json::<api::Tokens>(&request, Some(Caller { device: &self.keys.signer, token: None })) {
                Ok(tokens) => {
                    if tokens.account != self.profile.account {
                        let what = "the service gives out tokens of another account".to_owned();
                        return Err(Error::Tampered { what });
                    }
                    self.keep(&session, Session::new(tokens, system::now())?)
                }
                Err(Error::Refused { code: Code::Unauthenticated, .. }) => {
                    // Unless it is over because somebody has just signed in anew.
                    let now = self.session()?;
                    if now.refresh_token == session.refresh_token { Err(Error::SessionOver) } else { Ok(now) }
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Keeps the next tokens of a session, unless there is another one by now: no refresh undoes a sign-in. Gives what
    /// there is then.
    fn keep(&self, session: &Session, mut next: Session) -> Result<Session> {
        self.vault.update(|secrets| {
            let kept = secrets.session.as_mut().ok_or(Error::NotSignedIn)?;
            if kept.refresh_token == session.refresh_token {
                next.deleting = kept.deleting;
                *kept = next;
            }
            Ok(kept.clone())
        })
    }
}

fn is_fresh(session: &Session) -> bool {
    session.access_ends > system::now().plus(REFRESH_EARLY)
}

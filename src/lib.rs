//! The Osmynt service: a Worker that stores sealed code and signed logs, and can read neither.
//!
//! It accepts statements that devices have signed, decides by the rules of `osmynt-core` whether they may stand, keeps
//! them, and hands them out again. It has no key and links no code that decrypts. `docs/protocol.md` is its contract.
//!
//! | module | what it is |
//! |---|---|
//! | [`routes`] | the index of the API: method, path, who may call, handler |
//! | [`auth`] | who calls, by token, proof and one round trip to D1 |
//! | [`proof`] | proofs of possession (DPoP) |
//! | [`limits`] | how many requests one address or device may send |
//! | [`signin`] | handshakes, the pages in the browser, tokens |
//! | [`me`] | the caller's own account, user log and prekey |
//! | [`sessions`] | the caller's sessions, and what happened to their account |
//! | [`account`] | the whole of the caller's account: export and deletion |
//! | [`team`] | teams: the Durable Object and the routes in front of it |
//! | [`snippets`] | snippets: from the wire to R2 and back |
//! | [`db`] | every statement of SQL that D1 runs |
//! | [`sweep`] | what time has made worthless |
//! | [`crypto`] | ES256 and random bytes, by the runtime's Web Crypto |
//! | [`tokens`] | JWTs, each for one purpose |
//! | [`pages`] | the HTML that people see |
//! | [`problem`] | what goes wrong, and what of it the caller is told |
//! | [`config`] | the settings, read once and typed |

// A handler is async whether or not it waits, so that the table of routes holds handlers of one shape.
#![expect(clippy::unused_async)]

mod account;
mod auth;
mod config;
mod crypto;
mod db;
mod limits;
mod me;
mod pages;
mod problem;
mod proof;
mod routes;
mod sessions;
mod signin;
mod snippets;
mod streams;
mod sweep;
mod team;
mod tokens;

use std::panic;

use worker::{Context, Env, Request, Response, ScheduleContext, ScheduledEvent, event};

/// Has a panic reported with its stack, before the runtime starts over as `worker` makes it.
#[event(start)]
fn start() {
    let start_over = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        console_error_panic_hook::hook(info);
        start_over(info);
    }));
}

/// Answers one request. Never an error: whatever fails becomes a problem or a page.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    routes::serve(request, env).await
}

/// Tidies up.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    sweep::run(&env).await;
}

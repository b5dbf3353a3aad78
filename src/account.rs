//! All of the caller's user: export, deletion, and the erasure of a former user.
//!
//! A deletion goes through the user's teams first, each of which is changed by its Durable Object and by itself, and ends
//! with one transaction in D1. Until that one, the user is as usable as before, whatever failed; and each step does
//! again what a step before it did, or finds it done. After it the tokens are worth nothing. An erasure is the same, done by
//! the clock, for a user who may still be in teams with others.
//!
//! What the user's other devices do meanwhile:
//!
//! | race | what happens |
//! |---|---|
//! | a team is founded or joined | It is counted in `user_teams` before the team decides. If that was after the deletion had looked there, the transaction finds another count and changes nothing: the deletion looks again, and finds a member. If it is after the transaction, there is no active device any more that could join. The rest is up to the team: see [`team`](crate::team). |
//! | a snippet is shared | Only a member shares. In a team with others they are in the way of the deletion; a team without goes, and whatever reaches R2 later goes with it. An erased member's snippet that is admitted after their team was asked stays until the team goes: it was shared by a device that did not object for 14 days. |
//! | a team is left | What of it was in the way is not any more when the deletion is sent again. |
//! | somebody else joins a team that is about to be erased | The team decides by who is in it at that moment: it stays, and the deletion is refused as for any team with others. Teams that were erased before it stay erased. |
//! | a device signs in | What was confirmed before the transaction goes with the account, if that goes; what is confirmed after it makes a new account. |
//! | the user is deleted twice at once | Both do the same in the teams. The later transaction finds a stub or nobody: its request succeeds as well, or is told to come back and is `unauthenticated` then. |
//! | a device objects to an erasure | Until it is due. From then on the erasure is carried out, as often as it takes. |

use std::collections::VecDeque;

use futures_util::stream;
use osmynt_core::{AccountId, Code, DeviceId, TeamId, Time, UserId};
use serde_json::json;
use worker::{Env, Headers, Response, ResponseBuilder, console_error};

use crate::auth::{ActiveCaller, Caller};
use crate::db::{self, Belongings, Db, Due, LookedAt, Whole};
use crate::problem::Problem;
use crate::routes::Call;
use crate::team::requests::{self, Fate, Forget, Forgetting, OwnPage, Part, ReadOwn};

/// How often a deletion or erasure looks through the teams when they change meanwhile.
const ATTEMPTS: usize = 3;

/// `GET /v1/me/export`: one JSON document; `docs/export.schema.json` describes it.
///
/// What D1 has is read before the answer begins, as of one moment. What the teams have follows page by page, as fast as it
/// is read. A failure on the way cuts the document off: it is never complete and wrong.
pub(crate) async fn export(call: Call, active: ActiveCaller) -> Result<Response, Problem> {
    let ActiveCaller { caller, user } = active;
    let (parts, Belongings { teams, devices }) = Db::open(&call.env)?.export(caller.account.id, user).await?;

    let mut document = VecDeque::new();
    let mut text = format!(r#"{{"exported_at":{}"#, call.now.0);
    for db::Part { name, single, rows } in parts {
        let rows = rows.join(",");
        let (open, close) = if single { ("", "") } else { ("[", "]") };
        text.extend([",\"", name, "\":", open, &rows, close]);
    }
    text += r#","teams":["#;
    for (index, team) in teams.iter().enumerate() {
        let membership = serde_json::to_string(team)?;
        text += if index == 0 { "" } else { "," };
        text += membership.trim_end_matches('}');
        for (name, part) in [
            ("entries", Part::Entries),
            ("envelopes", Part::Envelopes),
            ("snippets", Part::Snippets),
            ("named_in", Part::Named),
        ] {
            text.extend([",\"", name, "\":["]);
            document.push_back(Piece::Text(std::mem::take(&mut text)));
            document.push_back(Piece::Page { team: team.team, part, from: 0, first: true });
            text += "]";
        }
        text += "}";
    }
    text += "]}\n";
    document.push_back(Piece::Text(text));

    let writer = Writer { env: call.env, user, devices, rest: document };
    let body = stream::try_unfold(writer, |mut writer| async move {
        let next = writer.next().await.map_err(|problem| {
            console_error!("{}", json!({ "export": "broken off", "internal": problem.internal }));
            worker::Error::RustError("the export broke off".to_owned())
        });
        Ok::<_, worker::Error>(next?.map(|text| (text.into_bytes(), writer)))
    });
    let headers = Headers::new();
    headers.set("Content-Type", "application/json")?;
    Ok(ResponseBuilder::new().with_headers(headers).from_stream(body)?)
}

/// What remains to be written of an export.
struct Writer {
    env: Env,
    user: UserId,
    devices: Vec<DeviceId>,
    rest: VecDeque<Piece>,
}

enum Piece {
    Text(String),
    /// A page of what a team has, to be asked for when it is its turn.
    Page {
        team: TeamId,
        part: Part,
        from: u64,
        first: bool,
    },
}

impl Writer {
    async fn next(&mut self) -> Result<Option<String>, Problem> {
        let (team, part, from, first) = match self.rest.pop_front() {
            None => return Ok(None),
            Some(Piece::Text(text)) => return Ok(Some(text)),
            Some(Piece::Page { team, part, from, first }) => (team, part, from, first),
        };
        let asked = ReadOwn { user: self.user, part, devices: self.devices.clone(), from };
        let OwnPage { items, next } = requests::ask(&self.env, team, &asked).await?;
        let follows = first || items.is_empty();
        if let Some(from) = next {
            self.rest.push_front(Piece::Page { team, part, from, first: first && items.is_empty() });
        }
        Ok(Some(if follows { items.join(",") } else { format!(",{}", items.join(",")) }))
    }
}

/// `DELETE /v1/me`
///
/// 1. By an active device. By one that is in no log only if the account has no user (`forbidden`): then the account goes.
/// 2. Nothing is changed while the user is in a team with others, or waits to be confirmed in one (`conflict`).
/// 3. Each team lets go of the user, or goes itself.
/// 4. D1 forgets the user, and with their last one the account, unless their teams have changed meanwhile: then from 2 on
///    again, a few times (`unavailable`).
pub(crate) async fn delete(call: Call, caller: Caller) -> Result<Response, Problem> {
    let db = Db::open(&call.env)?;
    // 1
    let Some((user, _)) = caller.user else {
        if db.end_account(caller.account.id).await? {
            return Ok(Response::empty()?.with_status(204));
        }
        let detail = "This device is in no user log, and the account has a user. Delete that user from one of their \
                      devices.";
        return Err(Problem::new(Code::Forbidden, detail));
    };
    // 2, 3 and 4
    if end(&call.env, caller.account.id, user, Whole::Deleted).await? {
        return Ok(Response::empty()?.with_status(204));
    }
    let detail = "Another device of yours is changing your teams. Delete the user again in a moment.";
    Err(Problem::unavailable(detail, "the teams changed during a deletion"))
}

/// Erases a former user whose time has come. May be called again until it succeeds.
pub(crate) async fn erase(env: &Env, due: &Due, now: Time) -> Result<(), Problem> {
    if end(env, due.account, due.user, Whole::Erased(now)).await? {
        Ok(())
    } else {
        Err(Problem::internal("the teams changed during an erasure"))
    }
}

/// Takes a user out of all that is kept. False if their teams keep changing meanwhile.
async fn end(env: &Env, account: AccountId, user: UserId, whole: Whole) -> Result<bool, Problem> {
    let db = Db::open(env)?;
    let rounds: &[Forgetting] = match whole {
        // What would be refused by one team is found out before any is changed.
        Whole::Deleted => &[Forgetting::LookOnly, Forgetting::Deleted],
        Whole::Erased(_) => &[Forgetting::Erased],
    };
    for _ in 0..ATTEMPTS {
        let Belongings { teams, devices } = db.belongings(user).await?;
        let mut looked_at = LookedAt::default();
        looked_at.teams.extend(teams.iter().map(|belonging| (belonging.team, belonging.joins)));
        for how in rounds {
            for belonging in &teams {
                let asked = Forget { user, devices: devices.clone(), how: *how };
                match requests::ask(env, belonging.team, &asked).await? {
                    _ if matches!(how, Forgetting::LookOnly) => {}
                    Fate::Erased => looked_at.erased.push(belonging.team),
                    Fate::Stranger => looked_at.strange.push(belonging.team),
                    Fate::Named => {}
                }
            }
        }
        if db.end_user(account, user, &looked_at, whole).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

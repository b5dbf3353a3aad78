//! The whole of the caller's account: export and deletion.
//!
//! A deletion goes through the user's teams first, each of which is changed by its Durable Object and by itself, and ends
//! with one transaction in D1. Until that one, the account is as usable as before, whatever failed; and each step does
//! again what a step before it did, or finds it done. After it the tokens are worth nothing.
//!
//! What the user's other devices do meanwhile:
//!
//! | race | what happens |
//! |---|---|
//! | a team is founded or joined | It is counted in `user_teams` before the team decides. If that was after the deletion had looked there, the transaction finds another count and changes nothing: the deletion looks again, and finds a member. If it is after the transaction, there is no device any more that could join. The rest is up to the team: see [`team`](crate::team). |
//! | a snippet is shared | Only a member shares. In a team with others they are in the way of the deletion; a team without goes, and whatever reaches R2 later goes with it. |
//! | a team is left | What of it was in the way is not any more when the deletion is sent again. |
//! | somebody else joins a team that is about to be erased | The team decides by who is in it at that moment: it stays, and the deletion is refused as for any team with others. Teams that were erased before it stay erased. |
//! | a device signs in | What was confirmed before the transaction goes with it; what is confirmed after it makes a new user. |
//! | the account is deleted twice at once | Both do the same in the teams. The later transaction finds a stub or nobody: its request succeeds as well, or is told to come back and is `unauthenticated` then. |

use std::collections::VecDeque;

use futures_util::stream;
use osmynt_core::{Code, DeviceId, TeamId};
use serde_json::json;
use worker::{Env, Headers, Response, ResponseBuilder, console_error};

use crate::auth::Caller;
use crate::db::{Belongings, Db, LookedAt};
use crate::problem::Problem;
use crate::routes::Call;
use crate::team::requests::{self, Asker, Fate, Forget, OwnPage, Part, ReadOwn};

/// How often a deletion looks through the teams when they change meanwhile.
const ATTEMPTS: usize = 3;

/// `GET /v1/me/export`: one JSON document, `docs/export.schema.json` describes it.
///
/// What D1 has is read before the answer begins, as of one moment. What the teams have follows page by page, as fast as it
/// is read. A failure on the way cuts the document off: it is never complete and wrong.
pub(crate) async fn export(call: Call, caller: Caller) -> Result<Response, Problem> {
    let (parts, Belongings { teams, devices }) = Db::open(&call.env)?.export(caller.user).await?;

    let mut document = VecDeque::new();
    let mut text = format!(r#"{{"exported_at":"{}""#, call.now);
    for (part, rows) in parts {
        let rows = rows.join(",");
        // There is one account, and any number of everything else.
        let (open, close) = if part == "account" { ("", "") } else { ("[", "]") };
        text.extend([",\"", part, "\":", open, &rows, close]);
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

    let writer = Writer { env: call.env, asker: caller.asker()?, devices, rest: document };
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
    asker: Asker,
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
        let asked = ReadOwn { asker: self.asker, part, devices: self.devices.clone(), from };
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
/// 1. By an active device, or by one whose user has no log yet (`forbidden`).
/// 2. Nothing is changed while the user is in a team with others (`conflict`).
/// 3. Each team lets go of the user, or goes itself.
/// 4. D1 forgets the account, unless its teams have changed meanwhile: then from 2 on again, a few times (`unavailable`).
pub(crate) async fn delete(call: Call, caller: Caller) -> Result<Response, Problem> {
    // 1
    if !caller.active && caller.log.is_some() {
        let detail = "This device is not in your user log. Delete the account from one that is, or start over with this \
                      one, then delete the account.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let db = Db::open(&call.env)?;
    for _ in 0..ATTEMPTS {
        let Belongings { teams, devices } = db.belongings(caller.user).await?;
        let mut looked_at = LookedAt::default();
        // 2 and 3
        for dry in [true, false] {
            for belonging in &teams {
                let asked = Forget { asker: caller.asker()?, devices: devices.clone(), dry };
                let fate = requests::ask(&call.env, belonging.team, &asked).await?;
                match fate {
                    _ if dry => looked_at.teams.push((belonging.team, belonging.joins)),
                    Fate::Erased => looked_at.erased.push(belonging.team),
                    Fate::Stranger => looked_at.strange.push(belonging.team),
                    Fate::Named => {}
                }
            }
        }
        // 4
        if db.delete_account(caller.user, &looked_at).await? {
            return Ok(Response::empty()?.with_status(204));
        }
    }
    let detail = "Another device of yours is changing your teams. Delete the account again in a moment.";
    Err(Problem::unavailable(detail, "the teams changed during a deletion"))
}

//! What the Worker asks of a team's Durable Object: a typed request and answer for each operation, and the one place that
//! knows how the object is named and reached.
//!
//! Only the Worker reaches the object, and it authenticates first. So a request states as facts what the Worker has
//! established: who asks ([`Asker`]), and what D1 and R2 said a moment ago. What the object decides, it decides from
//! these, its own state, and the statements.

use osmynt_core::{Code, DeviceId, Envelope, PublicKey, Refusal, SnippetId, TeamId, Time, UserId, api};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::{Env, Method, Request, RequestInit, Response, ResponseBody};

use crate::problem::Problem;

/// The binding of wrangler.toml under which the objects are reached.
const TEAMS: &str = "TEAMS";

/// Something that can be asked of a team.
pub(crate) trait Operation: Serialize + DeserializeOwned {
    /// What it is called in the object's routes.
    const NAME: &'static str;
    /// What comes back, if it is not refused.
    type Answer: Serialize + DeserializeOwned;
}

/// Who asks: the device of an open session, and the user in whose log it is active.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Asker {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
}

macro_rules! operation {
    ($($(#[$doc:meta])* $name:ident($path:literal) -> $answer:ty { $($(#[$field:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $name { $($(#[$field])* pub(crate) $member: $type,)* }

        impl Operation for $name {
            const NAME: &'static str = $path;
            type Answer = $answer;
        }
    )*};
}

operation! {
    /// Appends a commit to the log, or founds the team with it.
    Commit("commit") -> api::Committed {
        /// Who asks.
        asker: Asker,
        /// The asker's signing key, which every entry must be signed with.
        key: PublicKey,
        /// Whether this is to be the log's beginning.
        founding: bool,
        /// The entries and envelopes.
        changes: api::Commit,
    }

    /// Reads a page of the log.
    ReadLog("log") -> api::TeamLog {
        /// Who asks.
        asker: Asker,
        /// The header `Osmynt-Invite`: an `osmynt-invite+jws`, for those who are neither members nor pending.
        invite: Option<String>,
        /// Position of the first entry wanted.
        from: u64,
    }

    /// Reads who is or ever was a member or pending.
    ReadEveryone("everyone") -> Everyone {
        /// Who asks.
        asker: Asker,
        /// As in [`ReadLog`].
        invite: Option<String>,
        /// Where the last page ended.
        after: Option<UserId>,
    }

    /// Reads the team keys sealed to the asker's device.
    ReadEnvelopes("envelopes") -> api::MyEnvelopes {
        /// Who asks.
        asker: Asker,
        /// The first epoch wanted.
        from: u64,
    }

    /// Decides on a snippet whose ciphertext is in R2 by now.
    Admit("admit") -> Admitted {
        /// Who asks.
        asker: Asker,
        /// The `osmynt-snippet+jws`, which the Worker has verified.
        statement: String,
        /// The envelopes that came with it, whose hash the statement signs.
        envelopes: Vec<Envelope>,
        /// The members' user-log heads: a JSON array of [`UserHead`](osmynt_core::teamlog::UserHead), as D1 made it when the
        /// caller was authenticated.
        heads: String,
        /// Whether this very request created the object in R2. If not, it was there.
        created: bool,
    }

    /// Reads a snippet, but for its ciphertext.
    Find("find") -> Found {
        /// Who asks.
        asker: Asker,
        /// Which.
        snippet: SnippetId,
    }

    /// Deletes a snippet.
    Delete("delete") -> () {
        /// Who asks.
        asker: Asker,
        /// Which.
        snippet: SnippetId,
    }

    /// Lists snippets, newest first.
    List("list") -> api::SnippetPage {
        /// Who asks.
        asker: Asker,
        /// The position in the index where the last page ended; one after all if there was none.
        before: u64,
        /// How many at most.
        limit: usize,
    }

    /// Deletes the team with all that is in it, for an owner (`forbidden`).
    Disband("disband") -> () {
        /// Who asks.
        asker: Asker,
    }

    /// Reads a page of what the team keeps of a user, member or not.
    ReadOwn("own") -> OwnPage {
        /// Of whom.
        user: UserId,
        /// What of it.
        part: Part,
        /// Every device that is or was theirs.
        devices: Vec<DeviceId>,
        /// Where the last page ended.
        from: u64,
    }

    /// Forgets a user who is about to be deleted (`conflict` while they are in the team with others) or erased.
    Forget("forget") -> Fate {
        /// Whom.
        user: UserId,
        /// Every device that is or was theirs.
        devices: Vec<DeviceId>,
        /// How far.
        how: Forgetting,
    }
}

/// How far a user is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Forgetting {
    /// Only say what deleting them would come to.
    LookOnly,
    /// They are deleted.
    Deleted,
    /// They are erased: where others are in the team they stay in it.
    Erased,
}

/// What a team keeps of a user.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The log's entries that are by them or about them.
    Entries,
    /// The team keys sealed to their devices.
    Envelopes,
    /// The snippets that are theirs.
    Snippets,
    /// The ids of the snippets that name them as a reader.
    Named,
}

/// The answer to [`ReadOwn`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct OwnPage {
    /// JSON, each.
    pub(crate) items: Vec<String>,
    /// What to ask for next (`from`), if there is more.
    pub(crate) next: Option<u64>,
}

/// The answer to [`Forget`]: what became of the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Nobody else was in it, so it is no more.
    Erased,
    /// It goes on, and names the user in its log.
    Named,
    /// The user never was in it.
    Stranger,
}

/// The answer to [`ReadEveryone`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Everyone {
    /// Ascending.
    pub(crate) users: Vec<UserId>,
    /// What to ask for next (`after`), if there is more.
    pub(crate) next: Option<UserId>,
}

/// The answer to [`Admit`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Admitted {
    pub(crate) received_at: Time,
    /// Whether it was not there before.
    pub(crate) first: bool,
}

/// The answer to [`Find`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The `osmynt-snippet+jws`.
    pub(crate) statement: String,
    /// Those of its envelopes that are for the asker's user.
    pub(crate) envelopes: Vec<Envelope>,
    /// When it was admitted.
    pub(crate) received_at: Time,
}

/// Asks a team and reads the answer.
pub(crate) async fn ask<O: Operation>(env: &Env, team: TeamId, operation: &O) -> Result<O::Answer, Problem> {
    let mut response = send(env, team, operation).await?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

/// Asks a team and hands on the body of its answer unread, where that is the body of ours.
pub(crate) async fn forward<O: Operation>(env: &Env, team: TeamId, operation: &O) -> Result<ResponseBody, Problem> {
    let (_, body) = send(env, team, operation).await?.into_parts();
    Ok(body)
}

/// The object's side of [`send`]: the body of a request for `O`, typed.
pub(crate) async fn receive<O: Operation>(request: &mut Request) -> Result<O, Problem> {
    Ok(serde_json::from_slice(&request.bytes().await?)?)
}

/// The object's side of [`send`]: the answer.
pub(crate) fn reply<O: Operation>(outcome: &Result<O::Answer, Problem>) -> worker::Result<Response> {
    match outcome {
        Ok(answer) => Response::from_json(answer),
        Err(problem) => problem.response(),
    }
}

async fn send<O: Operation>(env: &Env, team: TeamId, operation: &O) -> Result<Response, Problem> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(operation)?)));
    let request = Request::new_with_init(&format!("https://team/{}", O::NAME), &init)?;
    let object = env.durable_object(TEAMS)?.get_by_name(&team.to_string())?;
    // The object was moved, restarted or has too much to do.
    let unreachable =
        |_| Problem::unavailable("The team is not reachable right now. Retry.", "the object could not be reached");
    let mut response = object.fetch_with_request(request).await.map_err(unreachable)?;
    if response.status_code() == 200 {
        return Ok(response);
    }
    let refused: api::Problem = serde_json::from_slice(&response.bytes().await?)?;
    let code = Code::from_name(&refused.code).unwrap_or(Code::Internal);
    // The object has written to the log what it had to say there.
    Err(Refusal::new(code, refused.detail).into())
}

//! What happens by the clock: rows that time has made worthless are removed, and erasures that are due are carried out.

use worker::{Env, console_error, console_log};

use crate::account;
use crate::db::Db;
use crate::problem::Problem;
use crate::routes::now;

/// Called by the schedule in wrangler.toml.
pub(crate) async fn run(env: &Env) {
    let now = now();
    report("rows", async { Db::open(env)?.sweep(now).await }.await);
    match async { Db::open(env)?.due_erasures(now).await }.await {
        // One that fails stays due, and is not in the way of the others.
        Ok(due) => {
            for erasure in due {
                report("erasure", account::erase(env, &erasure, now).await);
            }
        }
        Err(problem) => report("erasures", Err(problem)),
    }
}

fn report(what: &str, outcome: Result<(), Problem>) {
    match outcome {
        Ok(()) => console_log!("{}", serde_json::json!({ "sweep": what, "outcome": "done" })),
        Err(problem) => {
            let internal = problem.internal.as_deref().unwrap_or(&problem.refusal.detail);
            console_error!("{}", serde_json::json!({ "sweep": what, "outcome": "failed", "internal": internal }));
        }
    }
}

//! What happens by the clock: rows that time has made worthless are removed.

use osmynt_core::Time;
use worker::{Date, Env, console_error, console_log};

use crate::db::Db;

/// Called by the schedule in wrangler.toml.
pub(crate) async fn run(env: &Env) {
    let now = Time(Date::now().as_millis() / 1000);
    let outcome = async { Db::open(env)?.sweep(now).await }.await;
    match outcome {
        Ok(()) => console_log!("{}", serde_json::json!({ "sweep": "done" })),
        Err(problem) => console_error!("{}", serde_json::json!({ "sweep": "failed", "internal": problem.internal })),
    }
}

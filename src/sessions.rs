//! The caller's sessions, and what happened to their account.
use worker::Response;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::routes::Call;

pub(crate) async fn list(_call: Call, _caller: Caller) -> Result<Response, Problem> { Err(Problem::not_found()) }
pub(crate) async fn end_all(_call: Call, _caller: Caller) -> Result<Response, Problem> { Err(Problem::not_found()) }
pub(crate) async fn end(_call: Call, _caller: Caller) -> Result<Response, Problem> { Err(Problem::not_found()) }
pub(crate) async fn events(_call: Call, _caller: Caller) -> Result<Response, Problem> { Err(Problem::not_found()) }

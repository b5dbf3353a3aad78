//! The whole of the caller's account: export and deletion.

use worker::Response;

use crate::auth::Caller;
use crate::problem::Problem;
use crate::routes::Call;

/// `GET /v1/me/export`
pub(crate) async fn export(_call: Call, _caller: Caller) -> Result<Response, Problem> {
    Err(Problem::not_found())
}

/// `DELETE /v1/me`
pub(crate) async fn delete(_call: Call, _caller: Caller) -> Result<Response, Problem> {
    Err(Problem::not_found())
}

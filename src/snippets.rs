//! Snippets: from the wire to R2 and back. (Placeholders; every one of them refuses.)

use worker::Response;

use crate::auth::Member;
use crate::problem::Problem;
use crate::routes::Call;

pub(crate) async fn list(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn share(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn open(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn delete(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}

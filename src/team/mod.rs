//! Teams: the routes in front of the Durable Object. (Placeholders; every one of them refuses.)

use worker::Response;

use crate::auth::{Caller, Member, Visitor};
use crate::problem::Problem;
use crate::routes::Call;

pub(crate) async fn list(_call: Call, _caller: Caller) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn create(_call: Call, _caller: Caller) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn show(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn log(_call: Call, _visitor: Visitor) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn commit(_call: Call, _visitor: Visitor) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn directory(_call: Call, _visitor: Visitor) -> Result<Response, Problem> {
    Err(Problem::not_found())
}
pub(crate) async fn envelopes(_call: Call, _member: Member) -> Result<Response, Problem> {
    Err(Problem::not_found())
}

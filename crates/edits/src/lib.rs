//! What turns shared code into changes of the recipient's own files, for every client alike: which lines are shared and
//! what they replace ([`lines`]), what a patch would touch ([`Patch`]), where a path may lead ([`RepoPath`]), and what is
//! to be done with a file ([`plan()`]).
//!
//! Everything here is a function of bytes: no disk, no git, no clock. Whoever uses it reads and writes the files, and
//! merges.

pub mod lines;
mod patch;
mod path;
mod plan;

pub use patch::{Patch, Refused, looks_like_one};
pub use path::{RepoPath, Unsafe, is_git_folder};
pub use plan::{Plan, Why, plan};

//! The team log (sections 4 to 7): who is a member, what they may do, which epoch is current, and which snippets
//! may be shared under it.
//!
//! | where | what |
//! |---|---|
//! | [`events`] | what entries say |
//! | [`state`] | the rules, entry by entry: what every client checks |
//! | [`admission`] | what the service checks besides, of whole commits and of snippets |
//!
//! [`TeamState`] is the whole rule set, as a function of (state, entry, time). The team's Durable Object calls
//! [`TeamState::commit`] to decide what to take; a client calls [`TeamState::found`] and [`TeamState::apply`] on every
//! entry that the service shows it, and [`TeamState::settled`] at the end. Both come to the same state.

pub mod admission;
pub mod events;
pub mod state;

pub use admission::{check_sealed_keys, check_snippet};
pub use events::{Joining, Policy, Role, Rotation, TeamEvent, UserHead};
pub use state::{CommitEntry, Directory, Epoch, Invite, Member, Pending, TeamState};

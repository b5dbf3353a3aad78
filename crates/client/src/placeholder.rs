//! Stand-ins for types of `osmynt-core` until it has them; they go when it does.
#![allow(missing_docs)]
use std::{fmt, str::FromStr};
macro_rules! id {
    ($($name:ident),*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", self.0) }
        }
        impl FromStr for $name { type Err = (); fn from_str(_: &str) -> Result<Self, ()> { Err(()) } }
    )*};
}
id!(TeamId, UserId, SnippetId, DeviceId, InviteId);
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);
impl Time {
    pub fn rfc3339(self) -> String {
        self.0.to_string()
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Owner,
    Admin,
    Member,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Code,
    Diff,
    File,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    pub from: u64,
    pub to: u64,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub blob: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub size: u64,
    pub title: Option<String>,
    pub language: Option<String>,
    pub path: Option<String>,
    pub repository: Option<String>,
    pub lines: Option<Lines>,
    pub base: Option<Base>,
}

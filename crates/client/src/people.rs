//! Names of people: what their own devices signed, what is odd about it, and choosing somebody.
//!
//! A name is shown only if the verified user log commits to it. It is pinned for each user, so that a change is noticed; and
//! nobody is chosen by a name of which there is something odd to say ([`Doubt`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use osmynt_core::UserId;
use osmynt_core::teamlog::TeamState;

use crate::logs::People;
use crate::{Error, Result};

/// A user id may be shortened to this many characters: 96 bits. Anybody can make user ids until one begins as they like, which
/// takes an evening for 8 characters.
pub const USER_ID_CHARS: usize = 16;

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user id: the one thing that is theirs for certain.
    pub user: UserId,
    /// The login that their own device signed. With [`Doubt::Unopened`], the one that was verified last, if any was.
    pub login: Option<String>,
    /// What is odd about the name, to be said wherever it is shown.
    pub doubt: Option<Doubt>,
}

/// What is odd about somebody's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// This home knows them by another one.
    Changed {
        /// By which login. The same, if it is that of another account at the identity provider.
        before: String,
    },
    /// Somebody else has it or had it: another member of the team, somebody who waits to be one, or somebody whom this home
    /// knew by it before, in any team.
    Shared,
    /// The service shows no name that their device has signed.
    Unopened,
}

/// Who was known in this home first by which login, in lower case, in any team: whoever takes over an account at the identity
/// provider has its login, and is another user.
pub(crate) type Logins = BTreeMap<String, UserId>;

/// A login as it is compared.
pub(crate) fn lower(login: &str) -> String {
    login.to_ascii_lowercase()
}

/// The names of a team's people.
pub(crate) struct Names<'a> {
    people: &'a People,
    me: Option<UserId>,
    /// Who of the members, and of those who wait to be, has or had which login, in lower case.
    bearers: BTreeMap<String, BTreeSet<UserId>>,
    first: Logins,
    /// Members and pending users whose name the service does not show, and for whom this home has pinned none.
    nameless: Vec<UserId>,
}

/// Whether anybody in the team except the caller is [`Names::nameless`].
pub(crate) fn has_nameless(state: &TeamState, people: &People, me: Option<UserId>) -> bool {
    nameless(state, people, me).next().is_some()
}

fn nameless(state: &TeamState, people: &People, me: Option<UserId>) -> impl Iterator<Item = UserId> {
    let unknown = move |user: &UserId| {
        let known = people.user(*user);
        me != Some(*user) && known.is_none_or(|known| known.name().is_none() && known.pinned_name().is_none())
    };
    present(state).filter(unknown)
}

/// The members and pending users.
fn present(state: &TeamState) -> impl Iterator<Item = UserId> {
    let waiting = state.pending(state.received_at()).map(|(user, _)| user);
    state.members().keys().copied().chain(waiting)
}

impl<'a> Names<'a> {
    /// Among the people of a team. `me` is who is told: nothing about their own name is new to them.
    pub(crate) fn new(state: &TeamState, people: &'a People, me: Option<UserId>, first: Logins) -> Self {
        let mut bearers: BTreeMap<String, BTreeSet<UserId>> = BTreeMap::new();
        for user in present(state) {
            let Some(known) = people.user(user) else { continue };
            for name in known.name().into_iter().chain(known.pinned_name()) {
                bearers.entry(lower(&name.login)).or_default().insert(user);
            }
        }
        let nameless = nameless(state, people, me).collect();
        Self { people, me, bearers, first, nameless }
    }

    /// Whether the person's login cannot be a withheld one: nothing is withheld, or this home had pinned it before.
    fn is_certain(&self, person: &Person) -> bool {
        self.nameless.is_empty() || self.people.user(person.user).is_some_and(|known| known.pinned_name().is_some())
    }

    pub(crate) fn person(&self, user: UserId) -> Person {
        let known = self.people.user(user);
        let pinned = known.and_then(|known| known.pinned_name());
        let Some(name) = known.and_then(|known| known.name()) else {
            return Person { user, login: pinned.map(|name| name.login.clone()), doubt: Some(Doubt::Unopened) };
        };
        let login = lower(&name.login);
        let bearers = self.bearers.get(&login);
        let shared = bearers.is_some_and(|bearers| bearers.iter().any(|bearer| *bearer != user))
            || self.me != Some(user) && self.first.get(&login).is_some_and(|first| *first != user);
        let before = pinned.filter(|before| (before.id, &before.login) != (name.id, &name.login));
        let doubt = match before {
            _ if shared => Some(Doubt::Shared),
            Some(before) if self.me != Some(user) => Some(Doubt::Changed { before: before.login.clone() }),
            _ => None,
        };
        Person { user, login: Some(name.login.clone()), doubt }
    }

    /// The one of `among` that is meant: by user id, whole or its beginning (16 characters or more), or by a login, with or
    /// without `@`.
    ///
    /// [`Error::NotFound`], [`Error::Ambiguous`]; [`Error::Doubtful`] for a login that may be somebody else's, also while
    /// the service withholds a name.
    pub(crate) fn choose(&self, among: impl IntoIterator<Item = UserId>, selector: &str) -> Result<Person> {
        let login = selector.strip_prefix('@').unwrap_or(selector);
        let mut by_id = Vec::new();
        let mut by_login = Vec::new();
        for user in among {
            let known = self.people.user(user);
            let names = known.into_iter().flat_map(|known| known.name().into_iter().chain(known.pinned_name()));
            if is_id(user, selector) {
                by_id.push(self.person(user));
            } else if names.into_iter().any(|name| name.login.eq_ignore_ascii_case(login)) {
                by_login.push(self.person(user));
            }
        }
        match (by_id.as_slice(), by_login.as_slice()) {
            ([], []) => Err(Error::NotFound { what: "member", selector: selector.to_owned() }),
            ([only], []) => Ok(only.clone()),
            ([], [only]) if only.doubt.is_none() && self.is_certain(only) => Ok(only.clone()),
            ([], doubtful) if doubtful.iter().any(|person| person.doubt.is_some() || !self.is_certain(person)) => {
                let nameless = self.nameless.iter().map(|user| self.person(*user));
                Err(Error::Doubtful {
                    selector: selector.to_owned(),
                    people: doubtful.iter().cloned().chain(nameless).map(|person| person.to_string()).collect(),
                })
            }
            _ => Err(Error::Ambiguous {
                what: "member",
                selector: selector.to_owned(),
                candidates: by_id.iter().chain(&by_login).map(Person::to_string).collect(),
            }),
        }
    }
}

/// Whether a selector is a user's id or the beginning of it.
pub(crate) fn is_id(user: UserId, selector: &str) -> bool {
    selector.len() >= USER_ID_CHARS && user.to_string().starts_with(selector)
}

impl Doubt {
    /// For programs: `changed`, `shared` or `unopened`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::Shared => "shared",
            Self::Unopened => "unopened",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { before } => write!(f, "the name has changed; before it was @{before}"),
            Self::Shared => f.write_str("somebody else has or had this name"),
            Self::Unopened => f.write_str("the service shows no name that they have signed"),
        }
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.login, &self.doubt) {
            (Some(login), None) => write!(f, "@{login} ({})", self.user),
            (Some(login), Some(doubt)) => write!(f, "{} (\"@{login}\": {doubt})", self.user),
            (None, Some(doubt)) => write!(f, "{} ({doubt})", self.user),
            (None, None) => write!(f, "{}", self.user),
        }
    }
}

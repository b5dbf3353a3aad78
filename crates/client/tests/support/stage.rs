//! A service on this machine that has teams, people and snippets, and shows them as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use osmynt_client::{Client, SnippetId, TeamId, Time, UserId};
use osmynt_core::api::{
    Account, Commit, Committed, DirectoryPage, EpochEnvelope, Erasure, ListedSnippet, LoggedEntry, Me, MyDevice,
    MyEnvelopes, MyLog, MyTeam, MyTeams, OtherUser, SnippetPage, SnippetStored, TeamLog,
};
use osmynt_core::snippet::Container;
use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::TeamEvent;
use osmynt_core::{Code, Envelope, Head, Unverified};
use serde::Serialize;

use super::home::{ADA, Folder, LATER};
use super::service::{Received, Service, done, ok, problem};
use super::{Human, World, hash_of};

/// What the service shows. The first human is the caller.
pub struct Shown {
    pub humans: Vec<Human>,
    pub teams: Vec<MyTeam>,
    pub logs: BTreeMap<TeamId, Vec<LoggedEntry>>,
    pub envelopes: BTreeMap<(TeamId, u64), Vec<Envelope>>,
    pub snippets: Vec<Stored>,
    pub erasures: Vec<Erasure>,
    pub other: Option<OtherUser>,
    /// In whose log it says that the caller's device is.
    pub user: Option<UserId>,
    /// Answers that it gives in the place of its own, by the beginning of the path.
    pub instead: Vec<(String, String)>,
    /// Teams that it shows as they are here once it has answered a request of this method and path.
    pub after: Vec<(&'static str, String, World)>,
}

/// A snippet at the service.
#[derive(Clone)]
pub struct Stored {
    pub team: TeamId,
    pub snippet: SnippetId,
    pub bytes: Vec<u8>,
    pub received_at: Time,
}

/// The service, and Ada's home.
pub struct Stage {
    pub shown: Arc<Mutex<Shown>>,
    pub service: Service,
    pub home: Folder,
}

impl Stage {
    /// With these people, of whom the first is Ada, and these teams, all of which are hers.
    pub fn new(name: &str, humans: &[&Human], worlds: &[&World]) -> Self {
        let mut shown = Shown {
            humans: humans.iter().copied().cloned().collect(),
            teams: Vec::new(),
            logs: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            snippets: Vec::new(),
            erasures: Vec::new(),
            other: None,
            user: humans.first().map(|human| human.user),
            instead: Vec::new(),
            after: Vec::new(),
        };
        for world in worlds {
            shown.show(world);
        }
        let shown = Arc::new(Mutex::new(shown));
        let answering = Arc::clone(&shown);
        let service = Service::start(move |request| {
            let mut shown = answering.lock().unwrap();
            let answer = shown.answer(request);
            shown.come_to_light(request);
            answer
        });
        let home = Folder::signed_in(name, &service, LATER);
        Self { shown, service, home }
    }

    pub fn client(&self) -> Client {
        self.home.client()
    }

    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }
}

impl Shown {
    /// Shows a team as it is now.
    pub fn show(&mut self, world: &World) {
        self.teams.retain(|team| team.team != world.team);
        self.teams.push(MyTeam { team: world.team, pending: false });
        self.teams.sort_unstable_by_key(|team| team.team);
        self.logs.insert(world.team, world.log.clone());
        for (epoch, envelopes) in &world.envelopes {
            self.envelopes.insert((world.team, *epoch), envelopes.clone());
        }
    }

    /// Replaces what is known of somebody.
    pub fn replace(&mut self, human: &Human) {
        self.humans.retain(|known| known.user != human.user);
        self.humans.push(human.clone());
    }

    /// Takes a snippet from somebody.
    pub fn take(&mut self, world: &World, (snippet, bytes): (SnippetId, Vec<u8>)) {
        self.snippets.insert(0, Stored { team: world.team, snippet, bytes, received_at: world.now });
    }

    pub fn answer(&mut self, request: &Received) -> Vec<u8> {
        if let Some((_, answer)) = self.instead.iter().find(|(path, _)| request.path.starts_with(path)) {
            return answer.clone().into_bytes();
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let from = query.strip_prefix("from=").map_or(0, |from| from.parse::<usize>().unwrap());
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let team = |id: &str| id.parse::<TeamId>().unwrap();
        let text = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["me"]) => json(&self.me()),
            ("GET", ["me", "log"]) => json(&self.my_log(from)),
            ("PUT", ["me", "prekey"]) | ("DELETE", _) => done(),
            ("GET", ["teams"]) => json(&MyTeams { teams: self.teams.clone() }),
            ("GET", ["teams", id, "log"]) => {
                let log = &self.logs[&team(id)];
                let entries = log.iter().skip(from).take(100).cloned().collect();
                json(&TeamLog { entries, head: head(log) })
            }
            ("GET", ["teams", _, "directory"]) => {
                let mut users: Vec<_> = self.humans.iter().map(Human::listed).collect();
                users.sort_unstable_by_key(|user| user.user);
                json(&DirectoryPage { users, next: None })
            }
            ("GET", ["teams", id, "envelopes"]) => json(&self.envelopes(team(id), from as u64)),
            ("GET", ["teams", id, "snippets"]) => {
                let of_team = self.snippets.iter().filter(|stored| stored.team == team(id));
                json(&SnippetPage { snippets: of_team.map(listed).collect(), next: None })
            }
            ("GET", ["teams", id, "snippets", snippet]) => return self.snippet(team(id), snippet.parse().unwrap()),
            ("PUT", ["teams", id, "snippets", snippet]) => {
                let (team, snippet, received_at) = (team(id), snippet.parse().unwrap(), now());
                self.snippets.insert(0, Stored { team, snippet, bytes: request.bytes.clone(), received_at });
                json(&SnippetStored { snippet, received_at })
            }
            ("POST", ["teams", id, "commits"]) => {
                json(&self.commit(team(id), serde_json::from_str(&request.body).unwrap()))
            }
            _ => problem(Code::NotFound),
        };
        text.into_bytes()
    }

    fn come_to_light(&mut self, request: &Received) {
        let due = |(method, path, _): &(&str, String, World)| request.method == *method && request.path == *path;
        if let Some(index) = self.after.iter().position(due) {
            let (_, _, world) = self.after.remove(index);
            self.show(&world);
        }
    }

    fn me(&self) -> Me {
        Me {
            account: Account {
                id: ADA.parse().unwrap(),
                github_id: 1,
                login: "human-1".to_owned(),
                name: None,
                avatar_url: None,
            },
            device: MyDevice { id: Human::new(1).device(), user: self.user, active: self.user.is_some() },
            head: None,
            other: self.other.clone(),
            erasures: self.erasures.clone(),
        }
    }

    fn my_log(&self, from: usize) -> MyLog {
        let me = self.humans.iter().find(|human| Some(human.user) == self.user).unwrap();
        let entries = me.log.iter().skip(from).cloned().collect();
        MyLog { entries, head: Some(head(&me.log)), name: me.name.clone(), prekeys: me.prekeys.clone() }
    }

    fn envelopes(&self, team: TeamId, from: u64) -> MyEnvelopes {
        let mine = Human::new(1).device();
        let all = self.envelopes.range((team, from)..=(team, u64::MAX));
        let envelopes = all.filter_map(|((_, epoch), envelopes)| {
            let envelope = envelopes.iter().find(|envelope| envelope.device == mine)?.clone();
            Some(EpochEnvelope { epoch: *epoch, envelope })
        });
        MyEnvelopes { envelopes: envelopes.collect(), next: None }
    }

    fn snippet(&self, team: TeamId, id: SnippetId) -> Vec<u8> {
        let Some(stored) = self.snippets.iter().find(|stored| (stored.team, stored.snippet) == (team, id)) else {
            return problem(Code::NotFound).into_bytes();
        };
        let (length, received_at) = (stored.bytes.len(), stored.received_at.0);
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nOsmynt-Received-At: {received_at}\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), &stored.bytes].concat()
    }

    fn commit(&mut self, team: TeamId, commit: Commit) -> Committed {
        let log = self.logs.get_mut(&team).unwrap();
        let received_at = now();
        log.extend(commit.entries.into_iter().map(|jws| LoggedEntry { jws, received_at }));
        let mut epochs = log.iter().filter_map(|entry| match &parse(entry).payload().event {
            TeamEvent::KeyRotated(rotation) => Some(rotation.epoch),
            _ => None,
        });
        let (epoch, head) = (epochs.next_back().unwrap(), head(log));
        if !commit.envelopes.is_empty() {
            self.envelopes.insert((team, epoch), commit.envelopes);
        }
        Committed { team, head, epoch }
    }
}

fn listed(stored: &Stored) -> ListedSnippet {
    let container = Container::split(&stored.bytes).unwrap();
    ListedSnippet {
        statement: container.statement.to_owned(),
        envelopes: container.envelopes().unwrap(),
        received_at: stored.received_at,
    }
}

fn parse(entry: &LoggedEntry) -> Unverified<TeamEntry> {
    Unverified::parse(&entry.jws).unwrap()
}

pub fn head(log: &[LoggedEntry]) -> Head {
    Head { seq: log.len() as u64 - 1, hash: hash_of(&log[log.len() - 1].jws) }
}

pub fn json(value: &impl Serialize) -> String {
    ok(&serde_json::to_string(value).unwrap())
}

/// The time by this machine's clock.
#[allow(clippy::disallowed_methods, reason = "the service of the tests has a clock")]
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time(since.as_secs())
}

//! People who have lost a right, and devices that were revoked, keep trying with all that they ever had: alone, and together
//! with a service that lies.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::limits::{CLOCK_SKEW, PENDING_SECONDS};
use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::{Joining, Role, Rotation, TeamEvent, TeamState};
use osmynt_core::{DeviceId, Envelope, InviteId, Time, Unverified, UserId, Window};
use proptest::prelude::*;
use support::acts::{Act, act, change_world, config, events, role, who};
use support::{Key, Now, Team, Then, World, chained, decide, follow, rotation};

/// An invitation, as whoever reads the log remembers it.
#[derive(Debug, Clone, Copy)]
struct Made {
    by: UserId,
    seq: u64,
    role: Role,
    named: Option<UserId>,
    exp: Time,
    uses: u32,
    closed: bool,
}

/// Who has which rights by the log, and who has lost them: written down apart from the rules that are tested.
#[derive(Debug, Clone, Default)]
struct Ledger {
    members: BTreeMap<UserId, (Role, Option<InviteId>)>,
    /// By which invitation, whose it was, and since when.
    waiting: BTreeMap<UserId, (Role, InviteId, UserId, Time)>,
    barred: BTreeMap<UserId, u64>,
    made: BTreeMap<InviteId, Made>,
    /// Everybody who ever joined or asked to.
    everyone: BTreeSet<UserId>,
    /// The latest head of each user log that any rotation ever named.
    named: BTreeMap<UserId, u64>,
    confirming: bool,
    /// Somebody came in or was removed, and no new key has followed yet.
    due: bool,
}

impl Ledger {
    /// Writes down an accepted entry, or says why nobody should have accepted it. `after` is the state that it led to.
    fn write(&mut self, jws: &str, received_at: Time, after: &TeamState, world: &World) -> Result<(), &'static str> {
        let entry = Unverified::<TeamEntry>::parse(jws).unwrap();
        let said = entry.payload();
        self.waiting.retain(|_, (_, _, _, since)| received_at.0 - since.0 <= PENDING_SECONDS);
        self.speaks(said.user, DeviceId(entry.kid()), received_at, world)?;
        match &said.event {
            TeamEvent::TeamCreated { .. } => {
                self.members.insert(said.user, (Role::Owner, None));
                self.everyone.insert(said.user);
                self.due = true;
                return Ok(());
            }
            TeamEvent::MemberJoined { invite, .. } => return self.join(said.user, *invite, received_at),
            TeamEvent::MemberLeft {} if self.waiting.remove(&said.user).is_some() => return Ok(()),
            _ => {}
        }
        let Some((role, _)) = self.members.get(&said.user).copied() else { return Err("the author is no member") };
        let needed = match &said.event {
            TeamEvent::MemberLeft {} | TeamEvent::KeyRotated(_) => Role::Member,
            TeamEvent::RoleChanged { .. } | TeamEvent::PolicyChanged { .. } => Role::Owner,
            _ => Role::Admin,
        };
        if role < needed {
            return Err("the author's role does not allow it");
        }
        match &said.event {
            TeamEvent::InviteCreated { key, role: given, exp, uses, user } => {
                if *given > role {
                    return Err("nobody invites to a role above their own");
                }
                let (by, seq, role) = (said.user, said.seq, *given);
                let made = Made { by, seq, role, named: *user, exp: *exp, uses: *uses, closed: false };
                self.made.insert(InviteId(key.thumbprint()), made);
            }
            TeamEvent::InviteRevoked { invite } => self.close(|id, _| id == *invite),
            TeamEvent::MemberConfirmed { user } => {
                let Some((given, invite, ..)) = self.waiting.remove(user) else { return Err("nobody waits") };
                if given > role {
                    return Err("nobody confirms to a role above their own");
                }
                self.members.insert(*user, (given, Some(invite)));
                self.due = true;
            }
            TeamEvent::MemberRemoved { user } => {
                let lost = match self.waiting.remove(user) {
                    Some((_, invite, ..)) => Some(invite),
                    None => match self.members.remove(user) {
                        Some((theirs, _)) if theirs > Role::Member && role < Role::Owner => {
                            return Err("only an owner removes owners and admins");
                        }
                        Some((_, invite)) => {
                            self.due = true;
                            invite
                        }
                        None if !self.everyone.contains(user) => return Err("there is nobody to remove"),
                        None => None,
                    },
                };
                self.bar(*user, lost, said.seq);
            }
            TeamEvent::MemberLeft {} => {
                let came_in_by = self.members.remove(&said.user).and_then(|(_, invite)| invite);
                self.close_for(said.user, came_in_by);
            }
            TeamEvent::RoleChanged { user, role } => {
                let (before, invite) = self.members.insert(*user, (*role, None)).ok_or("there is no such member")?;
                self.members.insert(*user, (*role, invite));
                if *role < before {
                    self.bar(*user, invite, said.seq);
                }
            }
            TeamEvent::PolicyChanged { policy } => self.confirming = policy.joining == Joining::Confirmation,
            TeamEvent::KeyRotated(rotation) => return self.rotate(&rotation.seqs, received_at, after, world),
            _ => {}
        }
        Ok(())
    }

    /// Whether a state says the same of members, of those who wait and of open invitations.
    fn agrees(&self, state: &TeamState) -> Result<(), &'static str> {
        if self.due {
            return Err("somebody came in or was removed without a new key");
        }
        let now = state.received_at();
        let members = state.members().iter().map(|(user, member)| (user, member.role));
        if !members.eq(self.members.iter().map(|(user, (role, _))| (user, *role))) {
            return Err("others are members");
        }
        if !state.pending(now).map(|(user, _)| user).eq(self.waiting.keys().copied()) {
            return Err("others wait to be confirmed");
        }
        let open = self.made.iter().filter(|(_, made)| !made.closed && made.uses > 0 && now < made.exp);
        if !state.open_invites(now).map(|(invite, _)| invite).eq(open.map(|(invite, _)| *invite)) {
            return Err("other invitations are open");
        }
        Ok(())
    }

    /// A revoked device speaks no longer than clocks may differ, and never once a rotation has named its revocation.
    fn speaks(&self, user: UserId, device: DeviceId, received_at: Time, world: &World) -> Result<(), &'static str> {
        let known = world.people[&user].log.device(&device).ok_or("the device is not the author's")?;
        let Some(revoked) = known.revoked else { return Ok(()) };
        if received_at.0 > revoked.at.0 + CLOCK_SKEW {
            return Err("the device was revoked long before");
        }
        if self.named.get(&user).is_some_and(|named| *named >= revoked.seq) {
            return Err("a rotation had named the revocation of the device");
        }
        Ok(())
    }

    fn join(&mut self, user: UserId, invite: InviteId, received_at: Time) -> Result<(), &'static str> {
        if self.members.contains_key(&user) {
            return Err("a member does not join");
        }
        let made = self.made.get_mut(&invite).ok_or("nobody made this invitation")?;
        if made.closed || made.uses == 0 || received_at >= made.exp {
            return Err("the invitation is closed, used up or over");
        }
        if made.named.is_some_and(|named| named != user) {
            return Err("the invitation is for somebody else");
        }
        if self.barred.get(&user).is_some_and(|barred| made.named.is_none() || made.seq < *barred) {
            return Err("the author is barred");
        }
        made.uses -= 1;
        let (role, by) = (made.role, made.by);
        self.everyone.insert(user);
        if self.confirming {
            self.waiting.insert(user, (role, invite, by, received_at));
        } else {
            self.members.insert(user, (role, Some(invite)));
            self.due = true;
        }
        Ok(())
    }

    fn rotate(
        &mut self,
        seqs: &[u64],
        received_at: Time,
        after: &TeamState,
        world: &World,
    ) -> Result<(), &'static str> {
        self.due = false;
        let covered: Vec<(UserId, DeviceId)> = after.devices().collect();
        if after.members().keys().ne(self.members.keys()) {
            return Err("others than the members are members");
        }
        for (user, device) in covered {
            if !self.members.contains_key(&user) {
                return Err("somebody who is out has the key");
            }
            self.speaks(user, device, received_at, world).map_err(|_| "a device that was revoked has the key")?;
        }
        for (user, seq) in self.members.keys().zip(seqs) {
            let named = self.named.entry(*user).or_default();
            if *seq < *named {
                return Err("a head went back");
            }
            *named = *seq;
        }
        Ok(())
    }

    fn bar(&mut self, user: UserId, came_in_by: Option<InviteId>, seq: u64) {
        self.barred.insert(user, seq);
        self.close_for(user, came_in_by);
    }

    fn close_for(&mut self, user: UserId, came_in_by: Option<InviteId>) {
        self.waiting.retain(|_, (_, _, by, _)| *by != user);
        self.close(|id, made| made.by == user || Some(id) == came_in_by);
    }

    fn close(&mut self, which: impl Fn(InviteId, &Made) -> bool) {
        for (id, made) in &mut self.made {
            made.closed |= which(*id, made);
        }
    }
}

/// What somebody tries in one commit.
#[derive(Debug, Clone, Default)]
struct Attempt {
    acts: Vec<Act>,
    /// Instead of that, somebody who is out tries one of the invitations that were not used up, closed or not.
    knocks: Option<u32>,
    /// Somebody who is barred, if there is anybody.
    barred: bool,
    who: u32,
    /// With a device that was revoked, if there is one.
    revoked: Option<usize>,
    /// Whether a rotation comes along; as an honest client would have it, if none.
    rotates: Option<bool>,
    /// How many entries at the end of the author's user log the rotation leaves out.
    back: u64,
}

/// What the founder does to others.
fn ruling() -> impl Strategy<Value = Act> {
    let by = 0;
    prop_oneof![
        2 => any::<u32>().prop_map(move |who| Act::Confirm { by, who }),
        2 => any::<u32>().prop_map(move |who| Act::Remove { by, who }),
        4 => (any::<u32>(), role()).prop_map(move |(who, role)| Act::Role { by, who, role }),
        1 => (role(), any::<u32>()).prop_map(move |(role, who)| Act::Invite { by, role, uses: 1, named: Some(who) }),
        1 => role().prop_map(move |role| Act::Invite { by, role, uses: 3, named: None }),
    ]
}

/// What takes a right that its author may not have.
fn privileged() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => who().prop_map(|who| Act::Confirm { by: 0, who }),
        1 => who().prop_map(|who| Act::Remove { by: 0, who }),
        1 => (who(), role()).prop_map(|(who, role)| Act::Role { by: 0, who, role }),
        1 => role().prop_map(|role| Act::Invite { by: 0, role, uses: 1, named: None }),
    ]
}

/// Somebody who is out tries an invitation, with any device.
fn knock() -> impl Strategy<Value = Attempt> {
    (any::<u32>(), any::<bool>(), who(), prop::option::weighted(0.4, 0..3_usize), back()).prop_map(
        |(n, barred, who, revoked, back)| Attempt { knocks: Some(n), barred, who, revoked, back, ..Attempt::default() },
    )
}

/// Somebody does what every member may, mostly with a revoked device.
fn speak() -> impl Strategy<Value = Attempt> {
    let act = prop_oneof![Just(Act::Rotate { by: 0 }), Just(Act::Leave { who: 0 })];
    (act, who(), prop::option::weighted(0.8, 0..3_usize), back()).prop_map(|(act, who, revoked, back)| Attempt {
        acts: vec![act],
        who,
        revoked,
        back,
        ..Attempt::default()
    })
}

/// Somebody takes a right that they may not have.
fn usurp() -> impl Strategy<Value = Attempt> {
    (privileged(), any::<u32>(), prop::option::weighted(0.2, any::<bool>())).prop_map(|(act, who, rotates)| Attempt {
        acts: vec![act],
        who,
        rotates,
        ..Attempt::default()
    })
}

/// Somebody tries anything.
fn wild() -> impl Strategy<Value = Attempt> {
    let acts = prop::collection::vec(act(), 1..4);
    let revoked = prop::option::weighted(0.3, 0..3_usize);
    (acts, any::<bool>(), who(), revoked, any::<bool>(), back()).prop_map(
        |(acts, barred, who, revoked, rotates, back)| Attempt {
            acts,
            barred,
            who,
            revoked,
            rotates: Some(rotates),
            back,
            ..Attempt::default()
        },
    )
}

fn back() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0_u64), 2 => 1..3_u64]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![3 => knock(), 3 => speak(), 3 => usurp(), 2 => wild()]
}

/// When a service that lies says that it has received something.
#[derive(Debug, Clone, Copy)]
enum When {
    WithTheHead,
    AsEarlyAsTheClientTakesIt,
    AtTheLastReading,
    WhileTheRevokedDeviceSpoke,
    Now,
    InTheFuture,
}

#[derive(Debug, Clone)]
enum Step {
    /// What everybody does at an honest service.
    Honest(Act),
    /// What nobody should get away with, at an honest service.
    Alone(Attempt),
    /// A continuation of the log that only a client is shown, which may have read the honest log just before.
    Shown { reads: bool, attempts: Vec<(Attempt, When)> },
    /// The client reads the log.
    Read,
}

/// What it takes for somebody to lose a device and to be out for a while.
fn comings_and_goings() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::AddDevice { who: 2 }),
        Just(Act::RevokeDevice { who: 2 }),
        Just(Act::Rotate { by: 0 }),
        Just(Act::Leave { who: 2 }),
        Just(Act::Invite { by: 0, role: Role::Admin, uses: 2, named: None }),
        Just(Act::Wait { seconds: 700 }),
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        Just(When::WithTheHead),
        Just(When::AsEarlyAsTheClientTakesIt),
        Just(When::AtTheLastReading),
        Just(When::WhileTheRevokedDeviceSpoke),
        Just(When::Now),
        Just(When::InTheFuture),
    ]
}

/// Somebody loses a device and revokes it, perhaps to be named by a rotation, perhaps to leave; some time later whoever has
/// the device, or its user, is at it together with a service that lies.
fn stolen() -> impl Strategy<Value = Vec<Step>> {
    let seconds = prop_oneof![Just(0), Just(100), Just(700)];
    let attempts = prop::collection::vec((prop_oneof![speak(), knock()], when()), 1..6);
    (any::<bool>(), any::<bool>(), seconds, attempts).prop_map(|(named, left, seconds, attempts)| {
        let mut steps = vec![
            Step::Honest(Act::Invite { by: 0, role: Role::Member, uses: 2, named: None }),
            Step::Honest(Act::AddDevice { who: 2 }),
            Step::Honest(Act::RevokeDevice { who: 2 }),
        ];
        steps.extend(named.then_some(Step::Honest(Act::Rotate { by: 0 })));
        steps.extend(left.then_some(Step::Honest(Act::Leave { who: 2 })));
        steps.push(Step::Honest(Act::Wait { seconds }));
        steps.push(Step::Shown { reads: true, attempts });
        steps
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let attempts = prop::collection::vec((attempt(), when()), 1..5);
    let one = prop_oneof![
        8 => act().prop_map(Step::Honest),
        5 => comings_and_goings().prop_map(Step::Honest),
        6 => ruling().prop_map(Step::Honest),
        10 => attempt().prop_map(Step::Alone),
        5 => (any::<bool>(), attempts).prop_map(|(reads, attempts)| Step::Shown { reads, attempts }),
        2 => Just(Step::Read),
    ];
    let some = prop_oneof![9 => one.prop_map(|step| vec![step]), 1 => stolen()];
    prop::collection::vec(some, 1..60).prop_map(|steps| steps.concat())
}

/// A rotation that covers its author, whether they are a member by then or not.
fn greedy(team: &Team, events: &[TeamEvent], author: UserId, back: u64) -> (Rotation, Vec<Envelope>) {
    let mut pretended = vec![TeamEvent::MemberConfirmed { user: author }];
    pretended.extend(events.iter().cloned());
    rotation(&team.world, team.state.as_ref(), &pretended, author, back)
}

struct Scene {
    team: Team,
    ledger: Ledger,
    next_key: u32,
    /// What the client has verified, and when it has read the log.
    client: (TeamState, Ledger),
    read_at: Time,
}

impl Scene {
    fn new(joining: Joining) -> Self {
        // An owner, two admins and a member, whose invitations are all still open; and four strangers.
        let mut team = Team::founded(8);
        let key = team.invite(team.user(0), Role::Admin, 3).unwrap();
        team.join(team.user(1), &key).unwrap();
        for (n, role) in [(2, Role::Admin), (3, Role::Member)] {
            let key = team.invite(team.user(1), role, 3).unwrap();
            team.join(team.user(n), &key).unwrap();
        }
        team.invite(team.user(0), Role::Owner, 3).unwrap();
        team.set_joining(joining);
        let mut ledger = Ledger::default();
        let mut state = None;
        for (jws, received_at) in &team.log {
            let after = follow(state.as_ref(), jws, *received_at, &Then(&team.world)).unwrap();
            ledger.write(jws, *received_at, &after, &team.world).unwrap();
            state = Some(after);
        }
        let client = (team.state().clone(), ledger.clone());
        let read_at = team.now;
        Self { team, ledger, next_key: 500_000, client, read_at }
    }

    /// Takes the step, or says what was accepted and should not have been.
    fn take(&mut self, step: &Step) -> Result<(), &'static str> {
        match step {
            Step::Honest(act) if act.changes_the_world() => {
                let _ = change_world(&mut self.team, act, &mut self.next_key);
                Ok(())
            }
            Step::Honest(act) => {
                let Some((author, events, rotate)) = events(&mut self.team, act) else { return Ok(()) };
                let device = self.team.person(author).device().clone();
                self.submit(author, &device, events, rotate, 0)
            }
            Step::Alone(attempt) => {
                let ledger = self.ledger.clone();
                let (author, device) = self.actor(attempt, &ledger);
                let (events, rotate) = self.events(attempt, author, &ledger);
                self.submit(author, &device, events, rotate, attempt.back)
            }
            Step::Shown { reads, attempts } => {
                if *reads {
                    self.read();
                }
                self.show(attempts)
            }
            Step::Read => {
                self.read();
                Ok(())
            }
        }
    }

    fn read(&mut self) {
        self.client = (self.team.state().clone(), self.ledger.clone());
        self.read_at = self.team.now;
    }

    fn actor(&self, attempt: &Attempt, ledger: &Ledger) -> (UserId, Key) {
        let is_out = |user: &&UserId| !ledger.members.contains_key(user) && !ledger.waiting.contains_key(user);
        let all = self.team.ids.iter();
        let mut from: Vec<UserId> = match (attempt.knocks, attempt.barred) {
            (Some(_), true) => ledger.barred.keys().filter(is_out).copied().collect(),
            (Some(_), false) => all.filter(is_out).copied().collect(),
            (None, true) => ledger.barred.keys().copied().collect(),
            (None, false) => Vec::new(),
        };
        if from.is_empty() {
            from.clone_from(&self.team.ids);
        }
        if attempt.revoked.is_some() && from.iter().any(|user| !self.team.person(*user).lost.is_empty()) {
            from.retain(|user| !self.team.person(*user).lost.is_empty());
        }
        let author = from[attempt.who as usize % from.len()];
        let person = self.team.person(author);
        let lost = attempt.revoked.and_then(|n| person.lost.iter().rev().nth(n % person.lost.len().max(1)));
        (author, lost.unwrap_or_else(|| person.device()).clone())
    }

    fn events(&mut self, attempt: &Attempt, author: UserId, ledger: &Ledger) -> (Vec<TeamEvent>, bool) {
        if let Some(n) = attempt.knocks {
            let left = |n: &u32| {
                let made = ledger.made.get(&Team::invitation(*n).invite());
                made.is_some_and(|made| made.uses > 0 && self.team.now < made.exp)
            };
            let left: Vec<u32> = (1..=self.team.invitations).filter(left).collect();
            if !left.is_empty() {
                let event = self.team.joined(author, &Team::invitation(left[n as usize % left.len()]));
                let is_member_then = self.team.state().policy().joining == Joining::Invitation;
                return (vec![event], attempt.rotates.unwrap_or(is_member_then));
            }
        }
        let n = self.team.ids.iter().position(|user| *user == author).unwrap();
        let (mut all, mut any) = (Vec::new(), false);
        for act in &attempt.acts {
            if let Some((_, events, rotate)) = events(&mut self.team, &act.clone().by(u32::try_from(n).unwrap())) {
                all.extend(events);
                any |= rotate;
            }
        }
        (all, attempt.rotates.unwrap_or(any))
    }

    fn submit(
        &mut self,
        author: UserId,
        device: &Key,
        mut events: Vec<TeamEvent>,
        rotate: bool,
        back: u64,
    ) -> Result<(), &'static str> {
        let team = &mut self.team;
        let mut envelopes = Vec::new();
        if rotate {
            let (rotation, sealed) = greedy(team, &events, author, back);
            events.push(TeamEvent::KeyRotated(rotation));
            envelopes = sealed;
        }
        let entries = chained(team.state.as_ref(), device, author, events, team.now);
        let Ok(state) = decide(team.state.as_ref(), &entries, &envelopes, team.object_time(), &Now(&team.world)) else {
            return Ok(());
        };
        for jws in &entries {
            self.ledger.write(jws, state.received_at(), &state, &team.world)?;
        }
        self.ledger.agrees(&state)?;
        team.take(state, &entries);
        Ok(())
    }

    /// Shows the client one commit after the other, and goes on with those that it takes.
    fn show(&mut self, attempts: &[(Attempt, When)]) -> Result<(), &'static str> {
        let (state, mut ledger) = self.client.clone();
        let honest = (self.team.state.replace(state), self.team.now);
        let window = Window { read_at: Some(self.read_at), now: self.team.now };
        let mut result = Ok(());
        for (attempt, when) in attempts {
            let (author, device) = self.actor(attempt, &ledger);
            let known = *self.team.person(author).log.device(&device.device()).unwrap();
            let received_at = match when {
                When::WithTheHead => self.team.state().received_at(),
                When::AsEarlyAsTheClientTakesIt => Time(self.read_at.0 - CLOCK_SKEW),
                When::AtTheLastReading => self.read_at,
                When::WhileTheRevokedDeviceSpoke => known.revoked.map_or(self.read_at, |at| at.at.plus(CLOCK_SKEW)),
                When::Now => honest.1,
                When::InTheFuture => honest.1.plus(CLOCK_SKEW),
            };
            self.team.now = received_at;
            let (events, rotate) = self.events(attempt, author, &ledger);
            if window.check(received_at).is_err() {
                continue;
            }
            let taken = self.follow(&mut ledger, author, &device, events, rotate.then_some(attempt.back));
            let long_before = known.revoked.is_some_and(|revoked| revoked.at.plus(2 * CLOCK_SKEW) < self.read_at);
            result = match taken {
                Ok(true) if long_before => Err("the device was revoked long before the client last read"),
                taken => taken.map(|_| ()),
            };
            if result.is_err() {
                break;
            }
        }
        (self.team.state, self.team.now) = (honest.0, honest.1);
        result
    }

    /// Whether the client takes it.
    fn follow(
        &mut self,
        ledger: &mut Ledger,
        author: UserId,
        device: &Key,
        mut events: Vec<TeamEvent>,
        rotate: Option<u64>,
    ) -> Result<bool, &'static str> {
        let team = &mut self.team;
        if let Some(back) = rotate {
            let (rotation, _) = greedy(team, &events, author, back);
            events.push(TeamEvent::KeyRotated(rotation));
        }
        let entries = chained(team.state.as_ref(), device, author, events, team.now);
        let mut state = team.state.clone();
        for jws in &entries {
            let Ok(after) = follow(state.as_ref(), jws, team.now, &Then(&team.world)) else { return Ok(false) };
            state = Some(after);
        }
        let state = state.unwrap();
        if entries.is_empty() || state.settled().is_err() {
            return Ok(false);
        }
        for jws in &entries {
            ledger.write(jws, team.now, &state, &team.world)?;
        }
        ledger.agrees(&state)?;
        team.state = Some(state);
        Ok(true)
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn whoever_has_lost_a_right_gets_nothing_by_it_alone_or_with_a_service_that_lies(
        joining in prop_oneof![Just(Joining::Invitation), Just(Joining::Confirmation)],
        steps in steps()
    ) {
        let mut scene = Scene::new(joining);
        for step in &steps {
            if let Err(why) = scene.take(step) {
                prop_assert!(false, "{}: {:?}", why, step);
            }
        }
        prop_assert_eq!(&scene.team.replayed().unwrap(), scene.team.state());
    }
}

//! An honest service whose clocks drift, and which decides on what it looked up a while ago, never makes a log that an honest
//! client refuses.
//!
//! The bounds are those of section 4: either clock of the service is within 120 seconds of the true time, a client's within 60, and a
//! look-up is at most 60 seconds old. The object looks up only after it has taken the commit before: it refuses what does not continue
//! the head that it had when it looked up.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use std::collections::BTreeMap;

use osmynt_core::teamlog::{Directory, TeamEvent, TeamState};
use osmynt_core::userlog::{Device, Snapshot, UserLog};
use osmynt_core::{Code, DeviceId, Head, KeyId, Time, UserId, Window};
use proptest::prelude::*;
use support::acts::{Act, act, change_world, config, events};
use support::{Key, P256, START, Team, Then, Verdict, World, chained, code, decide, follow, prekey, ready};

const SERVICE_DRIFT: i64 = 120;
const CLIENT_DRIFT: i64 = 60;
const OLDEST_LOOK_UP: u64 = 60;

/// How long every user log was when the service looked.
type Lengths = BTreeMap<UserId, u64>;

fn lengths(world: &World) -> Lengths {
    world.people.iter().map(|(user, person)| (*user, person.log.head().unwrap().seq + 1)).collect()
}

/// What the service knows from a look-up: what was the case then.
struct LookedUp<'a> {
    world: &'a World,
    lengths: &'a Lengths,
}

impl Directory for LookedUp<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        let length = *self.lengths.get(&user)?;
        let device = Then(self.world).device(user, device)?;
        let active = device.added.seq < length && device.revoked.is_none_or(|revoked| revoked.seq >= length);
        active.then_some(Device { revoked: None, ..device })
    }

    fn head(&self, user: UserId) -> Option<Head> {
        let seq = self.lengths.get(&user)?.checked_sub(1)?;
        Some(Head { seq, hash: Then(self.world).at(user, seq)?.hash })
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        let snapshot = Then(self.world).at(user, seq)?;
        (self.lengths.get(&user).copied() == seq.checked_add(1)).then_some(Snapshot { replaced_at: None, ..snapshot })
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        prekey(device) == key
    }
}

/// A client with a clock of its own, which reads now and then.
#[derive(Default)]
struct Reader {
    ahead: i64,
    team: Option<TeamState>,
    team_length: usize,
    team_read_at: Option<Time>,
    users: BTreeMap<UserId, (UserLog, Option<Time>)>,
}

impl Reader {
    fn clock(&self, team: &Team) -> Time {
        Time(team.now.0.saturating_add_signed(self.ahead))
    }

    /// Reads what is new in the team's log and then in the user logs, and checks all of it.
    fn read(&mut self, team: &Team) -> Verdict {
        let now = self.clock(team);
        let shown = &team.log[self.team_length..];
        for (user, person) in &team.world.people {
            let (log, read_at) = self.users.entry(*user).or_default();
            let known = log.head().map_or(0, |head| usize::try_from(head.seq).unwrap() + 1);
            let window = Window { read_at: *read_at, now };
            for (jws, received_at) in &person.entries[known..] {
                window.check(*received_at).map_err(code)?;
                ready(log.take(jws, *received_at, &P256)).map_err(code)?;
            }
            *read_at = Some(now);
        }
        let window = Window { read_at: self.team_read_at, now };
        for (jws, received_at) in shown {
            window.check(*received_at).map_err(code)?;
            self.team = Some(follow(self.team.as_ref(), jws, *received_at, &Verified(&self.users))?);
        }
        if let Some(state) = &self.team {
            state.settled().map_err(code)?;
        }
        self.team_length = team.log.len();
        self.team_read_at = Some(now);
        Ok(())
    }
}

/// What a client knows from the user logs that it has verified.
struct Verified<'a>(&'a BTreeMap<UserId, (UserLog, Option<Time>)>);

impl Directory for Verified<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        self.0.get(&user)?.0.device(&device).copied()
    }

    fn head(&self, user: UserId) -> Option<Head> {
        self.0.get(&user)?.0.head()
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        self.0.get(&user)?.0.at(seq)
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        prekey(device) == key
    }
}

#[derive(Debug, Clone)]
enum Step {
    Act(Act),
    /// A commit by one of the author's devices is under way for so many seconds after the look-up, and something happens
    /// in between, at this second.
    Slowly {
        act: Act,
        device: usize,
        meanwhile: Vec<Act>,
        at: u64,
        lasts: u64,
    },
    /// The service's clocks show something else: that for user logs, and that for the team's log.
    Clocks(i64, i64),
    /// The clock of a reader shows something else.
    Clock(usize, i64),
    Read(usize),
}

/// Mostly as far off as it can be.
fn drift(most: i64) -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(most), 3 => Just(-most), 2 => -most..=most]
}

fn on_devices() -> impl Strategy<Value = Act> {
    let who = any::<u32>;
    prop_oneof![
        who().prop_map(|who| Act::AddDevice { who }),
        who().prop_map(|who| Act::RevokeDevice { who }),
        who().prop_map(|who| Act::RevokeDevice { who }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let meanwhile = prop::collection::vec(on_devices(), 0..3);
    let second = || prop_oneof![Just(0), Just(OLDEST_LOOK_UP), 0..=OLDEST_LOOK_UP];
    let slow = prop_oneof![1 => act(), 2 => any::<u32>().prop_map(|by| Act::Rotate { by })];
    prop_oneof![
        3 => act().prop_map(Step::Act),
        3 => on_devices().prop_map(Step::Act),
        6 => (slow, 0..3_usize, meanwhile, second(), second()).prop_map(|(act, device, meanwhile, at, lasts)| {
            Step::Slowly { act, device, meanwhile, at: at.min(lasts), lasts }
        }),
        2 => (drift(SERVICE_DRIFT), drift(SERVICE_DRIFT)).prop_map(|(d1, object)| Step::Clocks(d1, object)),
        1 => (0..3_usize, drift(CLIENT_DRIFT)).prop_map(|(reader, ahead)| Step::Clock(reader, ahead)),
        3 => (0..3_usize).prop_map(Step::Read),
    ]
}

struct Scene {
    team: Team,
    readers: [Reader; 3],
    next_key: u32,
    taken: u32,
}

impl Scene {
    fn new(d1: i64, object: i64) -> Self {
        let mut team = Team::of_four();
        (team.d1, team.object) = (d1, object);
        team.now = START.plus(3600);
        Self { team, readers: Default::default(), next_key: 500_000, taken: 0 }
    }

    fn take(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Act(act) => self.perform(act, 0, &[], 0, 0),
            Step::Slowly { act, device, meanwhile, at, lasts } => self.perform(act, *device, meanwhile, *at, *lasts),
            Step::Clocks(d1, object) => (self.team.d1, self.team.object) = (*d1, *object),
            Step::Clock(reader, ahead) => self.readers[*reader].ahead = *ahead,
            Step::Read(reader) => return self.readers[*reader].read(&self.team),
        }
        Ok(())
    }

    /// The service looks up, other things happen, and then it decides.
    fn perform(&mut self, act: &Act, device: usize, meanwhile: &[Act], at: u64, lasts: u64) {
        let team = &mut self.team;
        let Some((author, mut events, rotate)) = events(team, act) else {
            let _ = change_world(team, act, &mut self.next_key);
            return;
        };
        let devices = &team.person(author).devices;
        let device = devices[device % devices.len()].clone();
        let mut envelopes = Vec::new();
        if rotate {
            let (rotation, sealed) = team.rotation(&events, author);
            events.push(TeamEvent::KeyRotated(rotation));
            envelopes = sealed;
        }
        let entries = chained(team.state.as_ref(), &device, author, events, team.now);
        let lengths = lengths(&team.world);
        team.now = team.now.plus(at);
        for act in meanwhile {
            let _ = change_world(team, act, &mut self.next_key);
        }
        team.now = team.now.plus(lasts - at);
        let directory = LookedUp { world: &team.world, lengths: &lengths };
        if let Ok(state) = decide(team.state.as_ref(), &entries, &envelopes, team.object_time(), &directory) {
            team.take(state, &entries);
            self.taken += 1;
        }
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn an_honest_service_makes_no_log_that_an_honest_client_refuses(
        d1 in drift(SERVICE_DRIFT), object in drift(SERVICE_DRIFT), steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut scene = Scene::new(d1, object);
        for step in &steps {
            prop_assert_eq!(scene.take(step), Ok(()), "{:?}", step);
        }
        for reader in &mut scene.readers {
            prop_assert_eq!(reader.read(&scene.team), Ok(()));
            prop_assert_eq!(reader.team.as_ref(), scene.team.state.as_ref());
        }
        let mut newcomer = Reader::default();
        prop_assert_eq!(newcomer.read(&scene.team), Ok(()));
    }
}

/// All that can be off is off as far as it can be. A second more, and a client would refuse.
#[test]
fn the_age_of_a_look_up_and_the_drift_of_both_clocks_just_fit_into_the_tolerance() {
    let (who, device) = (2, 0);
    for (act, meanwhile, refusal) in [
        (Act::Leave { who }, Act::RevokeDevice { who }, Code::Forbidden),
        (Act::Rotate { by: 0 }, Act::AddDevice { who }, Code::CoverageMismatch),
    ] {
        for (lasts, verdict) in [(OLDEST_LOOK_UP, Ok(())), (OLDEST_LOOK_UP + 1, Err(refusal))] {
            let mut scene = Scene::new(-SERVICE_DRIFT, SERVICE_DRIFT);
            let member = scene.team.user(who);
            scene.team.add_device(member, &Key::test(250)).unwrap();
            scene.team.rotate(scene.team.user(0)).unwrap();
            let meanwhile = vec![meanwhile.clone()];
            scene.take(&Step::Slowly { act: act.clone(), device, meanwhile, at: 0, lasts }).unwrap();
            assert_eq!(scene.taken, 1, "the service takes it: {act:?} after {lasts} s");
            assert_eq!(Reader::default().read(&scene.team), verdict, "{act:?} after {lasts} s");
        }
    }
}

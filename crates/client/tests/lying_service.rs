//! A service that lies is caught: what it may do is to be silent, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "tests")]

mod support;

use osmynt_client::logs::{KeptUser, People, Receipt, TeamView, VerifiedUser, verify_snippet};
use osmynt_client::share::check_ciphertext;
use osmynt_client::{Class, DeviceId, Error, Role, Time, seal, unlock};
use osmynt_core::api::LoggedEntry;
use osmynt_core::names::Name;
use osmynt_core::snippet::{Audience, Container};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::teamlog::TeamEvent;
use osmynt_core::userlog::UserEvent;
use osmynt_core::{Bytes, Hash, Head, Unverified, Window, b64u};

use support::{ANY_TIME, Human, START, World, draft, people, random, read, snippet_id};

/// What is known of a file, long after.
const FILE: Receipt = Receipt { received_at: None, now: ANY_TIME.now };

/// What is known of a snippet that the service received then, long after.
fn received(at: Time) -> Receipt {
    Receipt { received_at: Some(at), now: ANY_TIME.now }
}

#[track_caller]
fn assert_caught<T>(what: &str, result: Result<T, Error>, because: &str) {
    let Err(error) = result else { panic!("{what} went unnoticed") };
    assert_eq!(error.class(), Class::Tampered, "{what}: {error}");
    assert!(error.to_string().contains(because), "{what}: {error}");
}

struct Cast {
    ada: Human,
    ben: Human,
    eve: Human,
    world: World,
}

/// Ada owns a team, Ben is a member, Eve is neither.
fn cast() -> Cast {
    let (ada, ben, eve) = (Human::new(1), Human::new(2), Human::new(3));
    let mut world = World::found(&ada, "team");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    Cast { ada, ben, eve, world }
}

impl Cast {
    fn people(&self) -> People {
        people(&[&self.ada, &self.ben])
    }

    fn view(&self) -> TeamView {
        self.world.view(&[&self.ada, &self.ben])
    }
}

// The team log.

#[test]
fn an_honest_log_is_followed_from_where_it_was_left() {
    let mut cast = cast();
    let pinned = cast.view();
    let head = pinned.state().head();
    cast.world.commit(&cast.ben, Vec::new(), true, &[&cast.ada, &cast.ben]);
    let tail = &cast.world.log[usize::try_from(head.seq).unwrap()..];
    let mut resumed = pinned;
    resumed.resume(tail, &cast.people(), &ANY_TIME).unwrap();
    assert_eq!(resumed.state(), cast.view().state());
    assert!(resumed.contains(head));
    assert_eq!(resumed.epoch(3).unwrap().by, DeviceId(cast.ben.keys.signer.kid()));
}

#[test]
fn what_a_home_keeps_of_a_log_reads_back_the_same() {
    let cast = cast();
    let stored = serde_json::to_string(&cast.view()).unwrap();
    let mut read: TeamView = serde_json::from_str(&stored).unwrap();
    // A change of these names needs a migration of every home.
    let value: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["entries", "epochs", "last_profile", "standings", "state", "vouched_profile"]);
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    assert!(read.resume(&cast.world.log[cast.world.log.len() - 1..], &cast.people(), &ANY_TIME).is_ok());
}

#[test]
fn a_forked_team_log_is_caught() {
    let Cast { ada, ben, mut world, .. } = cast();
    let before = world.clone();
    world.commit(&ada, Vec::new(), true, &[&ada, &ben]);
    let mut pinned = world.view(&[&ada, &ben]);
    let mut fork = before;
    fork.seed = "fork".to_owned();
    fork.commit(&ada, Vec::new(), true, &[&ada, &ben]);
    assert_eq!(fork.log.len(), world.log.len());
    let shown = &fork.log[fork.log.len() - 1..];
    assert_caught("a fork", pinned.resume(shown, &people(&[&ada, &ben]), &ANY_TIME), "fork");
}

#[test]
fn a_team_log_that_is_rolled_back_is_caught() {
    let cast = cast();
    assert_caught("a rollback", cast.view().resume(&[], &cast.people(), &ANY_TIME), "rollback");
}

#[test]
fn a_log_without_one_of_its_entries_or_in_another_order_is_caught() {
    let cast = cast();
    for drop in 0..cast.world.log.len() {
        let mut log = cast.world.log.clone();
        log.remove(drop);
        let verified = read(cast.world.team, &log, &cast.people());
        assert_caught(&format!("the log without entry {drop}"), verified, "");
    }
    let mut log = cast.world.log.clone();
    log.swap(2, 3);
    assert_caught("a swap", read(cast.world.team, &log, &cast.people()), "entry 2");
}

#[test]
fn a_log_that_ends_between_a_change_and_its_rotation_is_caught() {
    let cast = cast();
    let cut = &cast.world.log[..cast.world.log.len() - 1];
    assert_caught("a cut", read(cast.world.team, cut, &cast.people()), "key.rotated");
}

#[test]
fn the_log_of_another_team_is_caught() {
    let cast = cast();
    let other = World::found(&cast.ada, "other");
    assert_caught("another team", read(cast.world.team, &other.log, &cast.people()), "shows the log of");
}

#[test]
fn an_entry_with_another_signature_is_caught() {
    let mut cast = cast();
    let entry = cast.world.log.last_mut().unwrap();
    let (signed, _) = entry.jws.rsplit_once('.').unwrap();
    let stranger = cast
        .eve
        .keys
        .signer
        .sign(Unverified::<osmynt_core::statement::TeamEntry>::parse(&entry.jws).unwrap().payload());
    let stranger = stranger.unwrap();
    entry.jws = format!("{signed}.{}", stranger.rsplit_once('.').unwrap().1);
    assert_caught("a foreign signature", read(cast.world.team, &cast.world.log, &cast.people()), "signature");
    cast.world.log.last_mut().unwrap().jws = stranger;
    assert_caught("a foreign author", read(cast.world.team, &cast.world.log, &cast.people()), "not the author's");
}

#[test]
fn a_time_of_receipt_that_does_not_fit_is_caught() {
    let cast = cast();
    for (what, shift) in [("later", 301), ("earlier", -301)] {
        let mut log = cast.world.log.clone();
        let entry = log.last_mut().unwrap();
        entry.received_at = Time(entry.received_at.0.checked_add_signed(shift).unwrap());
        assert_caught(what, read(cast.world.team, &log, &cast.people()), "");
    }
}

#[test]
fn a_directory_that_hides_a_member_is_caught() {
    let cast = cast();
    let verified = read(cast.world.team, &cast.world.log, &people(&[&cast.ada]));
    assert_caught("a hidden member", verified, "");
}

// User logs.

#[test]
fn a_ghost_device_is_caught() {
    let Cast { mut ben, eve, .. } = cast();
    let ghost = ben.device_statement(&eve.keys.signer);
    ben.append(&eve.keys.signer.clone(), UserEvent::DeviceAdded { device: ghost });
    assert_caught("a ghost device", People::default().add(ben.listed(), None, &ANY_TIME), "not active");
}

#[test]
fn a_prekey_by_anybody_but_the_users_active_devices_is_caught() {
    let Cast { ben, eve, .. } = cast();
    for (what, prekey) in [
        ("a prekey signed by a stranger's device", ben.prekey_statement(&eve.keys)),
        ("a prekey of another user", eve.prekey_statement(&eve.keys)),
        ("a prekey of the device for another user", eve.prekey_statement(&ben.keys)),
    ] {
        let mut listed = ben.listed();
        listed.prekeys = vec![prekey];
        assert_caught(what, People::default().add(listed, None, &ANY_TIME), "prekey");
    }
}

#[test]
fn a_device_without_a_key_to_seal_to_stops_the_rotation_and_is_named() {
    let mut cast = cast();
    cast.ben.prekeys.clear();
    let people = cast.people();
    let author = cast.ada.author(cast.world.now);
    let view = cast.view();
    let built =
        osmynt_client::commit::build(Some(view.state()), Vec::new(), Some("Team"), &author, &people, random("x"));
    assert!(
        matches!(built, Err(Error::NoPrekey { user, device }) if (user, device) == (cast.ben.user, cast.ben.device()))
    );
}

#[test]
fn a_prekey_of_an_unknown_kind_is_left_out_and_harms_nothing() {
    let Cast { mut ben, .. } = cast();
    let unknown = sign_as(&ben, r#"{"kind":"hybrid","anything":[1,2,3]}"#);
    ben.prekeys.push(unknown);
    let people = people(&[&ben]);
    assert!(people.prekey_of(ben.user, ben.device()).is_ok());
}

/// An `osmynt-prekey+jws` with any payload. A service would have to keep it; nobody checks its signature.
fn sign_as(human: &Human, payload: &str) -> String {
    let header = format!(r#"{{"alg":"ES256","typ":"osmynt-prekey+jws","kid":"{}"}}"#, human.keys.signer.kid());
    let parts = [header.as_bytes(), payload.as_bytes(), &[7; 64]].map(b64u::encode);
    parts.join(".")
}

#[test]
fn a_forked_or_shortened_user_log_is_caught() {
    let mut ben = Human::new(2);
    let short = ben.clone();
    let mut fork = ben.clone();
    add_device(&mut ben, 4);
    let kept = kept(&ben);
    let add = |human: &Human| People::default().add(human.listed(), Some(kept.clone()), &ANY_TIME);
    assert!(add(&ben).is_ok());
    assert_caught("a rollback", add(&short), "rollback");
    add_device(&mut fork, 5);
    assert_caught("a fork", add(&fork), "fork");
    add_device(&mut ben, 6);
    assert!(add(&ben).is_ok(), "what is longer is fine");
}

fn add_device(human: &mut Human, number: u8) {
    let statement = human.device_statement(&Human::new(number).keys.signer);
    human.append(&human.keys.signer.clone(), UserEvent::DeviceAdded { device: statement });
}

/// What a home keeps of somebody.
fn kept(human: &Human) -> KeptUser {
    serde_json::from_value(serde_json::json!({ "entries": human.log, "name": human.name })).unwrap()
}

#[test]
fn an_entry_that_is_new_and_said_to_be_old_is_caught() {
    let mut ben = Human::new(2);
    let kept = kept(&ben);
    let statement = ben.device_statement(&Human::new(4).keys.signer);
    ben.append_at(&ben.keys.signer.clone(), UserEvent::DeviceAdded { device: statement }, START);
    let add = |read_at| {
        let window = Window { read_at: Some(read_at), now: START.plus(10_000) };
        People::default().add(ben.listed(), Some(kept.clone()), &window)
    };
    assert!(add(START.plus(300)).is_ok());
    assert_caught("a new device in the past", add(START.plus(301)), "before the log was last read");

    let mut cast = cast();
    let before = cast.view();
    cast.world.commit(&cast.ben, Vec::new(), true, &[&cast.ada, &cast.ben]);
    let tail = &cast.world.log[cast.world.log.len() - 2..];
    for (late, caught) in [(300, false), (301, true)] {
        let window = Window { read_at: Some(cast.world.now.plus(late)), now: cast.world.now.plus(10_000) };
        assert_eq!(before.clone().resume(tail, &cast.people(), &window).is_err(), caught);
    }
    let window = Window { read_at: None, now: Time(cast.world.now.0 - 301) };
    assert_caught("an entry in the future", before.clone().resume(tail, &cast.people(), &window), "future");
}

#[test]
fn a_user_log_under_another_name_or_of_too_many_entries_is_caught() {
    let Cast { ben, eve, .. } = cast();
    assert_caught("another user's log", VerifiedUser::verify(eve.user, &ben.log, &ANY_TIME), "another user");
    let long = vec![ben.log[0].clone(); 257];
    assert_caught("a log without end", VerifiedUser::verify(ben.user, &long, &ANY_TIME), "256");
}

#[test]
fn a_name_is_taken_only_if_the_log_commits_to_it() {
    let Cast { mut ben, eve, .. } = cast();
    assert_eq!(people(&[&ben]).user(ben.user).unwrap().name(), ben.name.as_ref());
    let signed = ben.name.clone();
    for name in [None, eve.name, signed.map(|name| Name { login: "somebody-else".to_owned(), ..name })] {
        ben.name = name;
        assert_eq!(people(&[&ben]).user(ben.user).unwrap().name(), None);
    }
}

// Team keys.

#[test]
fn a_team_key_is_opened_only_by_its_devices_and_only_if_it_was_committed_to() {
    let cast = cast();
    let view = cast.view();
    let envelope = |human: &Human, epoch: u64| {
        let device = DeviceId(human.keys.signer.kid());
        cast.world.envelopes[&epoch].iter().find(|envelope| envelope.device == device).cloned()
    };
    let mine = envelope(&cast.ben, 2).unwrap();
    assert!(unlock::team_key(&view, 2, &mine, &cast.ben.keys).is_ok());
    assert!(envelope(&cast.ben, 1).is_none(), "no key from before one joined");

    assert_caught("an envelope of another epoch", unlock::team_key(&view, 1, &mine, &cast.ben.keys), "does not open");
    let others = unlock::team_key(&view, 2, &mine, &cast.ada.keys);
    assert!(matches!(others, Err(Error::NoKey { .. })), "an envelope to another device");

    // The service knows every public key, so it can seal a key of its own making to anybody.
    let prekey = cast.ben.keys.current_prekey().unwrap();
    let purpose = seal::Purpose::TeamKey { team: cast.world.team, epoch: 2 };
    let sender = view.epoch(2).unwrap().by;
    let device = DeviceId(cast.ben.keys.signer.kid());
    let forged = seal::seal_envelope(&seal::Key::new([9; 32]), purpose, sender, device, prekey.public(), &[8; 32]);
    assert_caught("another key", unlock::team_key(&view, 2, &forged.unwrap(), &cast.ben.keys), "committed to");
}

// Snippets.

#[test]
fn an_honest_snippet_is_opened_by_those_it_is_for() {
    let cast = cast();
    for to in [None, Some(&[&cast.ben][..])] {
        let (snippet, bytes) = cast.world.share(&cast.ada, to, &[&cast.ada, &cast.ben]);
        for reader in [&cast.ada, &cast.ben] {
            let container = Container::split(&bytes).unwrap();
            let (compact, ciphertext) = (container.statement, container.ciphertext);
            let receipt = received(cast.world.now);
            let statement = verify_snippet(&cast.view(), &cast.people(), compact, Some(snippet), receipt).unwrap();
            check_ciphertext(&statement, ciphertext).unwrap();
            let envelopes = container.envelopes().unwrap();
            let team_key = |epoch| Ok(cast.world.keys[&epoch].clone());
            let key = unlock::content_key(&statement, &envelopes, &reader.keys, team_key).unwrap();
            let header = seal::open_header(&key, statement.payload()).unwrap();
            assert_eq!(header.path.as_deref(), Some("src/main.rs"));
            let content = seal::open_content(&key, statement.payload(), ciphertext, header.size).unwrap();
            assert_eq!(content.as_slice(), draft().content);
        }
    }
}

#[test]
fn a_snippet_for_others_has_no_key_for_the_rest_of_the_team() {
    let mut cast = cast();
    let zoe = Human::new(4);
    cast.world.join(&cast.ada, &zoe, Role::Member, &[&cast.ada, &cast.ben]);
    let humans = [&cast.ada, &cast.ben, &zoe];
    let (_, bytes) = cast.world.share(&cast.ada, Some(&[&cast.ben]), &humans);
    let compact = Container::split(&bytes).unwrap().statement;
    let statement = verify_snippet(&cast.world.view(&humans), &people(&humans), compact, None, FILE).unwrap();
    let envelopes = Container::split(&bytes).unwrap().envelopes().unwrap();
    let key = unlock::content_key(&statement, &envelopes, &zoe.keys, |_| panic!("it is not for the team"));
    assert!(matches!(key, Err(Error::NoKey { .. })));
}

#[test]
fn a_snippet_in_another_place_is_caught() {
    let cast = cast();
    let (_, bytes) = cast.world.share(&cast.ada, None, &[&cast.ada, &cast.ben]);
    let Container { statement: compact, ciphertext, .. } = Container::split(&bytes).unwrap();
    let as_another = verify_snippet(&cast.view(), &cast.people(), compact, Some(snippet_id(2)), FILE);
    assert_caught("another id", as_another, "shows the snippet");
    let other = World::found(&cast.ada, "other");
    let in_another = verify_snippet(&other.view(&[&cast.ada]), &cast.people(), compact, None, FILE);
    assert_caught("another team", in_another, "shows a snippet of team");

    let statement = verify_snippet(&cast.view(), &cast.people(), compact, None, FILE).unwrap();
    let mut flipped = ciphertext.to_vec();
    flipped[0] ^= 1;
    assert_caught("a flipped bit", check_ciphertext(&statement, &flipped), "not what was signed");
    assert_caught("a cut", check_ciphertext(&statement, &ciphertext[1..]), "not what was signed");
}

/// A statement with one thing changed, signed anew by whoever.
fn bent(cast: &Cast, by: &Human, bend: impl FnOnce(&mut SnippetStatement)) -> String {
    let (_, bytes) = cast.world.share(&cast.ada, None, &[&cast.ada, &cast.ben]);
    let compact = Container::split(&bytes).unwrap().statement;
    let mut said = Unverified::<SnippetStatement>::parse(compact).unwrap().payload().clone();
    bend(&mut said);
    by.keys.signer.sign(&said).unwrap()
}

#[test]
fn a_snippet_by_anybody_but_its_author_is_caught() {
    let cast = cast();
    for (what, compact) in [
        ("a stranger's device in a member's name", bent(&cast, &cast.eve, |_| {})),
        ("a member's device in another's name", bent(&cast, &cast.ben, |_| {})),
        ("a stranger in their own name", bent(&cast, &cast.eve, |said| said.user = cast.eve.user)),
    ] {
        let humans = people(&[&cast.ada, &cast.ben, &cast.eve]);
        assert_caught(what, verify_snippet(&cast.view(), &humans, &compact, None, FILE), "signed");
    }
}

#[test]
fn a_snippet_with_anything_in_its_statement_changed_is_caught() {
    type Bend = fn(&mut SnippetStatement);
    let cast = cast();
    let (_, bytes) = cast.world.share(&cast.ada, None, &[&cast.ada, &cast.ben]);
    let compact = Container::split(&bytes).unwrap().statement;
    let (_, signature) = compact.rsplit_once('.').unwrap();
    let bends: [(&str, Bend); 4] = [
        ("the header", |said| said.header.nonce = Bytes([9; 12])),
        ("the commitment", |said| said.commitment = Hash::of(b"")),
        ("the nonce", |said| said.nonce = Bytes([9; 12])),
        ("the hash", |said| said.sha256 = Hash::of(b"")),
    ];
    for (what, bend) in bends {
        let changed = bent(&cast, &cast.ada, bend);
        let changed = format!("{}.{signature}", changed.rsplit_once('.').unwrap().0);
        assert_caught(what, verify_snippet(&cast.view(), &cast.people(), &changed, None, FILE), "signature");
    }
}

#[test]
fn a_snippet_that_does_not_fit_the_log_is_caught() {
    let cast = cast();
    let head = cast.view().state().head();
    let never = Head { seq: head.seq, hash: Hash::of(b"never") };
    let later = Head { seq: head.seq + 1, hash: head.hash };
    // Entry 3 is Ben's member.joined: between it and its rotation no state was ever shown to anybody.
    let between = Head { seq: 3, hash: support::hash_of(&cast.world.log[3].jws) };
    let first = Head { seq: 1, hash: support::hash_of(&cast.world.log[1].jws) };
    for (what, head) in
        [("a head that never was", never), ("a head to come", later), ("a state within a commit", between)]
    {
        let compact = bent(&cast, &cast.ada, |said| said.head = head);
        assert_caught(what, verify_snippet(&cast.view(), &cast.people(), &compact, None, FILE), "");
    }
    let compact = bent(&cast, &cast.ada, |said| said.head = first);
    assert_caught("an epoch to come", verify_snippet(&cast.view(), &cast.people(), &compact, None, FILE), "epoch");
    let compact = bent(&cast, &cast.ada, |said| match &mut said.audience {
        Audience::Team { epoch, .. } | Audience::Members { epoch, .. } => *epoch = 1,
    });
    assert_caught("a past epoch", verify_snippet(&cast.view(), &cast.people(), &compact, None, FILE), "epoch");
}

#[test]
fn a_snippet_with_times_that_do_not_fit_is_caught() {
    let cast = cast();
    let (_, bytes) = cast.world.share(&cast.ada, None, &[&cast.ada, &cast.ben]);
    let compact = Container::split(&bytes).unwrap().statement;
    let late = received(cast.world.now.plus(301));
    assert_caught("a late receipt", verify_snippet(&cast.view(), &cast.people(), compact, None, late), "5 minutes");
    let now = Time(cast.world.now.0 - 301);
    for receipt in [Receipt { received_at: Some(cast.world.now), now }, Receipt { received_at: None, now }] {
        let verified = verify_snippet(&cast.view(), &cast.people(), compact, None, receipt);
        assert_caught("a receipt in the future", verified, "future");
    }
    let early = bent(&cast, &cast.ada, |said| said.iat = Time(cast.world.now.0 - 301));
    assert_caught("a time before its head", verify_snippet(&cast.view(), &cast.people(), &early, None, FILE), "times");
    let ended = bent(&cast, &cast.ada, |said| said.exp = Some(said.iat));
    assert_caught("an end before its time", verify_snippet(&cast.view(), &cast.people(), &ended, None, FILE), "ends");
}

#[test]
fn a_removed_member_cannot_share_any_more_but_what_they_shared_stays() {
    let mut cast = cast();
    let (_, before) = cast.world.share(&cast.ben, None, &[&cast.ada, &cast.ben]);
    let removed = TeamEvent::MemberRemoved { user: cast.ben.user };
    // Long enough after Ben's snippet that the clocks' difference does not matter.
    cast.world.now = cast.world.now.plus(3600);
    cast.world.commit(&cast.ada, vec![removed], true, &[&cast.ada, &cast.ben]);
    assert!(
        verify_snippet(&cast.view(), &cast.people(), Container::split(&before).unwrap().statement, None, FILE).is_ok()
    );

    let head = cast.view().state().head();
    let after = bent(&cast, &cast.ben, |said| {
        said.user = cast.ben.user;
        said.head = head;
    });
    assert_caught(
        "after the removal",
        verify_snippet(&cast.view(), &cast.people(), &after, None, FILE),
        "not a member",
    );
    let mut said =
        Unverified::<SnippetStatement>::parse(Container::split(&before).unwrap().statement).unwrap().payload().clone();
    said.iat = cast.world.now.plus(600);
    let backdated = cast.ben.keys.signer.sign(&said).unwrap();
    assert_caught("at an old head", verify_snippet(&cast.view(), &cast.people(), &backdated, None, FILE), "times");
}

#[test]
fn a_revoked_device_signs_nothing_any_more_but_what_it_signed_stays() {
    let mut cast = cast();
    let second = Human::new(5).keys;
    let statement = cast.ben.device_statement(&second.signer);
    let first = cast.ben.keys.signer.clone();
    cast.ben.append(&first, UserEvent::DeviceAdded { device: statement });
    let (_, before) = cast.world.share(&cast.ben, None, &[&cast.ada, &cast.ben]);
    let compact = Container::split(&before).unwrap().statement;
    let revoked = UserEvent::DeviceRevoked { device: cast.ben.device() };
    cast.ben.append_at(&second.signer, revoked, cast.world.now.plus(3600));
    cast.ben.prekeys = vec![cast.ben.prekey_statement(&second)];
    let at = |time| verify_snippet(&cast.view(), &cast.people(), compact, None, received(time));
    assert!(at(cast.world.now).is_ok());

    let late = cast.world.now.plus(3600 + 301);
    let mut said = Unverified::<SnippetStatement>::parse(compact).unwrap().payload().clone();
    said.iat = late;
    let compact = first.sign(&said).unwrap();
    let verified = verify_snippet(&cast.view(), &cast.people(), &compact, None, received(late));
    assert_caught("after the revocation", verified, "not its author's then");
}

#[test]
fn a_wrapped_key_that_is_not_the_committed_one_is_caught() {
    let cast = cast();
    let (_, bytes) = cast.world.share(&cast.ada, None, &[&cast.ada, &cast.ben]);
    let said =
        Unverified::<SnippetStatement>::parse(Container::split(&bytes).unwrap().statement).unwrap().payload().clone();
    let swapped = seal::wrap(&cast.world.keys[&2], cast.world.team, 2, said.snippet, &seal::Key::new([9; 32]), [1; 12]);
    let compact = bent(&cast, &cast.ada, |said| said.audience = Audience::Team { epoch: 2, wrapped: swapped.unwrap() });
    let statement = verify_snippet(&cast.view(), &cast.people(), &compact, None, FILE).unwrap();
    let key = unlock::content_key(&statement, &[], &cast.ben.keys, |epoch| Ok(cast.world.keys[&epoch].clone()));
    assert_caught("another content key", key, "committed to");
}

/// What a service shows of a log is data: whatever it is, the client answers with an error and never with a panic.
#[test]
fn nonsense_in_the_place_of_entries_is_caught() {
    let cast = cast();
    for jws in ["", ".", "..", "a.b.c", "\u{1F980}", &"x".repeat(70_000)] {
        let entry = LoggedEntry { jws: jws.to_owned(), received_at: START };
        let log = [cast.world.log.clone(), vec![entry.clone()]].concat();
        assert_caught(jws, read(cast.world.team, &log, &cast.people()), "");
        assert_caught(jws, VerifiedUser::verify(cast.ben.user, &[entry], &ANY_TIME), "");
        assert_caught(jws, verify_snippet(&cast.view(), &cast.people(), jws, None, FILE), "");
    }
}

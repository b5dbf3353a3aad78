//! Section 3: which devices speak for a user, and what the user is called.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]
mod support;

use osmynt_core::names::{Name, Provider};
use osmynt_core::statement::{DeviceStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{Bytes, Code, Hash, Time, Unverified, UserId};
use support::{Key, P256, Person, START, Verdict, code, ready};

#[test]
fn a_user_is_the_log_that_their_first_device_founds() {
    let person = Person::new(1);
    let head = person.log.head().unwrap();
    assert_eq!(head.seq, 0);
    assert_eq!(person.user(), UserId(head.hash), "the id is the hash of the first entry");
    let first = Unverified::<UserEntry>::parse(&person.entries[0].0).unwrap();
    assert_eq!(first.payload().user, None);
    assert_eq!(person.log.active().count(), 1);
    let again = Person::founded(&Key::test(100), START.plus(1));
    assert_ne!(again.user(), person.user(), "another log is another user, even of the same device");
}

fn found(change: impl Fn(&mut UserEntry), said: &DeviceStatement, by: &Key) -> Verdict {
    let device = Key::test(100);
    let event = UserEvent::DeviceAdded { device: device.sign_as(said.jwk.thumbprint(), said) };
    let mut entry = UserEntry { user: None, seq: 0, prev: None, iat: START, event };
    change(&mut entry);
    ready(UserLog::new().take(&by.sign(&entry), START, &P256)).map(|_| ()).map_err(code)
}

#[test]
fn the_first_entry_names_no_user_and_is_by_the_device_that_it_adds() {
    let device = Key::test(100);
    let somebody = Some(UserId(Hash::of(b"somebody")));
    let said = DeviceStatement { user: None, jwk: device.public(), iat: START };
    assert_eq!(found(|_| {}, &said, &device), Ok(()));
    assert_eq!(found(|entry| entry.user = somebody, &said, &device), Err(Code::InvalidRequest), "the entry names one");
    let named = DeviceStatement { user: somebody, ..said.clone() };
    assert_eq!(found(|_| {}, &named, &device), Err(Code::InvalidRequest), "the device's statement names one");
    assert_eq!(found(|_| {}, &said, &Key::test(5)), Err(Code::Forbidden), "by another device");
    let other = DeviceStatement { jwk: Key::test(5).public(), ..said.clone() };
    assert_eq!(found(|_| {}, &other, &Key::test(5)), Err(Code::BadSignature), "that the device did not sign");
    let commitment = UserEvent::NameSigned { commitment: Hash::of(b"name") };
    assert_eq!(found(|entry| entry.event = commitment.clone(), &said, &device), Err(Code::InvalidRequest));
    let revoked = UserEvent::DeviceRevoked { device: device.device() };
    assert_eq!(found(|entry| entry.event = revoked.clone(), &said, &device), Err(Code::InvalidRequest));
}

#[test]
fn a_later_device_is_added_by_an_active_one_and_by_nobody_else() {
    let mut person = Person::new(1);
    let user = person.user();
    let first = person.device().clone();
    let (second, third) = (Key::test(101), Key::test(102));
    assert_eq!(person.add(&second.clone(), &second), Err(Code::Forbidden), "a device cannot add itself later");
    assert_eq!(person.add(&third, &second), Err(Code::Forbidden), "a stranger cannot add a device");
    person.add(&first, &second).unwrap();
    assert_eq!(person.user(), user, "the user stays");
    person.add(&second, &third).unwrap();
    assert_eq!(person.log.active().count(), 3);
}

#[test]
fn a_device_is_not_added_against_its_will() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let stranger = Person::new(2);
    let second = Key::test(101);
    let statement = |user, jwk, by: &Key| by.sign_as(second.thumbprint(), &DeviceStatement { user, jwk, iat: START });
    let user = Some(person.user());
    for (why, code, statement) in [
        ("for another user", Code::InvalidRequest, statement(Some(stranger.user()), second.public(), &second)),
        ("for no user", Code::InvalidRequest, statement(None, second.public(), &second)),
        ("signed by the one who adds it", Code::BadSignature, statement(user, second.public(), &first)),
        ("about another device", Code::BadSignature, statement(user, Key::test(102).public(), &second)),
        ("of another kind", Code::InvalidRequest, person.entries[0].0.clone()),
    ] {
        let entry = person.entry(UserEvent::DeviceAdded { device: statement });
        assert_eq!(person.append(&first, &entry), Err(code), "{why}");
    }
    assert_eq!(person.add(&first, &second), Ok(()));
}

#[test]
fn a_revoked_device_says_nothing_more_and_never_comes_back() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let second = Key::test(101);
    person.add(&first, &second).unwrap();
    person.now = START.plus(60);
    person.revoke(&second, &first).unwrap();
    assert_eq!(person.add(&first, &Key::test(102)), Err(Code::Forbidden));
    let named = person.entry(UserEvent::NameSigned { commitment: Hash::of(b"name") });
    assert_eq!(person.append(&first, &named), Err(Code::Forbidden), "it signs no name");
    let third = Key::test(103);
    person.add(&second, &third).unwrap();
    for author in [&first, &Key::test(9)] {
        let entry = person.entry(UserEvent::DeviceRevoked { device: third.device() });
        assert_eq!(
            person.append(author, &entry),
            Err(Code::Forbidden),
            "it revokes no other device, nor does a stranger"
        );
    }
    person.revoke(&second, &third).unwrap();
    assert_eq!(person.add(&second, &first), Err(Code::Conflict));
    assert_eq!(person.revoke(&second, &first), Err(Code::Forbidden), "it is revoked once");
    assert_eq!(person.revoke(&second, &second.clone()), Err(Code::Conflict), "the last device stays");
    let revoked = person.log.device(&first.device()).unwrap().revoked.unwrap();
    assert_eq!((revoked.seq, revoked.at), (2, START.plus(60)));
}

#[test]
fn the_past_of_a_log_stays_as_it_was() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let second = Key::test(101);
    person.now = START.plus(10);
    person.add(&first, &second).unwrap();
    person.now = START.plus(20);
    person.revoke(&second, &first).unwrap();
    let mut both = vec![first.device(), second.device()];
    both.sort_unstable();
    for (seq, devices, replaced_at) in [
        (0, vec![first.device()], Some(START.plus(10))),
        (1, both, Some(START.plus(20))),
        (2, vec![second.device()], None),
    ] {
        let then = person.log.at(seq).unwrap();
        assert_eq!((then.devices, then.replaced_at), (devices, replaced_at), "{seq}");
        assert_eq!(Some(then.hash), person.log.hash_at(seq), "{seq}");
    }
    assert_eq!(person.log.at(3), None);
}

#[test]
fn an_entry_continues_the_log_of_its_user_at_the_time_of_its_receipt() {
    type Change<'a> = &'a dyn Fn(&mut UserEntry);
    let mut person = Person::new(1);
    let first = person.device().clone();
    let good = person.entry(UserEvent::DeviceAdded { device: person.statement(&Key::test(101)) });
    let stranger = UserId(Hash::of(b"stranger"));
    let cases: [(&str, Code, Change<'_>); 8] = [
        ("a gap", Code::StaleLog, &|entry| entry.seq = 2),
        ("again the same", Code::StaleLog, &|entry| entry.seq = 0),
        ("another past", Code::StaleLog, &|entry| entry.prev = Some(Hash::of(b"fork"))),
        ("no past", Code::StaleLog, &|entry| entry.prev = None),
        ("another user", Code::InvalidRequest, &|entry| entry.user = Some(stranger)),
        ("no user", Code::InvalidRequest, &|entry| entry.user = None),
        ("early", Code::ClockSkew, &|entry| entry.iat = Time(entry.iat.0 - 301)),
        ("late", Code::ClockSkew, &|entry| entry.iat = Time(entry.iat.0 + 301)),
    ];
    for (why, code, change) in cases {
        let mut entry = good.clone();
        change(&mut entry);
        assert_eq!(person.append(&first, &entry), Err(code), "{why}");
        assert_eq!(person.log.head().unwrap().seq, 0, "{why}: nothing was taken");
    }
    person.now = Time(person.now.0 - 1);
    assert_eq!(person.append(&first, &good), Err(Code::ClockSkew), "received before the entry before it");
    person.now = Time(person.now.0 + 1);
    assert_eq!(person.append(&first, &good), Ok(()));
}

#[test]
fn a_user_has_at_most_twenty_active_devices() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    for n in 1..20 {
        person.add(&first, &Key::test(100 + n)).unwrap();
    }
    assert_eq!(person.add(&first, &Key::test(120)), Err(Code::TooLarge));
    person.revoke(&first, &Key::test(101)).unwrap();
    assert_eq!(person.add(&first, &Key::test(121)), Ok(()));
}

#[test]
fn a_log_has_256_entries_of_which_the_last_20_are_for_revocations() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    for n in 1..20 {
        person.add(&first, &Key::test(100 + n)).unwrap();
    }
    let named = |person: &Person| person.entry(UserEvent::NameSigned { commitment: Hash::of(b"name") });
    for _ in 20..236 {
        let entry = named(&person);
        person.append(&first, &entry).unwrap();
    }
    let entry = named(&person);
    assert_eq!(person.append(&first, &entry), Err(Code::TooLarge), "a name");
    person.revoke(&first, &Key::test(101)).unwrap();
    assert_eq!(person.add(&first, &Key::test(121)), Err(Code::TooLarge), "a device");
    for n in 2..20 {
        person.revoke(&first, &Key::test(100 + n)).unwrap();
    }
    assert_eq!(
        person.log.head().unwrap().seq,
        254,
        "every device but the last can be revoked, whatever filled the log"
    );
    assert_eq!(person.log.active().count(), 1);
}

#[test]
fn a_stored_log_is_what_it_was() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    person.add(&first, &Key::test(101)).unwrap();
    let named = person.entry(UserEvent::NameSigned { commitment: Hash::of(b"name") });
    person.append(&first, &named).unwrap();
    person.revoke(&first, &Key::test(101)).unwrap();
    let restored = UserLog::restore(person.entries.iter().map(|(jws, at)| (jws.as_str(), *at))).unwrap();
    assert_eq!(restored.head(), person.log.head());
    assert_eq!(restored.user(), person.log.user());
    assert_eq!(restored.name(), person.log.name());
    assert_eq!(restored.received_at(), person.log.received_at());
    assert!(restored.devices().eq(person.log.devices()));
}

fn name() -> Name {
    Name { provider: Provider::GitHub, id: 583_231, login: "octocat".to_owned(), salt: Bytes([7; 32]) }
}

#[test]
fn the_last_name_that_an_active_device_signed_counts() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    assert_eq!(person.log.name(), None);
    let earlier = Name { login: "octokitten".to_owned(), ..name() };
    for name in [&earlier, &name()] {
        let entry = person.entry(UserEvent::NameSigned { commitment: name.commitment(person.user()) });
        assert_eq!(person.append(&Key::test(9), &entry), Err(Code::Forbidden), "a stranger names nobody");
        person.append(&first, &entry).unwrap();
    }
    let commitment = person.log.name().unwrap();
    assert_eq!(name().opens(person.user(), commitment), Ok(true));
    assert_eq!(earlier.opens(person.user(), commitment), Ok(false));
}

#[test]
fn a_commitment_opens_only_to_its_user_account_login_and_salt() {
    let user = Person::new(1).user();
    let commitment = name().commitment(user);
    assert_eq!(name().opens(user, commitment), Ok(true));
    assert_eq!(name().opens(Person::new(2).user(), commitment), Ok(false), "another user");
    for (why, other) in [
        ("another login", Name { login: "Octocat".to_owned(), ..name() }),
        ("another account", Name { id: 583_232, ..name() }),
        ("another salt", Name { salt: Bytes([8; 32]), ..name() }),
    ] {
        assert_eq!(other.opens(user, commitment), Ok(false), "{why}");
    }
    assert_eq!(name().opens(user, Hash::of(b"another commitment")), Ok(false));
}

#[test]
fn what_cannot_be_a_login_opens_nothing() {
    let user = Person::new(1).user();
    for login in ["", "octo cat", "octo\ncat", "\u{43e}ctocat", &"a".repeat(40)] {
        let name = Name { login: login.to_owned(), ..name() };
        assert_eq!(name.opens(user, name.commitment(user)).map_err(code), Err(Code::InvalidRequest), "{login:?}");
    }
    let text = r#"{"provider":"gitlab","id":1,"login":"octocat","salt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    assert!(serde_json::from_str::<Name>(text).is_err(), "nobody else vouches");
    assert!(serde_json::from_str::<Name>(&text.replace("gitlab", "github")).is_ok());
}

//! Section 3: which devices speak for a user.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]
mod support;

use osmynt_core::statement::UserEntry;
use osmynt_core::userlog::UserEvent;
use osmynt_core::{Code, Hash, Time, UserId};
use support::{Key, Person};

#[test]
fn the_first_device_adds_itself_and_begins_the_identity() {
    let person = Person::new(1);
    let head = person.log.head().unwrap();
    assert_eq!(head.seq, 0);
    assert_eq!(person.log.identity(), Some(head.hash));
    assert_eq!(person.log.active().count(), 1);
}

#[test]
fn a_later_device_is_added_by_an_active_one_and_by_nobody_else() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let (second, third) = (Key::test(101), Key::test(102));
    assert_eq!(person.add(&second.clone(), &second), Err(Code::Forbidden), "a device cannot add itself later");
    assert_eq!(person.add(&third, &second), Err(Code::Forbidden), "a stranger cannot add a device");
    let identity = person.log.identity();
    person.add(&first, &second).unwrap();
    assert_eq!(person.log.identity(), identity, "the identity stays");
    person.add(&second, &third).unwrap();
    assert_eq!(person.log.active().count(), 3);
}

#[test]
fn a_device_is_not_added_against_its_will() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let stranger = Person::new(2);
    // A statement that somebody's device made about itself, for that somebody.
    let statement = stranger.statement(stranger.device());
    let entry = person.entry(UserEvent::DeviceAdded { device: statement });
    assert_eq!(person.append(&first, &entry), Err(Code::InvalidRequest));
}

#[test]
fn a_revoked_device_says_nothing_more_and_never_comes_back() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let second = Key::test(101);
    person.add(&first, &second).unwrap();
    person.revoke(&second, &first).unwrap();
    assert_eq!(person.add(&first, &Key::test(102)), Err(Code::Forbidden));
    assert_eq!(person.add(&second, &first), Err(Code::Conflict));
    assert_eq!(person.revoke(&second, &first), Err(Code::Forbidden), "it is revoked once");
    assert_eq!(person.revoke(&second, &second.clone()), Err(Code::Conflict), "the last device stays");
    assert_eq!(person.log.device(&first.device()).unwrap().revoked, Some(2));
}

#[test]
fn a_reset_revokes_every_device_and_begins_another_identity() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    let before = person.log.head().unwrap();
    let identity = person.log.identity();
    let new = Key::test(150);
    person.reset(&new).unwrap();
    assert_ne!(person.log.identity(), identity);
    assert_eq!(person.log.active().map(|(id, _)| *id).collect::<Vec<_>>(), [new.device()]);
    assert_eq!(person.reset(&first), Err(Code::Conflict), "not with an old device");
    let then = person.log.at(before).unwrap();
    assert_eq!((then.identity, then.devices), (identity.unwrap(), vec![first.device()]), "the past stays as it was");
}

#[test]
fn an_entry_continues_the_log_of_its_user_at_the_time_of_its_receipt() {
    type Change<'a> = &'a dyn Fn(&mut UserEntry);
    let mut person = Person::new(1);
    let first = person.device().clone();
    let good = person.entry(UserEvent::DeviceAdded { device: person.statement(&Key::test(101)) });
    let stranger: UserId = "00000000-0000-0000-0000-0000000000ff".parse().unwrap();
    let cases: [(&str, Code, Change<'_>); 7] = [
        ("a gap", Code::StaleLog, &|entry| entry.seq = 2),
        ("again the same", Code::StaleLog, &|entry| entry.seq = 0),
        ("another past", Code::StaleLog, &|entry| entry.prev = Some(Hash::of(b"fork"))),
        ("no past", Code::StaleLog, &|entry| entry.prev = None),
        ("another user", Code::InvalidRequest, &|entry| entry.user = stranger),
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
fn a_log_does_not_begin_with_a_reset_or_by_another_device() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    person.log = osmynt_core::userlog::UserLog::new(person.user);
    assert_eq!(person.reset(&first), Err(Code::InvalidRequest));
    assert_eq!(person.add(&first, &Key::test(101)), Err(Code::Forbidden));
}

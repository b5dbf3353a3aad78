//! Section 7: which snippets are admitted, and how they are put together.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use osmynt_core::snippet::{Audience, Container, parse_envelopes, prefix};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::teamlog::{Role, check_sealed_keys, check_snippet};
use osmynt_core::{Code, Envelope, Hash, Head, KeyId, TeamId, Time, UserId, labels};
use support::{Key, Team, Verdict, code, envelope, sealed};

const OWNER: u32 = 0;
const MEMBER: u32 = 2;
const OTHER: u32 = 3;
const STRANGER: u32 = 4;

#[test]
fn a_snippet_is_admitted_at_the_current_head_and_epoch_from_a_members_device() {
    let mut team = Team::of_four();
    let (owner, member, stranger) = (team.user(OWNER), team.user(MEMBER), team.user(STRANGER));
    let device = team.person(member).device().clone();
    let good = team.snippet(member, team.to_team());
    assert_eq!(team.admit(&device, &good, &[]), Ok(()));
    let now = team.now;
    let wrapped = |epoch, length| Audience::Team { epoch, wrapped: sealed(length) };
    let with = |audience| SnippetStatement { audience, ..good.clone() };
    for (why, code, said) in [
        ("another suite", Code::InvalidRequest, SnippetStatement { suite: "none".to_owned(), ..good.clone() }),
        ("another team", Code::InvalidRequest, SnippetStatement { team: TeamId(Hash::of(b"x")), ..good.clone() }),
        (
            "an earlier head",
            Code::StaleLog,
            SnippetStatement { head: Head { seq: good.head.seq - 1, ..good.head }, ..good.clone() },
        ),
        (
            "a head that never was",
            Code::StaleLog,
            SnippetStatement { head: Head { hash: Hash::of(b"x"), ..good.head }, ..good.clone() },
        ),
        ("an earlier epoch", Code::RotationRequired, with(wrapped(3, 32))),
        ("a later epoch", Code::RotationRequired, with(wrapped(5, 32))),
        ("a long key", Code::InvalidRequest, with(wrapped(4, 33))),
        ("a short key", Code::InvalidRequest, with(wrapped(4, 31))),
        ("early", Code::ClockSkew, SnippetStatement { iat: Time(now.0 - 301), ..good.clone() }),
        ("late", Code::ClockSkew, SnippetStatement { iat: Time(now.0 + 301), ..good.clone() }),
        ("ended", Code::InvalidRequest, SnippetStatement { exp: Some(now), ..good.clone() }),
        ("an end beyond numbers", Code::InvalidRequest, SnippetStatement { exp: Some(Time(1 << 53)), ..good.clone() }),
        ("not padded", Code::InvalidRequest, SnippetStatement { length: 257 + 16, ..good.clone() }),
        ("too short", Code::InvalidRequest, SnippetStatement { length: 255 + 16, ..good.clone() }),
        ("too long", Code::TooLarge, SnippetStatement { length: 10 * 1024 * 1024 + 17, ..good.clone() }),
        ("a long header", Code::TooLarge, SnippetStatement { header: sealed(4097), ..good.clone() }),
        ("in another's name", Code::Forbidden, SnippetStatement { user: owner, ..good.clone() }),
        ("by a stranger", Code::Forbidden, SnippetStatement { user: stranger, ..good.clone() }),
    ] {
        assert_eq!(team.admit(&device, &said, &[]), Err(code), "{why}");
    }
    let ends = SnippetStatement { exp: Some(now.plus(1)), ..good.clone() };
    assert_eq!(team.admit(&device, &ends, &[]), Ok(()));

    team.remove(owner, member).unwrap();
    let late = team.snippet(member, team.to_team());
    assert_eq!(team.admit(&device, &late, &[]), Err(Code::Forbidden), "a removed member shares nothing");
}

#[test]
fn a_direct_snippet_names_one_to_64_members_in_order_without_the_author() {
    let team = Team::of_four();
    let (owner, member, other, stranger) = (team.user(OWNER), team.user(MEMBER), team.user(OTHER), team.user(STRANGER));
    let device = team.person(member).device();
    let to = |members: Vec<UserId>, envelopes: &[Envelope]| {
        let hash = labels::envelope_set(envelopes);
        let said = team.snippet(member, Audience::Members { epoch: 4, members, envelopes: hash });
        team.admit(device, &said, envelopes)
    };
    let mut members = vec![owner, other];
    members.sort_unstable();
    let (_, envelopes) = team.to_members(member, &members);
    assert_eq!(to(members.clone(), &envelopes), Ok(()));
    let mut reversed = members;
    reversed.reverse();
    let mut crowd: Vec<UserId> = (0..65_u32).map(|n| UserId(Hash::of(&n.to_be_bytes()))).collect();
    crowd.sort_unstable();
    for (why, members) in [
        ("nobody", vec![]),
        ("in disorder", reversed),
        ("the author", vec![member]),
        ("a stranger", vec![stranger]),
        ("one twice", vec![owner, owner]),
        ("too many", crowd),
    ] {
        assert_eq!(to(members, &envelopes), Err(Code::InvalidRequest), "{why}");
    }
}

#[test]
fn a_client_refuses_a_snippet_to_more_than_64_members_without_knowing_them() {
    let team = Team::of_four();
    let author = team.user(MEMBER);
    let mut crowd: Vec<UserId> = (0..65_u32).map(|n| UserId(Hash::of(&n.to_be_bytes()))).collect();
    crowd.sort_unstable();
    for (count, verdict) in [(64, Ok(())), (65, Err(Code::InvalidRequest)), (0, Err(Code::InvalidRequest))] {
        let (members, envelopes) = (crowd[..count].to_vec(), Hash::of(b"envelopes"));
        let said = team.snippet(author, Audience::Members { epoch: 4, members, envelopes });
        assert_eq!(check_snippet(&said, team.now).map_err(code), verdict, "{count}");
    }
}

/// What a direct snippet to the owner gets with other envelopes than the right ones, whose hash is signed or not.
fn with_envelopes(team: &Team, signed: &[Envelope], sent: &[Envelope]) -> Verdict {
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let audience = Audience::Members { epoch: 4, members: vec![owner], envelopes: labels::envelope_set(signed) };
    team.admit(team.person(member).device(), &team.snippet(member, audience), sent)
}

#[test]
fn the_envelopes_of_a_direct_snippet_are_those_that_its_statement_signs() {
    let team = Team::of_four();
    let (_, right) = team.to_members(team.user(MEMBER), &[team.user(OWNER)]);
    assert_eq!(with_envelopes(&team, &right, &right), Ok(()));
    let mut reversed = right.clone();
    reversed.reverse();
    let mut resealed = right.clone();
    resealed[0].ct[0] ^= 1;
    let mut to_another_key = right.clone();
    to_another_key[0].prekey = KeyId(Hash::of(b"another"));
    let mut unknown = right.clone();
    unknown[0].suite = "another".to_owned();
    let mut long = right.clone();
    long[1].enc.push(0);
    let mut short = right.clone();
    short[1].ct.pop();
    for (why, signed, sent) in [
        ("in disorder", &right, &reversed),
        ("another ciphertext", &right, &resealed),
        ("another key", &right, &to_another_key),
        ("none", &right, &vec![]),
        ("one twice", &vec![right[0].clone(), right[0].clone()], &vec![right[0].clone(), right[0].clone()]),
        ("an unknown suite", &unknown, &unknown),
        ("a long enc", &long, &long),
        ("a short ct", &short, &short),
    ] {
        assert_eq!(with_envelopes(&team, signed, sent), Err(Code::InvalidRequest), "{why}");
    }
    assert_eq!(with_envelopes(&team, &to_another_key, &to_another_key), Ok(()), "the service looks up no keys here");
}

#[test]
fn the_envelopes_of_a_direct_snippet_are_one_for_each_device_of_author_and_recipients() {
    let team = Team::of_four();
    let (owner, member, other) = (team.user(OWNER), team.user(MEMBER), team.user(OTHER));
    let (_, right) = team.to_members(member, &[owner]);
    let (_, more) = team.to_members(member, &[owner, other]);
    let (_, others) = team.to_members(member, &[other]);
    for (why, envelopes) in
        [("one missing", right[1..].to_vec()), ("one too many", more), ("another's", others), ("none", vec![])]
    {
        assert_eq!(with_envelopes(&team, &envelopes, &envelopes), Err(Code::CoverageMismatch), "{why}");
    }
}

#[test]
fn a_snippet_has_at_most_500_envelopes() {
    let team = Team::of_four();
    let mut many: Vec<Envelope> =
        (0..501_u32).map(|n| envelope(osmynt_core::DeviceId(Hash::of(&n.to_be_bytes())))).collect();
    many.sort_unstable_by_key(|envelope| envelope.device);
    let check = |envelopes: &[Envelope]| {
        let hash = labels::envelope_set(envelopes);
        let audience = Audience::Members { epoch: 4, members: vec![team.user(OWNER)], envelopes: hash };
        check_sealed_keys(&team.snippet(team.user(MEMBER), audience), envelopes).map_err(code)
    };
    assert_eq!(check(&many), Err(Code::TooLarge));
    assert_eq!(check(&many[..500]), Ok(()));
    assert!(prefix("a.b.c", &many[..500]).is_ok(), "so many fit in a snippet");
}

#[test]
fn a_snippet_to_the_team_has_no_envelopes() {
    let team = Team::of_four();
    let member = team.user(MEMBER);
    let device = team.person(member).device();
    let sent = [envelope(device.device())];
    assert_eq!(team.admit(device, &team.snippet(member, team.to_team()), &sent), Err(Code::InvalidRequest));
}

#[test]
fn nothing_is_shared_under_a_stale_epoch() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let device = team.person(owner).device().clone();
    team.add_device(member, &Key::test(250)).unwrap();
    for (audience, envelopes) in [(team.to_team(), vec![]), team.to_members(owner, &[member])] {
        let snippet = team.snippet(owner, audience);
        assert_eq!(team.admit(&device, &snippet, &envelopes), Err(Code::RotationRequired));
    }
    team.rotate(owner).unwrap();
    for (audience, envelopes) in [(team.to_team(), vec![]), team.to_members(owner, &[member])] {
        let snippet = team.snippet(owner, audience);
        assert_eq!(team.admit(&device, &snippet, &envelopes), Ok(()));
    }
}

#[test]
fn a_device_shares_once_a_rotation_covers_it() {
    let mut team = Team::of_four();
    let member = team.user(MEMBER);
    let second = Key::test(250);
    team.add_device(member, &second).unwrap();
    assert_eq!(team.admit(&second, &team.snippet(member, team.to_team()), &[]), Err(Code::RotationRequired));
    team.rotate(team.user(OWNER)).unwrap();
    assert_eq!(team.admit(&second, &team.snippet(member, team.to_team()), &[]), Ok(()));
    let first = team.person(member).devices[0].clone();
    team.revoke_device(member, &first).unwrap();
    team.rotate(team.user(OWNER)).unwrap();
    assert_eq!(team.admit(&first, &team.snippet(member, team.to_team()), &[]), Err(Code::Forbidden));
}

#[test]
fn a_member_who_comes_back_shares_again_and_one_who_waits_does_not() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let device = team.person(member).device().clone();
    team.leave(member).unwrap();
    team.rotate(owner).unwrap();
    assert_eq!(team.admit(&device, &team.snippet(member, team.to_team()), &[]), Err(Code::Forbidden));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    team.join(member, &key).unwrap();
    assert_eq!(team.admit(&device, &team.snippet(member, team.to_team()), &[]), Ok(()));
}

#[test]
fn a_snippet_splits_into_statement_envelopes_and_ciphertext() {
    let envelopes = vec![envelope(Key::test(1).device()), envelope(Key::test(2).device())];
    let json = serde_json::to_vec(&envelopes).unwrap();
    let mut snippet = prefix("a.b.c", &envelopes).unwrap();
    assert_eq!(snippet[..9], *b"\0\0\0\x05a.b.c");
    let length = u32::try_from(json.len()).unwrap().to_be_bytes();
    assert_eq!((&snippet[9..13], &snippet[13..]), (&length[..], &json[..]));
    snippet.extend_from_slice(b"sealed");
    let split = Container::split(&snippet).unwrap();
    assert_eq!((split.statement, split.ciphertext), ("a.b.c", &b"sealed"[..]));
    assert_eq!(split.envelopes().unwrap(), envelopes);
    for cut in [0, 3, 8, 10, 12, 13, snippet.len() - 7] {
        assert_eq!(Container::split(&snippet[..cut]).unwrap_err().code, Code::InvalidRequest, "{cut}");
    }
    assert_eq!(Container::split(b"\0\0\0\x02\xff\xfe\0\0\0\0").unwrap_err().code, Code::InvalidRequest, "not text");
    assert_eq!(Container::split(b"\0\0\x40\x01").unwrap_err().code, Code::TooLarge, "a long statement");
    assert_eq!(Container::split(b"\0\0\0\x01a\0\x04\0\x01").unwrap_err().code, Code::TooLarge, "long envelopes");
}

#[test]
fn envelopes_are_read_strictly() {
    let one = serde_json::to_string(&envelope(Key::test(1).device())).unwrap();
    assert_eq!(parse_envelopes(b"").unwrap(), []);
    assert_eq!(parse_envelopes(format!("[{one}]").as_bytes()).unwrap().len(), 1);
    for (why, text) in [
        ("an array of none", "[]".to_owned()),
        ("no array", one.clone()),
        ("cut short", format!("[{one}")),
        ("something after", format!("[{one}] []")),
        ("an unknown member", format!("[{}]", one.replace("{\"device\"", "{\"to\":1,\"device\""))),
        ("no suite", format!("[{}]", one.replace("\"suite\"", "\"suites\""))),
        ("padding", format!("[{}]", one.replace("BAQ\"", "BAQ=\""))),
    ] {
        if why == "padding" {
            assert_ne!(text, format!("[{one}]"));
        }
        assert_eq!(parse_envelopes(text.as_bytes()).map_err(code), Err(Code::InvalidRequest), "{why}");
    }
}

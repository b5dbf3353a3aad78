//! Section 2: what a statement is, and everything that is none.
#![allow(clippy::unwrap_used, missing_docs)]
mod support;

use osmynt_core::statement::{
    DeviceStatement, HandshakeStatement, InviteProof, PrekeyStatement, SnippetStatement, TeamEntry, UserEntry,
    parse_prekey,
};
use osmynt_core::{Code, Hash, Payload, TeamId, Unverified, UserId};
use support::{Key, START, Team, Verdict, code, verify};

const HEADER: &str = r#"{"alg":"ES256","typ":"osmynt-invite+jws","kid":"KID"}"#;
const PAYLOAD: &str = r#"{"team":"KID","invite":"KID","user":"KID","iat":1800000000}"#;

fn made_of(header: &str, payload: &str) -> Verdict {
    let key = Key::test(1);
    let kid = key.thumbprint().to_string();
    let compact = key.sign_json(&header.replace("KID", &kid), &payload.replace("KID", &kid));
    verify::<InviteProof>(&compact, &key.public()).map(|_| ())
}

#[test]
fn a_well_formed_statement_is_taken_whatever_the_order_of_its_members() {
    assert_eq!(made_of(HEADER, PAYLOAD), Ok(()));
    assert_eq!(made_of(r#"{ "kid":"KID", "typ":"osmynt-invite+jws", "alg":"ES256" }"#, PAYLOAD), Ok(()));
}

#[test]
fn a_header_is_exactly_as_specified() {
    for (why, from, to) in [
        ("no algorithm", "ES256", "none"),
        ("a MAC", "ES256", "HS256"),
        ("another curve", "ES256", "ES384"),
        ("another case", "ES256", "es256"),
        ("another kind", "osmynt-invite+jws", "osmynt-team+jws"),
        ("plain JWT", "osmynt-invite+jws", "JWT"),
        ("an unknown member", "{\"alg\"", "{\"crit\":[],\"alg\""),
        ("a key inside", "{\"alg\"", "{\"jwk\":{},\"alg\""),
        ("a repeated member", "{\"alg\"", "{\"alg\":\"ES256\",\"alg\""),
        ("trailing data", "\"}", "\"} {}"),
        ("no kid", ",\"kid\":\"KID\"", ""),
        ("a short kid", "KID", "AAAA"),
    ] {
        assert_eq!(made_of(&HEADER.replace(from, to), PAYLOAD), Err(Code::InvalidRequest), "{why}");
    }
}

#[test]
fn a_payload_is_exactly_as_specified() {
    for (why, from, to) in [
        ("an unknown member", "{\"team\"", "{\"extra\":1,\"team\""),
        ("a repeated member", "{\"team\"", "{\"team\":\"KID\",\"team\""),
        ("a missing member", ",\"iat\":1800000000", ""),
        ("a fraction", "1800000000", "1800000000.0"),
        ("an exponent", "1800000000", "18e8"),
        ("a negative number", "1800000000", "-1"),
        ("a number as text", "1800000000", "\"1800000000\""),
        ("a number beyond 64 bits", "1800000000", "99999999999999999999"),
        ("trailing data", "1800000000}", "1800000000}x"),
        ("a short user id", "\"user\":\"KID\"", "\"user\":\"AAAA\""),
        ("no user id", "\"user\":\"KID\"", "\"user\":null"),
        ("an array", PAYLOAD, "[]"),
        ("nothing", PAYLOAD, ""),
        ("deep nesting", PAYLOAD, &"[".repeat(300)),
    ] {
        assert_eq!(made_of(HEADER, &PAYLOAD.replace(from, to)), Err(Code::InvalidRequest), "{why}");
    }
}

#[test]
fn an_event_is_exactly_as_specified() {
    let key = Key::test(1);
    let user = key.thumbprint();
    let left =
        format!(r#"{{"team":null,"seq":1,"prev":null,"iat":1,"user":"{user}","event":{{"type":"member.left"}}}}"#);
    let header = format!(r#"{{"alg":"ES256","typ":"osmynt-team+jws","kid":"{user}"}}"#);
    let parse = |payload: &str| Unverified::<TeamEntry>::parse(&key.sign_json(&header, payload)).map(|_| ());
    assert_eq!(parse(&left), Ok(()));
    for (why, from, to) in [
        ("an unknown member", "\"member.left\"", "\"member.left\",\"user\":1"),
        ("a repeated type", "\"member.left\"", "\"member.left\",\"type\":\"member.left\""),
        ("an unknown type", "member.left", "member.promoted"),
        ("no type", "\"type\":\"member.left\"", ""),
    ] {
        assert_eq!(parse(&left.replace(from, to)).unwrap_err().code, Code::InvalidRequest, "{why}");
    }
}

#[test]
fn compact_serialization_has_one_form() {
    let team = Team::founded(1);
    let compact = team.log.first().unwrap().0.clone();
    assert!(Unverified::<TeamEntry>::parse(&compact).is_ok());
    let (signed, signature) = compact.rsplit_once('.').unwrap();
    for (why, other) in [
        ("padding", format!("{compact}=")),
        ("a line feed", format!("{compact}\n")),
        ("a fourth part", format!("{compact}.AAAA")),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", "A".repeat(43))),
        ("two parts", signed.to_owned()),
        ("nothing", String::new()),
        ("detached", format!("{}..{signature}", signed.split_once('.').unwrap().0)),
    ] {
        assert_eq!(Unverified::<TeamEntry>::parse(&other).unwrap_err().code, Code::InvalidRequest, "{why}");
    }
}

#[test]
fn a_signature_fits_one_key_and_one_text() {
    let (key, other) = (Key::test(1), Key::test(2));
    let kid = key.thumbprint();
    let proof = InviteProof { team: TeamId(kid), invite: key.invite(), user: UserId(kid), iat: START };
    assert!(verify::<InviteProof>(&key.sign(&proof), &key.public()).is_ok());
    assert_eq!(verify::<InviteProof>(&key.sign(&proof), &other.public()).unwrap_err(), Code::BadSignature);
    // A good signature by a key that `kid` does not name.
    assert_eq!(verify::<InviteProof>(&other.sign_as(kid, &proof), &other.public()).unwrap_err(), Code::BadSignature);
    // A signature that is not by the key that `kid` names.
    assert_eq!(verify::<InviteProof>(&other.sign_as(kid, &proof), &key.public()).unwrap_err(), Code::BadSignature);
    // A good signature over another text.
    let (text, _) = key.sign(&InviteProof { iat: START.plus(1), ..proof.clone() }).rsplit_once('.').map(own).unwrap();
    let (_, signature) = key.sign(&proof).rsplit_once('.').map(own).unwrap();
    let moved = format!("{text}.{signature}");
    assert_eq!(verify::<InviteProof>(&moved, &key.public()).unwrap_err(), Code::BadSignature);
}

fn own((text, signature): (&str, &str)) -> (String, String) {
    (text.to_owned(), signature.to_owned())
}

#[test]
fn a_statement_is_identified_by_what_is_signed_and_not_by_its_signature() {
    let team = Team::founded(1);
    let compact = team.log.first().unwrap().0.clone();
    let (signed, _) = compact.rsplit_once('.').unwrap();
    let other = format!("{signed}.{}", "A".repeat(86));
    let hash = |compact: &str| Unverified::<TeamEntry>::parse(compact).unwrap().hash();
    assert_eq!(hash(&compact), hash(&other));
    assert_eq!(hash(&compact), Hash::of(signed.as_bytes()));
}

#[test]
fn no_two_kinds_share_a_typ() {
    let mut types = vec![
        HandshakeStatement::TYP,
        DeviceStatement::TYP,
        PrekeyStatement::TYP,
        UserEntry::TYP,
        TeamEntry::TYP,
        InviteProof::TYP,
        SnippetStatement::TYP,
    ];
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), 7);
}

/// Whether text of a length is too long, or merely no statement.
fn of_length<T: Payload>(length: usize) -> Option<Code> {
    Unverified::<T>::parse(&"x".repeat(length)).err().map(code)
}

#[test]
fn each_kind_has_a_length_of_its_own_that_it_may_not_exceed() {
    fn check<T: Payload>(limit: usize) {
        assert_eq!(of_length::<T>(limit), Some(Code::InvalidRequest), "{}", T::TYP);
        assert_eq!(of_length::<T>(limit + 1), Some(Code::TooLarge), "{}", T::TYP);
    }
    check::<HandshakeStatement>(2048);
    check::<DeviceStatement>(1024);
    check::<PrekeyStatement>(1024);
    check::<UserEntry>(2048);
    check::<TeamEntry>(16_384);
    check::<InviteProof>(1024);
    check::<SnippetStatement>(16_384);
}

/// A prekey statement with this payload, `KEY` and `USER` replaced by real ones.
fn prekey(payload: &str) -> String {
    let key = Key::test(1);
    let kid = key.thumbprint().to_string();
    let header = format!(r#"{{"alg":"ES256","typ":"osmynt-prekey+jws","kid":"{kid}"}}"#);
    let jwk = serde_json::to_string(&Key::test(2).public()).unwrap();
    key.sign_json(&header, &payload.replace("KEY", &jwk).replace("USER", &kid))
}

#[test]
fn a_prekey_of_an_unknown_kind_is_left_out_and_one_of_a_known_kind_is_read_strictly() {
    let read = |payload: &str| parse_prekey(&prekey(payload)).map(|known| known.is_some()).map_err(code);
    let signed = r#"{"user":"USER","kind":"signed","key":KEY,"iat":1800000000}"#;
    assert_eq!(read(signed), Ok(true));
    for unknown in [
        r#"{"kind":"one-time"}"#.to_owned(),
        r#"{"user":"USER","kind":"hybrid","key":{"kty":"AKP"},"mlkem":[1,2],"iat":1.5}"#.to_owned(),
        format!(r#"{{"kind":"hybrid","key":"{}"}}"#, "A".repeat(4000)),
    ] {
        assert_eq!(read(&unknown), Ok(false), "{unknown}");
    }
    for (why, malformed) in [
        ("no key", signed.replace(r#""key":KEY,"#, "")),
        ("a member more", signed.replace(r#""iat""#, r#""note":"","iat""#)),
        ("another key", signed.replace("KEY", r#"{"kty":"OKP"}"#)),
        ("no kind", signed.replace(r#""kind":"signed","#, "")),
        ("a kind that is no text", signed.replace(r#""signed""#, "1")),
    ] {
        assert_eq!(read(&malformed), Err(Code::InvalidRequest), "{why}");
    }
    let long = |kind: &str| format!(r#"{{"user":"USER","kind":"{kind}","key":KEY,"iat":{}1}}"#, " ".repeat(1024));
    assert_eq!(read(&long("signed")), Err(Code::TooLarge));
    assert_eq!(read(&long("hybrid")), Ok(false), "other kinds may be longer");
    let endless = format!(r#"{{"kind":"hybrid","key":"{}"}}"#, "A".repeat(8192));
    assert_eq!(read(&endless), Err(Code::TooLarge), "but not without end");
}

#[test]
fn a_statement_of_another_kind_is_no_prekey() {
    let team = Team::founded(1);
    assert_eq!(parse_prekey(&team.log.first().unwrap().0).map(|_| ()).map_err(code), Err(Code::InvalidRequest));
}

//! Section 2: what is a statement, and what is not.
#![allow(clippy::unwrap_used, missing_docs)]
mod support;

use osmynt_core::statement::{InviteProof, TeamEntry};
use osmynt_core::{Code, Payload, Unverified};
use support::{Key, START, Team, verify};

const HEADER: &str = r#"{"alg":"ES256","typ":"osmynt-invite+jws","kid":"KID"}"#;
const PAYLOAD: &str =
    r#"{"team":"KID","invite":"KID","user":"00000000-0000-0000-0000-000000001000","identity":"KID","iat":1800000000}"#;

fn made_of(header: &str, payload: &str) -> Result<(), Code> {
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
        ("an upper-case user id", "-000000001000", "-00000000100A"),
        ("an array", PAYLOAD, "[]"),
        ("nothing", PAYLOAD, ""),
        ("deep nesting", PAYLOAD, &"[".repeat(40_000)),
    ] {
        assert_eq!(made_of(HEADER, &PAYLOAD.replace(from, to)), Err(Code::InvalidRequest), "{why}");
    }
}

#[test]
fn an_event_is_exactly_as_specified() {
    let left = r#"{"team":null,"seq":1,"prev":null,"iat":1,"user":"00000000-0000-0000-0000-000000001000","event":{"type":"member.left"}}"#;
    let key = Key::test(1);
    let header = format!(r#"{{"alg":"ES256","typ":"osmynt-team+jws","kid":"{}"}}"#, key.thumbprint());
    let parse = |payload: &str| Unverified::<TeamEntry>::parse(&key.sign_json(&header, payload)).map(|_| ());
    assert_eq!(parse(left), Ok(()));
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
    let key = Key::test(1);
    let team = Team::founded(1);
    let compact = team.log.first().unwrap().0.entry.compact().to_owned();
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
    let long = key.sign_json(&"x".repeat(60_000), "{}");
    assert_eq!(Unverified::<TeamEntry>::parse(&long).unwrap_err().code, Code::TooLarge);
}

#[test]
fn a_signature_fits_one_key_and_one_text() {
    let (key, other) = (Key::test(1), Key::test(2));
    let kid = key.thumbprint();
    let hash = kid;
    let proof = InviteProof {
        team: osmynt_core::TeamId(hash),
        invite: key.invite(),
        user: "00000000-0000-0000-0000-000000001000".parse().unwrap(),
        identity: hash,
        iat: START,
    };
    assert!(verify::<InviteProof>(&key.sign(&proof), &key.public()).is_ok());
    assert_eq!(verify::<InviteProof>(&key.sign(&proof), &other.public()).unwrap_err(), Code::BadSignature);
    // A good signature by a key that `kid` does not name.
    assert_eq!(verify::<InviteProof>(&other.sign_as(kid, &proof), &other.public()).unwrap_err(), Code::BadSignature);
    // The platform's word is taken for nothing but the key that `kid` names.
    let claimed = Unverified::<InviteProof>::parse(&other.sign_as(kid, &proof)).unwrap();
    assert_eq!(claimed.clone().verified(&other.public(), true).unwrap_err().code, Code::BadSignature);
    assert_eq!(claimed.verified(&key.public(), false).unwrap_err().code, Code::BadSignature);
}

#[test]
fn a_statement_is_identified_by_what_is_signed_and_not_by_its_signature() {
    let team = Team::founded(1);
    let compact = team.log.first().unwrap().0.entry.compact().to_owned();
    let (signed, _) = compact.rsplit_once('.').unwrap();
    let other = format!("{signed}.{}", "A".repeat(86));
    let hash = |compact: &str| Unverified::<TeamEntry>::parse(compact).unwrap().hash();
    assert_eq!(hash(&compact), hash(&other));
    assert_eq!(hash(&compact), osmynt_core::Hash::of(signed.as_bytes()));
}

#[test]
fn no_two_kinds_share_a_typ() {
    use osmynt_core::statement::{DeviceStatement, HandshakeStatement, PrekeyStatement, SnippetStatement, UserEntry};
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

//! DPoP proofs: the published examples, and everything that is none.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use osmynt_core::dpop::{Proof, UnverifiedProof, signing_input};
use osmynt_core::{Code, DeviceId, Hash, Time, b64u};
use support::{Key, P256, ready};

/// RFC 9449 section 4.1: for a token request.
const AT_TOKEN_ENDPOINT: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA";

/// RFC 9449 section 7.1: for a request with the access token below.
const AT_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn open(compact: &str) -> osmynt_core::Result<(Proof, DeviceId)> {
    ready(UnverifiedProof::parse(compact)?.verify(&P256))
}

#[test]
fn the_published_examples_are_proofs_of_their_key_for_their_requests() {
    // RFC 9449 section 6.1: the thumbprint of that key.
    let device: Hash = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
    let (proof, by) = open(AT_TOKEN_ENDPOINT).unwrap();
    assert_eq!((by.0, proof.jti.as_str(), proof.ath), (device, "-BwC3ESc6acc2lTc", None));
    assert_eq!(proof.htu, "https://server.example.com/token");
    assert_eq!(proof.check("POST", true, None, Time(1_562_265_296)), Ok(()));

    let (proof, by) = open(AT_RESOURCE).unwrap();
    assert_eq!(by.0, device);
    assert_eq!(proof.check("GET", true, Some(TOKEN), Time(1_562_262_618)), Ok(()));
}

fn proof() -> Proof {
    let htu = "https://osmynt.example/v1/me".to_owned();
    let ath = Some(Hash::of(TOKEN.as_bytes()));
    Proof { jti: "one".into(), htm: "GET".into(), htu, iat: Time(1_800_000_000), ath }
}

fn signed(proof: &Proof) -> String {
    let key = Key::test(1);
    key.finish(&signing_input(&key.public(), proof).unwrap())
}

#[test]
fn a_proof_says_what_was_signed() {
    let (read, by) = open(&signed(&proof())).unwrap();
    assert_eq!((read, by), (proof(), Key::test(1).device()));
}

#[test]
fn a_proof_is_for_one_request_and_one_token_within_a_minute() {
    let now = proof().iat;
    let code = |method, address_fits, token, now| {
        proof().check(method, address_fits, token, now).err().map(|refusal| refusal.code)
    };
    assert_eq!(code("GET", true, Some(TOKEN), now), None);
    assert_eq!(code("get", true, Some(TOKEN), now), Some(Code::Unauthenticated));
    assert_eq!(code("POST", true, Some(TOKEN), now), Some(Code::Unauthenticated));
    assert_eq!(code("GET", false, Some(TOKEN), now), Some(Code::Unauthenticated));
    assert_eq!(code("GET", true, Some("another token"), now), Some(Code::Unauthenticated));
    assert_eq!(code("GET", true, None, now), Some(Code::Unauthenticated));
    for (seconds, expected) in [(0, None), (60, None), (61, Some(Code::ClockSkew))] {
        assert_eq!(code("GET", true, Some(TOKEN), now.plus(seconds)), expected);
        assert_eq!(code("GET", true, Some(TOKEN), Time(now.0 - seconds)), expected);
    }
    let without = Proof { ath: None, ..proof() };
    assert_eq!(without.check("GET", true, Some(TOKEN), now).err().map(|of| of.code), Some(Code::Unauthenticated));
}

#[test]
fn a_proof_is_remembered_until_its_age_alone_refuses_it() {
    let proof = proof();
    let last = Time(proof.ends_at().0 - 1);
    assert_eq!(proof.check("GET", true, Some(TOKEN), last), Ok(()));
    assert!(proof.check("GET", true, Some(TOKEN), proof.ends_at()).is_err());
}

#[test]
fn another_signature_another_key_or_other_claims_are_no_proof() {
    let compact = signed(&proof());
    let [header, payload, signature] = compact.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = signed(&Proof { htm: "DELETE".into(), ..proof() });
    let others: Vec<_> = other.split('.').collect();
    for forged in [
        format!("{header}.{}.{signature}", others[1]),
        format!("{header}.{payload}.{}", others[2]),
        format!("{header}.{payload}.{}", b64u::encode(&[0; 64])),
    ] {
        assert_eq!(open(&forged).unwrap_err().code, Code::Unauthenticated, "{forged}");
    }
}

#[test]
fn what_is_not_as_specified_is_refused_before_its_signature_is_looked_at() {
    let compact = signed(&proof());
    let [header, payload, signature] = compact.split('.').collect::<Vec<_>>().try_into().unwrap();
    let text = |part: &str| String::from_utf8(b64u::decode(part).unwrap()).unwrap();
    let header_as = |from: &str, to: &str| {
        let changed = text(header).replace(from, to);
        assert_ne!(changed, text(header));
        format!("{}.{payload}.{signature}", b64u::encode(changed.as_bytes()))
    };
    let payload_as = |from: &str, to: &str| {
        let changed = text(payload).replace(from, to);
        assert_ne!(changed, text(payload));
        format!("{header}.{}.{signature}", b64u::encode(changed.as_bytes()))
    };
    for (what, proof) in [
        ("nothing", String::new()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{compact}.{signature}")),
        ("two proofs", format!("{compact}, {compact}")),
        ("padding", format!("{compact}=")),
        ("a short signature", format!("{header}.{payload}.AAAA")),
        ("another type", header_as("dpop+jwt", "JWT")),
        ("no algorithm", header_as("ES256", "none")),
        ("a shared secret", header_as("ES256", "HS256")),
        ("a private key", header_as(r#""kty""#, r#""d":"AQ","kty""#)),
        ("another curve", header_as("P-256", "P-384")),
        ("an unknown header", header_as(r#""alg""#, r#""crit":[],"alg""#)),
        ("a repeated header", header_as(r#""alg""#, r#""alg":"ES256","alg""#)),
        ("an unknown claim", payload_as(r#""htm""#, r#""nbf":0,"htm""#)),
        ("no jti", payload_as(r#""jti":"one","#, "")),
        ("an empty jti", payload_as(r#""one""#, r#""""#)),
        ("a jti that is too long", payload_as("one", &"a".repeat(65))),
        ("a jti that cannot be seen", payload_as("one", r"\u0000")),
        ("a time that is no integer", payload_as("1800000000", "1800000000.5")),
        ("too much", payload_as("https://", &format!("https://{}", "a".repeat(5000)))),
    ] {
        assert_eq!(UnverifiedProof::parse(&proof).unwrap_err().code, Code::Unauthenticated, "{what}");
    }
}

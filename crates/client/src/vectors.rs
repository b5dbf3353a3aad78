//! Published test vectors, run through the functions that seal, open and verify here.
//!
//! Wycheproof (C2SP) for the primitives; RFC 9180's own vectors for HPKE. Where they came from stands beside them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hkdf::Hkdf;
use osmynt_core::{PublicKey, Verifier as _};
use p256::SecretKey;
use sha2::Sha256;
use wycheproof::{TestResult, aead, ecdh, ecdsa, hkdf as kdf};

use crate::keys::{RustCrypto, checked};
use crate::seal::{Prekey, hpke_open, hpke_seal, open, seal};

/// ECDSA P-256 with SHA-256, r ‖ s: how every statement is verified.
#[test]
fn es256_agrees_with_wycheproof() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut counted = (0, 0);
    for group in set.test_groups {
        let key = PublicKey::from_sec1(&group.key.key).unwrap();
        for test in group.tests {
            let signature = <&[u8; 64]>::try_from(test.sig.as_slice());
            let fits = signature.is_ok_and(|signature| checked(RustCrypto.es256(&key, &test.msg, signature)).unwrap());
            assert_eq!(fits, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            if fits { counted.0 += 1 } else { counted.1 += 1 }
        }
    }
    assert!(counted.0 > 100 && counted.1 > 50, "the set was read: {counted:?}");
}

/// ECDH P-256 with uncompressed points: what HPKE's KEM does.
#[test]
fn ecdh_agrees_with_wycheproof() {
    let set = ecdh::TestSet::load(ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut agreed = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        // Points travel uncompressed here; the compressed ones of the set must be refused like any other nonsense.
        let Ok(public) = PublicKey::from_sec1(&test.public_key) else {
            let compressed = test.public_key.first().is_some_and(|tag| matches!(tag, 2 | 3));
            assert!(compressed || test.result != TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            continue;
        };
        assert_ne!(test.result, TestResult::Invalid, "case {}: {}", test.tc_id, test.comment);
        let mut scalar = [0; 32];
        let private = test.private_key.as_slice();
        let private = &private[private.len().saturating_sub(32)..];
        scalar[32 - private.len()..].copy_from_slice(private);
        let secret = SecretKey::from_slice(&scalar).unwrap();
        let public = p256::PublicKey::from_sec1_bytes(&public.to_sec1()).unwrap();
        let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
        assert_eq!(shared.raw_secret_bytes().as_slice(), test.shared_secret.as_slice(), "case {}", test.tc_id);
        agreed += 1;
    }
    assert!(agreed > 100, "the set was read: {agreed}");
}

/// HKDF-SHA256: how every key is derived.
#[test]
fn hkdf_agrees_with_wycheproof() {
    let set = kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap();
    let mut agreed = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let mut output = vec![0; test.size];
        let expanded = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut output);
        assert_eq!(expanded.is_ok(), test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
        if expanded.is_ok() {
            assert_eq!(output, test.okm.as_slice(), "case {}", test.tc_id);
            agreed += 1;
        }
    }
    assert!(agreed > 50, "the set was read: {agreed}");
}

/// AES-256-GCM with 12-byte nonces: how everything is sealed.
#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut counted = (0, 0);
    let groups = set.test_groups.into_iter().filter(|group| group.key_size == 256 && group.nonce_size == 96);
    for test in groups.flat_map(|group| group.tests) {
        let key = test.key.as_slice().try_into().unwrap();
        let nonce = test.nonce.as_slice().try_into().unwrap();
        let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
        let opened = open(key, nonce, &test.aad, &sealed);
        if test.result == TestResult::Valid {
            assert_eq!(opened.as_deref(), Some(test.pt.as_slice()), "case {}: {}", test.tc_id, test.comment);
            assert_eq!(seal(key, nonce, &test.aad, &test.pt).unwrap(), sealed, "case {}", test.tc_id);
            counted.0 += 1;
        } else {
            assert_eq!(opened, None, "case {}: {}", test.tc_id, test.comment);
            counted.1 += 1;
        }
    }
    assert!(counted.0 > 20 && counted.1 > 10, "the set was read: {counted:?}");
}

/// RFC 9180: `test-vectors.json` of cfrg/draft-irtf-cfrg-hpke at 5f503c5, the file that the RFC names, entry with mode 0,
/// `kem_id` 0x0010, `kdf_id` 0x0001, `aead_id` 0x0002 (this very suite), its first encryption.
#[test]
fn hpke_agrees_with_rfc_9180() {
    const IKM_E: &str = "a90d3417c3da9cb6c6ae19b4b5dd6cc9529a4cc24efb7ae0ace1f31887a8cd6c";
    const IKM_R: &str = "a0ce15d49e28bd47a18a97e147582d814b08cbe00109fed5ec27d1b4e9f6f5e3";
    const PK_R: &str = "04abc7e49a4c6b3566d77d0304addc6ed0e98512ffccf505e6a8e3eb25c685136f\
                        853148544876de76c0f2ef99cdc3a05ccf5ded7860c7c021238f9e2073d2356c";
    const ENC: &str = "04c06b4f6bebc7bb495cb797ab753f911aff80aefb86fd8b6fcc35525f3ab5f03e\
                       0b21bd31a86c6048af3cb2d98e0d3bf01da5cc4c39ff5370d331a4f1f7d5a4e0";
    const CT: &str = "58c61a45059d0c5704560e9d88b564a8b63f1364b8d1fcb3c4c6ddc1d291742465e902cd216f8908da49f8f96f";
    let (info, aad, plain) = (b"Ode on a Grecian Urn", b"Count-0", b"Beauty is truth, truth beauty");

    let prekey = Prekey::derive(&hex(IKM_R).try_into().unwrap()).unwrap();
    assert_eq!(prekey.public().to_sec1().as_slice(), hex(PK_R));
    let (enc, ct) = hpke_seal(prekey.public(), info, aad, plain, &hex(IKM_E).try_into().unwrap()).unwrap();
    assert_eq!(enc.as_slice(), hex(ENC));
    assert_eq!(ct, hex(CT));
    assert_eq!(hpke_open(&prekey, &enc, info, aad, &ct).unwrap().as_slice(), plain);
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

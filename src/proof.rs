//! Proof of possession (RFC 9449): a request comes from the device that its token was given to.

use osmynt_core::dpop::{Proof, UnverifiedProof};
use osmynt_core::{Code, DeviceId, PublicKey};
use worker::Url;

use crate::crypto::WebCrypto;
use crate::problem::Problem;
use crate::routes::Call;

/// A request's proof, and who made it.
pub(crate) struct Proven {
    pub(crate) device: DeviceId,
    pub(crate) key: PublicKey,
    pub(crate) proof: Proof,
}

/// The proof in the header `DPoP`, if it is about this request and the access token that came along. Whose it must be, and
/// whether it was used before, is the caller's to check.
///
/// Refused with `unauthenticated`, or with `clock-skew` when only its time is wrong.
pub(crate) async fn of(call: &Call, token: Option<&str>) -> Result<Proven, Problem> {
    // Of two headers of this name the platform makes one value, which is no proof.
    let header = call.request.headers().get("DPoP")?.ok_or_else(|| {
        Problem::new(
            Code::Unauthenticated,
            "Send a proof of possession for this request in the header DPoP (RFC 9449).",
        )
    })?;
    let proof = UnverifiedProof::parse(&header)?;
    let key = *proof.key();
    let (proof, device) = proof.verify(&WebCrypto).await?;
    let address_fits = names(&proof.htu, &call.address());
    if !address_fits && origin(&proof.htu) != origin(&call.config.origin) {
        // The client is right and was told another address of this service.
        let detail =
            format!("Send requests to {}, the address of this service, and sign it in `htu`.", call.config.origin);
        return Err(Problem::new(Code::Unauthenticated, detail));
    }
    proof.check(&call.method(), address_fits, token, call.now)?;
    Ok(Proven { device, key, proof })
}

/// Whether two addresses are the same, query and fragment left aside (RFC 9449 section 4.3 number 9).
fn names(htu: &str, address: &str) -> bool {
    let normal = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    htu == address || normal(htu).is_some_and(|htu| normal(address) == Some(htu))
}

fn origin(address: &str) -> Option<String> {
    Some(Url::parse(address).ok()?.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_compared_as_a_url_without_query_and_fragment() {
        let address = "https://osmynt.example/v1/me";
        for same in [address, "https://osmynt.example:443/v1/me", "HTTPS://OSMYNT.example/v1/./me?from=3#x"] {
            assert!(names(same, address), "{same}");
        }
        for other in [
            "",
            "/v1/me",
            "http://osmynt.example/v1/me",
            "https://osmynt.example/v1/me/",
            "https://elsewhere.example/v1/me",
        ] {
            assert!(!names(other, address), "{other}");
        }
    }
}

//! ES256 by the runtime's Web Crypto, far cheaper in CPU time than the same in wasm; and random bytes, which come from there as well.

use js_sys::{Array, Uint8Array};
use osmynt_core::{PublicKey, Verifier};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, EcKeyImportParams, EcdsaParams, SubtleCrypto, WorkerGlobalScope};

use crate::problem::Problem;

/// Checks signatures by Web Crypto.
pub(crate) struct WebCrypto;

impl Verifier for WebCrypto {
    type Error = Problem;

    async fn es256(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> Result<bool, Problem> {
        Ok(es256(key, message, signature).await?)
    }
}

async fn es256(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> worker::Result<bool> {
    let subtle = subtle()?;
    let algorithm = EcKeyImportParams::new("ECDSA");
    algorithm.set_named_curve("P-256");
    let point = Uint8Array::from(key.to_sec1().as_slice());
    let usages = Array::of1(&"verify".into());
    let key: CryptoKey =
        JsFuture::from(subtle.import_key_with_object("raw", &point, &algorithm, false, &usages)?).await?.dyn_into()?;

    // Copies, as a view of wasm memory is void once that memory grows.
    let signature = Uint8Array::from(signature.as_slice());
    let message = Uint8Array::from(message);
    let algorithm = EcdsaParams::new_with_str("ECDSA", "SHA-256");
    let fits = subtle.verify_with_object_and_js_u8_array_and_js_u8_array(&algorithm, &key, &signature, &message)?;
    Ok(JsFuture::from(fits).await?.is_truthy())
}

/// `N` bytes nobody can guess.
pub(crate) fn random<const N: usize>() -> worker::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| worker::Error::RustError(error.to_string()))?;
    Ok(bytes)
}

fn subtle() -> worker::Result<SubtleCrypto> {
    Ok(js_sys::global().unchecked_into::<WorkerGlobalScope>().crypto()?.subtle())
}

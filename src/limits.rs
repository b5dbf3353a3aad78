//! Limits of rate, by the bindings of wrangler.toml, where the numbers stand.
//!
//! They keep one caller from using up what all share, and are not exact: each place of the network counts for itself, and
//! lets through more rather than less. Nothing else relies on them.

use std::net::{IpAddr, Ipv6Addr};

use osmynt_core::{Code, DeviceId};
use worker::{Env, console_error};

use crate::problem::Problem;
use crate::routes::Call;

/// The longest period that a binding can have.
const PERIOD_SECONDS: u32 = 60;

/// Of requests that nobody vouches for, by where they come from.
pub(crate) async fn by_address(call: &Call) -> Result<(), Problem> {
    let address = call.request.headers().get("CF-Connecting-IP")?.unwrap_or_default();
    check(&call.env, "ADDRESS_LIMIT", network(&address)).await
}

/// Of requests of one device.
pub(crate) async fn by_device(call: &Call, device: DeviceId) -> Result<(), Problem> {
    check(&call.env, "DEVICE_LIMIT", device.to_string()).await
}

/// Of polls of one handshake: `slow_down` (RFC 8628 section 3.5).
pub(crate) async fn of_polls(call: &Call, handshake: &str) -> Result<(), Problem> {
    if is_within(&call.env, "POLL_LIMIT", handshake.to_owned()).await {
        Ok(())
    } else {
        Err(Problem::new(Code::SlowDown, "Too many polls. From now on, wait 5 seconds longer between two."))
    }
}

async fn check(env: &Env, binding: &str, key: String) -> Result<(), Problem> {
    if is_within(env, binding, key).await { Ok(()) } else { Err(Problem::rate_limited(PERIOD_SECONDS)) }
}

/// Without the binding, and when it fails, there is no limit: it guards against too much, not against anybody.
async fn is_within(env: &Env, binding: &str, key: String) -> bool {
    let Ok(limiter) = env.rate_limiter(binding) else { return true };
    if let Ok(outcome) = limiter.limit(key).await {
        return outcome.success;
    }
    console_error!("{}", serde_json::json!({ "limit": binding, "internal": "the limiter failed" }));
    true
}

/// An IPv4 address, or the /64 of an IPv6 address, all of which usually belong to one customer.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let bits = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(bits).to_string()
        }
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_who_is_behind_it() {
        assert_eq!(network("203.0.113.7"), "203.0.113.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:ffff::"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_eq!(network("unknown"), "");
    }
}

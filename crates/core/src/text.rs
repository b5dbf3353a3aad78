//! tmp
use crate::{Refusal, Result};
/// tmp
pub fn check_login(text: &str) -> Result<()> {
    if (1..=39).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) { Ok(()) } else { Err(Refusal::invalid("a login has 1 to 39 letters")) }
}

//! The version of a home's files, and the steps that bring an older home forward.
//!
//! The file `home.json` is `{"version":1}`. It is written before every other file of a new home, and after each step. A
//! program that finds a version that it does not know leaves the home alone.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::Home;
use crate::{Error, Result};

pub(super) const FILE: &str = "home.json";

/// Brings a home from one version to the next. Runs under the home's lock. A crash may make it run again on a home that it
/// has changed in part or in full, so it must be idempotent.
pub(super) type Step = fn(&Home) -> Result<()>;

/// All steps, from version 1 on: the first leads to version 2. New ones are added at the end; none is ever removed.
pub(super) const STEPS: &[Step] = &[];

/// What `home.json` holds. Fields of later versions are ignored, so that a newer home is recognised as one.
#[derive(Serialize, Deserialize)]
struct Stamp {
    version: NonZeroU64,
}

/// The version to which `steps` lead.
fn present(steps: &[Step]) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(steps.len() as u64)
}

/// Brings a home to the version to which `steps` lead. A home without files of a sign-in is given that version at once.
/// Refuses a home of a newer version, and one from before there were versions. Only under the home's lock.
pub(super) fn bring_forward(home: &Home, steps: &[Step]) -> Result<()> {
    let Some(mut version) = stored(home)? else {
        return if home.is_used() { Err(unversioned(home)) } else { store(home, present(steps)) };
    };
    if version > present(steps) {
        return Err(newer(home, version));
    }
    let taken = usize::try_from(version.get()).unwrap_or(usize::MAX).saturating_sub(1);
    for step in steps.iter().skip(taken) {
        step(home)?;
        version = version.saturating_add(1);
        store(home, version)?;
    }
    Ok(())
}

/// Whether the home can be read as it is: it is of the present version, or there is nothing yet. Needs no lock: only
/// [`bring_forward`] changes the version of a home that is in use, from one that is not the present version.
pub(super) fn is_present(home: &Home) -> Result<bool> {
    // In this order: the version of a new home is written before any other file.
    let used = home.is_used();
    Ok(stored(home)?.map_or(!used, |version| version == present(STEPS)))
}

/// Refuses a home of a newer version. A home whose version is missing or unreadable passes.
pub(super) fn refuse_newer(home: &Home) -> Result<()> {
    match stored(home) {
        Ok(Some(version)) if version > present(STEPS) => Err(newer(home, version)),
        _ => Ok(()),
    }
}

fn stored(home: &Home) -> Result<Option<NonZeroU64>> {
    let Some(bytes) = home.read_file(FILE)? else { return Ok(None) };
    home.parse::<Stamp>(FILE, &bytes).map(|stamp| Some(stamp.version))
}

fn store(home: &Home, version: NonZeroU64) -> Result<()> {
    home.write_json(FILE, &Stamp { version })
}

fn newer(home: &Home, version: NonZeroU64) -> Error {
    Error::Home {
        path: home.path().to_owned(),
        why: format!("was written by a newer osmynt (its files have version {version}); upgrade osmynt"),
    }
}

fn unversioned(home: &Home) -> Error {
    Error::Home {
        path: home.path().to_owned(),
        why: "was written by an older osmynt whose files cannot be read any more; remove them with \
              `osmynt logout --erase`, and sign in again"
            .to_owned(),
    }
}

//! Getting at keys that others have sealed: each is checked against what its author has signed before it is used.

use osmynt_core::sealed::ENVELOPE_SUITE;
use osmynt_core::snippet::Audience;
use osmynt_core::statement::SnippetStatement;
use osmynt_core::{DeviceId, Envelope, Verified, labels};

use crate::keys::DeviceKeys;
use crate::logs::TeamView;
use crate::seal::{self, Key, Purpose};
use crate::{Error, Result};

/// The team key of an epoch from the envelope to this device: sealed by the device that the verified log says began the
/// epoch, and the key that this device has committed to there. [`Error::NoKey`] when it is not for this device, or for a
/// prekey that it does not have; [`Error::Tampered`] when it does not open or is another key.
pub fn team_key(view: &TeamView, epoch: u64, envelope: &Envelope, keys: &DeviceKeys) -> Result<Key> {
    let team = view.state().team();
    let no_key = || Error::NoKey { what: format!("epoch {epoch} of the team") };
    let begun = view.epoch(epoch).ok_or_else(no_key)?;
    let key = open(envelope, Purpose::TeamKey { team, epoch }, begun.by, keys).ok_or_else(no_key)??;
    key.committed(&labels::commit_team_key(team, epoch), &begun.epoch.commitment)
}

/// The content key of a verified snippet, checked against the commitment in its statement. `envelopes` are those that came
/// with it, at least the one for this device; `team_key` gives the team key of an epoch. [`Error::NoKey`] when it is not for
/// this device.
pub fn content_key(
    statement: &Verified<SnippetStatement>,
    envelopes: &[Envelope],
    keys: &DeviceKeys,
    team_key: impl FnOnce(u64) -> Result<Key>,
) -> Result<Key> {
    let said = statement.payload();
    let (team, snippet) = (said.team, said.snippet);
    let key = match &said.audience {
        Audience::Team { epoch, wrapped } => seal::unwrap(&team_key(*epoch)?, team, *epoch, snippet, wrapped)?,
        Audience::Members { .. } => {
            let mine = DeviceId(keys.signer.kid());
            let no_key = || Error::NoKey { what: format!("the snippet {snippet}") };
            let envelope = envelopes.iter().find(|envelope| envelope.device == mine).ok_or_else(no_key)?;
            let sender = DeviceId(statement.kid());
            open(envelope, Purpose::ContentKey { team, snippet }, sender, keys).ok_or_else(no_key)??
        }
    };
    key.committed(&labels::commit_content_key(team, snippet), &said.commitment)
}

/// None when the envelope is for another device, for a prekey that this one does not have (any more), or of a suite that
/// this version does not know.
fn open(envelope: &Envelope, purpose: Purpose, sender: DeviceId, keys: &DeviceKeys) -> Option<Result<Key>> {
    let known = envelope.device.0 == keys.signer.kid() && envelope.suite == ENVELOPE_SUITE;
    let prekey = keys.prekey(&envelope.prekey).filter(|_| known)?;
    Some(seal::open_envelope(envelope, purpose, sender, prekey))
}

//! What the service decides: whether a commit is taken as a whole, and whether a snippet is.

use std::collections::BTreeSet;

use super::events::Rotation;
use super::state::{CommitEntry, Directory, TeamState};
use crate::limits::{
    ENTRIES_PER_COMMIT, ENVELOPES_PER_SNIPPET, MAX_INTEGER, NAMED_MEMBERS, SEALED_HEADER_BYTES,
    SNIPPET_CIPHERTEXT_BYTES,
};
use crate::snippet::{Audience, SMALLEST_PADDED, SUITE, padded_length};
use crate::statement::SnippetStatement;
use crate::{Code, DeviceId, Envelope, Head, Refusal, Result, Time, UserId, Verified, Window, labels};

/// How many devices a refusal names.
const NAMED_DEVICES: usize = 10;

impl TeamState {
    /// The state after a commit, or why none of it is taken. `current` is `None` for a team that does not exist.
    ///
    /// Refuses, beyond what [`apply`](Self::apply) refuses: a commit of no or too many entries, or by several
    /// devices; a rotation that is not last (`invalid-request`) or missing (`rotation-required`); envelopes that
    /// are not exactly those of the devices after this commit, or are sealed to keys that the devices do not have
    /// (`coverage-mismatch`); a last entry that was received in the future of `now` (`clock-skew`).
    pub fn commit(
        current: Option<&Self>,
        entries: &[CommitEntry],
        envelopes: &[Envelope],
        now: Time,
        directory: &impl Directory,
    ) -> Result<Self> {
        let (first, rest) = entries.split_first().ok_or_else(|| Refusal::invalid("a commit has at least one entry"))?;
        if entries.len() > ENTRIES_PER_COMMIT {
            return Err(Refusal::new(Code::TooLarge, "a commit has at most 16 entries"));
        }
        if rest.iter().any(|entry| entry.entry().kid() != first.entry().kid()) {
            return Err(Refusal::invalid("all entries of a commit are signed by one device"));
        }
        let rotation = entries.last().and_then(CommitEntry::rotation);
        if entries.iter().filter_map(CommitEntry::rotation).count() > usize::from(rotation.is_some()) {
            return Err(Refusal::invalid("key.rotated is the last entry of its commit"));
        }
        if rotation.is_none() && !envelopes.is_empty() {
            return Err(Refusal::invalid("envelopes come with key.rotated only"));
        }
        // The clock of the service may step back between two commits; receipt times may not. Clients refuse what is too far
        // ahead of their clocks, so nothing is added to a log that is.
        let received_at = current.map_or(now, |state| now.max(state.received_at()));
        Window::receiving(now).check(received_at)?;
        let mut state = current.cloned();
        for entry in entries {
            if let (Some(rotation), Some(state)) = (entry.rotation(), &state) {
                state.check_envelopes(rotation, envelopes, directory)?;
            }
            state = Some(match state {
                Some(state) => state.after(entry, received_at, directory)?,
                None => Self::found(entry, received_at, directory)?,
            });
        }
        let state = state.ok_or_else(|| Refusal::invalid("a commit has at least one entry"))?;
        state.settled()?;
        Ok(state)
    }

    /// Refuses a snippet that may not be shared in this state (section 7). `envelopes` are those that came with it.
    ///
    /// `head_of` gives the current head of a member's user log.
    pub fn admit(
        &self,
        snippet: &Verified<SnippetStatement>,
        envelopes: &[Envelope],
        now: Time,
        head_of: impl Fn(UserId) -> Option<Head>,
    ) -> Result<()> {
        let said = snippet.payload();
        check_snippet(said, now)?;
        check_sealed_keys(said, envelopes)?;
        if said.team != self.team() {
            return Err(Refusal::invalid("the snippet belongs to another team"));
        }
        let author = self.member(said.user)?;
        if said.head != self.head() {
            return Err(Refusal::new(
                Code::StaleLog,
                "the snippet was made at an earlier head; read the log and retry",
            ));
        }
        if self.epoch().map(|epoch| epoch.number) != Some(said.audience.epoch()) || self.stale(now, head_of) {
            return Err(Refusal::new(Code::RotationRequired, "the epoch has ended; rotate the team key and retry"));
        }
        // The epoch is not stale, hence these are the author's active devices at this moment.
        if !author.devices.contains(&DeviceId(snippet.kid())) {
            return Err(Refusal::forbidden("the snippet is signed by a device that is not the author's"));
        }
        let Audience::Members { members, .. } = &said.audience else {
            return Ok(());
        };
        let mut devices: BTreeSet<DeviceId> = author.devices.iter().copied().collect();
        for user in members {
            let member = self.members().get(user);
            let member = member.ok_or_else(|| Refusal::invalid("the snippet names a user who is not a member"))?;
            devices.extend(&member.devices);
        }
        check_coverage(&devices, envelopes)
    }

    /// The envelopes of a rotation are exactly one for each device of the members, sealed to a key that the device has.
    fn check_envelopes(&self, rotation: &Rotation, envelopes: &[Envelope], directory: &impl Directory) -> Result<()> {
        let mut devices = BTreeSet::new();
        for user in self.members().keys() {
            let head = directory.head(*user).and_then(|head| directory.at(*user, head.seq));
            devices.extend(head.into_iter().flat_map(|snapshot| snapshot.devices));
        }
        check_coverage(&devices, envelopes)?;
        for envelope in envelopes {
            envelope.check()?;
            if !directory.has_prekey(envelope.device, envelope.prekey) {
                let device = envelope.device;
                let detail = format!("an envelope is sealed to a key that its device does not have: {device}");
                return Err(Refusal::new(Code::CoverageMismatch, detail));
            }
        }
        if labels::envelope_set(envelopes) == rotation.envelopes {
            Ok(())
        } else {
            Err(Refusal::invalid("`envelopes` is not the hash of the envelopes that were sent"))
        }
    }
}

/// Refuses what no state could make right in a snippet's statement (section 7): so a service can refuse it before
/// it stores anything, and a client before it decrypts anything.
pub fn check_snippet(said: &SnippetStatement, received_at: Time) -> Result<()> {
    if said.suite != SUITE {
        return Err(Refusal::invalid("the snippet's suite is not known"));
    }
    said.iat.check_claimed(received_at)?;
    if said.exp.is_some_and(|exp| exp <= received_at || exp <= said.iat || exp.0 > MAX_INTEGER) {
        return Err(Refusal::invalid("a snippet ends after it begins, and in the future"));
    }
    if said.length > SNIPPET_CIPHERTEXT_BYTES {
        return Err(Refusal::new(Code::TooLarge, "a snippet has at most 10 MiB of content"));
    }
    let padded = said.length.checked_sub(16).filter(|length| *length >= SMALLEST_PADDED);
    if padded.is_none_or(|length| padded_length(length) != length) {
        return Err(Refusal::invalid("the content is not padded as specified"));
    }
    if !said.header.holds_at_most(SEALED_HEADER_BYTES) {
        return Err(Refusal::new(Code::TooLarge, "a sealed header has at most 4 KiB"));
    }
    match &said.audience {
        Audience::Team { wrapped, .. } if wrapped.holds(32) => Ok(()),
        Audience::Team { .. } => Err(Refusal::invalid("the wrapped key is not 32 bytes")),
        Audience::Members { members, .. } => {
            if members.is_empty() || members.len() > NAMED_MEMBERS {
                return Err(Refusal::invalid("a snippet names 1 to 64 members"));
            }
            if !members.is_sorted_by(|a, b| a < b) || members.contains(&said.user) {
                return Err(Refusal::invalid("members are ascending, each once, without the author"));
            }
            Ok(())
        }
    }
}

/// Refuses envelopes that are not the ones that a snippet's statement signs: none for a team's, at most 500 for named
/// members, ascending by device, each well formed, with the signed hash (`invalid-request`, `too-large`).
pub fn check_sealed_keys(said: &SnippetStatement, envelopes: &[Envelope]) -> Result<()> {
    let signed = match &said.audience {
        Audience::Team { .. } if envelopes.is_empty() => return Ok(()),
        Audience::Team { .. } => return Err(Refusal::invalid("a snippet to the team has no envelopes")),
        Audience::Members { envelopes, .. } => *envelopes,
    };
    if envelopes.len() > ENVELOPES_PER_SNIPPET {
        return Err(Refusal::new(Code::TooLarge, "a snippet has at most 500 envelopes; share it with the team"));
    }
    if !envelopes.is_sorted_by(|a, b| a.device < b.device) {
        return Err(Refusal::invalid("envelopes are ascending by device, each device once"));
    }
    envelopes.iter().try_for_each(Envelope::check)?;
    if labels::envelope_set(envelopes) == signed {
        Ok(())
    } else {
        Err(Refusal::invalid("`envelopes` is not the hash of the envelopes that were sent"))
    }
}

/// Refuses (`coverage-mismatch`) unless there is exactly one envelope for each device. Names the devices, so that a client
/// finds out what it has missed.
fn check_coverage(devices: &BTreeSet<DeviceId>, envelopes: &[Envelope]) -> Result<()> {
    let sealed_to: BTreeSet<DeviceId> = envelopes.iter().map(|envelope| envelope.device).collect();
    if sealed_to.len() != envelopes.len() {
        return Err(Refusal::invalid("there are two envelopes for one device"));
    }
    if sealed_to == *devices {
        return Ok(());
    }
    let mut detail = "the envelopes do not match the active devices; read the directory and retry".to_owned();
    for (what, some) in [("missing", devices.difference(&sealed_to)), ("not expected", sealed_to.difference(devices))] {
        let all: Vec<String> = some.map(DeviceId::to_string).collect();
        let Some(named) = all.get(..all.len().min(NAMED_DEVICES)).filter(|named| !named.is_empty()) else { continue };
        let rest = all.len().saturating_sub(named.len());
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        detail.extend(["; ", what, ": ", &named.join(", "), &rest]);
    }
    Err(Refusal::new(Code::CoverageMismatch, detail))
}

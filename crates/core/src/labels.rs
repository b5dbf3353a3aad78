//! The labelled strings of section 1: they bind keys, envelopes and ciphertexts to what they are for, so that
//! one can never be taken for another. Fields hold no line feed, hence no two different inputs give one string.

use crate::{Bytes, DeviceId, Envelope, Hash, Head, KeyId, SnippetId, TeamId, UserId, b64u};

/// HKDF `info` of a team key's commitment.
pub fn commit_team_key(team: TeamId, epoch: u64) -> String {
    format!("osmynt/v1/commit\nteam-key\n{team}\n{epoch}")
}

/// HKDF `info` of a content key's commitment.
pub fn commit_content_key(team: TeamId, snippet: SnippetId) -> String {
    format!("osmynt/v1/commit\ncontent-key\n{team}\n{snippet}")
}

/// HKDF `info` of the key that seals a team's profile, and its associated data.
pub fn profile(team: TeamId, epoch: u64) -> String {
    format!("osmynt/v1/profile\n{team}\n{epoch}")
}

/// HKDF `info` of the key that wraps a content key for the team, and its associated data.
pub fn wrap(team: TeamId, epoch: u64, snippet: SnippetId) -> String {
    format!("osmynt/v1/wrap\n{team}\n{epoch}\n{snippet}")
}

/// HPKE `info` of a team key sealed to a device.
pub fn envelope_team_key(team: TeamId, epoch: u64, sender: DeviceId, recipient: DeviceId, prekey: KeyId) -> String {
    format!("osmynt/v1/envelope\nteam-key\n{team}\n{epoch}\n{sender}\n{recipient}\n{prekey}")
}

/// HPKE `info` of a content key sealed to a device.
pub fn envelope_content_key(
    team: TeamId,
    snippet: SnippetId,
    sender: DeviceId,
    recipient: DeviceId,
    prekey: KeyId,
) -> String {
    format!("osmynt/v1/envelope\ncontent-key\n{team}\n{snippet}\n{sender}\n{recipient}\n{prekey}")
}

/// Associated data of a snippet's content.
pub fn snippet_body(team: TeamId, snippet: SnippetId) -> String {
    format!("osmynt/v1/snippet\nbody\n{team}\n{snippet}")
}

/// Associated data of a snippet's header.
pub fn snippet_header(team: TeamId, snippet: SnippetId) -> String {
    format!("osmynt/v1/snippet\nheader\n{team}\n{snippet}")
}

/// Commitment to a name (section 3): SHA-256 of who is named so by which provider, and a salt of 32 bytes.
pub fn name(user: UserId, provider: &str, id: u64, login: &str, salt: &Bytes<32>) -> Hash {
    Hash::of(format!("osmynt/v1/name\n{user}\n{provider}\n{id}\n{login}\n{salt}").as_bytes())
}

/// Hash of the members' user-log heads (section 5). The order of the input does not matter.
pub fn head_set(heads: impl IntoIterator<Item = (UserId, Head)>) -> Hash {
    set("osmynt/v1/heads", heads.into_iter().map(|(user, Head { seq, hash })| format!("{user} {seq} {hash}")))
}

/// Hash of a device set (section 5). The order of the input does not matter.
pub fn device_set(devices: impl IntoIterator<Item = (UserId, DeviceId)>) -> Hash {
    set("osmynt/v1/devices", devices.into_iter().map(|(user, device)| format!("{user} {device}")))
}

/// Hash of an envelope set (section 5). The order of the input does not matter.
pub fn envelope_set<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Hash {
    let line = |e: &Envelope| {
        let (enc, ct) = (b64u::encode(&e.enc), b64u::encode(&e.ct));
        format!("{} {} {} {enc} {ct}", e.device, e.prekey, e.suite)
    };
    set("osmynt/v1/envelopes", envelopes.into_iter().map(line))
}

fn set(label: &str, lines: impl Iterator<Item = String>) -> Hash {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    let mut text = label.to_owned();
    for line in lines {
        text.push('\n');
        text.push_str(&line);
    }
    Hash::of(text.as_bytes())
}

//! What the entries of a team log say.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::labels;
use crate::{Bytes, Hash, InviteId, PublicKey, SealedBox, Time, UserId};

/// What a member may do. Declared from low to high: `Member < Admin < Owner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Shares, opens, rotates, leaves.
    Member,
    /// Also invites, removes plain members, renames.
    Admin,
    /// Everything. A team always has one.
    Owner,
}

/// What a team's owners have decided for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Seconds after which an epoch is stale.
    pub max_epoch_age: u64,
    /// What it takes to join.
    pub joining: Joining,
}

/// What it takes to join a team, besides an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Joining {
    /// Nothing: whoever joins is a member at once.
    Invitation,
    /// Whoever joins is pending until an admin or owner confirms them.
    Confirmation,
}

/// What an entry of a team log can say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum TeamEvent {
    /// The author founds the team and owns it.
    #[serde(rename = "team.created")]
    TeamCreated {
        /// Random, so that two teams never have the same id.
        nonce: Bytes<16>,
        /// The policy to begin with.
        policy: Policy,
    },
    /// Whoever holds the private half of `key` may join.
    #[serde(rename = "invite.created")]
    InviteCreated {
        /// The invitation's public half.
        key: PublicKey,
        /// The role of those who join by it.
        role: Role,
        /// When it ends.
        exp: Time,
        /// How many may join by it.
        uses: u32,
        /// The one user who may join by it; none if anybody may who holds the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// Nobody joins by this invitation any more.
    #[serde(rename = "invite.revoked")]
    InviteRevoked {
        /// Which.
        invite: InviteId,
    },
    /// The author joins, or asks to, as the policy says.
    #[serde(rename = "member.joined")]
    MemberJoined {
        /// By which invitation.
        invite: InviteId,
        /// Proof that the author holds the invitation: an `osmynt-invite+jws`.
        proof: String,
    },
    /// The author makes somebody a member who has asked to join.
    #[serde(rename = "member.confirmed")]
    MemberConfirmed {
        /// Whom.
        user: UserId,
    },
    /// The author removes a member, refuses somebody who has asked to join, or bars somebody who has left.
    #[serde(rename = "member.removed")]
    MemberRemoved {
        /// Whom.
        user: UserId,
    },
    /// The author leaves. (Braces, because serde lets a unit variant pass with unknown members.)
    #[serde(rename = "member.left")]
    MemberLeft {},
    /// The author gives somebody another role.
    #[serde(rename = "role.changed")]
    RoleChanged {
        /// Whom.
        user: UserId,
        /// The new role.
        role: Role,
    },
    /// The author changes the policy.
    #[serde(rename = "policy.changed")]
    PolicyChanged {
        /// The new one.
        policy: Policy,
    },
    /// The author renames the team.
    #[serde(rename = "profile.changed")]
    ProfileChanged {
        /// The epoch whose key seals it.
        epoch: u64,
        /// The new profile.
        profile: SealedBox,
    },
    /// The author begins a new epoch.
    #[serde(rename = "key.rotated")]
    KeyRotated(Rotation),
}

/// What `key.rotated` says (section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The epoch that begins.
    pub epoch: u64,
    /// Where each member's user log stands: the position of its last entry, in the order of the members.
    pub seqs: Vec<u64>,
    /// Hash of these heads with users and hashes, see [`labels::head_set`].
    pub heads: Hash,
    /// Hash of the device set, see [`labels::device_set`].
    pub devices: Hash,
    /// Hash of the envelope set, see [`labels::envelope_set`].
    pub envelopes: Hash,
    /// Commitment to the team key.
    pub commitment: Hash,
    /// The profile, sealed anew.
    pub profile: SealedBox,
}

/// The head of a user's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserHead {
    /// Whose log.
    pub user: UserId,
    /// Position of its last entry.
    pub seq: u64,
    /// Hash of that entry.
    pub hash: Hash,
}

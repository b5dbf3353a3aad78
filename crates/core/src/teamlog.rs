//! The team log (sections 4 to 7): who is a member, what they may do, which epoch is current, and which snippets
//! may be shared under it.
//!
//! [`TeamState`] is the whole rule set, as a function of (state, entry, time). The team's Durable Object calls
//! [`TeamState::commit`] to decide what to take; a client calls [`TeamState::found`] and [`TeamState::apply`] on
//! every entry that the service shows it, and [`TeamState::settled`] at the end. Both come to the same state.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{
    DEVICES_PER_TEAM, ENTRIES_PER_COMMIT, ENVELOPES_PER_SNIPPET, EPOCH_AGE_SECONDS, INVITATION_SECONDS,
    INVITATION_USES, MAX_INTEGER, NAMED_MEMBERS, OPEN_INVITATIONS, PROFILE_BYTES, SEALED_HEADER_BYTES,
    SNIPPET_CIPHERTEXT_BYTES,
};
use crate::snippet::{Audience, SMALLEST_PADDED, SUITE, padded_length};
use crate::statement::{InviteProof, SnippetStatement, TeamEntry};
use crate::userlog::Snapshot;
use crate::{
    Bytes, Code, DeviceId, Envelope, Hash, Head, InviteId, PublicKey, Refusal, Result, SealedBox, TeamId, Time,
    Unverified, UserId, Verified, labels,
};

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
        /// The author's identity.
        identity: Hash,
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
    },
    /// Nobody joins by this invitation any more.
    #[serde(rename = "invite.revoked")]
    InviteRevoked {
        /// Which.
        invite: InviteId,
    },
    /// The author joins.
    #[serde(rename = "member.joined")]
    MemberJoined {
        /// By which invitation.
        invite: InviteId,
        /// The author's identity.
        identity: Hash,
        /// Proof that the author holds the invitation: an `osmynt-invite+jws`.
        proof: String,
    },
    /// The author removes somebody.
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
    /// The user-log heads that changed since they were last named, ascending by user.
    pub heads: Vec<UserHead>,
    /// Hash of the device set, see [`labels::device_set`].
    pub devices: Hash,
    /// Hash of the envelope set, see [`labels::envelope_set`].
    pub envelopes: Hash,
    /// Commitment to the team key.
    pub commitment: Hash,
    /// The profile, sealed anew.
    pub profile: SealedBox,
}

/// The head of a member's user log.
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

/// What is known of users' devices, outside the team log.
///
/// The service answers from its current rows, and so demands that things hold *now*; a client answers from the
/// user logs it has verified, and so checks that they held *then*.
pub trait Directory {
    /// A device of a user. The service answers only for devices that are active now.
    fn device(&self, user: UserId, device: DeviceId) -> Option<DeviceSpan>;

    /// What a user's log said at a head; none if it never had that head. The service answers only for the
    /// current head.
    fn at(&self, user: UserId, head: Head) -> Option<Snapshot>;
}

/// A device and when it spoke for its user.
#[derive(Debug, Clone, Copy)]
pub struct DeviceSpan {
    /// Its signing key.
    pub key: PublicKey,
    /// The identity that it belongs to.
    pub identity: Hash,
    /// Position of the user-log entry that revoked it.
    pub revoked: Option<u64>,
}

/// A member: a user with one identity. After an identity reset the user is a stranger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The user's identity when they joined.
    pub identity: Hash,
    /// What they may do.
    pub role: Role,
    /// Position of the entry that made them a member.
    pub joined_seq: u64,
    /// The first epoch whose key they have.
    pub since_epoch: u64,
    /// The user-log head that rotations named last; none until the first.
    pub head: Option<Head>,
    /// Their devices at that head, ascending.
    pub devices: Vec<DeviceId>,
}

/// An epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u64,
    /// Position of its `key.rotated`.
    pub seq: u64,
    /// When that was received.
    pub received_at: Time,
    /// Commitment to its team key.
    pub commitment: Hash,
}

/// An invitation that was not revoked or used up. It may have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Its public half.
    pub key: PublicKey,
    /// The role of those who join by it.
    pub role: Role,
    /// When it ends.
    pub exp: Time,
    /// How many may still join by it.
    pub uses_left: u32,
}

/// A verified entry, with the verified proof that stands inside a `member.joined`.
#[derive(Debug, Clone)]
pub struct CommitEntry {
    /// The entry.
    pub entry: Verified<TeamEntry>,
    /// The proof, if the entry has one.
    pub proof: Option<Verified<InviteProof>>,
}

/// A team, as its log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamState {
    team: TeamId,
    head: Head,
    received_at: Time,
    policy: Policy,
    members: BTreeMap<UserId, Member>,
    everyone: BTreeSet<UserId>,
    invites: BTreeMap<InviteId, Invite>,
    epoch: Option<Epoch>,
    member_left: bool,
    rotation_due: Option<DeviceId>,
}

// Deciding what to take.
impl TeamState {
    /// The state after a commit, or why none of it is taken. `current` is `None` for a team that does not exist.
    ///
    /// Refuses, beyond what [`apply`](Self::apply) refuses: a commit of no or too many entries, or by several
    /// devices; a rotation that is not last (`invalid-request`) or missing (`rotation-required`); envelopes that
    /// are not exactly those of the devices after this commit (`coverage-mismatch`).
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
        if rest.iter().any(|entry| entry.entry.kid() != first.entry.kid()) {
            return Err(Refusal::invalid("all entries of a commit are signed by one device"));
        }
        let rotation = entries.last().and_then(CommitEntry::rotation);
        if entries.iter().filter_map(CommitEntry::rotation).count() > usize::from(rotation.is_some()) {
            return Err(Refusal::invalid("key.rotated is the last entry of its commit"));
        }
        // The clock of the service may step back between two commits; receipt times may not.
        let now = current.map_or(now, |state| now.max(state.received_at));
        let mut state = match current {
            Some(state) => state.clone().after(first, now, directory)?,
            None => Self::found(&first.entry, now, directory)?,
        };
        for entry in rest {
            state = state.after(entry, now, directory)?;
        }
        state.settled()?;
        state.check_envelopes(rotation, envelopes)?;
        Ok(state)
    }

    /// Refuses a snippet that may not be shared in this state (section 7).
    ///
    /// `head_of` gives the current head of a member's user log.
    pub fn admit(
        &self,
        snippet: &Verified<SnippetStatement>,
        now: Time,
        head_of: impl Fn(UserId) -> Option<Head>,
    ) -> Result<()> {
        check_snippet(snippet.payload(), now)?;
        let said = snippet.payload();
        if said.team != self.team {
            return Err(Refusal::invalid("the snippet belongs to another team"));
        }
        let author = self.member(said.user)?;
        if said.head != self.head {
            return Err(Refusal::new(
                Code::StaleLog,
                "the snippet was made at an earlier head; read the log and retry",
            ));
        }
        if self.epoch.map(|epoch| epoch.number) != Some(said.audience.epoch()) || self.stale(now, head_of) {
            return Err(Refusal::new(Code::RotationRequired, "the epoch has ended; rotate the team key and retry"));
        }
        // The epoch is not stale, hence these are the author's active devices at this moment.
        if !author.devices.contains(&DeviceId(snippet.kid())) {
            return Err(Refusal::forbidden("the snippet is signed by a device that is not the author's"));
        }
        let Audience::Members { members, envelopes, .. } = &said.audience else {
            return Ok(());
        };
        let mut devices: BTreeSet<DeviceId> = author.devices.iter().copied().collect();
        for user in members {
            let member = self.members.get(user);
            let member = member.ok_or_else(|| Refusal::invalid("the snippet names somebody who is not a member"))?;
            devices.extend(&member.devices);
        }
        if envelopes.iter().map(|envelope| envelope.device).eq(devices) {
            Ok(())
        } else {
            Err(Refusal::new(
                Code::CoverageMismatch,
                "the envelopes are not exactly those of the active devices of the named members and the author",
            ))
        }
    }

    /// Refuses to let the holder of an invitation read, unless it is open and the proof is new.
    pub fn admit_reader(&self, proof: &Verified<InviteProof>, now: Time) -> Result<()> {
        proof.payload().iat.check_claimed(now)?;
        self.open_invite(proof.payload().invite, now)?;
        if proof.payload().team == self.team && proof.kid() == proof.payload().invite.0 {
            Ok(())
        } else {
            Err(Refusal::forbidden("the proof is for another invitation"))
        }
    }

    /// Whether the epoch has ended, so that nothing may be shared until somebody rotates (section 5).
    ///
    /// `head_of` gives the current head of a member's user log.
    pub fn stale(&self, now: Time, head_of: impl Fn(UserId) -> Option<Head>) -> bool {
        let Some(epoch) = self.epoch else { return true };
        self.member_left
            || now.since(epoch.received_at) > self.policy.max_epoch_age
            || self.members.iter().any(|(user, member)| member.head.is_none() || head_of(*user) != member.head)
    }

    fn check_envelopes(&self, rotation: Option<&Rotation>, envelopes: &[Envelope]) -> Result<()> {
        let Some(rotation) = rotation else {
            return if envelopes.is_empty() {
                Ok(())
            } else {
                Err(Refusal::invalid("envelopes come with key.rotated only"))
            };
        };
        let mut sealed_to: Vec<DeviceId> = envelopes.iter().map(|envelope| envelope.device).collect();
        sealed_to.sort_unstable();
        let mut devices: Vec<DeviceId> = self.devices().map(|(_, device)| device).collect();
        devices.sort_unstable();
        if sealed_to != devices || labels::envelope_set(envelopes) != rotation.envelopes {
            return Err(Refusal::new(
                Code::CoverageMismatch,
                "the envelopes are not exactly those of the members' active devices; read the directory and retry",
            ));
        }
        Ok(())
    }
}

// Following a log, entry by entry.
impl TeamState {
    /// The state after the first entry of a log.
    pub fn found(entry: &Verified<TeamEntry>, received_at: Time, directory: &impl Directory) -> Result<Self> {
        let said = entry.payload();
        let TeamEvent::TeamCreated { identity, policy, .. } = said.event else {
            return Err(Refusal::invalid("a team log begins with team.created"));
        };
        if said.seq != 0 || said.prev.is_some() || said.team.is_some() {
            return Err(Refusal::invalid("the first entry has seq 0, and null for prev and team"));
        }
        said.iat.check_claimed(received_at)?;
        check_policy(policy)?;
        check_device(said.user, identity, None, DeviceId(entry.kid()), directory)?;
        let founder =
            Member { identity, role: Role::Owner, joined_seq: 0, since_epoch: 1, head: None, devices: Vec::new() };
        Ok(Self {
            team: TeamId(entry.hash()),
            head: Head { seq: 0, hash: entry.hash() },
            received_at,
            policy,
            members: BTreeMap::from([(said.user, founder)]),
            everyone: BTreeSet::from([said.user]),
            invites: BTreeMap::new(),
            epoch: None,
            member_left: false,
            rotation_due: Some(DeviceId(entry.kid())),
        })
    }

    /// Appends an entry. After a refusal the state is as it was.
    ///
    /// `received_at` is the service's time of receipt: now, for the service; what the service says it was, for a
    /// client. `entry.proof` is the proof that stands inside a `member.joined`.
    pub fn apply(&mut self, entry: &CommitEntry, received_at: Time, directory: &impl Directory) -> Result<()> {
        *self = self.clone().after(entry, received_at, directory)?;
        Ok(())
    }

    /// Refuses (`rotation-required`) a log that ends, or a commit that ends, while a rotation is due.
    pub fn settled(&self) -> Result<()> {
        if self.rotation_due.is_none() {
            Ok(())
        } else {
            Err(Refusal::new(Code::RotationRequired, "this change comes together with key.rotated, in one commit"))
        }
    }

    /// The key that an entry must be signed with; `forbidden` if `kid` is no device of the author's.
    pub fn author_key(entry: &Unverified<TeamEntry>, directory: &impl Directory) -> Result<PublicKey> {
        directory
            .device(entry.payload().user, DeviceId(entry.kid()))
            .map(|device| device.key)
            .ok_or_else(|| Refusal::forbidden("the entry is signed by a device that is not the author's"))
    }

    fn after(mut self, entry: &CommitEntry, received_at: Time, directory: &impl Directory) -> Result<Self> {
        let CommitEntry { entry, proof } = entry;
        let said = entry.payload();
        let device = DeviceId(entry.kid());
        self.check_place(said)?;
        said.iat.check_claimed(received_at)?;
        if received_at < self.received_at {
            return Err(Refusal::new(Code::ClockSkew, "the entry is said to be received before the one before it"));
        }
        if let TeamEvent::MemberJoined { identity, .. } = said.event {
            check_device(said.user, identity, None, device, directory)?;
        } else {
            let author = self.member(said.user)?;
            check_device(said.user, author.identity, author.head, device, directory)?;
        }
        if self.rotation_due.is_some_and(|due| due != device) {
            return Err(Refusal::forbidden("another device has to rotate first"));
        }
        self.happen(said, device, proof.as_ref(), received_at, directory)?;
        self.head = Head { seq: said.seq, hash: entry.hash() };
        self.received_at = received_at;
        Ok(self)
    }

    fn check_place(&self, said: &TeamEntry) -> Result<()> {
        if said.team != Some(self.team) {
            return Err(Refusal::invalid("the entry belongs to another team"));
        }
        if Some(said.seq) != self.head.seq.checked_add(1) || said.prev != Some(self.head.hash) {
            return Err(Refusal::new(Code::StaleLog, "the entry does not continue the team log; read it again"));
        }
        Ok(())
    }

    fn happen(
        &mut self,
        said: &TeamEntry,
        device: DeviceId,
        proof: Option<&Verified<InviteProof>>,
        received_at: Time,
        directory: &impl Directory,
    ) -> Result<()> {
        match &said.event {
            TeamEvent::TeamCreated { .. } => Err(Refusal::invalid("team.created is the first entry only")),
            TeamEvent::InviteCreated { key, role, exp, uses } => {
                let invite = Invite { key: *key, role: *role, exp: *exp, uses_left: *uses };
                self.invite(said, invite, received_at)
            }
            TeamEvent::InviteRevoked { invite } => {
                self.require(said.user, Role::Admin)?;
                self.open_invite(*invite, received_at)?;
                self.invites.remove(invite);
                Ok(())
            }
            TeamEvent::MemberJoined { invite, identity, proof: text } => {
                self.check_proof(said, *invite, *identity, text, proof, received_at)?;
                self.join(said, *invite, *identity)?;
                self.rotation_due = Some(device);
                Ok(())
            }
            TeamEvent::MemberRemoved { user } => {
                self.remove(said.user, *user)?;
                self.rotation_due = Some(device);
                Ok(())
            }
            TeamEvent::MemberLeft {} => {
                self.members.remove(&said.user);
                self.member_left = true;
                self.keep_an_owner()
            }
            TeamEvent::RoleChanged { user, role } => {
                self.require(said.user, Role::Owner)?;
                let no_member = || Refusal::new(Code::NotFound, "nobody of that id is a member");
                let member = self.members.get_mut(user).ok_or_else(no_member)?;
                if member.role == *role {
                    return Err(Refusal::new(Code::Conflict, "the member has that role already"));
                }
                member.role = *role;
                self.keep_an_owner()
            }
            TeamEvent::PolicyChanged { policy } => {
                self.require(said.user, Role::Owner)?;
                check_policy(*policy)?;
                self.policy = *policy;
                Ok(())
            }
            TeamEvent::ProfileChanged { epoch, profile } => {
                self.require(said.user, Role::Admin)?;
                if self.epoch.map(|current| current.number) != Some(*epoch) {
                    return Err(Refusal::new(
                        Code::StaleLog,
                        "the profile is sealed under an epoch that is not current",
                    ));
                }
                check_profile(profile)
            }
            TeamEvent::KeyRotated(rotation) => {
                self.rotate(rotation, said.seq, received_at, directory)?;
                let author = self.member(said.user)?;
                if author.devices.contains(&device) {
                    Ok(())
                } else {
                    Err(Refusal::new(Code::CoverageMismatch, "the device set lacks the device that rotates"))
                }
            }
        }
    }

    fn invite(&mut self, said: &TeamEntry, invite: Invite, received_at: Time) -> Result<()> {
        let author = self.require(said.user, Role::Admin)?;
        if invite.role > author {
            return Err(Refusal::forbidden("nobody invites to a role above their own"));
        }
        if invite.exp <= said.iat || invite.exp.since(said.iat) > INVITATION_SECONDS {
            return Err(Refusal::invalid("an invitation ends after it begins, within 30 days"));
        }
        if invite.uses_left == 0 || invite.uses_left > INVITATION_USES {
            return Err(Refusal::invalid("an invitation has 1 to 100 uses"));
        }
        // Expired ones are of no use to anybody; dropping them here bounds the state.
        self.invites.retain(|_, invite| invite.exp >= received_at);
        if self.invites.len() >= OPEN_INVITATIONS {
            return Err(Refusal::new(Code::TooLarge, "a team has at most 100 open invitations; revoke one first"));
        }
        let id = InviteId(invite.key.thumbprint());
        if self.invites.insert(id, invite).is_some() {
            return Err(Refusal::new(Code::Conflict, "there is an invitation with this key; make a new key"));
        }
        Ok(())
    }

    fn check_proof(
        &self,
        said: &TeamEntry,
        invite: InviteId,
        identity: Hash,
        text: &str,
        proof: Option<&Verified<InviteProof>>,
        received_at: Time,
    ) -> Result<()> {
        self.open_invite(invite, received_at)?;
        let proof = proof
            .filter(|proof| proof.compact() == text && proof.kid() == invite.0)
            .ok_or_else(|| Refusal::new(Code::BadSignature, "the proof is not signed with the invitation's key"))?;
        let shown = proof.payload();
        if shown.team != self.team || shown.invite != invite || shown.user != said.user || shown.identity != identity {
            return Err(Refusal::forbidden("the proof is for another team, invitation or user"));
        }
        shown.iat.check_claimed(said.iat)
    }

    fn join(&mut self, said: &TeamEntry, invite: InviteId, identity: Hash) -> Result<()> {
        if self.members.get(&said.user).is_some_and(|member| member.identity == identity) {
            return Err(Refusal::new(Code::Conflict, "the author is a member already"));
        }
        let gone = || Refusal::new(Code::Gone, INVITE_GONE);
        let open = self.invites.get_mut(&invite).ok_or_else(gone)?;
        open.uses_left = open.uses_left.checked_sub(1).ok_or_else(gone)?;
        let role = open.role;
        if open.uses_left == 0 {
            self.invites.remove(&invite);
        }
        let since_epoch = self.epoch.map_or(0, |epoch| epoch.number).saturating_add(1);
        let member = Member { identity, role, joined_seq: said.seq, since_epoch, head: None, devices: Vec::new() };
        self.members.insert(said.user, member);
        self.everyone.insert(said.user);
        self.keep_an_owner()
    }

    fn remove(&mut self, author: UserId, user: UserId) -> Result<()> {
        let role = self.require(author, Role::Admin)?;
        if author == user {
            return Err(Refusal::invalid("nobody removes themselves; leave instead"));
        }
        let member = self.members.get(&user);
        let member = member.ok_or_else(|| Refusal::new(Code::NotFound, "nobody of that id is a member"))?;
        if role < Role::Owner && member.role > Role::Member {
            return Err(Refusal::forbidden("only an owner removes owners and admins"));
        }
        self.members.remove(&user);
        self.keep_an_owner()
    }

    fn rotate(&mut self, rotation: &Rotation, seq: u64, received_at: Time, directory: &impl Directory) -> Result<()> {
        let next = self.epoch.map_or(0, |epoch| epoch.number).checked_add(1);
        if next != Some(rotation.epoch) {
            return Err(Refusal::new(Code::StaleLog, "the rotation does not begin the next epoch; read the log again"));
        }
        check_profile(&rotation.profile)?;
        self.move_heads(&rotation.heads, directory)?;
        if self.devices().count() > DEVICES_PER_TEAM {
            return Err(Refusal::new(Code::TooLarge, "the members of a team have at most 1,000 active devices"));
        }
        if labels::device_set(self.devices()) != rotation.devices {
            return Err(uncovered());
        }
        self.epoch = Some(Epoch { number: rotation.epoch, seq, received_at, commitment: rotation.commitment });
        self.member_left = false;
        self.rotation_due = None;
        Ok(())
    }

    fn move_heads(&mut self, heads: &[UserHead], directory: &impl Directory) -> Result<()> {
        if !heads.is_sorted_by(|a, b| a.user < b.user) {
            return Err(Refusal::invalid("heads are ascending by user, each named once"));
        }
        for UserHead { user, seq, hash } in heads {
            let member = self.members.get_mut(user).ok_or_else(uncovered)?;
            let head = Head { seq: *seq, hash: *hash };
            if member.head.is_some_and(|earlier| earlier.seq >= head.seq) {
                return Err(uncovered());
            }
            member.head = Some(head);
        }
        for (user, member) in &mut self.members {
            let known = member.head.and_then(|head| directory.at(*user, head));
            let Snapshot { identity, devices } = known.ok_or_else(uncovered)?;
            member.devices = if identity == member.identity { devices } else { Vec::new() };
            member.devices.sort_unstable();
        }
        Ok(())
    }

    fn require(&self, user: UserId, role: Role) -> Result<Role> {
        let member = self.member(user)?;
        if member.role >= role {
            Ok(member.role)
        } else {
            Err(Refusal::forbidden(match role {
                Role::Owner => "only an owner may do this",
                _ => "only an owner or admin may do this",
            }))
        }
    }

    fn keep_an_owner(&self) -> Result<()> {
        if self.members.values().any(|member| member.role == Role::Owner) {
            Ok(())
        } else {
            Err(Refusal::new(Code::Conflict, "a team keeps an owner; make somebody else an owner first"))
        }
    }

    fn open_invite(&self, invite: InviteId, now: Time) -> Result<&Invite> {
        self.invites
            .get(&invite)
            .filter(|invite| now <= invite.exp)
            .ok_or_else(|| Refusal::new(Code::Gone, INVITE_GONE))
    }
}

// What the log says.
impl TeamState {
    /// The team's id.
    pub const fn team(&self) -> TeamId {
        self.team
    }

    /// The last entry.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// When the last entry was received.
    pub const fn received_at(&self) -> Time {
        self.received_at
    }

    /// The policy.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The members.
    pub const fn members(&self) -> &BTreeMap<UserId, Member> {
        &self.members
    }

    /// A member; `forbidden` for anybody else.
    pub fn member(&self, user: UserId) -> Result<&Member> {
        self.members.get(&user).ok_or_else(|| Refusal::forbidden("only a member may do this"))
    }

    /// Everybody who is or ever was a member: those whose user logs it takes to verify this log.
    pub const fn everyone(&self) -> &BTreeSet<UserId> {
        &self.everyone
    }

    /// The current epoch; none only between `team.created` and its rotation.
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The invitations that are open at a time.
    pub fn open_invites(&self, now: Time) -> impl Iterator<Item = (InviteId, &Invite)> {
        self.invites.iter().filter(move |(_, invite)| now <= invite.exp).map(|(id, invite)| (*id, invite))
    }

    /// The device set: every device that the current epoch's key is sealed to, with its user.
    pub fn devices(&self) -> impl Iterator<Item = (UserId, DeviceId)> {
        self.members.iter().flat_map(|(user, member)| member.devices.iter().map(|device| (*user, *device)))
    }
}

impl CommitEntry {
    fn rotation(&self) -> Option<&Rotation> {
        match &self.entry.payload().event {
            TeamEvent::KeyRotated(rotation) => Some(rotation),
            _ => None,
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
        Audience::Members { members, envelopes, .. } => {
            if members.is_empty() || members.len() > NAMED_MEMBERS {
                return Err(Refusal::invalid("a snippet names 1 to 64 members"));
            }
            if envelopes.len() > ENVELOPES_PER_SNIPPET {
                return Err(Refusal::new(
                    Code::TooLarge,
                    "a snippet has at most 128 envelopes; share it with the team",
                ));
            }
            let ascending = members.is_sorted_by(|a, b| a < b) && envelopes.is_sorted_by(|a, b| a.device < b.device);
            if !ascending || members.contains(&said.user) {
                return Err(Refusal::invalid("members and envelopes are ascending, each once, without the author"));
            }
            Ok(())
        }
    }
}

const INVITE_GONE: &str = "the invitation is not open: it was revoked, has expired or is used up; ask for a new one";

fn uncovered() -> Refusal {
    Refusal::new(Code::CoverageMismatch, "the members' devices have changed; read the directory and retry")
}

fn check_policy(policy: Policy) -> Result<()> {
    if EPOCH_AGE_SECONDS.contains(&policy.max_epoch_age) {
        Ok(())
    } else {
        Err(Refusal::invalid("an epoch lasts between 1 hour and 365 days"))
    }
}

fn check_profile(profile: &SealedBox) -> Result<()> {
    if profile.holds_at_most(PROFILE_BYTES) {
        Ok(())
    } else {
        Err(Refusal::new(Code::TooLarge, "a sealed profile has at most 1 KiB"))
    }
}

/// Rule 3 of section 4: the device speaks for the user under this identity, and was not revoked at or before the
/// head that rotations have named.
fn check_device(
    user: UserId,
    identity: Hash,
    named: Option<Head>,
    device: DeviceId,
    directory: &impl Directory,
) -> Result<()> {
    let fits = directory.device(user, device).is_some_and(|span| {
        span.identity == identity && span.revoked.is_none_or(|revoked| named.is_none_or(|head| revoked > head.seq))
    });
    if fits { Ok(()) } else { Err(Refusal::forbidden("the device does not speak for the author")) }
}

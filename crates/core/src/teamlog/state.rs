//! The rules of the team log, entry by entry.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::events::{Joining, Policy, Role, Rotation, TeamEvent};
use crate::jws::Verifier;
use crate::limits::{
    DEVICES_PER_TEAM, EPOCH_AGE_SECONDS, INVITATION_SECONDS, INVITATION_USES, MEMBERS_PER_TEAM, OPEN_INVITATIONS,
    PENDING_SECONDS, PROFILE_BYTES, USERS_PER_TEAM,
};
use crate::statement::{InviteProof, TeamEntry};
use crate::userlog::{Device, Snapshot};
use crate::{
    Code, DeviceId, Hash, Head, InviteId, KeyId, PublicKey, Refusal, Result, SealedBox, TeamId, Time, Unverified,
    UserId, Verified, labels,
};

/// What is known of users' devices, outside the team log.
///
/// The service answers from its current rows, and so demands that things hold *now*; a client answers from the
/// user logs it has verified, and so checks that they held *then*.
pub trait Directory {
    /// A device that is or was a user's. The service answers only for devices that are active now.
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device>;

    /// Where a user's log stands now.
    fn head(&self, user: UserId) -> Option<Head>;

    /// What a user's log said when the entry at a position was its last; none if it never had so many. The service answers
    /// only for the current head.
    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot>;

    /// Whether a key is a device's current signed prekey.
    fn has_prekey(&self, device: DeviceId, prekey: KeyId) -> bool;
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// What they may do.
    pub role: Role,
    /// Position of the entry that made them a member.
    pub joined_seq: u64,
    /// The first epoch whose key they have.
    pub since_epoch: u64,
    /// The invitation that they came in by; none for the founder.
    pub invite: Option<InviteId>,
    /// The user-log head that the last rotation named; none until the first.
    pub head: Option<Head>,
    /// Their devices at that head, ascending.
    pub devices: Vec<DeviceId>,
}

/// Somebody who has asked to join and waits to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The role that their invitation gives.
    pub role: Role,
    /// That invitation.
    pub invite: InviteId,
    /// Who made it.
    pub by: UserId,
    /// Position of their `member.joined`.
    pub asked_seq: u64,
    /// When that was received.
    pub asked_at: Time,
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

/// An invitation that was not revoked, closed or used up. It may have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Its public half.
    pub key: PublicKey,
    /// The role of those who join by it.
    pub role: Role,
    /// When it ends: it is over at that second.
    pub exp: Time,
    /// How many may still join by it.
    pub uses_left: u32,
    /// Who made it.
    pub by: UserId,
    /// Position of the entry that made it.
    pub made_seq: u64,
    /// The one user who may join by it; none if anybody may who holds the key.
    pub user: Option<UserId>,
}

/// A verified entry, with the verified proof that stands inside a `member.joined`.
#[derive(Debug, Clone)]
pub struct CommitEntry {
    entry: Verified<TeamEntry>,
    proof: Option<Verified<InviteProof>>,
}

impl CommitEntry {
    /// Verifies an entry with its author's key, and the proof inside a `member.joined` with that of the open invitation
    /// that it names. Without such an invitation there is no proof, and the rules refuse the entry (`gone`).
    ///
    /// `state` is that before the entry; none for the first.
    pub async fn verify<V: Verifier>(
        entry: Unverified<TeamEntry>,
        key: &PublicKey,
        state: Option<&TeamState>,
        received_at: Time,
        verifier: &V,
    ) -> Result<Self, V::Error> {
        let entry = entry.verify(key, verifier).await?;
        let proof = match &entry.payload().event {
            TeamEvent::MemberJoined { invite, proof } => {
                match state.and_then(|state| state.open_invite(*invite, received_at).ok()) {
                    Some(open) => Some(Unverified::<InviteProof>::parse(proof)?.verify(&open.key, verifier).await?),
                    None => None,
                }
            }
            _ => None,
        };
        Ok(Self { entry, proof })
    }

    /// The entry.
    pub const fn entry(&self) -> &Verified<TeamEntry> {
        &self.entry
    }

    /// What it says, if it begins an epoch.
    pub fn rotation(&self) -> Option<&Rotation> {
        match &self.entry.payload().event {
            TeamEvent::KeyRotated(rotation) => Some(rotation),
            _ => None,
        }
    }
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
    pending: BTreeMap<UserId, Pending>,
    /// Who was removed, refused or demoted, and by which entry: they come in only by an invitation that was made later and
    /// names them.
    barred: BTreeMap<UserId, u64>,
    everyone: BTreeSet<UserId>,
    /// Whoever was a member once: the position in their user log that the last rotation before they went had named. When
    /// they come back, what was revoked by then stays revoked.
    former: BTreeMap<UserId, u64>,
    invites: BTreeMap<InviteId, Invite>,
    epoch: Option<Epoch>,
    member_left: bool,
    rotation_due: Option<DeviceId>,
}

// Following a log, entry by entry.
impl TeamState {
    /// The state after the first entry of a log.
    pub fn found(first: &CommitEntry, received_at: Time, directory: &impl Directory) -> Result<Self> {
        let entry = &first.entry;
        let said = entry.payload();
        let TeamEvent::TeamCreated { policy, .. } = said.event else {
            return Err(Refusal::invalid("a team log begins with team.created"));
        };
        if said.seq != 0 || said.prev.is_some() || said.team.is_some() {
            return Err(Refusal::invalid("the first entry has seq 0, and null for prev and team"));
        }
        said.iat.check_claimed(received_at)?;
        check_policy(policy)?;
        check_device(said.user, None, DeviceId(entry.kid()), received_at, directory)?;
        let founder =
            Member { role: Role::Owner, joined_seq: 0, since_epoch: 1, invite: None, head: None, devices: Vec::new() };
        Ok(Self {
            team: TeamId(entry.hash()),
            head: Head { seq: 0, hash: entry.hash() },
            received_at,
            policy,
            members: BTreeMap::from([(said.user, founder)]),
            pending: BTreeMap::new(),
            barred: BTreeMap::new(),
            everyone: BTreeSet::from([said.user]),
            former: BTreeMap::new(),
            invites: BTreeMap::new(),
            epoch: None,
            member_left: false,
            rotation_due: Some(DeviceId(entry.kid())),
        })
    }

    /// Appends an entry. After a refusal the state is as it was.
    ///
    /// `received_at` is the service's time of receipt: now, for the service; what the service says it was, for a client,
    /// which checks it with a [`Window`](crate::Window).
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

    /// Refuses to let the holder of an invitation read, unless it is open to them and the proof is new.
    pub fn admit_reader(&self, proof: &Verified<InviteProof>, now: Time) -> Result<()> {
        let said = proof.payload();
        said.iat.check_claimed(now)?;
        let open = self.open_invite(said.invite, now)?;
        if said.team != self.team || proof.kid() != said.invite.0 {
            return Err(Refusal::forbidden("the proof is for another invitation"));
        }
        self.check_invited(said.user, open)
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

    pub(super) fn after(mut self, entry: &CommitEntry, received_at: Time, directory: &impl Directory) -> Result<Self> {
        let CommitEntry { entry, proof } = entry;
        let said = entry.payload();
        let device = DeviceId(entry.kid());
        self.check_place(said)?;
        said.iat.check_claimed(received_at)?;
        if received_at < self.received_at {
            return Err(Refusal::new(Code::ClockSkew, "the entry is said to be received before the one before it"));
        }
        self.pending.retain(|_, pending| received_at.since(pending.asked_at) <= PENDING_SECONDS);
        match &said.event {
            TeamEvent::MemberJoined { .. } => {}
            TeamEvent::MemberLeft {} if self.pending.contains_key(&said.user) => {}
            _ => drop(self.member(said.user)?),
        }
        check_device(said.user, self.named(said.user), device, received_at, directory)?;
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
            TeamEvent::InviteCreated { key, role, exp, uses, user } => {
                let (key, role, exp, uses_left, user) = (*key, *role, *exp, *uses, *user);
                let invite = Invite { key, role, exp, uses_left, by: said.user, made_seq: said.seq, user };
                self.invite(said, invite, received_at)
            }
            TeamEvent::InviteRevoked { invite } => {
                self.require(said.user, Role::Admin)?;
                self.open_invite(*invite, received_at)?;
                self.invites.remove(invite);
                Ok(())
            }
            TeamEvent::MemberJoined { invite, proof: text } => {
                self.check_proof(said, *invite, text, proof, received_at)?;
                if self.join(said, *invite, received_at)? {
                    self.rotation_due = Some(device);
                }
                Ok(())
            }
            TeamEvent::MemberConfirmed { user } => {
                self.confirm(said, *user)?;
                self.rotation_due = Some(device);
                Ok(())
            }
            TeamEvent::MemberRemoved { user } => {
                if self.remove(said, *user)? {
                    self.rotation_due = Some(device);
                }
                Ok(())
            }
            TeamEvent::MemberLeft {} => self.leave(said.user),
            TeamEvent::RoleChanged { user, role } => self.change_role(said, *user, *role),
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
                        "the profile's epoch is not the current one; read the log",
                    ));
                }
                check_profile(profile)
            }
            TeamEvent::KeyRotated(rotation) => {
                self.rotate(rotation, said.seq, received_at, directory)?;
                let covered = self.member(said.user)?.devices.contains(&device);
                let lacks = || Refusal::new(Code::CoverageMismatch, "the device set lacks the device that rotates");
                covered.then_some(()).ok_or_else(lacks)
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
        let most = if invite.user.is_some() { 1 } else { INVITATION_USES };
        if !(1..=most).contains(&invite.uses_left) {
            return Err(Refusal::invalid("an invitation has 1 to 100 uses, and 1 if it names a user"));
        }
        // Expired ones are of no use to anybody; dropping them here bounds the state.
        self.invites.retain(|_, invite| received_at < invite.exp);
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
        text: &str,
        proof: Option<&Verified<InviteProof>>,
        received_at: Time,
    ) -> Result<()> {
        self.open_invite(invite, received_at)?;
        let proof = proof
            .filter(|proof| proof.compact() == text && proof.kid() == invite.0)
            .ok_or_else(|| Refusal::new(Code::BadSignature, "the proof is not signed with the invitation's key"))?;
        let shown = proof.payload();
        if shown.team != self.team || shown.invite != invite || shown.user != said.user {
            return Err(Refusal::forbidden("the proof is for another team, invitation or user"));
        }
        shown.iat.check_claimed(said.iat)
    }

    /// Whether the invitation is open to this user.
    fn check_invited(&self, user: UserId, open: &Invite) -> Result<()> {
        if open.user.is_some_and(|named| named != user) {
            return Err(Refusal::forbidden("the invitation is for another user"));
        }
        let barred = self.barred.get(&user);
        if barred.is_some_and(|since| open.user.is_none() || open.made_seq < *since) {
            return Err(Refusal::forbidden(
                "this user was removed, refused or demoted; it takes a new invitation that names their user id",
            ));
        }
        Ok(())
    }

    /// Whether the author is a member now; otherwise they are pending.
    fn join(&mut self, said: &TeamEntry, invite: InviteId, received_at: Time) -> Result<bool> {
        if self.members.contains_key(&said.user) {
            return Err(Refusal::new(Code::Conflict, "the author is a member already"));
        }
        if self.pending.contains_key(&said.user) {
            return Err(Refusal::new(Code::Conflict, "the author waits to be confirmed already"));
        }
        self.check_invited(said.user, self.open_invite(invite, received_at)?)?;
        if self.members.len().saturating_add(self.pending.len()) >= MEMBERS_PER_TEAM {
            return Err(Refusal::new(Code::TooLarge, "a team has at most 1,000 members"));
        }
        if self.everyone.len() >= USERS_PER_TEAM && !self.everyone.contains(&said.user) {
            return Err(Refusal::new(Code::TooLarge, "at most 10,000 users are or ever were in a team"));
        }
        let gone = || Refusal::new(Code::Gone, INVITE_GONE);
        let open = self.invites.get_mut(&invite).ok_or_else(gone)?;
        open.uses_left = open.uses_left.checked_sub(1).ok_or_else(gone)?;
        let (role, by) = (open.role, open.by);
        if open.uses_left == 0 {
            self.invites.remove(&invite);
        }
        self.everyone.insert(said.user);
        if self.policy.joining == Joining::Confirmation {
            let pending = Pending { role, invite, by, asked_seq: said.seq, asked_at: received_at };
            self.pending.insert(said.user, pending);
            return Ok(false);
        }
        self.enter(said.user, role, invite, said.seq);
        Ok(true)
    }

    fn confirm(&mut self, said: &TeamEntry, user: UserId) -> Result<()> {
        let author = self.require(said.user, Role::Admin)?;
        let nobody = || Refusal::new(Code::NotFound, "no user of that id waits to be confirmed");
        let Pending { role, invite, .. } = *self.pending.get(&user).ok_or_else(nobody)?;
        if role > author {
            return Err(Refusal::forbidden("nobody confirms to a role above their own"));
        }
        self.pending.remove(&user);
        self.enter(user, role, invite, said.seq);
        Ok(())
    }

    fn enter(&mut self, user: UserId, role: Role, invite: InviteId, seq: u64) {
        let since_epoch = self.epoch.map_or(0, |epoch| epoch.number).saturating_add(1);
        let member =
            Member { role, joined_seq: seq, since_epoch, invite: Some(invite), head: None, devices: Vec::new() };
        self.members.insert(user, member);
    }

    /// Whether the user was a member; otherwise they were pending, or had left.
    fn remove(&mut self, said: &TeamEntry, user: UserId) -> Result<bool> {
        let author = self.require(said.user, Role::Admin)?;
        if said.user == user {
            return Err(Refusal::invalid("nobody removes themselves; leave instead"));
        }
        if let Some(pending) = self.pending.remove(&user) {
            self.bar(user, Some(pending.invite), said.seq);
            return Ok(false);
        }
        let Some(member) = self.members.get(&user) else {
            // Whoever left before they could be removed.
            if !self.everyone.contains(&user) {
                return Err(no_member());
            }
            self.bar(user, None, said.seq);
            return Ok(false);
        };
        if author < Role::Owner && member.role > Role::Member {
            return Err(Refusal::forbidden("only an owner removes owners and admins"));
        }
        let invite = member.invite;
        self.part_with(user);
        self.bar(user, invite, said.seq);
        // The team keeps an owner: only an owner removes an owner, and nobody removes themselves.
        Ok(true)
    }

    fn leave(&mut self, user: UserId) -> Result<()> {
        if self.pending.remove(&user).is_some() {
            return Ok(());
        }
        let invite = self.members.get(&user).and_then(|member| member.invite);
        self.part_with(user);
        self.member_left = true;
        self.close(user, invite);
        self.keep_an_owner()
    }

    fn part_with(&mut self, user: UserId) {
        if let Some(Member { head: Some(head), .. }) = self.members.remove(&user) {
            self.former.insert(user, head.seq);
        }
    }

    fn change_role(&mut self, said: &TeamEntry, user: UserId, role: Role) -> Result<()> {
        self.require(said.user, Role::Owner)?;
        let member = self.members.get_mut(&user).ok_or_else(no_member)?;
        if member.role == role {
            return Err(Refusal::new(Code::Conflict, "the member has that role already"));
        }
        let (before, invite) = (member.role, member.invite);
        member.role = role;
        if role < before {
            self.bar(user, invite, said.seq);
        }
        self.keep_an_owner()
    }

    /// Closes for a user, and lets them in again only by a later invitation that names them.
    fn bar(&mut self, user: UserId, came_in_by: Option<InviteId>, seq: u64) {
        self.close(user, came_in_by);
        self.barred.insert(user, seq);
    }

    /// Closes the invitations that a user made or came in by, and drops whoever waits by one that they made: whoever has lost
    /// or given up a right does not use it later through what they had prepared.
    fn close(&mut self, user: UserId, came_in_by: Option<InviteId>) {
        self.invites.retain(|id, invite| invite.by != user && Some(*id) != came_in_by);
        self.pending.retain(|_, pending| pending.by != user);
    }

    fn rotate(&mut self, rotation: &Rotation, seq: u64, received_at: Time, directory: &impl Directory) -> Result<()> {
        let next = self.epoch.map_or(0, |epoch| epoch.number).checked_add(1);
        if next != Some(rotation.epoch) {
            return Err(Refusal::new(Code::StaleLog, "the rotation does not begin the next epoch; read the log again"));
        }
        check_profile(&rotation.profile)?;
        self.move_heads(&rotation.seqs, received_at, directory)?;
        let devices: BTreeSet<DeviceId> = self.devices().map(|(_, device)| device).collect();
        if devices.len() != self.devices().count() {
            return Err(Refusal::new(Code::Conflict, "two members have the same device; remove one of them"));
        }
        if devices.len() > DEVICES_PER_TEAM {
            return Err(Refusal::new(Code::TooLarge, "the members of a team have at most 1,000 active devices"));
        }
        let heads = self.members.iter().filter_map(|(user, member)| Some((*user, member.head?)));
        if labels::head_set(heads) != rotation.heads || labels::device_set(self.devices()) != rotation.devices {
            return Err(uncovered());
        }
        self.epoch = Some(Epoch { number: rotation.epoch, seq, received_at, commitment: rotation.commitment });
        self.member_left = false;
        self.rotation_due = None;
        Ok(())
    }

    /// Heads only advance, and none is named that was outdated for longer than clocks may differ.
    fn move_heads(&mut self, seqs: &[u64], received_at: Time, directory: &impl Directory) -> Result<()> {
        if seqs.len() != self.members.len() {
            return Err(uncovered());
        }
        let former = &self.former;
        for ((user, member), seq) in self.members.iter_mut().zip(seqs) {
            let Snapshot { hash, devices, replaced_at } = directory.at(*user, *seq).ok_or_else(uncovered)?;
            let head = Head { seq: *seq, hash };
            let advances = match member.head {
                Some(earlier) => earlier.seq < head.seq || earlier == head,
                None => former.get(user).is_none_or(|earlier| earlier <= seq),
            };
            if !advances || replaced_at.is_some_and(|replaced_at| !received_at.is_by(replaced_at)) {
                return Err(uncovered());
            }
            member.head = Some(head);
            member.devices = devices;
        }
        Ok(())
    }

    /// The position in a user's log that was named by the last rotation in which they were a member.
    fn named(&self, user: UserId) -> Option<u64> {
        let head = self.members.get(&user).and_then(|member| member.head);
        head.map(|head| head.seq).or_else(|| self.former.get(&user).copied())
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
        self.invites.get(&invite).filter(|invite| now < invite.exp).ok_or_else(|| Refusal::new(Code::Gone, INVITE_GONE))
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

    /// The members, ascending.
    pub const fn members(&self) -> &BTreeMap<UserId, Member> {
        &self.members
    }

    /// A member; `forbidden` for anybody else.
    pub fn member(&self, user: UserId) -> Result<&Member> {
        self.members.get(&user).ok_or_else(|| Refusal::forbidden("only a member may do this"))
    }

    /// Those who wait to be confirmed at a time, ascending.
    pub fn pending(&self, now: Time) -> impl Iterator<Item = (UserId, &Pending)> {
        let waits = move |pending: &Pending| now.since(pending.asked_at) <= PENDING_SECONDS;
        self.pending.iter().filter(move |(_, pending)| waits(pending)).map(|(user, pending)| (*user, pending))
    }

    /// Everybody who is or ever was a member or pending: those whose user logs it takes to verify this log.
    pub const fn everyone(&self) -> &BTreeSet<UserId> {
        &self.everyone
    }

    /// The current epoch; none only between `team.created` and its rotation.
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The invitations that are open at a time.
    pub fn open_invites(&self, now: Time) -> impl Iterator<Item = (InviteId, &Invite)> {
        self.invites.iter().filter(move |(_, invite)| now < invite.exp).map(|(id, invite)| (*id, invite))
    }

    /// The device set: every device that the current epoch's key is sealed to, with its user.
    pub fn devices(&self) -> impl Iterator<Item = (UserId, DeviceId)> {
        self.members.iter().flat_map(|(user, member)| member.devices.iter().map(|device| (*user, *device)))
    }
}

const INVITE_GONE: &str =
    "the invitation is not open: it was revoked or closed, has expired or is used up; ask for a new one";

fn uncovered() -> Refusal {
    Refusal::new(Code::CoverageMismatch, "the members' devices have changed; read the directory and retry")
}

fn no_member() -> Refusal {
    Refusal::new(Code::NotFound, "no user of that id is a member")
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

/// Rule 3 of section 4: at the time of receipt the device was in its user's log, and was not revoked, up to the tolerance
/// between clocks; and no rotation has named its revocation.
fn check_device(
    user: UserId,
    named: Option<u64>,
    device: DeviceId,
    received_at: Time,
    directory: &impl Directory,
) -> Result<()> {
    let speaks = directory.device(user, device).is_some_and(|known| {
        let unnamed = |seq| named.is_none_or(|named| seq > named);
        known.speaks_at(received_at) && known.revoked.is_none_or(|revoked| unnamed(revoked.seq))
    });
    if speaks { Ok(()) } else { Err(Refusal::forbidden("the device did not speak for the author at that time")) }
}

//! `team …`.

use crate::{
    args::{Invitations, Invite as Inviting, Joining, Role, Team as Command},
    client,
    failure::{Failure, Result},
    output::{Output, Paint, ago, counted, now, span, table},
    sessions::confirm,
};
use osmynt_client::{
    Class, Client, Doubt, Error, Invite, InviteId, Joined, JoinedAs, Joiner, Joining as Policy, Member, Outcome,
    Person, Place, Role as ClientRole, Team, TeamId, TeamSummary, USER_ID_CHARS, UserId, Was,
};
use osmynt_core::{limits::TEAM_NAME_CHARS, text};
use serde_json::{Value, json};
use std::{fmt::Write, io};

/// Does one of the team commands.
pub(crate) fn run(command: &Command, out: Output) -> Result<()> {
    let client = client(out)?;
    match command {
        Command::New { name, yes } => new(&client, name, *yes, out),
        Command::List => list(&client, out),
        Command::Show(team) => show(&client, &team.team, out),
        Command::Invite(args) => match &args.command {
            None => invite(&client, args, out),
            Some(Invitations::List(team)) => invitations(&client, &team.team, out),
            Some(Invitations::Revoke { team, invite }) => revoke(&client, &team.team, invite, out),
        },
        Command::Join { code } => join(&client, code, out),
        Command::Confirm(who) => admit(&client, &who.team.team, &who.person, out),
        Command::Remove(who) => remove(&client, &who.team.team, &who.person, out),
        Command::Role { who, role } => role_of(&client, &who.team.team, &who.person, *role, out),
        Command::Joining { team, joining } => joining_of(&client, &team.team, *joining, out),
        Command::AcceptName { team, user } => accept_name(&client, &team.team, user, out),
        Command::Rename { team, name } => rename(&client, &team.team, name, out),
        Command::Rotate(team) => rotate(&client, &team.team, out),
        Command::Leave(team) => leave(&client, &team.team, out),
        Command::Delete { team, yes } => delete(&client, &team.team, *yes, out),
        Command::Forget(team) => forget(&client, &team.team, out),
    }
}

fn new(client: &Client, name: &str, yes: bool, out: Output) -> Result<()> {
    let same = client.teams_called(name)?;
    if !same.is_empty() && !yes {
        let question = format!(
            "You are in a team called {} already ({}). Another one of the same name must then be named by its id. Make it? \
             [y/N]",
            said(name),
            same.iter().map(shortened).collect::<Vec<_>>().join(", ")
        );
        confirm(out, &question, |answer| matches!(answer.to_lowercase().as_str(), "y" | "yes"))?;
    }
    let team = {
        let _progress = out.progress("Making the team");
        client.create_team(name)?
    };
    out.done(&brief(&team), |paint| {
        format!(
            "Made the team {}. Invite others with: osmynt team invite {}",
            paint.strong(&said(&team.name)),
            quoted(&text::line(&team.name))
        )
    })
}

fn list(client: &Client, out: Output) -> Result<()> {
    let teams = {
        let _progress = out.progress("Reading and verifying your teams");
        client.teams()?
    };
    out.answer(&json!({"teams": teams.iter().map(listed).collect::<Vec<_>>()}), |paint| {
        if teams.is_empty() {
            return "You are in no team. Make one with: osmynt team new NAME".into();
        }
        let rows: Vec<_> = teams
            .iter()
            .map(|team| {
                let waiting = match team.waiting {
                    0 => String::new(),
                    1 => "1 waits to be confirmed".into(),
                    several => format!("{several} wait to be confirmed"),
                };
                vec![name_or_id(team.name.as_deref(), team.id), place(team.place), team.id.to_string(), waiting]
            })
            .collect();
        let gone = place(Place::Vanished);
        table(&rows, |column, cell| match column {
            2 => paint.faint(cell),
            3 => paint.warning(cell),
            1 if cell == gone => paint.warning(cell),
            _ => cell.to_owned(),
        })
    })?;
    for team in teams.iter().filter(|team| team.place == Place::Vanished) {
        out.note(&vanished(team.name.as_deref(), team.id));
    }
    Ok(())
}

fn listed(team: &TeamSummary) -> Value {
    let (place, role, epoch, asked_at) = match team.place {
        Place::Member { role, epoch } => ("member", Some(role_word(role)), Some(epoch), None),
        Place::Pending { role, asked_at } => ("pending", Some(role_word(role)), None, Some(asked_at.to_rfc3339())),
        Place::Vanished => ("vanished", None, None, None),
    };
    json!({
        "team": team.id.to_string(),
        "name": team.name,
        "place": place,
        "role": role,
        "epoch": epoch,
        "asked_at": asked_at,
        "waiting": team.waiting,
    })
}

fn place(place: Place) -> String {
    match place {
        Place::Member { role, .. } => role_word(role).into(),
        Place::Pending { .. } => "waiting to be confirmed".into(),
        Place::Vanished => "no longer listed by the service".into(),
    }
}

/// What it can mean that a team has vanished, and what to do about it.
pub(crate) fn vanished(name: Option<&str>, team: TeamId) -> String {
    format!(
        "{} is no longer listed by the service: you were removed, the team was deleted, or the service hides it. Ask \
         your teammates. To take it off your list: osmynt team forget {}",
        called(name, team),
        name.map_or_else(|| team.to_string(), |name| quoted(&text::line(name)))
    )
}

fn show(client: &Client, team: &str, out: Output) -> Result<()> {
    let team = {
        let _progress = out.progress("Reading and verifying the team");
        client.team(client.find_team(Some(team))?)?
    };
    let members: Vec<Value> = team
        .members
        .iter()
        .map(|Member { person, role, devices, me }| {
            with(of(person), json!({"role": role_word(*role), "devices": devices, "me": me}))
        })
        .collect();
    let joiners: Vec<Value> = team
        .joiners
        .iter()
        .map(|Joiner { person, role, asked_at }| {
            with(of(person), json!({"role": role_word(*role), "asked_at": asked_at.to_rfc3339()}))
        })
        .collect();
    let value = json!({
        "team": team.id.to_string(),
        "name": team.name,
        "role": role_word(team.role),
        "pending": team.pending,
        "epoch": team.epoch,
        "epoch_began": team.epoch_began.to_rfc3339(),
        "stale": team.stale,
        "entries": team.entries,
        "joining": policy(team.joining),
        "members": members,
        "joiners": joiners,
        "invites": team.invites.iter().map(open_invite).collect::<Vec<_>>(),
    });
    out.answer(&value, |paint| described(&team, paint))?;
    let people = team.members.iter().map(|member| &member.person);
    for person in people.chain(team.joiners.iter().map(|joiner| &joiner.person)) {
        if let Some(doubt) = &person.doubt {
            out.note(&warning(person, doubt, &team.name));
        }
    }
    Ok(())
}

fn described(team: &Team, paint: Paint) -> String {
    let mut text = format!("{}  {}\n", paint.strong(&text::line(&team.name)), paint.faint(&team.id.to_string()));
    let due = if team.stale { ", to be replaced before the next share" } else { "" };
    let since = ago(team.epoch_began, now());
    let _ = writeln!(text, "key {} made {since}{due}; {} log entries verified", team.epoch, team.entries);
    if team.joining == Policy::Confirmation {
        text.push_str("whoever joins waits until an owner or admin confirms them\n");
    }
    if team.pending {
        let _ = writeln!(text, "{}", paint.warning(&format!("you wait to be confirmed as {}", role_word(team.role))));
    }
    let members: Vec<_> = team
        .members
        .iter()
        .map(|member| {
            vec![
                person(&member.person),
                role_word(member.role).into(),
                counted(count(member.devices), "device"),
                if member.me { "you".into() } else { String::new() },
            ]
        })
        .collect();
    let people = |column: usize, cell: &str| match column {
        // No login has a bracket: there is something to say about the name.
        0 if cell.contains('(') => paint.warning(cell),
        2.. => paint.faint(cell),
        _ => cell.to_owned(),
    };
    let _ = write!(text, "\n{}", table(&members, people));
    if !team.joiners.is_empty() {
        let joiners: Vec<_> = team
            .joiners
            .iter()
            .map(|joiner| {
                let asked = format!("asked {}", ago(joiner.asked_at, now()));
                vec![person(&joiner.person), role_word(joiner.role).into(), asked, joiner.person.user.to_string()]
            })
            .collect();
        let _ = write!(text, "\nWaiting to be confirmed\n{}", table(&joiners, people));
        if !team.pending && team.role != ClientRole::Member {
            let name = quoted(&text::line(&team.name));
            let _ = write!(
                text,
                "Ask them, not through osmynt, whether the user id is theirs (`osmynt whoami` shows it); then\n\n  \
                 osmynt team confirm {name} USER_ID\n  osmynt team remove {name} USER_ID    to turn them away\n"
            );
        }
    }
    if !team.invites.is_empty() {
        let _ = write!(text, "\nOpen invitations\n{}", table_of(&team.invites, paint));
    }
    text
}

fn table_of(invites: &[Invite], paint: Paint) -> String {
    let rows: Vec<_> = invites
        .iter()
        .map(|invite| {
            vec![
                shortened(&invite.id),
                role_word(invite.role).into(),
                format!("{} left", counted(invite.uses_left.into(), "use")),
                format!("expires {}", ago(invite.expires, now())),
                format!("made by {}", person(&invite.by)),
                invite.user.map(|user| format!("for {user} only")).unwrap_or_default(),
            ]
        })
        .collect();
    table(&rows, |column, cell| match column {
        0 => paint.id(cell),
        4 if cell.contains('(') => paint.warning(cell),
        _ => cell.to_owned(),
    })
}

fn open_invite(invite: &Invite) -> Value {
    json!({
        "invite": invite.id.to_string(),
        "role": role_word(invite.role),
        "expires_at": invite.expires.to_rfc3339(),
        "uses_left": invite.uses_left,
        "by": of(&invite.by),
        "user": invite.user.map(|user| user.to_string()),
    })
}

fn invite(client: &Client, args: &Inviting, out: Output) -> Result<()> {
    let Inviting { role, uses, expires, user, .. } = args;
    let invitation = {
        let _progress = out.progress("Making the invitation");
        let team = client.find_team(args.team.as_deref())?;
        client.invite(team, (*role).into(), expires.0, *uses, user.as_deref())?
    };
    let long = span(expires.0.as_secs());
    let invite = &invitation.invite;
    let value = json!({
        "code": invitation.code,
        "invite": invite.id.to_string(),
        "role": role_word(invite.role),
        "uses": invite.uses_left,
        "expires_at": invite.expires.to_rfc3339(),
        "user": invite.user.map(|user| user.to_string()),
    });
    out.answer(&value, |_| invitation.code.clone())?;
    out.note(&match (invite.user, invite.uses_left) {
        (Some(user), _) => format!("only user {user} can join with this code, within {long}."),
        (None, 1) => format!("one person can join with this code, within {long}. Send it where only they can read it."),
        (None, uses) => {
            format!("{uses} people can join with this code, within {long}. Send it where only they can read it.")
        }
    });
    Ok(())
}

fn invitations(client: &Client, team: &str, out: Output) -> Result<()> {
    let invites = {
        let _progress = out.progress("Reading and verifying the team");
        client.invites(client.find_team(Some(team))?)?
    };
    out.answer(&json!({"invites": invites.iter().map(open_invite).collect::<Vec<_>>()}), |paint| {
        if invites.is_empty() { "There is no open invitation.".into() } else { table_of(&invites, paint) }
    })
}

fn revoke(client: &Client, selector: &str, invite: &str, out: Output) -> Result<()> {
    let progress = out.progress("Closing the invitation");
    let team = client.find_team(Some(selector))?;
    let revoked = client.revoke_invite(team, invite).map_err(in_team(selector))?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "revoked": revoked.to_string()}), |paint| {
        format!("Closed the invitation {}. Nobody joins by it any more.", paint.id(&shortened(&revoked)))
    })
}

fn join(client: &Client, code: &str, out: Output) -> Result<()> {
    let code = if code == "-" {
        if out.for_asking() {
            out.note("paste the code, then press Enter and Ctrl-D.");
        }
        &io::read_to_string(io::stdin()).map_err(Failure::io("cannot read standard input"))?
    } else {
        code
    };
    let me = client.user()?;
    let Joined { place, before } = {
        let _progress = out.progress("Verifying the team and joining");
        client.join(code).map_err(|error| unwelcome(error, me))?
    };
    match place {
        JoinedAs::Member(team) => out.done(&with(brief(&team), json!({"pending": false, "before": before})), |paint| {
            let (name, role) = (paint.strong(&said(&team.name)), role_word(team.role));
            if before {
                format!("You are in the team {name} already, as {role}.")
            } else {
                format!("Joined the team {name} as {role}.")
            }
        }),
        JoinedAs::Pending { team, name } => {
            let value = json!({"team": team.to_string(), "name": name, "role": null, "epoch": null, "pending": true, "before": before});
            // Also with --quiet: nobody should take it for done.
            out.answer(&value, |paint| asked_to_join(&name, before, me, paint))
        }
    }
}

/// What somebody can do whom an invitation does not let in.
fn unwelcome(error: Error, me: UserId) -> Failure {
    let refused = error.class() == Class::Refused;
    let failure = Failure::from(error);
    if refused && failure.next.is_none() {
        return failure.next(format!(
            "Ask an owner or admin for an invitation that is made for you:\n\n  osmynt team invite TEAM --for {me}"
        ));
    }
    failure
}

fn asked_to_join(name: &str, before: bool, me: UserId, paint: Paint) -> String {
    let asked = if before { "You have asked already" } else { "You asked" };
    format!(
        "{asked} to join {}; an owner or admin must confirm you. They run:\n\n  osmynt team confirm {} {me}\n\n\
         Run `osmynt team list` to see whether they did.",
        paint.strong(&said(name)),
        quoted(&text::line(name))
    )
}

fn admit(client: &Client, selector: &str, who: &str, out: Output) -> Result<()> {
    let progress = out.progress("Confirming and replacing the team's key");
    let team = client.find_team(Some(selector))?;
    let confirmed = client.confirm(team, who).map_err(in_team(selector))?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "confirmed": of(&confirmed)}), |paint| {
        format!("{} is in the team now, and can open what is shared from now on.", paint.strong(&person(&confirmed)))
    })
}

fn remove(client: &Client, selector: &str, who: &str, out: Output) -> Result<()> {
    let progress = out.progress("Removing and replacing the team's key");
    let team = client.find_team(Some(selector))?;
    let outcome = client.remove_member(team, who).map_err(in_team(selector))?;
    drop(progress);
    let value = json!({
        "team": team.to_string(),
        "removed": of(&outcome.person),
        "was": was(outcome.was),
        "closed": ids(&outcome.closed),
        "open": ids(&outcome.open),
    });
    out.done(&value, |paint| removed(&outcome, selector, paint))
}

fn removed(outcome: &Outcome, selector: &str, paint: Paint) -> String {
    let who = paint.strong(&person(&outcome.person));
    let what = match outcome.was {
        Was::Member => format!("Removed {who}. What is shared from now on, they cannot open."),
        Was::Joiner => format!("Turned {who} away. They come in only by an invitation that is made for them (--for)."),
        Was::Former => {
            format!("{who} had left. From now on they come back only by an invitation that is made for them (--for).")
        }
    };
    format!("{what}{}{}", closed(&outcome.closed, paint), open(&outcome.open, selector, paint))
}

/// The same for a program.
const fn was(was: Was) -> &'static str {
    match was {
        Was::Member => "member",
        Was::Joiner => "joiner",
        Was::Former => "former",
    }
}

/// Where to look for somebody or something that is not in the team.
fn in_team(selector: &str) -> impl Fn(Error) -> Failure {
    move |error| match &error {
        Error::NotFound { .. } => {
            Failure::from(error).next(format!("See `osmynt team show {}`.", quoted(&text::line(selector))))
        }
        _ => error.into(),
    }
}

fn role_of(client: &Client, selector: &str, who: &str, role: Role, out: Output) -> Result<()> {
    let progress = out.progress("Changing the role");
    let team = client.find_team(Some(selector))?;
    let outcome = client.set_role(team, who, role.into()).map_err(in_team(selector))?;
    drop(progress);
    let value = json!({
        "team": team.to_string(),
        "member": of(&outcome.person),
        "role": role_word(role.into()),
        "closed": ids(&outcome.closed),
    });
    out.done(&value, |paint| {
        let who = paint.strong(&person(&outcome.person));
        let article = if role == Role::Member { "a" } else { "an" };
        format!("{who} is now {article} {}.{}", role_word(role.into()), closed(&outcome.closed, paint))
    })
}

/// The invitations that a change has closed, as another sentence.
fn closed(invites: &[InviteId], paint: Paint) -> String {
    if invites.is_empty() {
        return String::new();
    }
    let which: Vec<_> = invites.iter().map(|invite| paint.id(&shortened(invite))).collect();
    let what = counted(count(invites.len()), "open invitation");
    format!("\nClosed {what} that they made or came in by: {}", which.join(", "))
}

/// The invitations by which anybody may still come in, as a warning.
fn open(invites: &[InviteId], team: &str, paint: Paint) -> String {
    if invites.is_empty() {
        return String::new();
    }
    let which: Vec<_> = invites.iter().map(|invite| paint.id(&shortened(invite))).collect();
    let what = counted(count(invites.len()), "invitation");
    format!(
        "\nStill open for anybody who has the code: {what} ({}). If they may know one: osmynt team invite revoke {} ID",
        which.join(", "),
        quoted(&text::line(team))
    )
}

fn ids(invites: &[InviteId]) -> Vec<String> {
    invites.iter().map(InviteId::to_string).collect()
}

fn joining_of(client: &Client, selector: &str, joining: Joining, out: Output) -> Result<()> {
    let progress = out.progress("Changing what it takes to join");
    let team = client.find_team(Some(selector))?;
    client.set_joining(team, joining.into())?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "joining": policy(joining.into())}), |_| match joining {
        Joining::Invitation => "Whoever has an invitation joins at once.".into(),
        Joining::Confirmation => format!(
            "Whoever joins now waits until an owner or admin confirms them. See who waits: osmynt team show {}",
            quoted(&text::line(selector))
        ),
    })
}

fn accept_name(client: &Client, team: &str, user: &str, out: Output) -> Result<()> {
    let progress = out.progress("Reading and verifying the team");
    let team = client.find_team(Some(team))?;
    let accepted = client.accept_name(team, user)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "accepted": of(&accepted)}), |paint| {
        format!("User {} is known here as {} from now on.", accepted.user, paint.strong(&person(&accepted)))
    })
}

fn rename(client: &Client, team: &str, name: &str, out: Output) -> Result<()> {
    let progress = out.progress("Renaming");
    let team = client.find_team(Some(team))?;
    client.rename(team, name)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "name": name}), |paint| {
        format!("The team is now called {}.", paint.strong(&said(name)))
    })
}

fn rotate(client: &Client, team: &str, out: Output) -> Result<()> {
    let progress = out.progress("Replacing the team's key");
    let team = client.find_team(Some(team))?;
    let epoch = client.rotate(team)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "epoch": epoch}), |_| format!("The team now uses key {epoch}."))
}

fn leave(client: &Client, team: &str, out: Output) -> Result<()> {
    let progress = out.progress("Leaving");
    let team = client.team(client.find_team(Some(team))?)?;
    if let [Member { me: true, .. }] = team.members.as_slice() {
        drop(progress);
        let question = format!("You are the only member, so nobody could use the team any more.\n{}", farewell(&team));
        let Some(answer) = out.ask(&question)? else {
            return Err(Failure::usage("you are the only member, so nobody could use the team any more")
                .next(format!("Delete it instead: osmynt team delete {}", quoted(&text::line(&team.name)))));
        };
        if !names(&answer, &team) {
            return Err(not_confirmed());
        }
        return delete_now(client, team.id, out);
    }
    client.leave(team.id)?;
    drop(progress);
    out.done(&json!({"team": team.id.to_string(), "left": true}), |_| {
        if team.pending { "You no longer ask to join the team." } else { "You left the team." }.into()
    })
}

fn delete(client: &Client, team: &str, yes: bool, out: Output) -> Result<()> {
    let reading = || out.progress("Reading and verifying the team");
    let id = {
        let _progress = reading();
        client.find_team(Some(team))?
    };
    if !yes {
        let team = {
            let _progress = reading();
            client.team(id)?
        };
        if team.pending || team.role != ClientRole::Owner {
            let name = quoted(&text::line(&team.name));
            return Err(Failure::refused("only an owner can delete the team").next(format!(
                "To leave it: osmynt team leave {name}\nTo see who its owners are: osmynt team show {name}"
            )));
        }
        confirm(out, &farewell(&team), |answer| names(answer, &team))?;
    }
    delete_now(client, id, out)
}

fn delete_now(client: &Client, team: TeamId, out: Output) -> Result<()> {
    let progress = out.progress("Deleting the team");
    client.delete_team(team)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "deleted": true}), |_| {
        "Deleted the team, with all that was in it.".into()
    })
}

/// Asks whether a team is to be deleted.
fn farewell(team: &Team) -> String {
    let name = said(&team.name);
    let others = team.members.iter().filter(|member| !member.me).count();
    let whom =
        if others == 0 { String::new() } else { format!(", for you and {}", counted(count(others), "other member")) };
    format!(
        "This deletes the team {name} with all that is in it{whom}, for good. What somebody opened or saved stays with \
         them.\n\nType {name} to delete it:"
    )
}

/// Whether it is the team's name, also as the question shows it, or its id for a name that cannot be typed.
fn names(answer: &str, team: &Team) -> bool {
    [team.name.clone(), said(&team.name), text::line(&team.name), team.id.to_string()].iter().any(|name| name == answer)
}

fn not_confirmed() -> Failure {
    Failure::refused("it was not confirmed, so nothing has changed")
}

/// `find_team` refuses teams that have vanished; here nothing else is meant.
fn forget(client: &Client, selector: &str, out: Output) -> Result<()> {
    let progress = out.progress("Reading and verifying your teams");
    let teams = client.teams()?;
    let gone: Vec<&TeamSummary> = teams.iter().filter(|team| team.place == Place::Vanished).collect();
    let team = match fitting(&gone, selector).as_slice() {
        // Of any other team the client says what is right.
        [] => client.find_team(Some(selector))?,
        [only] => only.id,
        several => {
            let which: Vec<_> = several.iter().map(|team| team.id.to_string()).collect();
            return Err(Failure::usage(format!("that may be any of these teams: {}", which.join(", ")))
                .next("Give the id of the one that you mean."));
        }
    };
    client.forget_team(team)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "forgotten": true}), |_| {
        "The team is off your list. Its keys stay on this machine.".into()
    })
}

/// Those of the teams whose name or id, or the beginning of whose id, this is.
fn fitting<'a>(teams: &[&'a TeamSummary], selector: &str) -> Vec<&'a TeamSummary> {
    const SHORTEST: usize = 4;
    let by_id = |id: &str| id == selector || selector.len() >= SHORTEST && id.starts_with(selector);
    let fits = |team: &&&TeamSummary| team.name.as_deref() == Some(selector) || by_id(&team.id.to_string());
    teams.iter().filter(fits).copied().collect()
}

fn brief(team: &Team) -> Value {
    json!({"team": team.id.to_string(), "name": team.name, "role": role_word(team.role), "epoch": team.epoch})
}

/// A person for a program: `doubt` is none, `changed` (then `login_before` is the login they were known by), `shared`
/// or `unopened`.
pub(crate) fn of(person: &Person) -> Value {
    let before = match &person.doubt {
        Some(Doubt::Changed { before }) => Some(before),
        _ => None,
    };
    json!({
        "user": person.user.to_string(),
        "login": person.login,
        "doubt": person.doubt.as_ref().map(Doubt::code),
        "login_before": before,
    })
}

/// The fields of both.
fn with(mut value: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
        fields.extend(more);
    }
    value
}

/// A person by login, or by id where there is no login. What is odd about the name stands beside it, in brackets, with
/// the beginning of the id, by which they can be chosen.
pub(crate) fn person(person: &Person) -> String {
    let Some(doubt) = &person.doubt else {
        return person.login.as_deref().map_or_else(|| person.user.to_string(), known);
    };
    let mark = mark(doubt);
    match &person.login {
        Some(login) => format!("{} {} ({mark})", known(login), short_user(person.user)),
        None => format!("{} ({mark})", person.user),
    }
}

fn mark(doubt: &Doubt) -> String {
    match doubt {
        Doubt::Changed { before } => format!("name changed from {}", known(before)),
        Doubt::Shared => "somebody else has or had this name".into(),
        Doubt::Unopened => "name does not open".into(),
    }
}

/// What is odd about somebody's name, and what to do about it.
fn warning(person: &Person, doubt: &Doubt, team: &str) -> String {
    let (user, short) = (person.user, short_user(person.user));
    let login = person.login.as_deref().map(known).unwrap_or_default();
    match doubt {
        Doubt::Changed { before } => format!(
            "user {user} was known here as {}, and is called {login} now. Ask them, not through osmynt, whether that is \
             so; if it is: osmynt team accept-name {} {short}",
            known(before),
            quoted(&text::line(team))
        ),
        Doubt::Shared => format!(
            "user {user} is called {login}, as somebody else is or was. Ask them for their user id, and say whom you \
             mean by it."
        ),
        Doubt::Unopened => format!(
            "the service does not show the name that user {user} has signed. Say whom you mean by the user id; if it \
             stays so, ask whoever runs the service."
        ),
    }
}

/// A login inside a sentence.
fn known(login: &str) -> String {
    text::word(login, text::EXCERPT_CHARS)
}

/// A team's name inside a sentence.
fn said(name: &str) -> String {
    text::word(name, TEAM_NAME_CHARS)
}

/// A team by name, or by id where this device cannot read the name.
pub(crate) fn name_or_id(name: Option<&str>, team: TeamId) -> String {
    name.map_or_else(|| team.to_string(), text::line)
}

/// The same inside a sentence.
pub(crate) fn called(name: Option<&str>, team: TeamId) -> String {
    name.map_or_else(|| team.to_string(), said)
}

/// The beginning of an id, which is enough to name it.
pub(crate) fn shortened(id: &impl ToString) -> String {
    id.to_string().chars().take(8).collect()
}

/// The beginning of a user id, which is enough to name the user by.
pub(crate) fn short_user(user: UserId) -> String {
    user.to_string().chars().take(USER_ID_CHARS).collect()
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A name as an argument that can be copied.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain) && !name.starts_with('-') {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

pub(crate) fn role_word(role: ClientRole) -> &'static str {
    match role {
        ClientRole::Owner => "owner",
        ClientRole::Admin => "admin",
        ClientRole::Member => "member",
    }
}

fn policy(joining: Policy) -> &'static str {
    match joining {
        Policy::Invitation => "invitation",
        Policy::Confirmation => "confirmation",
    }
}

impl From<Joining> for Policy {
    fn from(joining: Joining) -> Self {
        match joining {
            Joining::Invitation => Self::Invitation,
            Joining::Confirmation => Self::Confirmation,
        }
    }
}

impl From<Role> for ClientRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Member => Self::Member,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_client::Time;

    const ID: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    const OTHER: &str = "47DEzzz8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    fn somebody(login: Option<&str>, doubt: Option<Doubt>) -> Person {
        Person { user: ID.parse().unwrap(), login: login.map(Into::into), doubt }
    }

    #[test]
    fn names_to_copy_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("back-end_2"), "back-end_2");
        assert_eq!(quoted("the team"), "'the team'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-rf"), "'-rf'");
    }

    #[test]
    fn what_is_odd_about_a_name_stands_beside_it_with_an_id_to_use_instead() {
        assert_eq!(person(&somebody(Some("ada"), None)), "ada");
        assert_eq!(person(&somebody(None, None)), ID);
        let doubts = [
            (Doubt::Changed { before: "bob".into() }, "changed", "name changed from bob"),
            (Doubt::Shared, "shared", "somebody else has or had this name"),
            (Doubt::Unopened, "unopened", "name does not open"),
        ];
        for (doubt, code, mark) in doubts {
            let before = matches!(doubt, Doubt::Changed { .. }).then_some("bob");
            let odd = somebody(Some("ada"), Some(doubt));
            assert_eq!(person(&odd), format!("ada 47DEQpj8HBSa-_TI ({mark})"));
            assert_eq!(of(&odd), json!({"user": ID, "login": "ada", "doubt": code, "login_before": before}));
            assert!(warning(&odd, odd.doubt.as_ref().unwrap(), "backend").contains(ID), "{code}");
        }
        assert_eq!(person(&somebody(None, Some(Doubt::Unopened))), format!("{ID} (name does not open)"));
    }

    #[test]
    fn a_changed_name_is_accepted_by_a_command_to_copy() {
        let odd = somebody(Some("ada"), Some(Doubt::Changed { before: "bob".into() }));
        let said = warning(&odd, odd.doubt.as_ref().unwrap(), "the team");
        assert!(said.ends_with("osmynt team accept-name 'the team' 47DEQpj8HBSa-_TI"), "{said}");
    }

    #[test]
    fn somebodys_place_in_a_team_is_said_in_words_and_to_programs() {
        let team = |place| TeamSummary { id: ID.parse().unwrap(), name: Some("backend".into()), place, waiting: 2 };
        let with_rest = |rest| with(json!({"team": ID, "name": "backend", "waiting": 2}), rest);
        let (owner, waits) = (
            Place::Member { role: ClientRole::Owner, epoch: 3 },
            Place::Pending { role: ClientRole::Member, asked_at: Time(0) },
        );
        let expected = [
            (owner, "owner", json!({"place": "member", "role": "owner", "epoch": 3, "asked_at": null})),
            (
                waits,
                "waiting to be confirmed",
                json!({"place": "pending", "role": "member", "epoch": null, "asked_at": "1970-01-01T00:00:00Z"}),
            ),
            (
                Place::Vanished,
                "no longer listed by the service",
                json!({"place": "vanished", "role": null, "epoch": null, "asked_at": null}),
            ),
        ];
        for (given, words, value) in expected {
            assert_eq!((place(given).as_str(), listed(&team(given))), (words, with_rest(value)));
        }
    }

    #[test]
    fn a_team_that_vanished_is_found_by_name_or_id() {
        let team = |id: &str, name: &str| TeamSummary {
            id: id.parse().unwrap(),
            name: Some(name.into()),
            place: Place::Vanished,
            waiting: 0,
        };
        let (one, two) = (team(ID, "backend"), team(OTHER, "frontend"));
        let found =
            |selector| fitting(&[&one, &two], selector).iter().map(|team| team.id.to_string()).collect::<Vec<_>>();
        assert_eq!(found("frontend"), [OTHER]);
        assert_eq!(found(ID), [ID]);
        assert_eq!(found("47DEQ"), [ID]);
        assert_eq!(found("47DE"), [ID, OTHER]);
        assert_eq!(found("47D"), [""; 0], "too short");
        assert_eq!(found("end"), [""; 0]);
    }

    #[test]
    fn closed_invitations_are_counted_and_named() {
        let paint = Output::json_only().paint();
        let [one, two] = [ID, OTHER].map(|id| id.parse().unwrap());
        assert_eq!(closed(&[], paint), "");
        assert_eq!(closed(&[one], paint), "\nClosed 1 open invitation that they made or came in by: 47DEQpj8");
        assert!(closed(&[one, two], paint).starts_with("\nClosed 2 open invitations"));
        assert_eq!(open(&[], "backend", paint), "");
        let still = open(&[one], "the team", paint);
        assert!(still.starts_with("\nStill open for anybody who has the code: 1 invitation (47DEQpj8)."), "{still}");
        assert!(still.ends_with("osmynt team invite revoke 'the team' ID"), "{still}");
    }
}

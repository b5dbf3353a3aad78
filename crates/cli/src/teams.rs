//! `team …`.

use crate::{
    args::{Role, Team as Command},
    client,
    failure::{Failure, Result},
    output::{Output, Paint, ago, now, span, table},
};
use osmynt_client::{Client, Person, Role as ClientRole, Team, TeamId};
use osmynt_core::{limits::TEAM_NAME_CHARS, text};
use serde_json::{Value, json};
use std::{fmt::Write, io, time::Duration};

/// Does one of the team commands.
pub(crate) fn run(command: &Command, out: Output) -> Result<()> {
    let client = client()?;
    match command {
        Command::New { name } => new(&client, name, out),
        Command::List => list(&client, out),
        Command::Show(team) => show(&client, &team.team, out),
        Command::Invite { team, role, uses, expires } => invite(&client, &team.team, *role, *uses, expires.0, out),
        Command::Join { link } => join(&client, link, out),
        Command::Remove { team, person } => remove(&client, &team.team, person, out),
        Command::Leave(team) => leave(&client, &team.team, out),
        Command::Role { team, person, role } => role_of(&client, &team.team, person, *role, out),
        Command::Rename { team, name } => rename(&client, &team.team, name, out),
        Command::Rotate(team) => rotate(&client, &team.team, out),
    }
}

fn new(client: &Client, name: &str, out: Output) -> Result<()> {
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
        let _progress = out.progress("Reading your teams");
        client.teams()?
    };
    let value: Vec<Value> = teams
        .iter()
        .map(|team| json!({"team": team.id.to_string(), "name": team.name, "role": word(team.role), "epoch": team.epoch}))
        .collect();
    out.answer(&json!({"teams": value}), |paint| {
        if teams.is_empty() {
            return "You are in no team. Make one with: osmynt team new NAME".into();
        }
        let rows: Vec<_> = teams
            .iter()
            .map(|team| vec![name_or_id(team.name.as_deref(), team.id), word(team.role).into(), team.id.to_string()])
            .collect();
        table(&rows, |column, cell| if column == 2 { paint.faint(cell) } else { cell.to_owned() })
    })
}

fn show(client: &Client, team: &str, out: Output) -> Result<()> {
    let team = {
        let _progress = out.progress("Reading and verifying the team");
        client.team(client.find_team(Some(team))?)?
    };
    let members: Vec<Value> = team
        .members
        .iter()
        .map(|member| {
            json!({
                "user": member.person.user.to_string(),
                "login": member.person.login,
                "role": word(member.role),
                "devices": member.devices,
                "me": member.me,
            })
        })
        .collect();
    let invites: Vec<Value> = team
        .invites
        .iter()
        .map(|invite| {
            json!({
                "invite": invite.id.to_string(),
                "role": word(invite.role),
                "expires_at": invite.expires.to_rfc3339(),
                "uses_left": invite.uses_left,
            })
        })
        .collect();
    let value = json!({
        "team": team.id.to_string(),
        "name": team.name,
        "role": word(team.role),
        "epoch": team.epoch,
        "epoch_began": team.epoch_began.to_rfc3339(),
        "stale": team.stale,
        "entries": team.entries,
        "members": members,
        "invites": invites,
    });
    out.answer(&value, |paint| described(&team, paint))
}

fn described(team: &Team, paint: Paint) -> String {
    let mut text = format!("{}  {}\n", paint.strong(&text::line(&team.name)), paint.faint(&team.id.to_string()));
    let due = if team.stale { ", to be replaced before the next share" } else { "" };
    let since = ago(team.epoch_began, now());
    let _ = write!(text, "key {} made {since}{due}; {} log entries verified\n\n", team.epoch, team.entries);
    let members: Vec<_> = team
        .members
        .iter()
        .map(|member| {
            let devices = format!("{} device{}", member.devices, if member.devices == 1 { "" } else { "s" });
            vec![
                person(&member.person),
                word(member.role).into(),
                devices,
                if member.me { "you".into() } else { String::new() },
            ]
        })
        .collect();
    text.push_str(&table(&members, |column, cell| if column >= 2 { paint.faint(cell) } else { cell.to_owned() }));
    if !team.invites.is_empty() {
        text.push_str("\nOpen invitations\n");
        let invites: Vec<_> = team
            .invites
            .iter()
            .map(|invite| {
                let uses = format!("{} use{} left", invite.uses_left, if invite.uses_left == 1 { "" } else { "s" });
                vec![
                    invite.id.to_string().chars().take(8).collect(),
                    word(invite.role).into(),
                    uses,
                    format!("expires {}", ago(invite.expires, now())),
                ]
            })
            .collect();
        text.push_str(&table(&invites, |column, cell| if column == 0 { paint.id(cell) } else { cell.to_owned() }));
    }
    text
}

fn invite(client: &Client, team: &str, role: Role, uses: u32, lifetime: Duration, out: Output) -> Result<()> {
    let invitation = {
        let _progress = out.progress("Making the invitation");
        client.invite(client.find_team(Some(team))?, role.into(), lifetime, uses)?
    };
    let invite = &invitation.invite;
    let value = json!({
        "link": invitation.link,
        "invite": invite.id.to_string(),
        "role": word(invite.role),
        "uses": invite.uses_left,
        "expires_at": invite.expires.to_rfc3339(),
    });
    out.answer(&value, |_| invitation.link.clone())?;
    let who = if invite.uses_left == 1 {
        "The first who has".to_owned()
    } else {
        format!("The first {} who have", invite.uses_left)
    };
    let long = span(lifetime.as_secs());
    out.note(&format!("{who} this link can join, for {long}. Send it where only they can read it."));
    Ok(())
}

fn join(client: &Client, link: &str, out: Output) -> Result<()> {
    let link = if link == "-" {
        &io::read_to_string(io::stdin()).map_err(Failure::io("cannot read standard input"))?
    } else {
        link
    };
    let team = {
        let _progress = out.progress("Verifying the team and joining");
        client.join(link.trim())?
    };
    out.done(&brief(&team), |paint| {
        format!("Joined the team {} as {}.", paint.strong(&said(&team.name)), word(team.role))
    })
}

fn remove(client: &Client, team: &str, who: &str, out: Output) -> Result<()> {
    let progress = out.progress("Removing and replacing the team's key");
    let team = client.find_team(Some(team))?;
    let removed = client.remove_member(team, who)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "removed": of(&removed)}), |paint| {
        format!("Removed {}. What is shared from now on, they cannot open.", paint.strong(&person(&removed)))
    })
}

fn leave(client: &Client, team: &str, out: Output) -> Result<()> {
    let progress = out.progress("Leaving");
    let team = client.find_team(Some(team))?;
    client.leave(team)?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "left": true}), |_| "You left the team.".into())
}

fn role_of(client: &Client, team: &str, who: &str, role: Role, out: Output) -> Result<()> {
    let progress = out.progress("Changing the role");
    let team = client.find_team(Some(team))?;
    let changed = client.set_role(team, who, role.into())?;
    drop(progress);
    out.done(&json!({"team": team.to_string(), "member": of(&changed), "role": word(role.into())}), |paint| {
        format!(
            "{} is now {} {}.",
            paint.strong(&person(&changed)),
            if role == Role::Member { "a" } else { "an" },
            word(role.into())
        )
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

fn brief(team: &Team) -> Value {
    json!({"team": team.id.to_string(), "name": team.name, "role": word(team.role), "epoch": team.epoch})
}

fn of(person: &Person) -> Value {
    json!({"user": person.user.to_string(), "login": person.login})
}

/// A person by login, or by id where the service tells no login.
pub(crate) fn person(person: &Person) -> String {
    person.login.as_deref().map_or_else(|| person.user.to_string(), |login| text::word(login, text::EXCERPT_CHARS))
}

/// A team's name inside a sentence.
fn said(name: &str) -> String {
    text::word(name, TEAM_NAME_CHARS)
}

/// A team by name, or by id where this device cannot read the name.
pub(crate) fn name_or_id(name: Option<&str>, team: TeamId) -> String {
    name.map_or_else(|| team.to_string(), text::line)
}

/// A name as an argument that can be copied.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain) && !name.starts_with('-') {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

fn word(role: ClientRole) -> &'static str {
    match role {
        ClientRole::Owner => "owner",
        ClientRole::Admin => "admin",
        ClientRole::Member => "member",
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

    #[test]
    fn names_to_copy_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("back-end_2"), "back-end_2");
        assert_eq!(quoted("the team"), "'the team'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-rf"), "'-rf'");
    }
}

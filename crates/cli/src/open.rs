//! `open`: shows a snippet to a person, or hands its exact bytes on.

use crate::{
    args::{Open, Which},
    client,
    failure::{Failure, Result},
    highlight,
    list::{author, described, title, what},
    output::{Output, Paint, ago, bytes, now},
};
use osmynt_client::{Client, Opened, SnippetId};
use osmynt_core::{
    b64u,
    text::{block, line},
};
use serde_json::{Value, json};
use std::{fs, io, path::Path};

/// Opens a snippet.
pub(crate) fn run(args: &Open, out: Output) -> Result<()> {
    let (client, opened) = fetch(&args.which, out)?;
    client.mark_seen(&opened)?;
    if let Some(file) = &args.output {
        if file == Path::new("-") {
            return Output::raw(&opened.content);
        }
        fs::write(file, &opened.content).map_err(Failure::io(format!("cannot write {}", file.display())))?;
        let shown = line(&file.to_string_lossy());
        return out.done(&json!({"snippet": opened.snippet.id.to_string(), "file": file.to_string_lossy()}), |_| {
            format!("Saved to {shown}.")
        });
    }
    if out.json {
        return out.answer(&whole(&opened), |_| String::new());
    }
    if !out.for_people() {
        return Output::raw(&opened.content);
    }
    out.answer(&Value::Null, |paint| for_person(&opened, paint))
}

/// Fetches from the service or reads a file: verified and decrypted either way.
pub(crate) fn fetch(which: &Which, out: Output) -> Result<(Client, Opened)> {
    let client = client(out)?;
    let _progress = out.progress("Fetching and verifying");
    let opened = match file_named(&which.which) {
        Some(file) => {
            let stored = fs::read(file).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => {
                    Failure::not_found(format!("{} is no id, and there is no such file", which.which))
                        .next("See `osmynt list`.")
                }
                _ => Failure::io(format!("cannot read {}", file.display()))(e),
            })?;
            client.open_file(&stored)?
        }
        None => by_id(&client, &which.which)?,
    };
    Ok((client, opened))
}

fn by_id(client: &Client, id: &str) -> Result<Opened> {
    let (team, snippet) = client.find_snippet(None, id)?;
    Ok(client.open_snippet(team, snippet)?)
}

/// The file that is meant, unless an id is: a whole id always is one, and what looks like neither is no file that is
/// there.
fn file_named(which: &str) -> Option<&Path> {
    let path = Path::new(which);
    let whole_id = which.parse::<SnippetId>().is_ok();
    let part_of_id = which.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (!whole_id && (!part_of_id || path.is_file())).then_some(path)
}

/// Header and content for a program: `content` where it is text, else `content_base64url` (without padding).
fn whole(opened: &Opened) -> Value {
    let mut value = described(&opened.snippet, None);
    if let Some(fields) = value.as_object_mut() {
        match std::str::from_utf8(&opened.content) {
            Ok(text) => fields.insert("content".into(), json!(text)),
            Err(_) => fields.insert("content_base64url".into(), json!(b64u::encode(&opened.content))),
        };
    }
    value
}

fn for_person(opened: &Opened, paint: Paint) -> String {
    let snippet = &opened.snippet;
    let mut about = vec![what(snippet)];
    about.extend(title(snippet));
    about.push(format!("{}, {}", author(snippet), ago(snippet.received_at.unwrap_or(snippet.issued_at), now())));
    let header = about.iter().map(|part| paint.strong(part)).collect::<Vec<_>>().join(&paint.faint("  ·  "));
    let Ok(text) = std::str::from_utf8(&opened.content) else {
        return format!(
            "{header}\n\n{}",
            paint.faint(&format!("{} that are not text; save them with -o FILE", bytes(snippet.header.size)))
        );
    };
    let shown = block(text);
    let painted = if paint.colored() {
        highlight::painted(&shown, snippet.header.path.as_deref(), snippet.header.language.as_deref())
    } else {
        shown
    };
    format!("{header}\n\n{painted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_files_are_told_apart() {
        assert_eq!(file_named("0190163d-8694-739b-aea5-966c26f8ad91"), None);
        assert_eq!(file_named("26f8ad91"), None);
        assert_eq!(file_named("saved.osmynt"), Some(Path::new("saved.osmynt")));
        assert_eq!(file_named("./26f8ad91"), Some(Path::new("./26f8ad91")));
    }
}

//! The HTML that people see: no script, one style, everything that comes from outside escaped.

use std::fmt::Write as _;

use osmynt_core::{Code, Hash};
use worker::{Headers, Response, ResponseBuilder};

use crate::problem::Problem;
use crate::routes::Call;

/// A page of the service.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// What stands below the title.
    pub(crate) body: Html,
    pub(crate) status: u16,
    /// An origin besides this one to which the page's form may lead. Browsers apply `form-action` to the redirects that
    /// follow a form as well.
    pub(crate) form_leads_to: Option<&'a str>,
}

impl Page<'_> {
    /// The page, as an answer.
    pub(crate) fn response(&self) -> Result<Response, Problem> {
        let Self { title, body: Html(body), status, form_leads_to } = self;
        let title = escape(title);
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title} · Osmynt</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<header>Osmynt</header>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        );
        let headers = Headers::new();
        headers.set("Content-Type", "text/html; charset=utf-8")?;
        headers.set("Content-Security-Policy", &policy(*form_leads_to))?;
        Ok(ResponseBuilder::new().with_status(*status).with_headers(headers).fixed(html.into_bytes()))
    }
}

/// HTML that is safe to send: built by [`Html::p`] and the like, which escape what they are given.
#[derive(Default)]
pub(crate) struct Html(String);

impl Html {
    /// A paragraph of plain text. What stands in it between backticks is to be typed as it is.
    #[must_use]
    pub(crate) fn p(self, text: &str) -> Self {
        let mut html = String::new();
        for (index, part) in text.split('`').enumerate() {
            let part = escape(part);
            // Writing to a String does not fail.
            let _ = match index % 2 {
                0 => write!(html, "{part}"),
                _ => write!(html, "<code translate=\"no\">{part}</code>"),
            };
        }
        self.raw(&format!("<p>{html}</p>\n"))
    }

    /// A command to type, or another text to take as it is.
    #[must_use]
    pub(crate) fn command(self, text: &str) -> Self {
        self.raw(&format!("<pre translate=\"no\"><code>{}</code></pre>\n", escape(text)))
    }

    /// Names with their values. The values are set apart from the text around them, whatever their script's direction.
    #[must_use]
    pub(crate) fn facts(self, facts: &[(&str, &str)]) -> Self {
        let mut list = String::new();
        for (name, value) in facts {
            // Writing to a String does not fail.
            let _ = writeln!(list, "<dt>{}</dt><dd translate=\"no\"><bdi>{}</bdi></dd>", escape(name), escape(value));
        }
        self.raw(&format!("<dl>\n{list}</dl>\n"))
    }

    /// A form with one field, in which a person types the code that their device shows. `typed` is what they typed before,
    /// and `complaint` what was wrong with it, if anything was.
    #[must_use]
    pub(crate) fn code_form(self, typed: &str, complaint: Option<&str>) -> Self {
        let typed = escape(typed);
        let (html, state) = match complaint {
            // The field has the focus: who hears the page instead of seeing it hears the complaint with the field.
            Some(text) => {
                let text = escape(text);
                (
                    format!("<p id=\"complaint\">{text}</p>\n"),
                    " aria-invalid=\"true\" aria-describedby=\"complaint hint\"",
                )
            }
            None => (String::new(), " aria-describedby=\"hint\""),
        };
        self.raw(&format!(
            "{html}<form method=\"get\" action=\"/sign-in\">\n<label for=\"code\">Code that your device shows</label>\n\
             <p id=\"hint\">8 letters, as in BCDF-GHJK</p>\n\
             <input id=\"code\" name=\"code\" value=\"{typed}\"{state} required autofocus autocomplete=\"off\" \
             autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"12\">\n<button>Continue</button>\n</form>\n"
        ))
    }

    /// A link to another page of the service.
    #[must_use]
    pub(crate) fn link(self, address: &str, text: &str) -> Self {
        self.raw(&format!("<p><a href=\"{}\">{}</a></p>\n", escape(address), escape(text)))
    }

    /// A form with hidden fields and buttons that are sent under one name: (value, label).
    #[must_use]
    pub(crate) fn form(self, action: &str, hidden: &[(&str, &str)], name: &str, buttons: &[(&str, &str)]) -> Self {
        let mut inside = String::new();
        for (name, value) in hidden {
            let _ = write!(inside, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value));
        }
        for (value, label) in buttons {
            let (name, value, label) = (escape(name), escape(value), escape(label));
            let _ = write!(inside, "<button name=\"{name}\" value=\"{value}\">{label}</button>");
        }
        self.raw(&format!("<form method=\"post\" action=\"{}\">{inside}</form>\n", escape(action)))
    }

    fn raw(mut self, html: &str) -> Self {
        self.0.push_str(html);
        self
    }
}

/// `GET /`
pub(crate) async fn home(call: Call) -> Result<Response, Problem> {
    let body = Html::default()
        .p("This is the address of a service through which people share code, end-to-end encrypted. \
            It holds no key and can read nothing of what they share.")
        .p("There is nothing to do here in a browser. To sign in, run in a terminal:")
        .command(&format!("osmynt login --server {}", call.config.origin));
    Page { title: "Share code from a terminal", body, status: 200, form_leads_to: None }.response()
}

/// `GET /join`: what to do with an invitation. It is a code, and not an address, so that this page is never given one.
pub(crate) async fn join(_call: Call) -> Result<Response, Problem> {
    let body = Html::default()
        .p("An invitation to a team is a code: a long line of letters and digits that begins with `osmynt1`. Keep it to \
            yourself, as whoever has it can use it.")
        .p("To accept it, run this in a terminal, with the whole code in the place of CODE:")
        .command("osmynt team join CODE")
        .p("Never paste it into a web page. This page does not need it and has no field for it.");
    Page { title: "Join a team", body, status: 200, form_leads_to: None }.response()
}

/// What went wrong, for a person.
pub(crate) fn problem(problem: &Problem) -> worker::Result<Response> {
    let refusal = &problem.refusal;
    // What a code means to a client is more than a person wants to know.
    let title = match refusal.code {
        Code::InvalidRequest => "This did not work",
        Code::Forbidden => "Nobody was signed in",
        Code::Conflict => "Already decided",
        Code::Gone => "Too late",
        Code::RateLimited => "Wait a minute",
        code => code.title(),
    };
    let body = Html::default().p(&refusal.detail);
    let page = Page { title, body, status: refusal.code.status(), form_leads_to: None };
    // A page that cannot be built leaves the problem itself, which is at least readable.
    page.response().or_else(|_| problem.response())
}

/// Nothing may be loaded but the style, by its hash; nobody may frame the page.
fn policy(form_leads_to: Option<&str>) -> String {
    // CSP takes base64 with padding; 32 bytes have one character of it.
    let style = Hash::of(STYLE.as_bytes()).to_string().replace('-', "+").replace('_', "/");
    let form = form_leads_to.map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src 'sha256-{style}='; form-action 'self'{form}; \
         frame-ancestors 'none'; base-uri 'none'"
    )
}

/// Text as it stands in HTML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --panel: #f4f6f8; --line: #6e7781; --accent: #0a5cc2; --on-accent: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --panel: #161b22; --line: #8b949e; --accent: #79b8ff; --on-accent: #0d1117 } }
body { margin: 0 auto; max-width: 36rem; padding: 1.5rem 1.25rem 3rem; background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 system-ui, sans-serif; overflow-wrap: anywhere }
header { font-weight: 600 }
h1 { margin: 1.5rem 0 1rem; font-size: 1.625rem; line-height: 1.25 }
a { color: var(--accent) }
code { font-size: 1rem }
dl, pre { margin: 1.25rem 0; padding: .75rem 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .375rem 1rem }
dt { font-weight: 600 }
dd { margin: 0 }
dd:last-child { font: 600 1.125rem/1.5 ui-monospace, monospace; letter-spacing: .05em }
pre { white-space: pre-wrap }
form { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0 }
label, #hint { flex: 0 0 100%; margin: 0 }
label { font-weight: 600 }
#hint { margin-top: -.75rem }
#complaint { padding-left: .75rem; border-left: .25rem solid }
button, input { box-sizing: border-box; min-width: 0; min-height: 2.75rem; font: inherit; padding: .5rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--paper); color: var(--ink) }
input { flex: 1 1 9rem }
button { flex: 0 1 auto; cursor: pointer }
button + button, button:has(+ button) { flex: 1 1 7rem }
button:first-of-type { border-color: var(--accent); background: var(--accent); color: var(--on-accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text_between_tags_and_in_attributes() {
        let hostile = r#"</bdi><script>alert('&')</script>" onclick="x"#;
        let Html(html) = Html::default()
            .p(hostile)
            .p(&format!("`{hostile}`"))
            .command(hostile)
            .facts(&[("Device", hostile)])
            .link("/", hostile)
            .code_form(hostile, Some(hostile))
            .form("/", &[("token", hostile)], "decision", &[("approve", hostile)]);
        assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
        assert!(!html.contains("onclick=\"x\""), "{html}");
        assert_eq!(html.matches("&lt;/bdi&gt;&lt;script&gt;alert(&#39;&amp;&#39;)").count(), 9);
    }

    #[test]
    fn what_is_to_be_typed_is_set_apart() {
        let Html(html) = Html::default().p("Run `osmynt login` there.");
        assert_eq!(html, "<p>Run <code translate=\"no\">osmynt login</code> there.</p>\n");
    }

    #[test]
    fn the_policy_allows_the_style_by_its_hash_and_nothing_else() {
        let policy = policy(Some("https://github.com"));
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("; form-action 'self' https://github.com; frame-ancestors 'none'; base-uri 'none'"));
        assert!(!policy.contains("unsafe"));
    }
}

//! What the person or the program at the other end gets to see.
//!
//! Whatever came from somebody else (titles, paths, names, contents, answers of the service) passes through
//! [`osmynt_core::text`] before it reaches a terminal: `line` in tables, `block` for contents, `quoted` and `word` inside
//! sentences. So a teammate can neither send control sequences nor speak in our place.

use crate::{
    args::{ColorWhen, Global},
    failure::{Failure, Result},
};
use anstyle::{AnsiColor, Style};
use osmynt_client::Time;
use osmynt_core::text;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// No line of prose is longer on a terminal, however wide it is.
const LINE: usize = 100;

/// Where output goes and in which form.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts about the surroundings")]
pub(crate) struct Output {
    /// One JSON document, or JSON lines.
    pub(crate) json: bool,
    quiet: bool,
    /// Whether standard output is shown to a person.
    pub(crate) terminal: bool,
    wanted_color: bool,
    color: bool,
    error_color: bool,
}

impl Output {
    /// From the global options and what standard output and standard error are.
    pub(crate) fn new(global: Global) -> Self {
        let wanted = |stream_wants: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => stream_wants,
        };
        // Knows NO_COLOR, CLICOLOR, TERM=dumb and whether the stream is a terminal.
        let auto = |choice| choice != anstream::ColorChoice::Never;
        Self {
            json: global.json,
            quiet: global.quiet,
            terminal: io::stdout().is_terminal(),
            wanted_color: global.color == ColorWhen::Always,
            color: wanted(auto(anstream::AutoStream::choice(&io::stdout()))),
            error_color: wanted(auto(anstream::AutoStream::choice(&io::stderr()))),
        }
    }

    /// Whether a person looks at standard output, or wants what a person would see (`--color always | less -R`).
    pub(crate) const fn for_people(self) -> bool {
        self.terminal || self.wanted_color
    }

    /// Whether `--quiet` was given.
    pub(crate) const fn is_quiet(self) -> bool {
        self.quiet
    }

    /// For programs, and where somebody else's usage goes wrong before options are known.
    pub(crate) const fn json_only() -> Self {
        Self { json: true, quiet: false, terminal: false, wanted_color: false, color: false, error_color: false }
    }

    /// What was asked for, in the form asked for: `text` for a person (already neutralised), `value` for a program.
    pub(crate) fn answer(self, value: &Value, text: impl FnOnce(Paint) -> String) -> Result<()> {
        let text = if self.json { json_text(value) } else { text(self.paint()) };
        let mut out = anstream::AutoStream::always(io::stdout().lock());
        ended(writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()))
    }

    /// That it is done, which `--quiet` leaves out.
    pub(crate) fn done(self, value: &Value, text: impl FnOnce(Paint) -> String) -> Result<()> {
        if self.quiet && !self.json {
            return Ok(());
        }
        self.answer(value, |paint| wrapped(&text(paint), &io::stdout()))
    }

    /// Bytes as they are.
    pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        ended(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// The same, as much of it as there is.
    pub(crate) fn copy(from: &mut impl io::Read) -> Result<()> {
        let mut out = io::stdout().lock();
        ended(io::copy(from, &mut out).and_then(|_| out.flush()))
    }

    /// Something worth knowing beside the result.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// What nobody may miss who looks, also with `--quiet`. Programs are told by the results themselves.
    pub(crate) fn warn(self, text: &str) {
        if !self.json {
            let paint = Paint(self.error_color);
            let text = wrapped(&format!("{} {text}", paint.warning("note:")), &io::stderr());
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A failure, on standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        let mut err = anstream::AutoStream::always(io::stderr().lock());
        let _ = if self.json {
            let mut error = json!({"code": failure.code, "message": failure.message});
            if let Some(error) = error.as_object_mut() {
                error.extend(failure.refusal.map(|refusal| ("refusal".into(), json!(refusal))));
                error.extend(failure.next.as_ref().map(|next| ("next".into(), json!(next))));
            }
            writeln!(err, "{}", json_text(&json!({"error": error})))
        } else {
            writeln!(err, "{}", wrapped(&failed(failure, Paint(self.error_color)), &io::stderr()))
        };
    }

    /// For text on standard output.
    pub(crate) fn paint(self) -> Paint {
        Paint(self.color)
    }

    /// Whether there is a person at a terminal who can type.
    pub(crate) fn for_asking(self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a person at a terminal, and gives what they type from now on. None where there is nobody to ask.
    pub(crate) fn ask(self, question: &str) -> Result<Option<String>> {
        if !self.for_asking() {
            return Ok(None);
        }
        forget_typed();
        let (question, mut answer) = (wrapped(question, &io::stderr()), String::new());
        let asked = write!(io::stderr(), "{question} ").and_then(|()| io::stdin().read_line(&mut answer));
        asked.map_err(Failure::io("cannot ask"))?;
        Ok(Some(answer.trim().to_owned()))
    }

    /// Says on a terminal that something takes its time, once it does. Ends when dropped.
    pub(crate) fn progress(self, doing: &'static str) -> Progress {
        if self.json || self.quiet {
            Progress(None)
        } else if io::stderr().is_terminal() {
            Progress::start(doing)
        } else {
            set_doing(Some(Doing::Quietly(self)));
            Progress(None)
        }
    }
}

/// Text with its long lines broken where the terminal that shows it ends, at 100 columns at most. Elsewhere, and where a line is
/// set apart for copying or has somebody else's words in it, it stays as it is.
fn wrapped(text: &str, stream: &impl IsTerminal) -> String {
    if stream.is_terminal() { broken(text, textwrap::termwidth().min(LINE)) } else { text.to_owned() }
}

fn broken(text: &str, width: usize) -> String {
    // At spaces alone: an id has hyphens, and must stay whole.
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    // Foreign words stand between quotes, and would come to stand where our own lines begin.
    let stays = |line: &str| line.starts_with("  ") || line.contains('"');
    let line = |line: &str| if stays(line) { line.to_owned() } else { textwrap::fill(line, &options) };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Drops what was typed before a question was seen: it is no answer to it.
fn forget_typed() {
    #[cfg(unix)]
    let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
}

/// A reader that has seen enough (`| head`) is no failure.
fn ended(written: io::Result<()>) -> Result<()> {
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("cannot write to standard output")(e)),
        _ => Ok(()),
    }
}

/// A failure for a person. What happened is one line, whatever got into it: what stands below is ours.
fn failed(failure: &Failure, paint: Paint) -> String {
    let mut shown = format!("{} {}", paint.error("error:"), text::line(&failure.message));
    if let Some(next) = &failure.next {
        let _ = write!(shown, "\n{}", text::block(next));
    }
    shown
}

/// A value as one line of JSON. Whatever is not visibly itself is escaped, beyond what JSON escapes anyway: the text
/// means the same, and a terminal that shows it does nothing with it.
fn json_text(value: &Value) -> String {
    let mut json = String::new();
    for c in value.to_string().chars() {
        if text::is_visible(c) {
            json.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(json, "\\u{unit:04x}");
        }
    }
    json
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What matters most on a line.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// What matters least.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// An id or a code to copy.
    pub(crate) fn id(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    /// Something to look at.
    pub(crate) fn warning(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// Whether there are any.
    pub(crate) const fn colored(self) -> bool {
        self.0
    }

    fn error(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }
}

/// Columns of text, each as wide as its widest cell; the last is not padded. Cells may be painted after measuring.
pub(crate) fn table(rows: &[Vec<String>], paint: impl Fn(usize, &str) -> String) -> String {
    use unicode_width::UnicodeWidthStr;
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut shown = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                shown.push_str("  ");
            }
            shown.push_str(&paint(column, cell));
            let last = column.saturating_add(1) == row.len();
            if !last {
                shown.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
            }
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// The time of this machine.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the command reads the clock, to show how long ago something was"
)]
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |elapsed| elapsed.as_secs()))
}

/// How long ago `then` was, for people.
pub(crate) fn ago(then: Time, now: Time) -> String {
    match (now.since(then), then.since(now)) {
        (0..60, 0..60) => "just now".into(),
        // What was to last for 7 days is not to read "6 days" a second later.
        (0, ahead) => format!("in {}", about(ahead)),
        (passed, _) => format!("{} ago", about(passed)),
    }
}

const UNITS: [(u64, &str); 5] = [(31_557_600, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];

/// About how long some seconds are, rounded to the nearest: 57 minutes are an hour.
fn about(seconds: u64) -> String {
    let fits = |unit: u64| seconds.saturating_mul(100) >= unit.saturating_mul(95);
    UNITS.iter().find(|(unit, _)| fits(*unit)).map_or_else(
        || counted(seconds, "second"),
        |(unit, name)| counted(seconds.saturating_add(unit / 2).checked_div(*unit).unwrap_or_default(), name),
    )
}

/// A number of seconds in the largest unit that it is a whole number of.
pub(crate) fn span(seconds: u64) -> String {
    let whole = |unit: u64| seconds.checked_div(unit).filter(|n| *n > 0 && seconds.is_multiple_of(unit));
    let said = UNITS.iter().find_map(|(unit, name)| whole(*unit).map(|n| counted(n, name)));
    said.unwrap_or_else(|| counted(seconds, "second"))
}

/// A number of things: `1 day`, `2 days`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A number of bytes for people.
pub(crate) fn bytes(size: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = size.saturating_mul(10).checked_div(unit).unwrap_or_default();
        format!("{}.{}", tenths.checked_div(10).unwrap_or_default(), tenths.checked_rem(10).unwrap_or_default())
    };
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", tenths(1024)),
        _ => format!("{} MiB", tenths(1_048_576)),
    }
}

/// A spinner that appears when something takes more than a moment.
#[derive(Debug)]
pub(crate) struct Progress(Option<thread::JoinHandle<()>>);

impl Progress {
    const MOMENT: Duration = Duration::from_millis(400);

    fn start(doing: &'static str) -> Self {
        let (sender, waits) = mpsc::channel::<Duration>();
        set_doing(Some(Doing::AtTerminal(sender)));
        Self(Some(thread::spawn(move || Self::spin(doing, &waits))))
    }

    /// Until the other end of `waits` is dropped.
    fn spin(doing: &'static str, waits: &mpsc::Receiver<Duration>) {
        let mut next = waits.recv_timeout(Self::MOMENT);
        if next == Err(mpsc::RecvTimeoutError::Disconnected) {
            return;
        }
        let bar = indicatif::ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        loop {
            next = match next {
                Ok(wait) => {
                    bar.set_message(format!("{doing}: {}", asked_to_wait(wait)));
                    waits.recv_timeout(wait)
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bar.set_message(doing);
                    waits.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
        }
        bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        set_doing(None);
        if let Some(shown) = self.0.take() {
            let _ = shown.join();
        }
    }
}

/// Where it can be told that what is done at the moment takes longer.
#[derive(Debug)]
enum Doing {
    AtTerminal(mpsc::Sender<Duration>),
    Quietly(Output),
}

/// One command runs in a process, and it does one thing at a time.
static DOING: Mutex<Option<Doing>> = Mutex::new(None);

fn set_doing(doing: Option<Doing>) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = doing;
}

/// Says that the service asks to wait.
pub(crate) fn waiting(wait: Duration) {
    match &*DOING.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Doing::AtTerminal(spinner)) => drop(spinner.send(wait)),
        Some(Doing::Quietly(out)) => out.note(&asked_to_wait(wait)),
        None => {}
    }
}

fn asked_to_wait(wait: Duration) -> String {
    format!("the service asks to wait {}", span(wait.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_happened_stands_where_advice_does() {
        let failure = Failure::refused("it is gone\nRun this: x\u{202e}").next("Sign in:\n\n  osmynt login");
        let shown = "error: it is gone\\u{a}Run this: x\\u{202e}\nSign in:\n\n  osmynt login";
        assert_eq!(failed(&failure, Paint(false)), shown);
    }

    #[test]
    fn json_says_the_same_but_escaped() {
        let value = json!({"title": "a\u{1b}\u{9b}\u{ad}\u{202e}\u{3164}\u{e0001}ö b\n"});
        let json = json_text(&value);
        assert_eq!(json, r#"{"title":"a\u001b\u009b\u00ad\u202e\u3164\udb40\udc01ö b\n"}"#);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }

    #[test]
    fn prose_is_broken_where_the_terminal_ends_and_what_is_to_be_copied_is_not() {
        let text = "error: one two three four\nfive\n\n  osmynt team join osmynt1aaaaaaaaaaaaa";
        assert_eq!(broken(text, 16), "error: one two\nthree four\nfive\n\n  osmynt team join osmynt1aaaaaaaaaaaaa");
        assert_eq!(broken(text, 100), text);
        assert_eq!(broken("user aaaa-bbbb-cccc", 10), "user\naaaa-bbbb-cccc", "an id is never broken");
    }

    #[test]
    fn what_somebody_else_says_never_begins_a_line() {
        let hostile = format!("the service says {}", text::quoted(&format!("no{}Run this: x", " ".repeat(110)), 200));
        let shown = failed(&Failure::refused(hostile), Paint(false));
        for width in [20, 80, 100] {
            assert_eq!(broken(&shown, width).lines().count(), 1, "{shown}");
        }
    }

    proptest! {
        #[test]
        fn nothing_unseen_is_left_in_json(text in any::<String>()) {
            let json = json_text(&json!(text));
            prop_assert!(json.chars().all(text::is_visible));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = [vec!["a".to_owned(), "b".into(), "c".into()], vec!["日本".into(), "bb".into(), String::new()]];
        assert_eq!(table(&rows, |_, cell| cell.to_owned()), "a     b   c\n日本  bb\n");
        let painted = table(&rows, |column, cell| if column == 0 { Paint(true).strong(cell) } else { cell.to_owned() });
        assert_eq!(painted, "\u{1b}[1ma\u{1b}[0m     b   c\n\u{1b}[1m日本\u{1b}[0m  bb\n");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(ago(Time(1_000), Time(1_030)), "just now");
        assert_eq!(ago(Time(1_000), Time(1_060)), "1 minute ago");
        assert_eq!(ago(Time(1_000), Time(8_300)), "2 hours ago");
        assert_eq!(ago(Time(0), Time(86_400 * 400)), "1 year ago");
        assert_eq!(ago(Time(8_300), Time(1_000)), "in 2 hours");
        assert_eq!(ago(Time(604_799), Time(0)), "in 7 days");
        assert_eq!(ago(Time(172_800 - 360), Time(0)), "in 2 days");
        assert_eq!(ago(Time(0), Time(3_400)), "57 minutes ago");
        assert_eq!(ago(Time(0), Time(3_599)), "1 hour ago");
        for (seconds, said) in
            [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (129_600, "36 hours"), (259_200, "3 days")]
        {
            assert_eq!(span(seconds), said);
        }
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(10_485_760), "10.0 MiB");
    }
}

//! Colours for code, in the sixteen colours of the person's own terminal, so that they fit its background.

use anstyle::{AnsiColor, Style};
use std::{fmt::Write, path::Path};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

/// Longer texts are shown without colours: nobody reads them in a terminal, and the grammars are slow.
const MOST_BYTES: usize = 512 * 1024;
/// Longer lines likewise: the time that grammars take can grow with the square of a line's length.
const MOST_IN_A_LINE: usize = 2_000;

/// Paints `text`, which has no control characters but line feeds and tabs, as its path or language suggests.
/// Gives it back as it is when there is no grammar for it.
pub(crate) fn painted(text: &str, path: Option<&str>, language: Option<&str>) -> String {
    if text.len() > MOST_BYTES || text.lines().any(|line| line.len() > MOST_IN_A_LINE) {
        return text.to_owned();
    }
    let syntaxes = SyntaxSet::load_defaults_newlines();
    grammar(&syntaxes, path, language)
        .and_then(|grammar| paint(text, grammar, &syntaxes))
        .unwrap_or_else(|| text.to_owned())
}

fn grammar<'a>(syntaxes: &'a SyntaxSet, path: Option<&str>, language: Option<&str>) -> Option<&'a SyntaxReference> {
    let path = path.map(Path::new);
    let name = path.and_then(Path::file_name).and_then(|name| name.to_str());
    let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
    let language = language.map(|language| match language {
        // No grammar of their own among those built in; these come close.
        "typescript" | "typescriptreact" | "javascriptreact" => "javascript",
        "shellscript" => "sh",
        "csharp" => "cs",
        "cpp" => "c++",
        other => other,
    });
    let grammar =
        [name, extension, language].into_iter().flatten().find_map(|token| syntaxes.find_syntax_by_token(token))?;
    (grammar.name != "Plain Text").then_some(grammar)
}

fn paint(text: &str, grammar: &SyntaxReference, syntaxes: &SyntaxSet) -> Option<String> {
    let rules = rules();
    let mut state = ParseState::new(grammar);
    let mut scopes = ScopeStack::new();
    let mut painted = String::with_capacity(text.len().saturating_mul(2));
    for line in text.split_inclusive('\n') {
        let mut done = 0;
        for (at, change) in state.parse_line(line, syntaxes).ok()? {
            push(&mut painted, line.get(done..at)?, style(&scopes, &rules));
            scopes.apply(&change).ok()?;
            done = at;
        }
        push(&mut painted, line.get(done..)?, style(&scopes, &rules));
    }
    Some(painted)
}

fn push(painted: &mut String, piece: &str, style: Style) {
    // A style that ends before the line does leaves nothing behind when the output is cut.
    let (piece, end) = piece.strip_suffix('\n').map_or((piece, ""), |piece| (piece, "\n"));
    if piece.is_empty() || style.is_plain() {
        painted.push_str(piece);
    } else {
        let _ = write!(painted, "{style}{piece}{style:#}");
    }
    painted.push_str(end);
}

/// Which scopes get which colour. The innermost scope that has a rule counts.
fn rules() -> Vec<(Scope, Style)> {
    let color = |color: AnsiColor| color.on_default();
    [
        ("comment", Style::new().dimmed()),
        ("string", color(AnsiColor::Green)),
        ("constant", color(AnsiColor::Cyan)),
        ("keyword.operator", Style::new()),
        ("keyword", color(AnsiColor::Magenta)),
        ("storage", color(AnsiColor::Magenta)),
        ("entity.name", color(AnsiColor::Blue)),
        ("support", color(AnsiColor::Blue)),
        ("variable.function", color(AnsiColor::Blue)),
        ("markup.inserted", color(AnsiColor::Green)),
        ("markup.deleted", color(AnsiColor::Red)),
        ("markup.heading", Style::new().bold()),
        ("meta.diff.range", color(AnsiColor::Cyan)),
        ("meta.diff.header", Style::new().bold()),
    ]
    .into_iter()
    .filter_map(|(scope, style)| Some((Scope::new(scope).ok()?, style)))
    .collect()
}

fn style(scopes: &ScopeStack, rules: &[(Scope, Style)]) -> Style {
    let of = |scope: &Scope| rules.iter().find(|(prefix, _)| prefix.is_prefix_of(*scope)).map(|(_, style)| *style);
    scopes.as_slice().iter().rev().find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_painted_and_says_the_same() {
        let text = "// a\nfn main() { let x = \"s\"; }\n\n\tend";
        let painted = painted(text, Some("src/main.rs"), None);
        assert!(painted.contains("\u{1b}[35m"), "{painted:?}");
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
    }

    #[test]
    fn diffs_are_red_and_green() {
        let painted = painted("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", None, Some("diff"));
        assert!(painted.contains("\u{1b}[31m-"), "{painted:?}");
        assert!(painted.contains("\u{1b}[32m+"), "{painted:?}");
    }

    #[test]
    fn text_of_no_known_language_stays_as_it_is() {
        assert_eq!(painted("fn x", Some("notes.txt"), Some("plaintext")), "fn x");
        assert_eq!(painted("fn x", None, Some("no such language")), "fn x");
    }

    #[test]
    fn no_style_reaches_over_the_end_of_a_line() {
        for line in painted("/* a\nb */ fn x() {}\n", Some("x.rs"), None).lines() {
            assert!(
                !line.contains('\u{1b}') || line.trim_end_matches([' ', '{', '}', '(', ')']).contains("\u{1b}[0m"),
                "{line:?}"
            );
        }
    }

    #[test]
    fn the_languages_that_share_names_have_a_grammar() {
        let syntaxes = SyntaxSet::load_defaults_newlines();
        for language in [
            "rust",
            "python",
            "javascript",
            "typescript",
            "csharp",
            "cpp",
            "shellscript",
            "go",
            "java",
            "diff",
            "json",
            "yaml",
            "markdown",
        ] {
            assert!(grammar(&syntaxes, None, Some(language)).is_some(), "{language}");
        }
    }
}

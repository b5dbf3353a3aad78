//! Text that somebody else wrote: which names are taken, and how foreign text is set on a terminal.
//!
//! People decide by names whom to trust, and act on what a command tells them. So a name holds nothing that cannot be
//! seen, or it would pass for another ([`check_name`], [`check_login`]), and on a terminal foreign text neither hides
//! a character nor passes for our own words (`line`, `block`, `quoted` and `word`, with the feature `terminal`).
//!
//! Not here: letters of different scripts that look alike. A name that looks like another is still a name.

use unicode_normalization::char::is_combining_mark;
use unicode_security::GeneralSecurityProfile as _;

use crate::{Refusal, Result};

#[cfg(any(test, feature = "terminal"))]
pub use terminal::{EXCERPT_CHARS, block, is_visible, line, quoted, word};

/// Characters of a login at the identity provider.
const LOGIN_CHARS: usize = 39;
/// Combining marks that may stand on one character. Vietnamese takes two and pointed Hebrew three; a tower of them
/// covers the lines above.
const MARKS: usize = 4;

/// Checks the name of a device or a team: 1 to `max_chars` characters, each of [`is_name_char`]; no space at either end
/// and no two in a row; at most 4 combining marks in a row.
///
/// Refused with `invalid-request` and what to do about it. The detail repeats nothing of the name.
pub fn check_name(name: &str, max_chars: usize) -> Result<()> {
    // A name may be as long as a request. One character too many is enough to know.
    let count = name.chars().take(max_chars.saturating_add(1)).count();
    if !(1..=max_chars).contains(&count) {
        return Err(Refusal::invalid(format!("a name has 1 to {max_chars} characters")));
    }
    if !name.chars().all(is_name_char) {
        return Err(Refusal::invalid(
            "a name has letters, digits, spaces and ASCII punctuation: leave out emoji and whatever cannot be seen",
        ));
    }
    if name.starts_with(' ') || name.ends_with(' ') || name.contains("  ") {
        return Err(Refusal::invalid("a name has no space at either end, and no two spaces in a row"));
    }
    let mut room = Room(MARKS);
    if name.chars().any(|c| !room.takes(c)) {
        return Err(Refusal::invalid("a name has at most 4 combining marks in a row"));
    }
    Ok(())
}

/// Checks a login at the identity provider: 1 to 39 ASCII letters, digits, `-`, `_` and `.`. GitHub gives out letters,
/// digits and `-`; GitHub Enterprise adds `_` and a short code.
///
/// Refused with `invalid-request`. The detail repeats nothing of the login.
pub fn check_login(login: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=LOGIN_CHARS).contains(&login.len()) && login.bytes().all(plain) {
        Ok(())
    } else {
        Err(Refusal::invalid("a login has 1 to 39 characters: ASCII letters, digits, `-`, `_` and `.`"))
    }
}

/// Whether a character may stand in a name: printable ASCII, and what Unicode allows in identifiers
/// (`Identifier_Status=Allowed`, UTS 39 section 3.1), as far as it can be seen.
pub fn is_name_char(c: char) -> bool {
    if c.is_ascii() { matches!(c, ' '..='~') } else { c.identifier_allowed() && !is_blank(c) }
}

/// Whether a character shows as nothing although its general category says otherwise.
const fn is_blank(c: char) -> bool {
    // Default_Ignorable_Code_Point of DerivedCoreProperties.txt, those of the category Cf included.
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    // Symbols and letters whose glyph is empty: the blank Braille pattern, a placeholder for what is not text, a
    // filler of Khitan, and a note without a head.
    || matches!(c, '\u{2800}' | '\u{fffc}' | '\u{16fe4}' | '\u{1d159}')
}

/// How many more combining marks may follow in a text.
#[derive(Default)]
struct Room(usize);

impl Room {
    /// Whether the next character is no mark, or one for which there is room.
    fn takes(&mut self, next: char) -> bool {
        if !is_combining_mark(next) {
            self.0 = MARKS;
            return true;
        }
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// Setting foreign text on a terminal.
#[cfg(any(test, feature = "terminal"))]
mod terminal {
    use core::fmt::Write as _;

    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

    use super::{Room, is_blank};

    /// So much of somebody else's words a message of ours repeats.
    pub const EXCERPT_CHARS: usize = 300;

    /// Text on one line: whatever is not visibly itself is escaped as `\u{…}`, with its code point in hexadecimal.
    ///
    /// That is what a terminal obeys instead of showing, what reorders a line ("Trojan Source", CVE-2021-42574), what
    /// shows as nothing or as a space, and combining marks that stand on nothing of this text or on 4 others.
    pub fn line(text: &str) -> String {
        let mut shown = Shown::with_capacity(text.len());
        text.chars().for_each(|c| shown.push(c));
        shown.text
    }

    /// Text on as many lines as it has: as [`line()`], but line feeds and tabs stay, and `\r\n` becomes `\n`.
    pub fn block(text: &str) -> String {
        let mut shown = Shown::with_capacity(text.len());
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\r' if rest.peek() == Some(&'\n') => {}
                '\n' | '\t' => shown.push_as_is(c),
                _ => shown.push(c),
            }
        }
        shown.text
    }

    /// Words of somebody else inside a sentence of ours: as [`line()`], between double quotes, with a backslash before
    /// each quote and backslash of theirs. At most `max_chars` characters stand between the quotes; the last of them is
    /// an ellipsis where the text goes on.
    pub fn quoted(text: &str, max_chars: usize) -> String {
        let mut shown = Shown::default();
        shown.push_as_is('"');
        let (mut count, mut end_of_whole) = (0_usize, shown.text.len());
        for c in text.chars() {
            let before = shown.text.len();
            if matches!(c, '"' | '\\') {
                shown.push_as_is('\\');
            }
            shown.push(c);
            count = count.saturating_add(shown.text.get(before..).unwrap_or_default().chars().count());
            if count > max_chars {
                shown.text.truncate(end_of_whole);
                shown.text.push('…');
                break;
            }
            if count < max_chars {
                end_of_whole = shown.text.len();
            }
        }
        shown.text.push('"');
        shown.text
    }

    /// A name of somebody else's (a path, a login) inside a sentence of ours: as it is where it is one word that cannot
    /// be taken for more of the sentence, else as [`quoted`].
    pub fn word(text: &str, max_chars: usize) -> String {
        let line = line(text);
        if line.is_empty() || line.contains([' ', '"']) || line.chars().count() > max_chars {
            quoted(text, max_chars)
        } else {
            line
        }
    }

    /// Whether a character shows as itself: not one of the general categories Cc, Cf, Cs, Co, Cn, Zl, Zp and Zs other
    /// than U+0020, not ignored by default, not blank.
    pub fn is_visible(c: char) -> bool {
        if c.is_ascii() {
            return matches!(c, ' '..='~');
        }
        let group = c.general_category_group();
        !matches!(group, GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator) && !is_blank(c)
    }

    /// Text as far as it is set.
    #[derive(Default)]
    struct Shown {
        text: String,
        room: Room,
    }

    impl Shown {
        fn with_capacity(bytes: usize) -> Self {
            Self { text: String::with_capacity(bytes), room: Room::default() }
        }

        /// The character, or its escape.
        fn push(&mut self, c: char) {
            if is_visible(c) && self.room.takes(c) {
                self.text.push(c);
            } else {
                // Writing to a String does not fail.
                let _ = write!(self.text, "{}", c.escape_unicode());
                self.room = Room::default();
            }
        }

        /// A character of ours, on which no mark of theirs shall stand.
        fn push_as_is(&mut self, c: char) {
            self.text.push(c);
            self.room = Room::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use proptest::prelude::*;

    /// Characters that show as nothing, as a space, or as an order to the terminal, with what they are.
    const UNSEEN: &[(char, &str)] = &[
        ('\0', "null"),
        ('\u{7}', "bell"),
        ('\u{8}', "backspace"),
        ('\u{b}', "line tabulation"),
        ('\u{c}', "form feed"),
        ('\r', "carriage return"),
        ('\u{1b}', "escape"),
        ('\u{7f}', "delete"),
        ('\u{85}', "next line"),
        ('\u{9b}', "control sequence introducer"),
        ('\u{a0}', "no-break space"),
        ('\u{ad}', "soft hyphen"),
        ('\u{34f}', "combining grapheme joiner"),
        ('\u{61c}', "Arabic letter mark"),
        ('\u{115f}', "Hangul choseong filler"),
        ('\u{1160}', "Hangul jungseong filler"),
        ('\u{1680}', "Ogham space mark"),
        ('\u{17b4}', "Khmer inherent vowel"),
        ('\u{17b5}', "Khmer inherent vowel"),
        ('\u{180b}', "Mongolian variation selector"),
        ('\u{180c}', "Mongolian variation selector"),
        ('\u{180d}', "Mongolian variation selector"),
        ('\u{180e}', "Mongolian vowel separator"),
        ('\u{180f}', "Mongolian variation selector"),
        ('\u{2000}', "en quad"),
        ('\u{2003}', "em space"),
        ('\u{2007}', "figure space"),
        ('\u{200a}', "hair space"),
        ('\u{200b}', "zero width space"),
        ('\u{200c}', "zero width non-joiner"),
        ('\u{200d}', "zero width joiner"),
        ('\u{200e}', "left-to-right mark"),
        ('\u{200f}', "right-to-left mark"),
        ('\u{2028}', "line separator"),
        ('\u{2029}', "paragraph separator"),
        ('\u{202a}', "left-to-right embedding"),
        ('\u{202d}', "left-to-right override"),
        ('\u{202e}', "right-to-left override"),
        ('\u{202f}', "narrow no-break space"),
        ('\u{205f}', "mathematical space"),
        ('\u{2060}', "word joiner"),
        ('\u{2061}', "function application"),
        ('\u{2064}', "invisible plus"),
        ('\u{2065}', "unassigned"),
        ('\u{2066}', "left-to-right isolate"),
        ('\u{2069}', "pop directional isolate"),
        ('\u{206a}', "inhibit symmetric swapping"),
        ('\u{206f}', "nominal digit shapes"),
        ('\u{2800}', "blank Braille pattern"),
        ('\u{3000}', "ideographic space"),
        ('\u{3164}', "Hangul filler"),
        ('\u{e000}', "private use"),
        ('\u{f8ff}', "private use"),
        ('\u{fe00}', "variation selector 1"),
        ('\u{fe0e}', "text presentation"),
        ('\u{fe0f}', "emoji presentation"),
        ('\u{feff}', "byte order mark"),
        ('\u{ffa0}', "half-width Hangul filler"),
        ('\u{fff0}', "unassigned"),
        ('\u{fff9}', "interlinear annotation anchor"),
        ('\u{fffb}', "interlinear annotation terminator"),
        ('\u{fffc}', "object replacement character"),
        ('\u{fffe}', "noncharacter"),
        ('\u{110bd}', "Kaithi number sign"),
        ('\u{13430}', "Egyptian hieroglyph joiner"),
        ('\u{16fe4}', "Khitan filler"),
        ('\u{1bca0}', "shorthand format letter overlap"),
        ('\u{1d159}', "note without a head"),
        ('\u{1d173}', "musical begin beam"),
        ('\u{1d17a}', "musical end phrase"),
        ('\u{e0001}', "language tag"),
        ('\u{e0020}', "tag space"),
        ('\u{e007f}', "cancel tag"),
        ('\u{e0100}', "variation selector 17"),
        ('\u{e01ef}', "variation selector 256"),
        ('\u{e0fff}', "unassigned"),
        ('\u{f0000}', "private use"),
        ('\u{10ffff}', "noncharacter"),
    ];

    #[test]
    fn what_cannot_be_seen_is_in_no_name_and_on_no_terminal() {
        for &(c, what) in UNSEEN {
            for name in [format!("{c}"), format!("ada{c}"), format!("{c}ada"), format!("a{c}da")] {
                let refusal = check_name(&name, 64).expect_err(what);
                assert_eq!(refusal.code, Code::InvalidRequest, "{what}");
                assert!(!refusal.detail.contains(c), "{what}");
                assert!(check_login(&name).is_err(), "{what}");
            }
            let escaped = format!("ada\\u{{{:x}}}", u32::from(c));
            assert_eq!(line(&format!("ada{c}")), escaped, "{what}");
            assert_eq!(block(&format!("ada{c}")), escaped, "{what}");
            assert_eq!(quoted(&format!("ada{c}"), 99), format!("\"{escaped}\""), "{what}");
            assert_eq!(word(&format!("ada{c}"), 99), escaped, "{what}");
        }
    }

    #[test]
    fn ordinary_names_are_taken_in_every_script() {
        for name in [
            "a",
            "Ada’s MacBook",
            "ada's laptop",
            "R&D <tools> (#2) \"x\" ~`$|",
            "Größe",
            "Nguyễn Văn A",
            "Nguye\u{302}\u{303}n",
            "Þórdís Ðæ ß",
            "Ноутбук Ады",
            "Υπολογιστής της Άντα",
            "艾达的电脑",
            "エイダのノート・パソコン",
            "에이다의 노트북",
            "حاسوب آدا",
            "رایانه",
            "एडा का लैपटॉप",
            "এডার ল্যাপটপ",
            "เครื่องของเอดา",
            "המחשב של עדה",
            "შავი",
            "Ադա",
            "ஆடா",
            "አዳ",
        ] {
            assert_eq!(check_name(name, 64), Ok(()), "{name}");
            assert_eq!(line(name), name, "and is shown as it is");
        }
    }

    #[test]
    fn emoji_and_other_symbols_are_in_no_name() {
        for name in ["ada 🦀", "👩‍💻", "❤️", "❤", "🇩🇪", "1️⃣", "☃", "™", "→", "①", "ﬁ", "Ａ", "𝐀", "ᚠ", "\u{1f3fb}"]
        {
            assert_eq!(check_name(name, 64).unwrap_err().code, Code::InvalidRequest, "{name}");
        }
    }

    #[test]
    fn a_name_has_neither_too_many_characters_nor_none_nor_spaces_that_are_not_seen() {
        assert_eq!(check_name(&"é".repeat(64), 64), Ok(()));
        for name in ["", " ", " a", "a ", "a  b", "a\tb", "a\nb", &"é".repeat(65), &"x".repeat(100_000)] {
            assert_eq!(check_name(name, 64).unwrap_err().code, Code::InvalidRequest, "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(65), 64).unwrap_err().detail, "a name has 1 to 64 characters");
    }

    #[test]
    fn marks_do_not_pile_up_and_are_shown_on_nothing_of_ours() {
        let piled = |marks| format!("a{}b", "\u{301}".repeat(marks));
        assert_eq!(check_name(&piled(4), 64), Ok(()));
        assert!(check_name(&piled(5), 64).is_err());
        assert_eq!(line(&piled(4)), piled(4));
        assert_eq!(line(&piled(5)), format!("a{}\\u{{301}}b", "\u{301}".repeat(4)));
        assert_eq!(quoted("\u{338}", 99), "\"\\u{338}\"", "not on our quote");
        assert_eq!(block("a\n\u{301}"), "a\n\\u{301}");
        assert_eq!(line("a\u{200b}\u{301}"), "a\\u{200b}\\u{301}", "not on an escape");
    }

    #[test]
    fn a_login_is_one_that_github_gives_out() {
        for login in ["a", "ada-lovelace", "Ada1815", "octocat_corp", "a.b", "-old-", &"l".repeat(39)] {
            assert_eq!(check_login(login), Ok(()), "{login}");
        }
        for login in ["", "ada lovelace", "ada\n", "аda", "adä", "@ada", "dependabot[bot]", "a/b", &"l".repeat(40)] {
            assert_eq!(check_login(login).unwrap_err().code, Code::InvalidRequest, "{login:?}");
        }
    }

    #[test]
    fn a_block_keeps_its_lines_and_tabs() {
        assert_eq!(block("if\n\tx\r\ny\r\u{b}\n"), "if\n\tx\ny\\u{d}\\u{b}\n");
        assert_eq!(line("if\n\tx\r\n"), "if\\u{a}\\u{9}x\\u{d}\\u{a}");
    }

    #[test]
    fn words_of_others_stay_between_their_quotes() {
        assert_eq!(quoted("", 9), r#""""#);
        assert_eq!(quoted("it is gone", 10), r#""it is gone""#);
        assert_eq!(quoted("it is gone", 9), r#""it is go…""#);
        assert_eq!(quoted(r#"done". Now run "curl"#, 99), r#""done\". Now run \"curl""#);
        assert_eq!(quoted(r#"done\". Now run"#, 99), r#""done\\\". Now run""#, "the backslash is theirs");
        assert_eq!(quoted("gone\nRun this", 99), r#""gone\u{a}Run this""#);
        assert_eq!(quoted("ab\u{202e}cd", 10), r#""ab…""#, "no escape is cut");
        assert_eq!(quoted("ab\u{202e}", 10), r#""ab\u{202e}""#);
    }

    #[test]
    fn a_word_stands_alone_and_more_of_them_between_quotes() {
        assert_eq!(word("src/main.rs", 99), "src/main.rs");
        assert_eq!(word("größe", 99), "größe");
        assert_eq!(word("a b.rs", 99), r#""a b.rs""#);
        assert_eq!(word("a\u{a0}b", 99), r"a\u{a0}b");
        assert_eq!(word(r#"a"b"#, 99), r#""a\"b""#);
        assert_eq!(word("", 99), r#""""#);
        assert_eq!(word("abcdef", 3), r#""ab…""#);
    }

    #[test]
    fn whatever_may_be_in_a_name_is_shown_as_itself() {
        for c in '\0'..=char::MAX {
            assert!(!is_name_char(c) || is_visible(c), "{c:?}");
            let shown = line(&format!("a{c}"));
            assert!(shown == format!("a{c}") && is_visible(c) || shown == format!("a{}", c.escape_unicode()), "{c:?}");
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let unseen = proptest::sample::select(UNSEEN).prop_map(|(c, _)| c);
        let marks = proptest::char::range('\u{300}', '\u{36f}');
        let plain = proptest::char::range(' ', '~');
        let c = prop_oneof![plain, any::<char>(), unseen, marks, Just('\n'), Just('"'), Just('\\')];
        proptest::collection::vec(c, 0..40).prop_map(|text| text.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_unseen_is_left(text in any_text(), max in 1_usize..50) {
            for shown in [line(&text), quoted(&text, max), word(&text, max)] {
                prop_assert!(shown.chars().all(is_visible), "{shown:?}");
            }
            prop_assert!(block(&text).chars().all(|c| matches!(c, '\n' | '\t') || is_visible(c)));
        }

        #[test]
        fn quotes_end_where_they_should(text in any_text(), max in 1_usize..50) {
            let shown = quoted(&text, max);
            let inside = shown.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert!(inside.chars().count() <= max, "{shown:?}");
            let mut rest = inside.chars();
            while let Some(c) = rest.next() {
                prop_assert_ne!(c, '"', "{}", shown);
                if c == '\\' {
                    prop_assert!(matches!(rest.next(), Some('"' | '\\' | 'u')), "{shown:?}");
                }
            }
        }

        #[test]
        fn no_refusal_repeats_the_name(text in any_text()) {
            if let Err(refusal) = check_name(&text, 20) {
                prop_assert!(refusal.detail.is_ascii());
                prop_assert!(text.chars().count() < 5 || !refusal.detail.contains(&text));
            }
        }
    }
}

//! Texts in quotation marks as nsqd writes them into its refusals: with Go's `%q`.

use std::fmt::{self, Write};

/// Shows bytes as Go's `strconv.Quote` does.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                quote(character, f)?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

fn quote(character: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match character {
        '\x07' => f.write_str("\\a"),
        '\x08' => f.write_str("\\b"),
        '\x0b' => f.write_str("\\v"),
        '\x0c' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '"' | '\\' => write!(f, "\\{character}"),
        ' '..='~' => f.write_char(character),
        '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(character)),
        // What Rust would escape for Debug is what Go does not count as printable, save for a few accents that stand
        // alone.
        _ if character.escape_debug().len() == 1 => f.write_char(character),
        '\u{80}'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(character)),
        _ => write!(f, "\\U{:08x}", u32::from(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_go_shows_them() {
        for (bytes, shown) in [
            (&b"two$"[..], r#""two$""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x00\x07\x1b\x7f\t", r#""\x00\a\x1b\x7f\t""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("é\u{a0}\u{200b}".as_bytes(), r#""é\u00a0\u200b""#),
        ] {
            assert_eq!(Quoted(bytes).to_string(), shown);
        }
    }
}

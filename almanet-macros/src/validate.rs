//! The rules for texts that are checked at compile time. They are those of `almanet::Uri` and of nsqd.

use std::time::Duration;

/// The most characters of a URI: its topic `_rpc_.<uri>` must fit into NSQ's 64.
const MAX_URI_LENGTH: usize = MAX_NAME_LENGTH - "_rpc_.".len();

/// The most characters of an NSQ topic or channel name, `#ephemeral` included.
const MAX_NAME_LENGTH: usize = 64;

/// First segments that no procedure can have: of reply topics, and of the topic by which services are asked what they are.
const RESERVED_SEGMENTS: [&str; 2] = ["_reply_", "_control_"];

/// Names of errors that almanet itself raises.
const BUILT_IN_ERRORS: [&str; 4] = [
    "rpc_invalid_payload",
    "rpc_invalid_return",
    "rpc_timeout",
    "InternalError",
];

/// Checks a whole URI, or a prefix of one.
pub(crate) fn uri(uri: &str) -> Result<(), String> {
    for segment in uri.split('.') {
        self::segment(segment).map_err(|rule| {
            format!("uri {uri:?} has the segment {segment:?}: {rule}; segments are joined by dots")
        })?;
    }
    let first = uri.split('.').next().unwrap_or_default();
    if RESERVED_SEGMENTS.contains(&first) {
        return Err(format!(
            "uri {uri:?} begins with `{first}`: that segment is kept for Almanet's own topics"
        ));
    }
    uri_length(uri)
}

/// Checks the length of a URI alone.
pub(crate) fn uri_length(uri: &str) -> Result<(), String> {
    match uri.len() {
        ..=MAX_URI_LENGTH => Ok(()),
        length => Err(format!(
            "uri {uri:?} has {length} characters: at most {MAX_URI_LENGTH} are allowed, so that its topic fits into \
             NSQ's {MAX_NAME_LENGTH}"
        )),
    }
}

/// Checks one segment of a URI; the error is the rule.
pub(crate) fn segment(segment: &str) -> Result<(), &'static str> {
    let begins_well = segment.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins_well && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err("a segment begins with a letter or `_` and has only letters, digits and `_`")
}

/// Checks the name of a topic or a channel; `kind` says which.
pub(crate) fn nsq_name(kind: &str, name: &str) -> Result<(), String> {
    let stem = name.strip_suffix("#ephemeral").unwrap_or(name);
    if stem.is_empty() {
        return Err(format!(
            "{kind} name is empty: give it 1 to {MAX_NAME_LENGTH} characters"
        ));
    }
    if let Some(character) = stem
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))
    {
        return Err(format!(
            "{kind} name {name:?} has the character {character:?}: only letters, digits, `.`, `_` and `-` are \
             allowed, and the suffix `#ephemeral`"
        ));
    }
    match name.len() {
        ..=MAX_NAME_LENGTH => Ok(()),
        length => Err(format!(
            "{kind} name {name:?} has {length} characters: at most {MAX_NAME_LENGTH} are allowed, `#ephemeral` included"
        )),
    }
}

/// Checks a pattern over the names of topics.
pub(crate) fn pattern(pattern: &str) -> Result<(), String> {
    let is_possible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '#');
    match (1..=MAX_NAME_LENGTH).contains(&pattern.len()) && pattern.chars().all(is_possible) {
        true => Ok(()),
        false => Err(format!(
            "{pattern:?} is no pattern of topics: write 1 to {MAX_NAME_LENGTH} letters, digits, `.`, `_` and `-`, with `*` for \
             any characters"
        )),
    }
}

/// Checks the name that an error has on the wire.
pub(crate) fn error_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of an error cannot be empty".to_owned());
    }
    if BUILT_IN_ERRORS.contains(&name) {
        return Err(format!(
            "`{name}` is the name of an error that almanet itself raises: give another by `#[rpc_error(name = \"...\")]`"
        ));
    }
    Ok(())
}

/// Reads a time such as `500ms`, `5s`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if number.is_empty() || millis_per_unit == 0 {
        return Err(format!(
            "{text:?} is no time: write a whole number and a unit, such as \"500ms\", \"5s\", \"2m\" or \"1h\""
        ));
    }
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis_per_unit))
    {
        Some(0) => Err(format!(
            "{text:?} leaves no time to run: write a time above zero, such as \"5s\""
        )),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!(
            "{text:?} is too long a time: its milliseconds must fit into 64 bits"
        )),
    }
}

/// `SoldOut` as `sold_out`, `HTTPError` as `http_error`.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (i, &letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| letters.get(i));
        let after = letters.get(i + 1);
        let begins_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || before.is_uppercase() && after.is_some_and(|after| after.is_lowercase())
            });
        if begins_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_made_of_identifiers_joined_by_dots() {
        for good in ["greet", "net.example.greet", "_private.a1", "A.B_c"] {
            assert_eq!(uri(good), Ok(()));
        }
        for (bad, segment) in [
            ("", ""),
            ("net..greet", ""),
            ("net.1st", "1st"),
            ("net.a-b", "a-b"),
            ("ä", "ä"),
        ] {
            let reason = uri(bad).unwrap_err();
            assert!(
                reason.contains(&format!("has the segment {segment:?}")),
                "{reason}"
            );
        }
        assert!(
            uri("_reply_.x")
                .unwrap_err()
                .contains("kept for Almanet's own topics")
        );
    }

    #[test]
    fn the_longest_uri_has_58_characters() {
        assert_eq!(uri(&"a".repeat(58)), Ok(()));
        assert!(
            uri(&"a".repeat(59))
                .unwrap_err()
                .contains("has 59 characters: at most 58")
        );
    }

    #[test]
    fn a_name_follows_the_rule_of_nsqd() {
        assert_eq!(
            nsq_name("topic", &format!("{}#ephemeral", "a".repeat(54))),
            Ok(())
        );
        assert!(
            nsq_name("topic", &format!("{}#ephemeral", "a".repeat(55)))
                .unwrap_err()
                .contains("has 65 characters")
        );
        assert!(
            nsq_name("channel", "#ephemeral")
                .unwrap_err()
                .starts_with("channel name is empty")
        );
        assert!(
            nsq_name("channel", "a b")
                .unwrap_err()
                .contains("has the character ' '")
        );
        assert!(nsq_name("channel", "a#durable").is_err());
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, millis) in [("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-5s",
            "5 s",
            "5d",
            "0s",
            "99999999999999999999ms",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_become_snake_case_by_words() {
        let pairs = [
            ("Denied", "denied"),
            ("SoldOut", "sold_out"),
            ("HTTPError", "http_error"),
            ("Http2Failed", "http2_failed"),
            ("NotA", "not_a"),
            ("X", "x"),
        ];
        for (name, snake) in pairs {
            assert_eq!(snake_case(name), snake);
        }
    }
}

//! Durations as Go's programs take them: `60s`, `1m30s`, `500ms`, `1.5h`.

use std::time::Duration;

const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Reads numbers, each with its unit, and adds them up.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() || total.is_zero() && rest == text {
        let (part, left) = first_part(rest).ok_or_else(|| {
            format!("{text:?} is no duration: write numbers with units, such as 60s, 1m30s or 500ms")
        })?;
        total = total
            .checked_add(part)
            .ok_or_else(|| format!("{text:?} is too long a duration"))?;
        rest = left;
    }
    Ok(total)
}

/// Takes one number and its unit off the front.
fn first_part(text: &str) -> Option<(Duration, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at_checked(digits)?;
    let unit_length = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, left) = rest.split_at_checked(unit_length)?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok()?;
    let part = Duration::try_from_secs_f64(number * seconds).ok()?;
    Some((part, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("60s", 60_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h0m0s", 3_600_000),
            ("1.5s", 1500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "soon", "60", "s", "-1s", "1m30", "1..5s", "1 s", "1e99999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

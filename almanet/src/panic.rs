//! What a handler that panicked has said.

use std::any::Any;

/// The message of a panic, where it has one.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_panic_says_what_it_was_made_with() {
        let said = |panics: fn()| message(catch_unwind(panics).unwrap_err().as_ref()).to_owned();
        assert_eq!(said(|| panic!("the shelf is empty")), "the shelf is empty");
        assert_eq!(said(|| panic!("{} are missing", 7)), "7 are missing");
        assert_eq!(said(|| std::panic::panic_any(7)), "no message");
    }
}

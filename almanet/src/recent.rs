//! What was made of texts lately, for texts that come again and again.

use std::array;

/// How many there are; what takes the place of another is made anew when that comes again.
const PLACES: usize = 16;

/// The names that a thread has met last. Names are checked, and each takes memory of its own: with every call come two, and most programs know
/// few.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    places: [Option<T>; PLACES],
}

impl<T: AsRef<str> + Clone> Recent<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: array::from_fn(|_| None),
        }
    }

    /// What `make` makes of `text`, or has made.
    pub(crate) fn get_or_make<E>(
        &mut self,
        text: &str,
        make: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, E> {
        // All bytes count, since most names begin alike, and the random ones may be anywhere.
        let sum = text.bytes().fold(0, |sum: u8, byte| sum.wrapping_add(byte));
        let Some(place) = self.places.get_mut(usize::from(sum) % PLACES) else {
            return make(text);
        };
        match place {
            Some(made) if made.as_ref() == text => Ok(made.clone()),
            _ => Ok(place.insert(make(text)?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_comes_again_is_made_once_and_what_cannot_be_made_each_time() {
        let mut recent = Recent::new();
        let mut made = Vec::new();
        let mut get = |text: &str| {
            recent.get_or_make(text, |text| {
                made.push(text.to_owned());
                if text.is_empty() {
                    Err(())
                } else {
                    Ok(Arc::<str>::from(text))
                }
            })
        };
        for text in ["greet", "greet", "", "", "greet"] {
            assert_eq!(
                get(text).as_deref(),
                if text.is_empty() { Err(&()) } else { Ok(text) }
            );
        }
        assert_eq!(made, ["greet", "", ""]);
    }

    #[test]
    fn texts_that_share_a_place_are_told_apart() {
        let mut recent = Recent::new();
        let texts: Vec<String> = (0..100).map(|number| format!("greet_{number}")).collect();
        for text in texts.iter().chain(&texts) {
            let made = recent.get_or_make(text, |text| Ok::<_, ()>(text.to_owned()));
            assert_eq!(made.as_ref(), Ok(text));
        }
    }
}

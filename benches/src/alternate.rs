//! Two things measured in turn, in short slices, so that whatever else the machine does falls on both alike.
//!
//! A ratio is one pair of neighbouring slices. Its median says more than the ratio of the medians, and its quartiles
//! say how far to trust it.

use std::future::Future;

use crate::Failure;

/// What pairs of slices gave.
#[derive(Debug)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Measures `pairs` pairs, after one to warm up that does not count.
    ///
    /// Who goes first changes, since the first of a pair may find the machine in another state.
    pub async fn measure<A, B>(
        pairs: usize,
        mut one: impl FnMut() -> A,
        mut other: impl FnMut() -> B,
    ) -> Result<Self, Failure>
    where
        A: Future<Output = Result<f64, Failure>>,
        B: Future<Output = Result<f64, Failure>>,
    {
        let mut measured = Vec::with_capacity(pairs);
        for number in 0..=pairs {
            let pair = if number % 2 == 0 {
                let first = one().await?;
                (first, other().await?)
            } else {
                let first = other().await?;
                (one().await?, first)
            };
            if number > 0 {
                measured.push(pair);
            }
        }
        Ok(Self(measured))
    }

    /// What pairs of slices gave.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The median of the one.
    pub fn one(&self) -> f64 {
        quartiles(self.0.iter().map(|pair| pair.0))[1]
    }

    /// The median of the other.
    pub fn other(&self) -> f64 {
        quartiles(self.0.iter().map(|pair| pair.1))[1]
    }

    /// The one divided by the other: lower quartile, median, upper quartile.
    pub fn ratio(&self) -> [f64; 3] {
        quartiles(self.0.iter().map(|pair| pair.0 / pair.1))
    }
}

/// The lower quartile, the median and the upper quartile; not a number where there is nothing.
fn quartiles(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        figures
            .get(figures.len() * quarter / 4)
            .copied()
            .unwrap_or(f64::NAN)
    })
}

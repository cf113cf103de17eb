//! Medians, and how sure a ratio is.

use serde::{Deserialize, Serialize};

/// Resamples of a confidence interval.
const RESAMPLES: usize = 10_000;
/// Values on each side, at least: fewer have no spread that a resample could show.
const VALUES_MIN: usize = 3;
/// Share of them that lies in it.
const CONFIDENCE: f64 = 0.95;

/// Least, median and most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { min: *values.first()?, median: median(&values)?, max: *values.last()? })
    }
}

/// Of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some((lower + upper) / 2.0)
}

/// A ratio of medians, and where it lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Values on the side that has fewer.
    pub(crate) values: usize,
}

impl Ratio {
    /// After over before, by a percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    /// chapter 13) over both. The same values give the same interval.
    pub(crate) fn of(before: &[f64], after: &[f64]) -> Option<Self> {
        let of = |values: &[f64]| Spread::of(values.to_vec()).map(|spread| spread.median);
        let ratio = of(after)? / of(before)?;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut ratios = Vec::with_capacity(RESAMPLES);
        for _ in 0..RESAMPLES {
            ratios.push(of(&random.resample(after))? / of(&random.resample(before))?);
        }
        ratios.sort_by(f64::total_cmp);
        let outside = ((1.0 - CONFIDENCE) / 2.0 * RESAMPLES as f64) as usize;
        let values = before.len().min(after.len());
        Some(Self { ratio, low: *ratios.get(outside)?, high: *ratios.get(RESAMPLES - 1 - outside)?, values })
    }

    /// Whether it is surely not one.
    pub(crate) fn differs(&self) -> bool {
        self.is_known() && (self.low > 1.0 || self.high < 1.0)
    }

    /// Whether there were values enough to say how sure it is.
    pub(crate) fn is_known(&self) -> bool {
        self.values >= VALUES_MIN
    }
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
struct Random(u64);

impl Random {
    fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        values.iter().filter_map(|_| values.get(self.below(values.len())).copied()).collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_tenth_more_is_seen_through_noise_of_three_percent_and_none_is_not() {
        let noisy = |base: f64| -> Vec<f64> { (0..7).map(|n| base * (1.0 + 0.03 * f64::from(n - 3) / 3.0)).collect() };
        let slower = Ratio::of(&noisy(10.0), &noisy(11.0)).unwrap();
        assert!(slower.differs() && slower.low > 1.03 && slower.high < 1.17, "{slower:?}");
        let same = Ratio::of(&noisy(10.0), &noisy(10.0)).unwrap();
        assert!(!same.differs() && (same.ratio - 1.0).abs() < 1e-9, "{same:?}");
    }
}

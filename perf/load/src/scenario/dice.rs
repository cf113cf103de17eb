//! Chance that comes out the same in every run: `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).

/// A die; see the module's head.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The same seed throws the same.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `count`; 0 for none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// True as often as the share says.
    pub(super) fn falls(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0
    }

    /// One of several.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Different numbers below `count`, as many as there are.
    pub(super) fn choose(&mut self, wanted: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        for at in 0..wanted.min(count) {
            all.swap(at, at + self.below(count - at));
        }
        all.truncate(wanted);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_the_same_again_and_choices_differ_from_each_other() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert_eq!(one.choose(5, 9), other.choose(5, 9));
        let mut chosen = one.choose(50, 50);
        chosen.sort_unstable();
        assert_eq!(chosen, (0..50).collect::<Vec<_>>());
        let falls = (0..10_000).filter(|_| one.falls(0.25)).count();
        assert!((2_200..2_800).contains(&falls), "{falls}");
        assert!(!one.falls(0.0) && one.falls(1.0));
    }
}

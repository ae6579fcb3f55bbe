//! Chance, from one seed: splitmix64.

/// A source of numbers; the same seed gives the same ones.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number of a range, both ends included.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        let wide = u64::try_from(most - least).unwrap() + 1;
        least + i64::try_from(self.below(wide)).unwrap()
    }

    /// True `per_mille` times of a thousand. Nothing is drawn for 0, so that what cannot happen moves nothing else.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// A UUID.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let tail = b & 0xffff_ffff_ffff;
        format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{tail:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, (b >> 48) & 0xfff)
    }
}

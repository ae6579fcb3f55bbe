//! Many multiples of one fixed point, fast: window tables of affine points, and affine additions that share
//! their field inversions. Not constant time, and not for a handful of scalars (a table costs a million additions).
//!
//! With one inversion shared by a whole batch, an affine addition costs five multiplications and a squaring in the
//! field, half of what a mixed Jacobian addition costs, and the results need no normalisation.

use blstrs::{Fp, Fp2, G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use ff::Field;
use group::Curve as _;
use rayon::prelude::*;

/// Bits a window. Of 10 to 16 the fastest for millions of scalars; a table is 50 MB in the first group, 100 MB in the
/// second, and one for 17 bits would take longer to make than it saves.
const WINDOW: usize = 16;
/// Windows that cover a 255-bit scalar. The highest takes 15 bits, so the carry below it always fits.
const WINDOWS: usize = 255usize.div_ceil(WINDOW);
/// Multiples kept a window: digits are signed, so 1 to 2^15.
const MULTIPLES: usize = 1 << (WINDOW - 1);
/// Scalars that share their inversions; their accumulators stay in the second-level cache (128 and 4096 were slower).
const BATCH: usize = 1024;

/// A curve point by its coordinates, for the two groups of BLS12-381.
pub trait Affine: Copy + Send + Sync {
    /// The field of the coordinates.
    type Field: Field;
    /// The encoded length in parameter files.
    const BYTES: usize;

    /// `self · scalar` by the curve library, for tables and checks.
    fn times(self, scalar: &Scalar) -> Self;
    /// `self + other` by the curve library, for the additions that a shared inversion cannot do.
    fn plus(self, other: Self) -> Self;
    /// The coordinates; both zero for the identity.
    fn coordinates(self) -> (Self::Field, Self::Field);
    /// The point with these coordinates.
    fn from_coordinates(x: Self::Field, y: Self::Field) -> Self;
    /// Appends the uncompressed encoding.
    fn encode(self, to: &mut Vec<u8>);
}

impl Affine for G1Affine {
    type Field = Fp;
    const BYTES: usize = 96;

    fn times(self, scalar: &Scalar) -> Self {
        (self * scalar).to_affine()
    }
    fn plus(self, other: Self) -> Self {
        (G1Projective::from(self) + other).to_affine()
    }
    fn coordinates(self) -> (Fp, Fp) {
        (self.x(), self.y())
    }
    fn from_coordinates(x: Fp, y: Fp) -> Self {
        Self::from_raw_unchecked(x, y, false)
    }
    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_uncompressed());
    }
}

impl Affine for G2Affine {
    type Field = Fp2;
    const BYTES: usize = 192;

    fn times(self, scalar: &Scalar) -> Self {
        (self * scalar).to_affine()
    }
    fn plus(self, other: Self) -> Self {
        (G2Projective::from(self) + other).to_affine()
    }
    fn coordinates(self) -> (Fp2, Fp2) {
        (self.x(), self.y())
    }
    fn from_coordinates(x: Fp2, y: Fp2) -> Self {
        Self::from_raw_unchecked(x, y, false)
    }
    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_uncompressed());
    }
}

/// Coordinates of a point. The groups have odd order, so only the identity has a zero `y`.
#[derive(Clone, Copy)]
struct Point<F> {
    x: F,
    y: F,
}

impl<F: Field> Point<F> {
    const IDENTITY: Self = Self { x: F::ZERO, y: F::ZERO };

    fn is_identity(&self) -> bool {
        self.y == F::ZERO
    }
}

/// The multiples of one point that [`Table::multiply`] adds up.
pub struct Table<A: Affine> {
    base: A,
    /// For every window `w`, the multiples 1 to `MULTIPLES` of `base · 2^(WINDOW·w)`.
    windows: Vec<Vec<Point<A::Field>>>,
}

impl<A: Affine> Table<A> {
    /// The table of `base`, which must not be the identity. Half a million additions.
    pub fn new(base: A) -> Self {
        let window_bases: Vec<A> =
            std::iter::successors(Some(base), |b| Some(b.times(&Scalar::from(1 << WINDOW)))).take(WINDOWS).collect();
        Self { base, windows: window_bases.into_par_iter().map(multiples).collect() }
    }

    /// The point that the table is of.
    pub fn base(&self) -> A {
        self.base
    }

    /// Encoded `base · scalar` for each scalar, in order. No scalar may be zero.
    pub fn multiply(&self, scalars: &[Scalar]) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = scalars.par_chunks(BATCH).map(|batch| self.batch(batch)).collect();
        parts.concat()
    }

    fn batch(&self, scalars: &[Scalar]) -> Vec<u8> {
        let digits: Vec<[i32; WINDOWS]> = scalars.iter().map(signed_digits).collect();
        let mut sums = vec![Point::<A::Field>::IDENTITY; scalars.len()];
        let mut adder = Adder::with_capacity(scalars.len());
        for (w, window) in self.windows.iter().enumerate() {
            for (i, digits) in digits.iter().enumerate() {
                let digit = digits.get(w).copied().unwrap_or(0);
                let multiple = usize::try_from(digit.unsigned_abs()).ok().and_then(|n| n.checked_sub(1));
                if let Some(point) = multiple.and_then(|n| window.get(n)) {
                    let y = if digit < 0 { -point.y } else { point.y };
                    adder.push(i, Point { x: point.x, y });
                }
            }
            adder.add_to::<A>(&mut sums);
        }
        let mut out = Vec::with_capacity(scalars.len().saturating_mul(A::BYTES));
        for sum in sums {
            A::from_coordinates(sum.x, sum.y).encode(&mut out);
        }
        out
    }
}

/// The multiples 1 to `MULTIPLES` of a point, doubling the list until it is long enough.
fn multiples<A: Affine>(base: A) -> Vec<Point<A::Field>> {
    let point = |p: A| {
        let (x, y) = p.coordinates();
        Point { x, y }
    };
    let mut list = Vec::with_capacity(MULTIPLES);
    list.push(point(base));
    let mut highest = base;
    while list.len() < MULTIPLES {
        // list holds 1..=n and highest is n: add n to every entry for n+1..=2n; the last of these is a doubling
        let mut next = list.clone();
        let step = point(highest);
        let mut adder = Adder::with_capacity(next.len());
        (0..next.len()).for_each(|i| adder.push(i, step));
        adder.add_to::<A>(&mut next);
        highest = highest.plus(highest);
        list.append(&mut next);
    }
    list
}

/// Additions waiting for their shared inversion.
struct Adder<F> {
    waiting: Vec<(usize, Point<F>)>,
    /// `dx` of each addition that is under way, and the product of those before it.
    products: Vec<(F, F)>,
}

impl<F: Field> Adder<F> {
    fn with_capacity(n: usize) -> Self {
        Self { waiting: Vec::with_capacity(n), products: Vec::with_capacity(n) }
    }

    /// `sums[i] += point` at the next [`Adder::add_to`]; each `i` once.
    fn push(&mut self, i: usize, point: Point<F>) {
        self.waiting.push((i, point));
    }

    fn add_to<A: Affine<Field = F>>(&mut self, sums: &mut [Point<F>]) {
        self.products.clear();
        let mut product = F::ONE;
        let products = &mut self.products;
        self.waiting.retain(|(i, point)| {
            let Some(sum) = sums.get_mut(*i) else { return false };
            if sum.is_identity() {
                *sum = *point;
                return false;
            }
            let dx = point.x - sum.x;
            if dx == F::ZERO {
                // the same point or its opposite: no chord, so the curve library decides
                let total = A::from_coordinates(sum.x, sum.y).plus(A::from_coordinates(point.x, point.y));
                (sum.x, sum.y) = total.coordinates();
                return false;
            }
            products.push((dx, product));
            product *= dx;
            true
        });
        let mut inverse = product.invert().unwrap_or(F::ZERO);
        for ((i, point), (dx, before)) in self.waiting.drain(..).zip(self.products.drain(..)).rev() {
            let Some(sum) = sums.get_mut(i) else { continue };
            let slope = (point.y - sum.y) * (inverse * before);
            inverse *= dx;
            let x = slope.square() - sum.x - point.x;
            *sum = Point { x, y: slope * (sum.x - x) - sum.y };
        }
    }
}

/// The scalar as sixteen digits from 1 − 2^15 to 2^15, lowest first.
fn signed_digits(scalar: &Scalar) -> [i32; WINDOWS] {
    let bytes = scalar.to_bytes_le();
    let mut carry = 0i32;
    let mut digits = [0i32; WINDOWS];
    for (digit, pair) in digits.iter_mut().zip(bytes.as_chunks::<2>().0) {
        let value = i32::from(u16::from_le_bytes(*pair)) + carry;
        // the highest digit is at most 0x73ed + 1, so nothing is carried out of it
        carry = i32::from(value > 1 << (WINDOW - 1));
        *digit = value - (carry << WINDOW);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use group::prime::PrimeCurveAffine;
    use rand_core::OsRng;

    fn agrees_with_the_library<A: Affine + PrimeCurveAffine>() {
        let table = Table::new(A::generator().times(&Scalar::random(OsRng)));
        let edges = [1, 2, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000, 0x8000_8000, 0xffff_ffff_ffff].map(Scalar::from);
        let scalars: Vec<Scalar> = edges
            .into_iter()
            .chain(edges.into_iter().map(|edge| -edge))
            .chain((0..BATCH).map(|_| Scalar::random(OsRng)))
            .collect();
        let mut slow = Vec::new();
        scalars.iter().for_each(|scalar| table.base().times(scalar).encode(&mut slow));
        assert_eq!(table.multiply(&scalars), slow);
    }

    #[test]
    fn fast_multiples_are_the_librarys_in_both_groups() {
        agrees_with_the_library::<G1Affine>();
        agrees_with_the_library::<G2Affine>();
    }

    #[test]
    fn an_addition_without_a_chord_is_still_right() {
        let (x, y) = G1Affine::generator().coordinates();
        let (point, opposite) = (Point { x, y }, Point { x, y: -y });
        let mut sums = [Point::IDENTITY, point, opposite];
        let mut adder = Adder::with_capacity(sums.len());
        (0..sums.len()).for_each(|i| adder.push(i, point));
        adder.add_to::<G1Affine>(&mut sums);
        let two = G1Affine::generator().plus(G1Affine::generator()).coordinates();
        assert_eq!(sums.map(|sum| (sum.x, sum.y)), [(x, y), two, (Fp::ZERO, Fp::ZERO)]);
    }
}

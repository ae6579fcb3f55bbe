//! Makes one parameter set for one circuit, in the proofs library's file format: the verifying key, then the
//! queries h, l, a, b in the first group and b in the second, each with its length in front.
//!
//! Every point is a known multiple of one of two base points, so all of the work is fixed-base multiplication.
//! Points at infinity are left out of a and b, as the prover expects.

use super::{
    fixed_base::{Affine, Table},
    secret::{Scalars, Trapdoor},
    synthesis::{AtTau, Counts, Sums, vanishing},
};
use bellperson::{SynthesisError, groth16::VerifyingKey};
use blstrs::{Bls12, G1Affine, G2Affine, Scalar};
use ff::Field;
use group::prime::PrimeCurveAffine as _;
use rand_core::{OsRng, RngCore as _};
use std::io::{self, Write};

/// Points multiplied, written and reported at a time.
const SLAB: usize = 1 << 15;
/// Points of every query that are made again, the slow way, and compared with the fast ones.
const SAMPLES: usize = 4;

/// Called after every slab with the points made: in the first group, in the second. `false` stops.
pub type Made<'a> = &'a dyn Fn(usize, usize) -> bool;

/// The most bytes that a parameter file of such a circuit can have.
pub fn most_bytes(counts: Counts) -> u64 {
    let variables = counts.inputs.saturating_add(counts.aux);
    let first = counts.domain().saturating_add(variables.saturating_mul(3));
    let bytes = first.saturating_mul(G1Affine::BYTES).saturating_add(variables.saturating_mul(G2Affine::BYTES));
    // the rest is the head of the verifying key and six lengths
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1024)
}

/// The points in the two groups that such a circuit will probably have: in all our circuits about three quarters of
/// the variables are in a and a third in b.
pub fn usual_points(counts: Counts) -> (usize, usize) {
    let part = |of: usize, parts: usize| counts.aux.saturating_mul(of).checked_div(parts).unwrap_or(0);
    let b = part(1, 3);
    (counts.domain().saturating_add(counts.aux).saturating_add(part(3, 4)).saturating_add(b), b)
}

/// The points in the two groups that this circuit has.
pub fn points(at_tau: &AtTau, counts: Counts) -> (usize, usize) {
    let dense = |sums: &Sums| sums.inputs.iter().chain(&*sums.aux).filter(|s| !s.is_zero_vartime()).count();
    let b = dense(&at_tau.b);
    (counts.domain().saturating_add(counts.aux).saturating_add(dense(&at_tau.a)).saturating_add(b), b)
}

/// Writes the parameter file to `out`, and returns its verifying key.
///
/// # Errors
/// `UnconstrainedVariable` as the library's generator has it, `UnexpectedIdentity` for a degenerate trapdoor,
/// `IoError` from `out`; `Interrupted` when `made` says so; `InvalidData` when a sampled point is not what it
/// should be, which means that this machine computes wrongly.
pub fn write(
    at_tau: AtTau,
    counts: Counts,
    trapdoor: &Trapdoor,
    out: &mut impl Write,
    made: Made<'_>,
) -> Result<VerifyingKey<Bls12>, SynthesisError> {
    let AtTau { a, b, c } = at_tau;
    let Trapdoor { g1, g2, alpha, beta, gamma, delta, tau } = trapdoor;
    let (gamma_inverse, delta_inverse) = (inverse(gamma)?, inverse(delta)?);
    let table = Table::new(*g1);

    // β·a + α·b + c: over γ for the inputs, over δ for the rest
    let extend = |a: &[Scalar], b: &[Scalar], c: &mut [Scalar], over: &Scalar| {
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            *c = (*a * beta + *b * alpha + *c) * over;
        }
    };
    let (mut ic, mut l) = (c.inputs, c.aux);
    extend(&a.inputs, &b.inputs, &mut ic, &gamma_inverse);
    extend(&a.aux, &b.aux, &mut l, &delta_inverse);
    if l.iter().any(Scalar::is_zero_vartime) {
        return Err(SynthesisError::UnconstrainedVariable);
    }

    let key = VerifyingKey::<Bls12> {
        alpha_g1: g1.times(alpha),
        beta_g1: g1.times(beta),
        beta_g2: g2.times(beta),
        gamma_g2: g2.times(gamma),
        delta_g1: g1.times(delta),
        delta_g2: g2.times(delta),
        ic: ic.iter().map(|scalar| g1.times(scalar)).collect(),
    };
    key.write(&mut *out)?;

    let first_group = |n: usize| made(n, 0);
    query(&table, &h_scalars(counts, tau, &delta_inverse), out, &first_group)?;
    query(&table, &l, out, &first_group)?;
    drop(l);
    let dense = |inputs: &[Scalar], aux: &[Scalar]| -> Scalars {
        inputs.iter().chain(aux).copied().filter(|scalar| !scalar.is_zero_vartime()).collect()
    };
    query(&table, &dense(&a.inputs, &a.aux), out, &first_group)?;
    drop(a);
    let b = dense(&b.inputs, &b.aux);
    query(&table, &b, out, &first_group)?;
    drop(table);
    query(&Table::new(*g2), &b, out, &|n| made(0, n))?;
    Ok(key)
}

fn inverse(scalar: &Scalar) -> Result<Scalar, SynthesisError> {
    Option::from(scalar.invert()).ok_or(SynthesisError::UnexpectedIdentity)
}

/// τ^i · (τ^m − 1)/δ for i from 0 to m − 2.
fn h_scalars(counts: Counts, tau: &Scalar, delta_inverse: &Scalar) -> Scalars {
    let first = vanishing(counts.domain(), tau) * delta_inverse;
    let powers = std::iter::successors(Some(first), |power| Some(*power * tau));
    powers.take(counts.domain().saturating_sub(1)).collect()
}

/// Writes the length and the points of one query.
fn query<A: Affine>(
    table: &Table<A>,
    scalars: &[Scalar],
    out: &mut impl Write,
    made: &dyn Fn(usize) -> bool,
) -> Result<(), SynthesisError> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let length =
        u32::try_from(scalars.len()).map_err(|_| invalid("a query has more points than its format can say"))?;
    out.write_all(&length.to_be_bytes())?;
    for slab in scalars.chunks(SLAB) {
        let points = table.multiply(slab);
        for _ in 0..SAMPLES {
            let n = usize::try_from(OsRng.next_u32()).unwrap_or(0).checked_rem(slab.len()).unwrap_or(0);
            let mut slow = Vec::with_capacity(A::BYTES);
            slab.get(n).map(|scalar| table.base().times(scalar).encode(&mut slow)).unwrap_or_default();
            if points.chunks_exact(A::BYTES).nth(n) != Some(slow.as_slice()) {
                return Err(invalid("a point came out differently when made again: check this machine's memory").into());
            }
        }
        out.write_all(&points)?;
        if !made(slab.len()) {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
    }
    Ok(())
}

/// Whether `key` holds together: β and δ are the same in both groups. A pairing, so about a millisecond.
pub fn holds_together(key: &VerifyingKey<Bls12>) -> bool {
    let identity = bool::from(key.delta_g1.is_identity() | key.beta_g1.is_identity());
    !identity && blstrs::pairing(&key.beta_g1, &key.delta_g2) == blstrs::pairing(&key.delta_g1, &key.beta_g2)
}

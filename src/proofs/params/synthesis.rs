//! From a circuit to the values of its polynomials at τ, without ever holding its matrices.
//!
//! The circuit is synthesised twice. The first time only counts, which fixes the evaluation domain; with that the
//! Lagrange coefficients at τ have a closed form. The second time adds every constraint's coefficients straight
//! into one sum a variable and polynomial.

use super::secret::Scalars;
use bellperson::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;
use ff::{Field, PrimeField};
use rayon::prelude::*;
use std::io;

/// How large a circuit is, as the parameter files see it: the constant one is an input, and every input has one
/// constraint more than the circuit says (`input · 0 = 0`, so that no input is unconstrained).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Public inputs, the one included.
    pub inputs: usize,
    /// Other variables.
    pub aux: usize,
    /// Constraints, those of the inputs included.
    pub constraints: usize,
}

impl Counts {
    /// The size of the evaluation domain.
    pub fn domain(self) -> usize {
        self.constraints.next_power_of_two()
    }
}

/// Called now and then with the number of variables allocated since the last call; `false` stops the synthesis.
pub type Watch<'a> = &'a (dyn Fn(usize) -> bool + Sync);

/// Variables between two calls of a [`Watch`].
const WATCH_EVERY: usize = 1 << 14;

fn stopped() -> SynthesisError {
    SynthesisError::IoError(io::ErrorKind::Interrupted.into())
}

/// Counts a circuit.
///
/// # Errors
/// Those of the circuit, and `Interrupted` when `watch` says so.
pub fn count<C: Circuit<Scalar>>(circuit: C, watch: Watch<'_>) -> Result<Counts, SynthesisError> {
    let mut counter = Counter { counts: Counts { inputs: 1, ..Counts::default() }, watch };
    circuit.synthesize(&mut counter)?;
    let mut counts = counter.counts;
    counts.constraints = counts.constraints.saturating_add(counts.inputs);
    Ok(counts)
}

struct Counter<'a> {
    counts: Counts,
    watch: Watch<'a>,
}

impl ConstraintSystem<Scalar> for Counter<'_> {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.counts.aux;
        self.counts.aux = index.saturating_add(1);
        if self.counts.aux.is_multiple_of(WATCH_EVERY) && !(self.watch)(WATCH_EVERY) {
            return Err(stopped());
        }
        Ok(Variable(Index::Aux(index)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.counts.inputs;
        self.counts.inputs = index.saturating_add(1);
        Ok(Variable(Index::Input(index)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, _: LA, _: LB, _: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        self.counts.constraints = self.counts.constraints.saturating_add(1);
    }

    fn push_namespace<NR: Into<String>, N: FnOnce() -> NR>(&mut self, _: N) {}

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self {
        self
    }
}

/// One sum for each variable, inputs and others apart.
pub struct Sums {
    /// Of the inputs.
    pub inputs: Scalars,
    /// Of the other variables.
    pub aux: Scalars,
}

impl Sums {
    fn zero(counts: Counts) -> Self {
        Self { inputs: Scalars::zero(counts.inputs), aux: Scalars::zero(counts.aux) }
    }

    fn add(&mut self, combination: &LinearCombination<Scalar>, lagrange: &Scalar) {
        for (index, coefficient) in combination.iter_inputs() {
            add_term(&mut self.inputs, *index, coefficient, lagrange);
        }
        for (index, coefficient) in combination.iter_aux() {
            add_term(&mut self.aux, *index, coefficient, lagrange);
        }
    }
}

fn add_term(sums: &mut [Scalar], index: usize, coefficient: &Scalar, lagrange: &Scalar) {
    if let Some(sum) = sums.get_mut(index) {
        // most coefficients are one
        if *coefficient == Scalar::ONE { *sum += lagrange } else { *sum += *coefficient * lagrange }
    }
}

/// The three families of polynomials at τ: `a · b = c` in every constraint.
pub struct AtTau {
    /// Left factors.
    pub a: Sums,
    /// Right factors.
    pub b: Sums,
    /// Products.
    pub c: Sums,
}

/// Evaluates the polynomials of a circuit that [`count`] has counted. `tau` must not be in the evaluation domain.
///
/// # Errors
/// Those of the circuit, `PolynomialDegreeTooLarge` for one with more constraints than the field has roots of unity,
/// `Unsatisfiable` when the circuit changed between the two times, and `Interrupted` when `watch` says so.
pub fn evaluate<C: Circuit<Scalar>>(
    circuit: C,
    counts: Counts,
    tau: &Scalar,
    watch: Watch<'_>,
) -> Result<AtTau, SynthesisError> {
    let lagrange = lagrange(counts, tau)?;
    let sums = || Sums::zero(counts);
    let at_tau = AtTau { a: sums(), b: sums(), c: sums() };
    let seen = Counter { counts: Counts { inputs: 1, ..Counts::default() }, watch };
    let mut evaluator = Evaluator { lagrange: &lagrange, at_tau, seen };
    circuit.synthesize(&mut evaluator)?;
    for input in 0..counts.inputs {
        evaluator.enforce(|| "", |lc| lc + Variable(Index::Input(input)), |lc| lc, |lc| lc);
    }
    if evaluator.seen.counts == counts { Ok(evaluator.at_tau) } else { Err(SynthesisError::Unsatisfiable) }
}

struct Evaluator<'a> {
    lagrange: &'a [Scalar],
    at_tau: AtTau,
    seen: Counter<'a>,
}

impl ConstraintSystem<Scalar> for Evaluator<'_> {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, annotation: A, f: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.seen.alloc(annotation, f)
    }

    fn alloc_input<F, A, AR>(&mut self, annotation: A, f: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.seen.alloc_input(annotation, f)
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let counts = &mut self.seen.counts;
        if let Some(lagrange) = self.lagrange.get(counts.constraints) {
            self.at_tau.a.add(&a(LinearCombination::zero()), lagrange);
            self.at_tau.b.add(&b(LinearCombination::zero()), lagrange);
            self.at_tau.c.add(&c(LinearCombination::zero()), lagrange);
        }
        counts.constraints = counts.constraints.saturating_add(1);
    }

    fn push_namespace<NR: Into<String>, N: FnOnce() -> NR>(&mut self, _: N) {}

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self {
        self
    }
}

/// τ^m − 1, the polynomial that is zero on a domain of `m` points.
pub fn vanishing(domain: usize, tau: &Scalar) -> Scalar {
    tau.pow_vartime([u64::try_from(domain).unwrap_or(u64::MAX)]) - Scalar::ONE
}

/// The Lagrange coefficients at τ of the domain's points that have a constraint:
/// `L_i(τ) = (τ^m − 1)/m · ω^i/(τ − ω^i)`.
fn lagrange(counts: Counts, tau: &Scalar) -> Result<Scalars, SynthesisError> {
    const CHUNK: usize = 4096;
    let domain = counts.domain();
    let omega = root_of_unity(domain).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
    let size = Scalar::from(u64::try_from(domain).unwrap_or(u64::MAX));
    let scale = Option::<Scalar>::from(size.invert()).ok_or(SynthesisError::DivisionByZero)? * vanishing(domain, tau);
    let mut lagrange = Scalars::zero(counts.constraints);
    lagrange.par_chunks_mut(CHUNK).enumerate().try_for_each(|(i, chunk)| {
        let start = u64::try_from(i.saturating_mul(CHUNK)).unwrap_or(u64::MAX);
        let roots: Vec<Scalar> = std::iter::successors(Some(omega.pow_vartime([start])), |root| Some(*root * omega))
            .take(chunk.len())
            .collect();
        // the product of the denominators before each, then one inversion for all
        let mut product = Scalar::ONE;
        for (slot, root) in chunk.iter_mut().zip(&roots) {
            *slot = product;
            product *= *tau - root;
        }
        let mut inverse = Option::<Scalar>::from(product.invert()).ok_or(SynthesisError::DivisionByZero)?;
        for (slot, root) in chunk.iter_mut().zip(&roots).rev() {
            *slot *= inverse * root * scale;
            inverse *= *tau - root;
        }
        Ok::<(), SynthesisError>(())
    })?;
    Ok(lagrange)
}

/// The root of unity whose powers are the evaluation domain.
fn root_of_unity(domain: usize) -> Option<Scalar> {
    let squarings = Scalar::S.checked_sub(domain.trailing_zeros())?;
    Some((0..squarings).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square()))
}

//! The numbers behind a parameter set that must not outlive its making: whoever knows them can forge proofs.
//!
//! Overwritten when dropped, as far as safe code can: copies that the compiler keeps in registers and on the stack
//! are beyond reach. That is one reason more why locally made parameters are for test networks only.

use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use ff::Field;
use group::{Curve as _, Group as _};
use rand_core::OsRng;
use std::ops::{Deref, DerefMut};

/// Scalars that are overwritten when dropped.
pub struct Scalars(Vec<Scalar>);

impl Scalars {
    /// So many zeros.
    pub fn zero(len: usize) -> Self {
        Self(vec![Scalar::ZERO; len])
    }
}

impl FromIterator<Scalar> for Scalars {
    fn from_iter<I: IntoIterator<Item = Scalar>>(scalars: I) -> Self {
        Self(scalars.into_iter().collect())
    }
}

impl Deref for Scalars {
    type Target = [Scalar];
    fn deref(&self) -> &[Scalar] {
        &self.0
    }
}

impl DerefMut for Scalars {
    fn deref_mut(&mut self) -> &mut [Scalar] {
        &mut self.0
    }
}

impl Drop for Scalars {
    fn drop(&mut self) {
        self.0.fill(Scalar::ZERO);
        // keeps the stores: their result is looked at
        std::hint::black_box(&self.0);
    }
}

/// The trapdoors of one parameter set and its two base points.
pub struct Trapdoor {
    /// Base point of the first group.
    pub g1: G1Affine,
    /// Base point of the second group.
    pub g2: G2Affine,
    /// α.
    pub alpha: Scalar,
    /// β.
    pub beta: Scalar,
    /// γ.
    pub gamma: Scalar,
    /// δ.
    pub delta: Scalar,
    /// τ, where the polynomials are evaluated.
    pub tau: Scalar,
}

impl Trapdoor {
    /// Drawn from the operating system's generator.
    pub fn draw() -> Self {
        // zero and points of the evaluation domain would fail the set; all are as unlikely as guessing the trapdoor
        let scalar = || Scalar::random(OsRng);
        Self {
            g1: G1Projective::random(OsRng).to_affine(),
            g2: G2Projective::random(OsRng).to_affine(),
            alpha: scalar(),
            beta: scalar(),
            gamma: scalar(),
            delta: scalar(),
            tau: scalar(),
        }
    }
}

impl Drop for Trapdoor {
    fn drop(&mut self) {
        let Self { g1: _, g2: _, alpha, beta, gamma, delta, tau } = self;
        for secret in [alpha, beta, gamma, delta, tau] {
            *secret = Scalar::ZERO;
            std::hint::black_box(secret);
        }
    }
}

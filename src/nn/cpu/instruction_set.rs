//! Which instructions convolutions use: chosen once for each precision, when the program first asks.

use std::any::Any;
use std::sync::OnceLock;

use super::kernel::{Backward, Forward, WeightGradient};
use super::norm::Loops;
#[cfg(target_arch = "x86_64")]
use super::peak;
use super::turned::Turned;
use super::{packed, portable};
use crate::nn::graph::Window;
use crate::nn::plan::Convolution;
use crate::nn::real::Real;
use crate::nn::{NnError, Precision};

/// The environment variable that forces a choice, for tests and bug reports.
pub const VARIABLE: &str = "DIARET_ISA";

/// A way to compute convolutions; each gives the same numbers up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Patches times matrices by the `gemm` crate, on any processor and in any precision.
    Portable,
    /// Packed kernels in 256-bit vectors with fused multiply-add, f32 only; f64 stays portable.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same kernels in 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same, with products in bf16 but for those by a transform: for training.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// The same kernels in 128-bit vectors of 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same kernels in sixteen lanes without instructions of their own: what AVX-512 does, on any processor.
    #[cfg(test)]
    Lanes,
    /// What AVX-512 does in bf16.
    #[cfg(test)]
    LanesBf16,
}

impl InstructionSet {
    /// All that there are for this kind of processor, the best last.
    pub const ALL: &[Self] = &[
        Self::Portable,
        #[cfg(test)]
        Self::Lanes,
        #[cfg(test)]
        Self::LanesBf16,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Bf16,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
    ];

    /// Those in f32 that this processor has instructions for: whole networks take long in [`Self::Lanes`].
    #[cfg(test)]
    pub fn quick() -> impl Iterator<Item = &'static Self> {
        let may = |set: &Self| set.is_here() && *set != Self::Lanes && set.precision() == Precision::F32;
        Self::ALL.iter().filter(move |set| may(set))
    }

    /// As in `DIARET_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(test)]
            Self::Lanes => "lanes",
            #[cfg(test)]
            Self::LanesBf16 => "lanes-bf16",
        }
    }

    /// As a person reads it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "AVX-512 in bf16",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "NEON",
            #[cfg(test)]
            Self::Lanes => "sixteen lanes",
            #[cfg(test)]
            Self::LanesBf16 => "sixteen lanes in bf16",
        }
    }

    /// What products are computed in that go by no transform.
    pub fn precision(self) -> Precision {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Precision::Bf16,
            #[cfg(test)]
            Self::LanesBf16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => packed::Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => packed::Avx512::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => packed::Avx512::bf16().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => packed::Neon::new().is_some(),
            #[cfg(test)]
            Self::Lanes | Self::LanesBf16 => true,
        }
    }

    /// The one to compute in f32 with: what `DIARET_ISA` says, else the best that is here.
    pub fn chosen() -> Result<Self, NnError> {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        let forced = Self::forced()?.map(Self::in_f32);
        Ok(forced.unwrap_or_else(|| *BEST.get_or_init(Self::best)))
    }

    /// The one to compute with in this precision. [`NnError::Precision`] for bf16 where it is no faster, or where `DIARET_ISA` says
    /// something else.
    pub fn of(precision: Precision) -> Result<Self, NnError> {
        static BEST: OnceLock<Option<InstructionSet>> = OnceLock::new();
        let set = match (precision, Self::forced()?) {
            (Precision::F32, _) => return Self::chosen(),
            (Precision::Bf16, None) => *BEST.get_or_init(Self::best_in_bf16),
            (Precision::Bf16, forced) => forced.filter(|set| set.precision() == Precision::Bf16),
        };
        set.ok_or(NnError::Precision(precision))
    }

    /// What `DIARET_ISA` says, if it says something.
    fn forced() -> Result<Option<Self>, NnError> {
        static FORCED: OnceLock<Result<Option<InstructionSet>, String>> = OnceLock::new();
        let forced = FORCED
            .get_or_init(|| std::env::var_os(VARIABLE).map(|name| Self::named(&name.to_string_lossy())).transpose());
        forced.clone().map_err(NnError::InstructionSet)
    }

    /// What has the same vectors and computes in f32.
    fn in_f32(self) -> Self {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512,
            #[cfg(test)]
            Self::LanesBf16 => Self::Lanes,
            _ => self,
        }
    }

    /// Makes a convolution ready to run, best for an output of `size`.
    pub fn forward<T: Real>(self, convolution: Convolution<T>, size: [usize; 2]) -> Box<dyn Forward<T>> {
        let single: Option<&Convolution<f32>> = (&convolution as &dyn Any).downcast_ref();
        let packed = single.and_then(|single| packed::forward(self, single, size));
        packed.and_then(same::<_, Box<dyn Forward<T>>>).unwrap_or_else(|| Box::new(convolution))
    }

    /// Makes a convolution's gradient by its input ready to run, best for an input of `size`.
    pub fn backward<T: Real>(self, turned: Turned<T>, size: [usize; 2]) -> Box<dyn Backward<T>> {
        let single: Option<&Turned<f32>> = (&turned as &dyn Any).downcast_ref();
        let packed = single.and_then(|single| packed::backward(self, single, size));
        packed.and_then(same::<_, Box<dyn Backward<T>>>).unwrap_or_else(|| Box::new(turned))
    }

    /// Makes a convolution's gradient by its kernel ready to run, for so many channels in and out; best
    /// for an output of `size`.
    pub fn weights<T: Real>(
        self,
        window: Window,
        channels: [usize; 2],
        size: [usize; 2],
    ) -> Box<dyn WeightGradient<T>> {
        let packed = packed::weights(self, window, channels, size);
        packed.and_then(same::<_, Box<dyn WeightGradient<T>>>).unwrap_or_else(|| Box::new(portable::Weights(window)))
    }

    /// Makes the loops behind products of so many channels ready to run.
    pub fn norm<T: Real>(self, channels: usize) -> Box<dyn Loops<T>> {
        let packed = packed::norm(self, channels);
        packed.and_then(same::<_, Box<dyn Loops<T>>>).unwrap_or_else(|| Box::new(portable::AnyChannels))
    }

    /// Intel's servers of 2023 do products of bf16 at half the rate of those in f32, AMD's at twice.
    fn best_in_bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Self::Avx512Bf16.is_here() && peak::is_bf16_faster() {
            return Some(Self::Avx512Bf16);
        }
        None
    }

    /// The widest vectors, if they are faster: where 512 bits are computed in halves, 256-bit loops are as good or better.
    fn best() -> Self {
        let may = |set: &Self| set.precision() == Precision::F32 && set.is_here();
        let widest = Self::ALL.iter().copied().rev().find(may).unwrap_or(Self::Portable);
        #[cfg(target_arch = "x86_64")]
        if widest == Self::Avx512 && !peak::is_512_faster() {
            return Self::Avx2;
        }
        widest
    }

    /// The one called `name`, if it is known and here; the error is a sentence.
    fn named(name: &str) -> Result<Self, String> {
        let known: Vec<&str> = Self::ALL.iter().map(|set| set.name()).collect();
        match Self::ALL.iter().copied().find(|set| set.name() == name) {
            Some(set) if set.is_here() => Ok(set),
            Some(_) => Err(format!("{VARIABLE} asks for {name}, which this processor does not have; unset it")),
            None => Err(format!("{VARIABLE} is {name:?}; it may be one of: {}", known.join(", "))),
        }
    }
}

/// `value` itself where `A` and `B` are one type.
fn same<A: Any, B: Any>(value: A) -> Option<B> {
    (&mut Some(value) as &mut dyn Any).downcast_mut::<Option<B>>()?.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::{Padding, Window};

    #[test]
    fn names_are_found_and_what_is_unknown_is_a_sentence_with_the_variable() {
        for &set in InstructionSet::ALL {
            match InstructionSet::named(set.name()) {
                Ok(found) => assert_eq!(found, set),
                Err(error) => {
                    assert!(!set.is_here() && error.contains(VARIABLE) && error.contains(set.name()), "{error}");
                }
            }
        }
        let error = InstructionSet::named("avx3").unwrap_err();
        assert!(error.contains(VARIABLE) && error.contains("\"avx3\"") && error.contains(": portable"), "{error}");
        assert!(InstructionSet::best().is_here());
    }

    #[test]
    fn bf16_is_for_those_who_ask_for_it_whatever_is_forced() {
        for set in InstructionSet::ALL.iter().copied().chain([InstructionSet::best()]) {
            assert_eq!(set.in_f32().precision(), Precision::F32);
            assert!(set.precision() == Precision::Bf16 || set.in_f32() == set);
        }
        assert_eq!(InstructionSet::chosen().unwrap().precision(), Precision::F32);
        match InstructionSet::of(Precision::Bf16) {
            Ok(set) => assert!(set.is_here() && set.precision() == Precision::Bf16),
            Err(error) => assert!(matches!(error, NnError::Precision(Precision::Bf16)), "{error}"),
        }
    }

    #[test]
    fn f64_is_always_portable() {
        let window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };
        let convolution =
            Convolution { window, kernel: vec![2.0_f64; 16], bias: vec![0.0], residual: None, relu: false };
        for &set in InstructionSet::ALL {
            let ready = set.forward(convolution.clone(), [1, 1]);
            assert!(format!("{ready:?}").starts_with("Convolution"), "{set:?}");
        }
    }
}
